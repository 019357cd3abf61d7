// SPDX-License-Identifier: GPL-2.0-or-later
// Sessions, push, relay and rollout against agents in memory.
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controller/rollout.h"
#include "proto/base/log.h"
#include "proto/wire/message.h"
#include "tests/unit/controller_agent.h"
#include "tests/unit/controller_fixture.h"

#define WEB_TO_API                   \
    "version: 1\n"                   \
    "segments:\n"                    \
    "  web: {labels: {role: web}}\n" \
    "  api: {labels: {role: api}}\n" \
    "  db: {labels: {role: db}}\n"   \
    "rules:\n"                       \
    "  - {name: web-to-api, from: web, to: api, ports: [tcp/80]}\n"
#define API_TO_DB_HTTPS "  - {name: api-to-db, from: api, to: db, ports: [tcp/81], layers: [https]}\n"

static struct fleet *fleet;
static bool has_work;
static struct fake_agent web, api, db;

static void on_work(void *context)
{
    *(bool *)context = true;
}

static struct policy *read_policy(const char *text)
{
    struct notes *notes = calloc(1, sizeof(*notes));
    struct policy *policy = NULL;
    cr_assert_eq(policy_read(text, strlen(text), &policy, notes), ERR_OK, "%s", notes->items[0].text);
    free(notes);
    return policy;
}

static void work(void)
{
    while (has_work) {
        has_work = false;
        while (fleet_work(fleet))
            ;
    }
}

static void set_up(void)
{
    struct hosts *hosts = NULL;
    const struct host_record records[] = {fixture_host("web", 1, "192.0.2.1"), fixture_host("api", 2, "192.0.2.2"),
                                          fixture_host("db", 3, "192.0.2.3")};
    log_set_level(LOG_LEVEL_ERROR);
    cr_assert_eq(hosts_new("example.org", &hosts), ERR_OK);
    for (int i = 0; i < 3; i++)
        cr_assert_eq(hosts_put(hosts, &records[i]), ERR_OK);
    cr_assert_eq(
        fleet_new(&fixture_clock, hosts, read_policy(WEB_TO_API API_TO_DB_HTTPS), 10, on_work, &has_work, &fleet),
        ERR_OK);
}

static void tear_down(void)
{
    fake_agent_free(&web);
    fake_agent_free(&api);
    fake_agent_free(&db);
    fleet_free(fleet);
}

TestSuite(session, .init = set_up, .fini = tear_down);

static void bring_up(struct fake_agent *agent, const char *host)
{
    fake_agent_connect(agent, fleet, host);
    fake_agent_hello(agent);
    work();
    if (agent->pending != NULL)
        fake_agent_ack(agent);
    work();
    cr_assert_not(agent->ended, "%s", agent->text);
}

static void change_policy(const char *text)
{
    fleet_set_policy(fleet, read_policy(text), fleet->generation + 1);
    work();
}

static const struct agent *known(const char *host)
{
    return fleet_find(fleet, host);
}

// ---- slices

Test(session, a_new_agent_gets_its_whole_slice)
{
    fake_agent_connect(&web, fleet, "web");
    work();
    cr_expect_eq(web.deltas, 0); // not before its Hello
    fake_agent_hello(&web);
    work();
    cr_expect_eq(web.deltas, 1);
    cr_expect_eq(web.last_from_bytes, 0);
    cr_expect_eq(web.publishes, 1);
    fake_agent_ack(&web);
    cr_expect_eq(known("web")->generation, 10);
    cr_expect(agent_is_current(known("web")));
    cr_expect_str_eq(web.slice->settings->host, "web");
    cr_expect_eq(web.slice->n_peers, 1);
    cr_expect_str_eq(web.slice->peers[0]->host, "api");
}

Test(session, a_change_is_sent_as_a_difference)
{
    bring_up(&web, "web");
    change_policy(WEB_TO_API);
    cr_expect_eq(web.deltas, 2);
    cr_expect_eq(web.last_from_bytes, DIGEST_BYTES);
    cr_expect_eq(web.pending->n_peers, 0); // nothing but the generation changed for it
    fake_agent_ack(&web);
    cr_expect_eq(known("web")->generation, 11);
}

Test(session, one_difference_is_in_flight_and_the_newest_wins)
{
    bring_up(&web, "web");
    for (int i = 0; i < 5; i++)
        change_policy(WEB_TO_API);
    cr_expect_eq(web.deltas, 2);
    fake_agent_ack(&web);
    work();
    cr_expect_eq(web.deltas, 3);
    fake_agent_ack(&web);
    work();
    cr_expect_eq(web.deltas, 3);
    cr_expect_eq(known("web")->generation, 15);
}

Test(session, a_reconnect_costs_only_the_difference)
{
    bring_up(&web, "web");
    fake_agent_disconnect(&web);
    cr_expect_str_eq(known("web")->problem, "it is not connected");
    bring_up(&web, "web");
    cr_expect_eq(web.deltas, 1); // it has the present slice
    cr_expect(agent_is_current(known("web")));
    cr_expect_str_eq(known("web")->problem, "");
    fake_agent_disconnect(&web);
    change_policy(WEB_TO_API);
    bring_up(&web, "web");
    cr_expect_eq(web.last_from_bytes, DIGEST_BYTES);
    cr_expect_eq(known("web")->generation, 11);
}

Test(session, a_restarted_controller_asks_for_nothing_again)
{
    bring_up(&web, "web");
    fake_agent_disconnect(&web);
    fleet_free(fleet);
    set_up();
    bring_up(&web, "web");
    cr_expect_eq(web.deltas, 1);
    cr_expect(agent_is_current(known("web")));
    cr_expect_eq(web.publishes, 2);
}

Test(session, an_unknown_slice_is_replaced_whole)
{
    bring_up(&web, "web");
    fake_agent_disconnect(&web);
    web.digest[0] ^= 1;
    fake_agent_connect(&web, fleet, "web");
    fake_agent_hello(&web);
    work();
    cr_expect_eq(web.last_from_bytes, 0);
}

Test(session, a_nack_is_kept_and_tried_again)
{
    bring_up(&web, "web");
    change_policy(WEB_TO_API);
    fake_agent_nack(&web, "nftables: no space left");
    work();
    cr_expect_eq(web.deltas, 2);
    cr_expect_eq(known("web")->generation, 10);
    cr_expect_not(agent_is_current(known("web")));
    cr_expect(strstr(known("web")->problem, "refused generation 11: nftables: no space left") != NULL, "%s",
              known("web")->problem);
    fixture_advance(FLEET_RETRY_MS - 1);
    fleet_tick(fleet);
    work();
    cr_expect_eq(web.deltas, 2);
    fixture_advance(1);
    fleet_tick(fleet);
    work();
    cr_expect_eq(web.deltas, 3);
    fake_agent_ack(&web);
    cr_expect_str_eq(known("web")->problem, "");
    cr_expect_eq(known("web")->generation, 11);
}

Test(session, a_new_change_does_not_wait_for_the_retry)
{
    bring_up(&web, "web");
    change_policy(WEB_TO_API);
    fake_agent_nack(&web, "no");
    work();
    change_policy(WEB_TO_API API_TO_DB_HTTPS);
    cr_expect_eq(web.deltas, 3);
    fake_agent_ack(&web);
    cr_expect_eq(known("web")->generation, 12);
}

Test(session, another_digest_than_sent_gets_the_whole_slice_once)
{
    bring_up(&web, "web");
    change_policy(WEB_TO_API);
    for (int i = 0; i < 2; i++) {
        Twofold__V1__SliceResult result = TWOFOLD__V1__SLICE_RESULT__INIT;
        Twofold__V1__AgentMessage message = TWOFOLD__V1__AGENT_MESSAGE__INIT;
        uint8_t digest[DIGEST_BYTES] = {5};
        result.nonce = web.pending->nonce;
        result.applied = true;
        result.digest = (ProtobufCBinaryData){DIGEST_BYTES, digest};
        message.body_case = TWOFOLD__V1__AGENT_MESSAGE__BODY_RESULT;
        message.result = &result;
        message_free(web.pending);
        web.pending = NULL;
        fake_agent_send(&web, &message);
        work();
        cr_expect_eq(web.deltas, 3);
        cr_expect_eq(web.last_from_bytes, 0);
    }
    cr_expect_not(agent_is_current(known("web")));
    cr_expect(strstr(known("web")->problem, "another digest") != NULL, "%s", known("web")->problem);
    change_policy(WEB_TO_API API_TO_DB_HTTPS); // the next change is another chance
    fake_agent_ack(&web);
    cr_expect(agent_is_current(known("web")));
}

Test(session, an_agent_that_does_not_answer_is_cut)
{
    bring_up(&web, "web");
    change_policy(WEB_TO_API);
    fixture_advance(FLEET_ANSWER_MS);
    fleet_tick(fleet);
    cr_expect(web.cut);
    cr_expect_null(known("web")->session);
}

Test(session, an_older_controller_says_what_to_do)
{
    bring_up(&web, "web");
    fake_agent_disconnect(&web);
    fleet->generation = 7;
    hosts_set_generation(fleet->hosts, 7);
    policy_view_free(fleet->view);
    fleet->view = NULL;
    fake_agent_connect(&web, fleet, "web");
    fake_agent_hello(&web);
    work();
    fake_agent_nack(&web, "it is older");
    cr_expect(strstr(known("web")->problem, "--generation-above 10") != NULL, "%s", known("web")->problem);
}

// ---- who is who

Test(session, a_new_session_replaces_the_old_one)
{
    bring_up(&web, "web");
    struct fake_agent second = {0};
    fake_agent_connect(&second, fleet, "web");
    cr_expect(web.ended);
    cr_expect_eq(web.status, GRPC_ABORTED);
    fake_agent_hello(&second);
    work();
    cr_expect_eq(second.deltas, 1);
    fake_agent_disconnect(&web); // the old one's end does not touch the new one
    cr_expect_not_null(known("web")->session);
    fake_agent_free(&second);
}

Test(session, a_host_that_is_not_in_the_inventory_is_cut)
{
    struct fake_agent ghost = {0};
    fake_agent_connect(&ghost, fleet, "ghost");
    fake_agent_hello(&ghost);
    work();
    cr_expect(ghost.cut);
    fake_agent_free(&ghost);
}

Test(session, revocation_cuts_and_pushes)
{
    bring_up(&web, "web");
    bring_up(&api, "api");
    fake_agent_bundle(&web, "web", 1);
    struct host_record revoked = fixture_host("web", 1, "192.0.2.1");
    revoked.revoked = true;
    cr_assert_eq(fleet_put_host(fleet, &revoked, 11), ERR_OK);
    cr_expect(web.cut);
    cr_expect_null(known("web")->bundle);
    work();
    fake_agent_ack(&api);
    cr_expect_eq(api.slice->n_revoked, 1);
    cr_expect_str_eq(api.slice->revoked[0], "web");
    for (size_t i = 0; i < api.slice->n_peers; i++)
        cr_expect_str_neq(api.slice->peers[i]->host, "web");
    fake_agent_disconnect(&web);
}

Test(session, a_host_that_keeps_coming_back_is_slowed_down)
{
    struct session *session = NULL;
    static const struct session_port none;
    for (int i = 0; i < 16; i++) {
        fake_agent_connect(&web, fleet, "web");
        fake_agent_disconnect(&web);
    }
    cr_expect_eq(session_open(fleet, "web", &none, NULL, &session), ERR_LIMIT);
    bring_up(&api, "api"); // others are not
    fixture_advance(1000);
    bring_up(&web, "web");
}

// ---- bundles and pairs

Test(session, bundles_go_to_ipsec_peers_only)
{
    bring_up(&web, "web");
    bring_up(&api, "api");
    bring_up(&db, "db");
    fake_agent_bundle(&api, "api", 1);
    cr_expect_eq(web.bundles, 1);
    cr_expect_str_eq(web.last_bundle_from, "api"); // not the hint
    cr_expect_eq(db.bundles, 0);                   // https only
    cr_expect_eq(api.bundles, 0);
}

Test(session, a_new_peer_gets_what_was_published_before)
{
    bring_up(&api, "api");
    fake_agent_bundle(&api, "api", 1);
    bring_up(&web, "web");
    cr_expect_eq(web.bundles, 1);
    fake_agent_disconnect(&web);
    bring_up(&web, "web"); // and again after a reconnect
    cr_expect_eq(web.bundles, 2);
    bring_up(&db, "db");
    cr_expect_eq(db.bundles, 0);
    change_policy(WEB_TO_API "  - {name: api-to-db, from: api, to: db, ports: [tcp/81]}\n");
    cr_expect_eq(db.bundles, 0); // not before it has the peer in force
    fake_agent_ack(&db);
    cr_expect_eq(db.bundles, 1);
}

Test(session, a_bundle_of_another_host_ends_the_session)
{
    bring_up(&web, "web");
    bring_up(&api, "api");
    fake_agent_bundle(&web, "api", 1);
    cr_expect(web.ended);
    cr_expect_eq(web.status, GRPC_INVALID_ARGUMENT);
    cr_expect_null(known("web")->bundle);
    cr_expect_eq(api.bundles, 0);
}

Test(session, bundles_are_limited)
{
    bring_up(&web, "web");
    bring_up(&api, "api");
    for (int i = 0; i < 100; i++)
        fake_agent_bundle(&api, "api", (uint64_t)i + 1);
    cr_expect_eq(web.bundles, 16);
    cr_expect_not(api.ended);
}

Test(session, pair_messages_go_between_peers_under_the_senders_name)
{
    bring_up(&web, "web");
    bring_up(&api, "api");
    bring_up(&db, "db");
    fake_agent_pair(&web, "api");
    cr_expect_eq(api.pairs, 1);
    cr_expect_str_eq(api.last_pair_from, "web");
    fake_agent_pair(&web, "db");
    fake_agent_pair(&web, "nobody");
    cr_expect_eq(db.pairs, 0);
    cr_expect_not(web.ended);
    fake_agent_disconnect(&api);
    fake_agent_pair(&web, "api");
    cr_expect_not(web.ended);
    fake_agent_pair(&web, "Not A Name");
    cr_expect(web.ended);
}

// ---- bad input

static void send_bytes(const void *bytes, size_t len)
{
    session_on_message(web.session, bytes, len);
}

Test(session, rubbish_ends_the_session)
{
    fake_agent_connect(&web, fleet, "web");
    send_bytes("\xff\xff\xff\xff", 4);
    cr_expect(web.ended);
    cr_expect_eq(web.status, GRPC_INVALID_ARGUMENT);
    send_bytes("\xff\xff\xff\xff", 4); // and nothing more happens
}

Test(session, an_empty_or_unknown_message_ends_the_session)
{
    fake_agent_connect(&web, fleet, "web");
    send_bytes("", 0);
    cr_expect(web.ended);
    fake_agent_disconnect(&web);
    fake_agent_connect(&web, fleet, "web");
    send_bytes("\xf2\x01\x00", 3); // field 30
    cr_expect(web.ended);
}

Test(session, hello_comes_first_and_once)
{
    fake_agent_connect(&web, fleet, "web");
    fake_agent_pair(&web, "api");
    cr_expect(web.ended);
    fake_agent_disconnect(&web);
    bring_up(&web, "web");
    fake_agent_hello(&web);
    cr_expect(web.ended);
}

Test(session, hello_must_come_in_time)
{
    fake_agent_connect(&web, fleet, "web");
    fixture_advance(SESSION_HELLO_MS);
    fleet_tick(fleet);
    cr_expect(web.ended);
    cr_expect_eq(web.status, GRPC_DEADLINE_EXCEEDED);
}

Test(session, an_answer_to_nothing_ends_the_session)
{
    bring_up(&web, "web");
    Twofold__V1__SliceResult result = TWOFOLD__V1__SLICE_RESULT__INIT;
    Twofold__V1__AgentMessage message = TWOFOLD__V1__AGENT_MESSAGE__INIT;
    result.nonce = 1;
    message.body_case = TWOFOLD__V1__AGENT_MESSAGE__BODY_RESULT;
    message.result = &result;
    fake_agent_send(&web, &message);
    cr_expect(web.ended);
}

Test(session, a_digest_of_another_length_ends_the_session)
{
    bring_up(&web, "web");
    change_policy(WEB_TO_API);
    Twofold__V1__SliceResult result = TWOFOLD__V1__SLICE_RESULT__INIT;
    Twofold__V1__AgentMessage message = TWOFOLD__V1__AGENT_MESSAGE__INIT;
    result.nonce = web.pending->nonce;
    result.applied = true;
    result.digest = (ProtobufCBinaryData){3, (uint8_t *)"abc"};
    message.body_case = TWOFOLD__V1__AGENT_MESSAGE__BODY_RESULT;
    message.result = &result;
    fake_agent_send(&web, &message);
    cr_expect(web.ended);
}

Test(session, oversized_messages_end_the_session)
{
    static uint8_t bytes[SESSION_STATUS_BYTES_MAX + 1];
    fake_agent_connect(&web, fleet, "web");
    send_bytes(bytes, sizeof(bytes));
    cr_expect_eq(web.status, GRPC_RESOURCE_EXHAUSTED);
    fake_agent_disconnect(&web);
    bring_up(&web, "web");
    uint8_t *body = calloc(1, SESSION_MESSAGE_BYTES_MAX);
    Twofold__V1__PairMessage pair = TWOFOLD__V1__PAIR_MESSAGE__INIT;
    Twofold__V1__AgentMessage message = TWOFOLD__V1__AGENT_MESSAGE__INIT;
    pair.to = (char *)"api";
    pair.body = (ProtobufCBinaryData){SESSION_MESSAGE_BYTES_MAX, body};
    message.body_case = TWOFOLD__V1__AGENT_MESSAGE__BODY_PAIR;
    message.pair = &pair;
    fake_agent_send(&web, &message);
    cr_expect(web.ended);
    free(body);
}

Test(session, a_slow_reader_is_cut)
{
    bring_up(&web, "web");
    bring_up(&api, "api");
    web.jammed = true;
    fake_agent_bundle(&api, "api", 1);
    cr_expect(web.cut);
    cr_expect_not(api.ended);
    fake_agent_disconnect(&web);
    bring_up(&web, "web");
    web.jammed = true;
    change_policy(WEB_TO_API);
    cr_expect(web.cut);
}

static void send_status(const char *warning)
{
    Twofold__V1__AgentStatus status = TWOFOLD__V1__AGENT_STATUS__INIT;
    Twofold__V1__AgentMessage message = TWOFOLD__V1__AGENT_MESSAGE__INIT;
    char *warnings[] = {(char *)warning};
    status.warnings = warnings;
    status.n_warnings = 1;
    message.body_case = TWOFOLD__V1__AGENT_MESSAGE__BODY_STATUS;
    message.status = &status;
    fake_agent_send(&web, &message);
}

Test(session, the_last_status_is_kept)
{
    bring_up(&web, "web");
    send_status("one");
    send_status("two");
    cr_expect_str_eq(known("web")->status->status->warnings[0], "two");
    for (int i = 0; i < 1000; i++)
        send_status("many");
    cr_expect_not(web.ended);
}

// ---- waiting

static struct rollout_host results[8];
static size_t result_count;
static uint64_t result_elapsed_ms;
static unsigned done;

static void on_done(void *context, struct rollout *rollout)
{
    (void)context;
    memcpy(results, rollout->hosts, rollout->host_count * sizeof(*results));
    result_count = rollout->host_count;
    result_elapsed_ms = rollout->elapsed_ms;
    done++;
}

static void start_rollout(void)
{
    struct rollout *rollout = NULL;
    done = 0;
    cr_assert_eq(rollout_start(fleet, fleet->generation, fixture_time.boot_ms, 5000, on_done, NULL, &rollout), ERR_OK);
}

Test(session, a_rollout_ends_with_the_last_answer)
{
    bring_up(&web, "web");
    bring_up(&api, "api");
    fleet_set_policy(fleet, read_policy(WEB_TO_API), 11);
    start_rollout();
    work();
    fixture_advance(30);
    fake_agent_ack(&web);
    work();
    cr_expect_eq(done, 0);
    fixture_advance(20);
    fake_agent_nack(&api, "no room");
    work();
    cr_expect_eq(done, 1);
    cr_expect_eq(result_elapsed_ms, 50);
    cr_expect_eq(result_count, 2);
    cr_expect_str_eq(results[0].host, "api");
    cr_expect(results[0].answered && !results[0].applied);
    cr_expect(strstr(results[0].reason, "no room") != NULL);
    cr_expect(results[1].answered && results[1].applied);
    cr_expect_eq(results[1].elapsed_ms, 30);
}

Test(session, a_rollout_does_not_take_an_old_nack_for_an_answer)
{
    bring_up(&web, "web");
    change_policy(WEB_TO_API);
    fake_agent_nack(&web, "no");
    work();
    fleet_set_policy(fleet, read_policy(WEB_TO_API), 12);
    start_rollout();
    work();
    cr_expect_eq(done, 0);
    fake_agent_ack(&web);
    work();
    cr_expect_eq(done, 1);
    cr_expect(results[0].applied);
}

Test(session, a_rollout_ends_in_time_and_without_the_gone)
{
    bring_up(&web, "web");
    bring_up(&api, "api");
    fleet_set_policy(fleet, read_policy(WEB_TO_API), 11);
    start_rollout();
    work();
    fake_agent_disconnect(&web);
    work();
    cr_expect_eq(done, 0);
    fixture_advance(5000);
    fleet_tick(fleet);
    cr_expect_eq(done, 1);
    cr_expect_not(results[0].answered);
    cr_expect_not(results[1].answered);
    cr_expect(strstr(results[1].reason, "ended") != NULL);
}

Test(session, a_rollout_without_agents_ends_at_once)
{
    start_rollout();
    work();
    cr_expect_eq(done, 1);
    cr_expect_eq(result_count, 0);
}

Test(session, rollouts_are_bounded_and_can_be_cancelled)
{
    struct rollout *rollouts[ROLLOUTS_MAX], *more = NULL;
    for (size_t i = 0; i < ROLLOUTS_MAX; i++)
        cr_assert_eq(rollout_start(fleet, 11, 0, 5000, on_done, NULL, &rollouts[i]), ERR_OK);
    cr_expect_eq(rollout_start(fleet, 11, 0, 5000, on_done, NULL, &more), ERR_LIMIT);
    for (size_t i = 0; i < ROLLOUTS_MAX; i++)
        rollout_cancel(fleet, rollouts[i]);
    work();
    cr_expect_eq(done, 0);
}
