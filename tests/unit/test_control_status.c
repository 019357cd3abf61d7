// SPDX-License-Identifier: GPL-2.0-or-later
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/control/early.h"
#include "agent/control/flow_list.h"
#include "agent/control/independence.h"
#include "agent/control/inquiry.h"
#include "agent/control/status.h"
#include "proto/wire/message.h"
#include "tests/unit/slice_fixture.h"

// ---- the reports

static Twofold__V1__PeerState api_ipsec = TWOFOLD__V1__PEER_STATE__INIT, db_ipsec = TWOFOLD__V1__PEER_STATE__INIT,
                              api_https = TWOFOLD__V1__PEER_STATE__INIT, cache_https = TWOFOLD__V1__PEER_STATE__INIT;
static Twofold__V1__PeerState *network_peers[] = {&db_ipsec, &api_ipsec}, *https_peers[] = {&cache_https, &api_https};
static Twofold__V1__RoleStatus network = TWOFOLD__V1__ROLE_STATUS__INIT, https = TWOFOLD__V1__ROLE_STATUS__INIT;
static struct notes warnings;
static struct status *status;
static struct status_facts facts;

static void start(void)
{
    api_ipsec.host = api_https.host = (char *)"api";
    api_ipsec.ipsec_up = true;
    api_ipsec.suite = (char *)"ecp384-aes256gcm16";
    api_ipsec.local_epoch = 5;
    api_ipsec.age_seconds = 12;
    api_https.tunnels = 2;
    api_https.https_suite = (char *)"TLS_AES_256_GCM_SHA384";
    db_ipsec.host = (char *)"db";
    db_ipsec.problem = (char *)"no bundle";
    cache_https.host = (char *)"cache";
    network.role = (char *)"network";
    network.n_peers = 2;
    network.peers = network_peers;
    network.dataplane = (char *)"kernel";
    network.cipher_code = (char *)"Linux kernel";
    network.key_sha384 = (char *)"aa";
    network.ca_sha384 = (char *)"bb";
    network.uid = 991;
    network.pid = 10;
    https.role = (char *)"https";
    https.n_peers = 2;
    https.peers = https_peers;
    https.cipher_code = (char *)"wolfSSL 5.7.2";
    https.key_sha384 = (char *)"cc";
    https.ca_sha384 = (char *)"dd";
    https.uid = 992;
    https.pid = 11;
    facts = (struct status_facts){
        .host = "web",
        .trust_domain = "example.org",
        .generation = 7,
        .digest = (const uint8_t *)"012345678901234567890123456789012345678901234567",
        .controller = "192.0.2.10:7443",
        .connected = true,
        .connection_problem = "",
        .warnings = &warnings,
    };
    cr_assert_eq(status_new(&status), ERR_OK);
    cr_assert_eq(status_set(status, ROLE_NETWORK, &network), ERR_OK);
    cr_assert_eq(status_set(status, ROLE_HTTPS, &https), ERR_OK);
}

static void finish(void)
{
    status_free(status);
}

TestSuite(control_status, .init = start, .fini = finish);

static Twofold__V1__LocalResponse *decode(uint8_t *bytes, size_t len)
{
    ProtobufCMessage *message;

    cr_assert_eq(message_decode(&twofold__v1__local_response__descriptor, bytes, len, &message), ERR_OK);
    free(bytes);
    return (Twofold__V1__LocalResponse *)message;
}

Test(control_status, peers_of_both_roles_are_merged)
{
    uint8_t *bytes;
    size_t len;

    cr_assert_eq(status_local(status, &facts, &bytes, &len), ERR_OK);
    Twofold__V1__LocalResponse *response = decode(bytes, len);
    Twofold__V1__LocalStatus *local = response->status;
    cr_assert_eq(local->n_peers, 3);
    cr_expect_str_eq(local->peers[0]->host, "api");
    cr_expect(local->peers[0]->ipsec_up);
    cr_expect_eq(local->peers[0]->tunnels, 2);
    cr_expect_eq(local->peers[0]->local_epoch, 5);
    cr_expect_str_eq(local->peers[0]->https_suite, "TLS_AES_256_GCM_SHA384");
    cr_expect_str_eq(local->peers[1]->host, "cache");
    cr_expect_str_eq(local->peers[2]->host, "db");
    cr_expect_str_eq(local->peers[2]->problem, "no bundle");
    cr_expect_eq(local->n_roles, 2);
    cr_expect_eq(local->generation, 7);
    cr_expect_eq(local->digest.len, 48);
    cr_expect_eq(local->n_warnings, 0);
    message_free(response);
}

Test(control_status, warnings_of_all)
{
    static char *own[] = {(char *)"esp is missing"};
    uint8_t *bytes;
    size_t len;

    network.n_warnings = 1;
    network.warnings = own;
    https.ca_sha384 = (char *)"bb";
    notes_add(&warnings, 0, 0, "no slice");
    cr_assert_eq(status_set(status, ROLE_NETWORK, &network), ERR_OK);
    cr_assert_eq(status_set(status, ROLE_HTTPS, &https), ERR_OK);
    cr_assert_eq(status_local(status, &facts, &bytes, &len), ERR_OK);
    Twofold__V1__LocalResponse *response = decode(bytes, len);
    cr_assert_eq(response->status->n_warnings, 3);
    cr_expect_str_eq(response->status->warnings[0], "no slice");
    cr_expect_str_eq(response->status->warnings[1], "esp is missing");
    cr_expect(strstr(response->status->warnings[2], "same CA"));
    message_free(response);
}

Test(control_status, ages_are_no_change)
{
    uint8_t before[48], after[48];

    cr_assert_eq(status_agent_digest(status, &facts, before), ERR_OK);
    api_ipsec.age_seconds = 99;
    cr_assert_eq(status_set(status, ROLE_NETWORK, &network), ERR_OK);
    cr_assert_eq(status_agent_digest(status, &facts, after), ERR_OK);
    cr_expect_arr_eq(before, after, 48);
    api_ipsec.ipsec_up = false;
    cr_assert_eq(status_set(status, ROLE_NETWORK, &network), ERR_OK);
    cr_assert_eq(status_agent_digest(status, &facts, after), ERR_OK);
    cr_expect_arr_neq(before, after, 48);
}

Test(control_status, nothing_known_yet)
{
    struct status *empty;
    uint8_t *bytes;
    size_t len;

    cr_assert_eq(status_new(&empty), ERR_OK);
    facts.digest = NULL;
    cr_assert_eq(status_local(empty, &facts, &bytes, &len), ERR_OK);
    Twofold__V1__LocalResponse *response = decode(bytes, len);
    cr_expect_eq(response->status->n_peers, 0);
    cr_expect_eq(response->status->n_warnings, 1);
    message_free(response);
    status_free(empty);
}

// ---- independence

Test(control_status, independent)
{
    struct notes notes = {0};

    cr_expect(independence_check(&network, &https, &notes));
    cr_expect_eq(notes.count, 0);
    cr_expect_not(independence_check(NULL, &https, &notes));
    cr_expect_not(independence_check(&network, NULL, &notes));
    cr_expect_eq(notes.count, 2);
}

Test(control_status, each_thing_that_layers_must_not_share)
{
    struct notes notes;

#define SHARED(field, word)                                                      \
    do {                                                                         \
        Twofold__V1__RoleStatus one = network;                                   \
        one.field = https.field;                                                 \
        notes = (struct notes){0};                                               \
        cr_expect_not(independence_check(&one, &https, &notes));                 \
        cr_assert_eq(notes.count, 1);                                            \
        cr_expect(strstr(notes.items[0].text, word), "%s", notes.items[0].text); \
    } while (0)
    SHARED(cipher_code, "cipher code");
    SHARED(key_sha384, "private key");
    SHARED(ca_sha384, "same CA");
    SHARED(uid, "uid");
    SHARED(pid, "process");
    network.cipher_code = (char *)"wolfSSL 9";
    notes = (struct notes){0};
    cr_expect_not(independence_check(&network, &https, &notes), "another version is the same code");
}

// ---- flows

static Twofold__V1__Flow flow(uint64_t id, uint64_t started, uint64_t ended)
{
    Twofold__V1__Flow flow = TWOFOLD__V1__FLOW__INIT;

    flow.id = id;
    flow.started_ms = started;
    flow.ended_ms = ended;
    return flow;
}

Test(control_status, flows_are_one_list_by_time)
{
    Twofold__V1__Flow items[] = {flow(1, 300, 0), flow(2, 100, 150), flow(3, 200, 250), flow(4, 50, 0)};
    Twofold__V1__Flow *of_network[] = {&items[1]}, *of_https[] = {&items[0], &items[2], &items[3]};
    Twofold__V1__Flows a = TWOFOLD__V1__FLOWS__INIT, b = TWOFOLD__V1__FLOWS__INIT;
    uint8_t *bytes;
    size_t len;

    a.n_flows = 1;
    a.flows = of_network;
    b.n_flows = 3;
    b.flows = of_https;
    cr_assert_eq(flow_list_merge(&a, &b, 0, &bytes, &len), ERR_OK);
    Twofold__V1__LocalResponse *response = decode(bytes, len);
    cr_assert_eq(response->flows->n_flows, 4);
    cr_expect_eq(response->flows->flows[0]->id, 4);
    cr_expect_eq(response->flows->flows[1]->id, 2);
    cr_expect_eq(response->flows->flows[2]->id, 3);
    cr_expect_eq(response->flows->flows[3]->id, 1);
    message_free(response);
    // A limit drops ended ones first, the oldest of them first.
    cr_assert_eq(flow_list_merge(&a, &b, 3, &bytes, &len), ERR_OK);
    response = decode(bytes, len);
    cr_assert_eq(response->flows->n_flows, 3);
    cr_expect_eq(response->flows->flows[0]->id, 4);
    cr_expect_eq(response->flows->flows[1]->id, 3);
    message_free(response);
    // A role that did not answer.
    cr_assert_eq(flow_list_merge(NULL, NULL, 3, &bytes, &len), ERR_OK);
    response = decode(bytes, len);
    cr_expect_eq(response->body_case, TWOFOLD__V1__LOCAL_RESPONSE__BODY_FLOWS);
    message_free(response);
}

// ---- bundles that come before their slice

static char handed[256];

static void hand_on(void *context, const Twofold__V1__Bundle *bundle)
{
    (void)context;
    strcat(handed, bundle->host);
    strncat(handed, (char *)bundle->blob.data, bundle->blob.len);
    strcat(handed, " ");
}

static void keep(struct early *early, const char *host, const char *blob)
{
    Twofold__V1__Bundle bundle = TWOFOLD__V1__BUNDLE__INIT;

    bundle.host = (char *)host;
    bundle.blob = (ProtobufCBinaryData){strlen(blob), (uint8_t *)blob};
    cr_expect_eq(early_keep(early, &bundle), ERR_OK);
}

Test(control_status, early_bundles_wait_for_their_slice)
{
    Twofold__V1__Slice *slice = fixture_slice();
    Twofold__V1__Bundle bad = TWOFOLD__V1__BUNDLE__INIT;
    struct early *early;

    cr_assert_eq(early_new(&early), ERR_OK);
    keep(early, "api", "1");
    keep(early, "stranger", "1");
    keep(early, "db", "1");
    keep(early, "api", "2");
    bad.host = (char *)"not a name";
    cr_expect_eq(early_keep(early, &bad), ERR_MALFORMED);
    early_release(early, slice, hand_on, NULL);
    cr_expect_str_eq(handed, "db1 api2 ");
    cr_expect_eq(early_count(early), 1);
    for (int i = 0; i < EARLY_KEPT_MAX + 10; i++) {
        char host[32];
        snprintf(host, sizeof(host), "h%d", i);
        keep(early, host, "x");
    }
    cr_expect_eq(early_count(early), EARLY_KEPT_MAX);
    early_free(early);
    message_free(slice);
}

// ---- questions to the roles

static uint64_t now_ms;
static unsigned sent;
static enum err send_result;

static uint64_t read_clock(void *context)
{
    (void)context;
    return now_ms;
}

static const struct clock fake_clock = {.boot_ms = read_clock, .unix_ms = read_clock};

static enum err send_question(void *context, enum role role)
{
    (void)context;
    cr_expect_neq(role, ROLE_CONTROL);
    sent++;
    return send_result;
}

struct asker {
    struct inquiry_waiter waiter;
    unsigned answers;
    bool had_network, had_https;
};

static void on_answer(struct inquiry_waiter *waiter, const struct inquiry_answers *answers)
{
    struct asker *asker = (struct asker *)waiter;

    asker->answers++;
    asker->had_network = answers->of[ROLE_NETWORK];
    asker->had_https = answers->of[ROLE_HTTPS];
}

Test(control_status, inquiry_is_shared_and_bounded_in_time)
{
    Twofold__V1__RoleMessage message = TWOFOLD__V1__ROLE_MESSAGE__INIT;
    struct asker one = {.waiter.on_answer = on_answer}, two = one, three = one;
    struct inquiry *inquiry;

    message.body_case = TWOFOLD__V1__ROLE_MESSAGE__BODY_STATUS;
    message.status = &network;
    cr_assert_eq(inquiry_new(&fake_clock, send_question, NULL, &inquiry), ERR_OK);
    inquiry_on_answer(inquiry, ROLE_NETWORK, &message); // nobody asked
    cr_assert_eq(inquiry_ask(inquiry, &one.waiter), ERR_OK);
    cr_assert_eq(inquiry_ask(inquiry, &two.waiter), ERR_OK);
    cr_assert_eq(inquiry_ask(inquiry, &three.waiter), ERR_OK);
    cr_expect_eq(sent, 2, "one question for all three");
    inquiry_withdraw(inquiry, &two.waiter);
    inquiry_on_answer(inquiry, ROLE_NETWORK, &message);
    cr_expect_eq(one.answers, 0);
    inquiry_on_answer(inquiry, ROLE_HTTPS, &message);
    cr_expect(one.answers == 1 && one.had_network && one.had_https);
    cr_expect_eq(two.answers, 0);
    cr_expect_eq(three.answers, 1);
    // The next one: https is silent.
    cr_assert_eq(inquiry_ask(inquiry, &one.waiter), ERR_OK);
    cr_expect_eq(sent, 4);
    inquiry_on_answer(inquiry, ROLE_NETWORK, &message);
    now_ms += INQUIRY_MS;
    inquiry_tick(inquiry);
    cr_expect(one.answers == 2 && one.had_network && !one.had_https);
    cr_expect_eq(inquiry_deadline(inquiry), UINT64_MAX);
    // A role that cannot be asked.
    send_result = ERR_CLOSED;
    cr_expect_eq(inquiry_ask(inquiry, &one.waiter), ERR_CLOSED);
    inquiry_free(inquiry);
}
