// SPDX-License-Identifier: GPL-2.0-or-later
#include <criterion/criterion.h>
#include <string.h>

#include "agent/https/table.h"
#include "proto/wire/message.h"
#include "tests/unit/slice_reader.h"

#define API "spiffe://example.org/ns/default/sa/api"
#define WEB "spiffe://example.org/ns/default/sa/web"

static const char web_slice[] = "slice web generation 7 trust-domain example.org rekey 3600 independence reported\n"
                                "peer api slot 2 addresses 192.0.2.2 2001:db8::2 workloads " API "\n"
                                "peer db slot 3 addresses 192.0.2.3 workloads spiffe://example.org/ns/default/sa/db\n"
                                "rule api-calls-web in ports tcp/9000 layers https peers api\n"
                                "rule bulk out ports tcp/5201 layers ipsec peers api\n"
                                "rule both out ports tcp/8443 layers ipsec https peers api\n"
                                "rule web-to-api out ports tcp/80 tcp/8080-8090 layers https peers api\n"
                                "revoked intruder\n";

static struct table *table_of(const char *text)
{
    struct note note = {0};
    struct table *table = NULL;
    Twofold__V1__Slice *slice = slice_from_text(text);
    cr_assert_eq(table_new(slice, 15001, 15008, &table, &note), ERR_OK, "%s", note.text);
    message_free(slice); // the table has its own
    return table;
}

static struct ip ip_of(const char *text)
{
    struct ip ip;
    cr_assert_eq(ip_parse(text, &ip), ERR_OK);
    return ip;
}

static struct verdict outbound(const struct table *table, const char *address, uint16_t port)
{
    struct verdict verdict;
    struct ip_endpoint destination = {.ip = ip_of(address), .port = port};
    table_outbound(table, &destination, &verdict);
    return verdict;
}

static struct verdict inbound(const struct table *table, const char *identity, const char *remote,
                              const char *authority, uint16_t port)
{
    struct verdict verdict;
    struct table_caller caller = {.identity = identity, .remote = ip_of(remote), .local = ip_of("192.0.2.1")};
    struct ip_endpoint wanted = {.ip = ip_of(authority), .port = port};
    table_inbound(table, &caller, &wanted, &verdict);
    return verdict;
}

static void report(struct table *table, const char *host, const char *address)
{
    struct ip ip = ip_of(address);
    ProtobufCBinaryData bytes = {.len = ip.len, .data = ip.bytes};
    Twofold__V1__SaPair pair = TWOFOLD__V1__SA_PAIR__INIT;
    Twofold__V1__SaPair *pairs[] = {&pair};
    Twofold__V1__SaReport message = TWOFOLD__V1__SA_REPORT__INIT;
    pair.host = (char *)host;
    pair.suite = (char *)"ecp384-aes256gcm16";
    pair.n_addresses = 1;
    pair.addresses = &bytes;
    message.n_pairs = 1;
    message.pairs = pairs;
    cr_assert_eq(table_set_sas(table, &message), ERR_OK);
}

#define ASSERT_REFUSED(verdict, words)                                                 \
    do {                                                                               \
        cr_assert_not((verdict).allowed);                                              \
        cr_assert_not_null(strstr((verdict).reason, (words)), "%s", (verdict).reason); \
        cr_assert_neq((verdict).told[0], '\0');                                        \
    } while (0)

Test(table, allows_what_a_rule_allows)
{
    struct table *table = table_of(web_slice);
    struct verdict verdict = outbound(table, "192.0.2.2", 80);
    cr_assert(verdict.allowed, "%s", verdict.reason);
    cr_assert_str_eq(verdict.rule->name, "web-to-api");
    cr_assert_str_eq(verdict.peer->host, "api");
    cr_assert_null(verdict.pair);
    cr_assert(outbound(table, "2001:db8::2", 8085).allowed);
    verdict = inbound(table, API, "192.0.2.2", "192.0.2.1", 9000);
    cr_assert(verdict.allowed, "%s", verdict.reason);
    cr_assert_str_eq(verdict.rule->name, "api-calls-web");
    table_free(table);
}

Test(table, outbound_without_a_rule_names_the_nearest_miss)
{
    struct table *table = table_of(web_slice);
    struct verdict verdict = outbound(table, "192.0.2.2", 8091);
    ASSERT_REFUSED(verdict, "the nearest rule, web-to-api, allows tcp/8080-8090");
    cr_assert_null(strstr(verdict.told, "web-to-api"), "peers are not told the policy");
    ASSERT_REFUSED(outbound(table, "192.0.2.3", 5432), "no rule from web to db has a TCP port");
    ASSERT_REFUSED(outbound(table, "192.0.2.9", 80), "belongs to no host");
    table_free(table);
}

Test(table, outbound_refuses_its_own_ports)
{
    struct table *table = table_of(web_slice);
    ASSERT_REFUSED(outbound(table, "192.0.2.2", 15008), "Twofold's own");
    ASSERT_REFUSED(outbound(table, "192.0.2.2", 15001), "Twofold's own");
    ASSERT_REFUSED(outbound(table, "192.0.2.2", 0), "Twofold's own");
    table_free(table);
}

Test(table, a_rule_without_the_https_layer_carries_no_tunnel)
{
    struct table *table = table_of(web_slice);
    ASSERT_REFUSED(outbound(table, "192.0.2.2", 5201), "IPsec layer alone");
    table_free(table);
}

Test(table, a_rule_with_both_layers_waits_for_the_sa_pair)
{
    struct table *table = table_of(web_slice);
    ASSERT_REFUSED(outbound(table, "192.0.2.2", 8443), "no SA pair with api");
    report(table, "api", "192.0.2.2");
    struct verdict verdict = outbound(table, "192.0.2.2", 8443);
    cr_assert(verdict.allowed);
    cr_assert_str_eq(verdict.pair->suite, "ecp384-aes256gcm16");
    ASSERT_REFUSED(outbound(table, "2001:db8::2", 8443), "no SA pair"); // another address of the same host
    report(table, "db", "192.0.2.2");
    ASSERT_REFUSED(outbound(table, "192.0.2.2", 8443), "no SA pair");
    Twofold__V1__SaReport none = TWOFOLD__V1__SA_REPORT__INIT;
    cr_assert_eq(table_set_sas(table, &none), ERR_OK);
    ASSERT_REFUSED(outbound(table, "192.0.2.2", 8443), "no SA pair");
    table_free(table);
}

Test(table, inbound_checks_who_and_where)
{
    struct table *table = table_of(web_slice);
    ASSERT_REFUSED(inbound(table, WEB, "192.0.2.2", "192.0.2.1", 9000), "not an identity of api");
    ASSERT_REFUSED(inbound(table, API, "192.0.2.3", "192.0.2.1", 9000), "not an identity of db");
    ASSERT_REFUSED(inbound(table, API, "192.0.2.66", "192.0.2.1", 9000), "no host that a rule connects");
    ASSERT_REFUSED(inbound(table, API, "192.0.2.2", "192.0.2.7", 9000), "cannot go on to 192.0.2.7");
    ASSERT_REFUSED(inbound(table, API, "192.0.2.2", "192.0.2.1", 15008), "Twofold's own");
    ASSERT_REFUSED(inbound(table, API, "192.0.2.2", "192.0.2.1", 9001),
                   "the nearest rule, api-calls-web, allows tcp/9000");
    ASSERT_REFUSED(inbound(table, API, "192.0.2.2", "192.0.2.1", 80),
                   "no rule lets api reach web"); // the other direction's
    table_free(table);
}

Test(table, a_tunnel_needs_a_usable_rule)
{
    struct table *table = table_of(web_slice);
    struct verdict verdict;
    struct table_caller api = {.identity = API, .remote = ip_of("192.0.2.2"), .local = ip_of("192.0.2.1")};
    struct table_caller db = {.identity = "spiffe://example.org/ns/default/sa/db", .remote = ip_of("192.0.2.3")};
    table_tunnel(table, &api, TWOFOLD__V1__DIRECTION__DIRECTION_IN, &verdict);
    cr_assert(verdict.allowed);
    cr_assert_str_empty(verdict.reason);
    table_tunnel(table, &db, TWOFOLD__V1__DIRECTION__DIRECTION_IN, &verdict);
    ASSERT_REFUSED(verdict, "no rule with db uses the HTTPS layer");
    table_free(table);
}

Test(table, a_tunnel_for_both_layers_waits_for_the_sa_pair)
{
    struct table *table = table_of("slice web generation 7 trust-domain example.org rekey 3600 independence reported\n"
                                   "peer api slot 2 addresses 192.0.2.2 workloads " API "\n"
                                   "rule both out ports tcp/8443 layers ipsec https peers api\n");
    struct verdict verdict;
    struct table_caller api = {.identity = API, .remote = ip_of("192.0.2.2"), .local = ip_of("192.0.2.1")};
    table_tunnel(table, &api, TWOFOLD__V1__DIRECTION__DIRECTION_OUT, &verdict);
    ASSERT_REFUSED(verdict, "no SA pair");
    report(table, "api", "192.0.2.2");
    table_tunnel(table, &api, TWOFOLD__V1__DIRECTION__DIRECTION_OUT, &verdict);
    cr_assert(verdict.allowed, "%s", verdict.reason);
    table_free(table);
}

Test(table, knows_the_revoked)
{
    struct table *table = table_of(web_slice);
    cr_assert(table_is_revoked(table, "intruder"));
    cr_assert_not(table_is_revoked(table, "api"));
    table_free(table);
}

Test(table, refuses_a_slice_that_fails_its_check)
{
    struct note note = {0};
    struct table *table = NULL;
    Twofold__V1__Slice *slice =
        slice_from_text("slice web generation 7 trust-domain example.org rekey 3600 independence reported\n"
                        "rule x out ports tcp/1 layers https peers nobody\n");
    cr_assert_neq(table_new(slice, 15001, 15008, &table, &note), ERR_OK);
    cr_assert_neq(note.text[0], '\0');
    cr_assert_null(table);
    message_free(slice);
}
