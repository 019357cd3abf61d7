// SPDX-License-Identifier: GPL-2.0-or-later
#include <criterion/criterion.h>
#include <string.h>

#include "policy/policy.h"
#include "tests/unit/policy_inventory.h"

#define TCP TWOFOLD__V1__PROTOCOL__PROTOCOL_TCP
#define UDP TWOFOLD__V1__PROTOCOL__PROTOCOL_UDP

static const char text[] = "version: 1\n"
                           "segments:\n"
                           "  web: {labels: {role: web}}\n"
                           "  api: {labels: {role: api}}\n"
                           "  db: {hosts: [db1, db2]}\n"
                           "rules:\n"
                           "  - {name: web-to-api, from: web, to: api, ports: [tcp/8080, tcp/9000-9010]}\n"
                           "  - {name: api-to-db, from: api, to: db, ports: [tcp/5432]}\n"
                           "  - {name: admin, from: api, to: db, ports: [tcp/5000-6000], layers: [ipsec]}\n"
                           "  - {name: time, from: db, to: db, ports: [udp/123], layers: [ipsec]}\n"
                           "failsafe:\n"
                           "  - {name: dns, direction: out, ports: [udp/53]}\n"
                           "  - {name: ssh, direction: in, ports: [tcp/22], cidrs: [203.0.113.0/24]}\n"
                           "  - {name: ntp-in, direction: in, ports: [udp/123]}\n"
                           "  - {name: ntp-out, direction: out, ports: [udp/123]}\n";

static struct explanation explain(const char *source, const char *destination, Twofold__V1__Protocol protocol,
                                  uint16_t port)
{
    struct explanation explanation;
    struct note note = {0};
    struct policy *policy = policy_good(text);
    enum err err = policy_explain(policy, &policy_inventory, source, destination, protocol, port, &explanation, &note);
    cr_assert_eq(err, ERR_OK, "%s", note.text);
    policy_free(policy);
    return explanation;
}

Test(policy_explain, the_rule_that_allows)
{
    struct explanation answer = explain("web1", "api1", TCP, 9005);
    cr_assert(answer.allowed && answer.ipsec && answer.https);
    cr_assert_str_eq(answer.rule, "web-to-api");
    cr_assert_eq(answer.line, 7);
    cr_assert_eq(answer.column, 5);
    cr_assert_str_eq(answer.reason,
                     "Rule 'web-to-api' (line 7) lets web1 open tcp/9005 to api1 inside ipsec and https.");
    answer = explain("192.0.2.12", "2001:db8:0:1::15", TCP, 8080);
    cr_assert(answer.allowed);
    cr_assert_str_eq(answer.rule, "web-to-api");
}

Test(policy_explain, of_two_rules_the_one_with_more_layers)
{
    struct explanation answer = explain("api1", "db1", TCP, 5432);
    cr_assert_str_eq(answer.rule, "api-to-db");
    cr_assert(answer.ipsec && answer.https);
    answer = explain("api1", "db1", TCP, 5433);
    cr_assert_str_eq(answer.rule, "admin");
    cr_assert(answer.ipsec && !answer.https);
}

Test(policy_explain, a_failsafe_that_covers_a_rule)
{
    struct explanation answer = explain("db1", "db2", UDP, 123);
    cr_assert(answer.allowed && answer.ipsec);
    cr_assert_str_eq(answer.rule, "time");
    cr_assert(strstr(answer.reason, "Failsafe 'ntp-out' covers it too, but between these hosts the rule decides."),
              "%s", answer.reason);
}

static void denied(const char *source, const char *destination, Twofold__V1__Protocol protocol, uint16_t port,
                   const char *rule, const char *reason)
{
    struct explanation answer = explain(source, destination, protocol, port);
    cr_assert_not(answer.allowed, "%s", answer.reason);
    cr_assert_not(answer.ipsec || answer.https);
    cr_assert_str_eq(answer.rule, rule, "%s: %s", answer.rule, answer.reason);
    cr_assert_str_eq(answer.reason, reason);
}

Test(policy_explain, the_nearest_miss)
{
    denied("web1", "api1", TCP, 80, "web-to-api",
           "Rule 'web-to-api' (line 7) lets web1 reach api1, but only on tcp/8080, tcp/9000-9010. To allow it, add "
           "tcp/80 to its "
           "'ports'.");
    denied("web1", "api1", UDP, 8080, "web-to-api",
           "Rule 'web-to-api' (line 7) lets web1 reach api1, but only on tcp/8080, tcp/9000-9010. To allow it, add a "
           "rule from 'web' to "
           "'api' with ports [udp/8080] and layers: [ipsec].");
    denied("web1", "db1", TCP, 5432, "admin",
           "Rule 'admin' (line 9) allows tcp/5432 to db1, but only from api, and web1 is not there. To allow it, add "
           "segment 'web' to "
           "its 'from'.");
    denied("lone", "db1", TCP, 5001, "admin",
           "Rule 'admin' (line 9) allows tcp/5001 to db1, but only from api, and lone is not there. To allow it, put "
           "lone, which is in "
           "no segment, into one and that segment into its 'from'.");
    denied("web2", "db1", TCP, 8080, "web-to-api",
           "Rule 'web-to-api' (line 7) allows tcp/8080 from web2, but only to api, and db1 is not there. To allow it, "
           "add segment 'db' "
           "to its 'to'.");
    denied("api1", "web1", TCP, 8080, "web-to-api",
           "Rule 'web-to-api' (line 7) allows tcp/8080 the other way only, from web1 to api1. To allow it, add a rule "
           "from 'api' to "
           "'web' with ports [tcp/8080].");
    denied("web1", "db2", TCP, 1, "",
           "No rule lets web1 open tcp/1 to db2, and what no rule allows is denied. To allow it, add a rule from 'web' "
           "to 'db' with "
           "ports [tcp/1].");
    denied("lone", "cache1", TCP, 1, "",
           "No rule lets lone open tcp/1 to cache1, and what no rule allows is denied. To allow it, put lone, which is "
           "in no segment, "
           "into one, and then add a rule with ports [tcp/1].");
    denied("web1", "web2", TCP, 8080, "web-to-api",
           "Rule 'web-to-api' (line 7) allows tcp/8080 from web1, but only to api, and web2 is not there. To allow it, "
           "add segment 'web' "
           "to its 'to'.");
}

Test(policy_explain, failsafe)
{
    struct explanation answer = explain("web1", "198.51.100.53", UDP, 53);
    cr_assert(answer.allowed && !answer.ipsec && !answer.https);
    cr_assert_str_eq(answer.reason, "Failsafe 'dns' lets udp/53 pass from web1 to 198.51.100.53, outside both layers.");
    answer = explain("203.0.113.77", "web1", TCP, 22);
    cr_assert(answer.allowed);
    cr_assert_str_eq(answer.rule, "ssh");
    answer = explain("web1", "api1", UDP, 123);
    cr_assert(answer.allowed);
    cr_assert_str_eq(answer.rule, "ntp-out");
    denied("192.0.2.99", "web1", TCP, 22, "",
           "192.0.2.99 is none of the hosts, so no rule can name it, and no failsafe lets tcp/22 into web1. To allow "
           "it, enrol that "
           "machine and add a rule, or add a failsafe with direction: in, ports: [tcp/22] and cidrs: [192.0.2.99].");
    denied("lone", "web1", TCP, 22, "ssh",
           "Failsafe 'ssh' lets tcp/22 into web1, but nothing lets it out of lone. To allow it, add a rule, which also "
           "encrypts it.");
    denied("lone", "web1", UDP, 53, "dns",
           "Failsafe 'dns' lets udp/53 out of lone, but nothing lets it into web1. To allow it, add a rule, which also "
           "encrypts it.");
}

Test(policy_explain, hosts_that_speak_with_nobody)
{
    struct explanation answer = explain("web1", "192.0.2.11", TCP, 80);
    cr_assert(answer.allowed);
    cr_assert(strstr(answer.reason, "stays inside one host"));
    denied("old", "db1", TCP, 5432, "",
           "Host old is revoked: nobody speaks with it. To allow it, enrol the machine again under another name.");
    denied("soon", "api1", TCP, 8080, "",
           "Host soon has no address yet: start its agent with its join token, then ask again.");
}

static void unanswered(const char *source, const char *destination, uint16_t port, enum err wanted, const char *words)
{
    struct explanation explanation;
    struct note note = {0};
    struct policy *policy = policy_good(text);
    cr_assert_eq(policy_explain(policy, &policy_inventory, source, destination, TCP, port, &explanation, &note),
                 wanted);
    cr_assert(strstr(note.text, words), "%s", note.text);
    policy_free(policy);
}

Test(policy_explain, questions_without_an_answer)
{
    unanswered("wbe1", "api1", 80, ERR_NOT_FOUND, "'wbe1' is neither a host nor an address. Did you mean 'web1'?");
    unanswered("web1", "\x1b[2J", 80, ERR_NOT_FOUND, "'?[2J' is neither");
    unanswered("198.51.100.1", "198.51.100.2", 80, ERR_NOT_FOUND, "Neither end");
    unanswered("web1", "api1", 0, ERR_INVALID, "1 to 65535");
}
