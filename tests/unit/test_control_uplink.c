// SPDX-License-Identifier: GPL-2.0-or-later
// The session with a controller that speaks real gRPC over real TLS, on one loop.
#include <criterion/criterion.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "agent/control/uplink.h"
#include "proto/wire/message.h"
#include "tests/unit/agent_controller.h"

static uv_loop_t loop;
static struct agent_controller controller;
static struct pki_leaf agent;
static struct uplink *uplink;
static struct grpc_call *stream; // the controller's end
static unsigned opens, losts, messages, hellos, others, sessions, renewals, closed;
static char why[NOTE_TEXT_BYTES], renew_why[NOTE_TEXT_BYTES];
static bool renewed_with_certificates;
static uint64_t hello_generation;
static struct spiffe_id seen_peer;

// What the controller does with the next call.
static enum { ACCEPT, REFUSE, RENEW_REFUSE, RENEW_GARBAGE, RENEW_NOTHING } mood;

// ---- the controller

static void on_call_message(void *owner, struct grpc_call *call, const uint8_t *bytes, size_t len)
{
    ProtobufCMessage *decoded;

    (void)owner;
    (void)call;
    cr_assert_eq(message_decode(&twofold__v1__agent_message__descriptor, bytes, len, &decoded), ERR_OK);
    Twofold__V1__AgentMessage *message = (Twofold__V1__AgentMessage *)decoded;
    if (message->body_case == TWOFOLD__V1__AGENT_MESSAGE__BODY_HELLO) {
        hellos++;
        hello_generation = message->hello->generation;
    } else {
        others++;
    }
    message_free(decoded);
}

static void on_call_done(void *owner, struct grpc_call *call, enum grpc_status status, const char *text)
{
    (void)owner;
    (void)status;
    (void)text;
    if (call == stream)
        stream = NULL;
}

static const struct grpc_call_events SESSION_EVENTS = {.on_message = on_call_message, .on_done = on_call_done};

static void on_renew_message(void *owner, struct grpc_call *call, const uint8_t *bytes, size_t len)
{
    Twofold__V1__EnrolResponse response;
    ProtobufCMessage *decoded;

    (void)owner;
    cr_assert_eq(message_decode(&twofold__v1__renew_request__descriptor, bytes, len, &decoded), ERR_OK);
    switch (mood) {
    case RENEW_REFUSE:
        grpc_call_finish(call, GRPC_PERMISSION_DENIED, "revoked");
        break;
    case RENEW_GARBAGE:
        cr_assert_eq(grpc_call_send(call, "garbage", 7), ERR_OK);
        grpc_call_finish(call, GRPC_OK, "");
        break;
    case RENEW_NOTHING:
        grpc_call_finish(call, GRPC_OK, "");
        break;
    case ACCEPT:
    case REFUSE:
        agent_controller_certify(&controller, ((Twofold__V1__RenewRequest *)decoded)->requests, &response);
        agent_controller_send(call, &response.base);
        agent_controller_free_response(&response);
        grpc_call_finish(call, GRPC_OK, "");
        break;
    }
    message_free(decoded);
}

static const struct grpc_call_events RENEW_EVENTS = {.on_message = on_renew_message, .on_done = on_call_done};

static void on_call(void *owner, struct grpc_call *call, const char *path, const struct cert_facts *peer,
                    const struct ip_endpoint *remote)
{
    (void)owner;
    (void)remote;
    cr_assert_not_null(peer);
    seen_peer = peer->id;
    if (strcmp(path, "/twofold.v1.Enrolment/Renew") == 0) {
        grpc_call_set_owner(call, &RENEW_EVENTS, NULL);
        return;
    }
    cr_assert_str_eq(path, "/twofold.v1.Control/Session");
    sessions++;
    grpc_call_set_owner(call, &SESSION_EVENTS, NULL);
    if (mood == REFUSE)
        grpc_call_finish(call, GRPC_PERMISSION_DENIED, "host 'web' is revoked");
    else
        stream = call;
}

static void on_refused(void *owner, const struct ip_endpoint *remote, enum err err, const struct note *note)
{
    (void)owner;
    (void)remote;
    (void)err;
    (void)note;
}

static const struct grpc_server_events SERVER_EVENTS = {.on_call = on_call, .on_refused = on_refused};

// ---- the agent

static void fill_hello(void *owner, Twofold__V1__Hello *hello)
{
    (void)owner;
    hello->generation = 42;
}

static void on_open(void *owner)
{
    (void)owner;
    opens++;
}

static void on_message(void *owner, const Twofold__V1__ControllerMessage *message)
{
    (void)owner;
    cr_expect_eq(message->body_case, TWOFOLD__V1__CONTROLLER_MESSAGE__BODY_PUBLISH);
    messages++;
}

static void on_lost(void *owner, const char *text)
{
    (void)owner;
    losts++;
    snprintf(why, sizeof(why), "%s", text);
}

static void on_renewed(void *owner, const Twofold__V1__EnrolResponse *response, const char *text)
{
    (void)owner;
    renewals++;
    renewed_with_certificates = response && response->agent.len && response->workload_ca.len;
    snprintf(renew_why, sizeof(renew_why), "%s", text);
}

static const struct uplink_events EVENTS = {
    .hello = fill_hello,
    .on_open = on_open,
    .on_message = on_message,
    .on_lost = on_lost,
    .on_renewed = on_renewed,
};

static void use_agent(const char *uri)
{
    struct tls_context *context;
    struct cert_facts facts;
    struct note note = {0};

    pki_leaf_free(&agent);
    agent_controller_facts(uri, &facts);
    pki_leaf(&controller.network_ca, &facts, &agent);
    const struct tls_config config = {
        .side = TLS_CLIENT,
        .peer_check = TLS_PEER_REQUIRED,
        .key = agent.key,
        .certificate = agent.der,
        .certificate_len = agent.len,
        .trust = controller.network_ca.trust,
        .alpn = "h2",
        .clock = &clock_system,
    };
    cr_assert_eq(tls_context_new(&config, &context, &note), ERR_OK, "%s", note.text);
    uplink_set_context(uplink, context);
    tls_context_drop(context);
}

static void start_with(const char *controller_uri)
{
    signal(SIGPIPE, SIG_IGN);
    tls_library_start();
    cr_assert_eq(uv_loop_init(&loop), 0);
    agent_controller_init(&controller, controller_uri);
    agent_controller_listen(&controller, &loop, &SERVER_EVENTS, NULL);
    const struct uplink_config config = {
        .loop = &loop,
        .controller = controller.address,
        .trust_domain = "example.org",
        .events = &EVENTS,
    };
    cr_assert_eq(uplink_new(&config, &uplink), ERR_OK);
}

static void on_closed(void *owner)
{
    (void)owner;
    closed++;
}

static void finish(void)
{
    uplink_close(uplink, on_closed);
    if (controller.server)
        grpc_server_close(controller.server, NULL);
    cr_expect_eq(uv_run(&loop, UV_RUN_DEFAULT), 0);
    cr_expect_eq(closed, 1);
    cr_expect_eq(uv_loop_close(&loop), 0);
    pki_leaf_free(&agent);
    agent_controller_free(&controller);
}

TestSuite(control_uplink, .timeout = 60);

#define RUN_UNTIL(condition) \
    while (!(condition))     \
    uv_run(&loop, UV_RUN_ONCE)

static void start_open(void)
{
    start_with("spiffe://example.org/controller/main");
    use_agent("spiffe://example.org/agent/web");
    RUN_UNTIL(opens == 1 && hellos == 1);
}

static void send_publish(void)
{
    Twofold__V1__ControllerMessage message = TWOFOLD__V1__CONTROLLER_MESSAGE__INIT;
    Twofold__V1__BundleRequest request = TWOFOLD__V1__BUNDLE_REQUEST__INIT;

    message.body_case = TWOFOLD__V1__CONTROLLER_MESSAGE__BODY_PUBLISH;
    message.publish = &request;
    agent_controller_send(stream, &message.base);
}

Test(control_uplink, hello_then_messages_both_ways)
{
    Twofold__V1__AgentMessage message = TWOFOLD__V1__AGENT_MESSAGE__INIT;
    Twofold__V1__AgentStatus status = TWOFOLD__V1__AGENT_STATUS__INIT;

    start_open();
    cr_expect_eq(hello_generation, 42);
    cr_expect_eq(seen_peer.kind, SPIFFE_AGENT);
    cr_expect(uplink_is_open(uplink));
    cr_expect_str_eq(uplink_problem(uplink), "");
    send_publish();
    message.body_case = TWOFOLD__V1__AGENT_MESSAGE__BODY_STATUS;
    message.status = &status;
    cr_expect_eq(uplink_send(uplink, &message), ERR_OK);
    RUN_UNTIL(messages == 1 && others == 1);
    finish();
}

Test(control_uplink, comes_back_after_the_session_ended)
{
    start_open();
    send_publish();
    RUN_UNTIL(messages == 1);
    grpc_call_finish(stream, GRPC_UNAVAILABLE, "restarting");
    RUN_UNTIL(losts == 1);
    cr_expect(strstr(why, "restarting"), "%s", why);
    cr_expect_not(uplink_is_open(uplink));
    cr_expect(strstr(uplink_problem(uplink), "restarting"));
    Twofold__V1__AgentMessage message = TWOFOLD__V1__AGENT_MESSAGE__INIT;
    cr_expect_eq(uplink_send(uplink, &message), ERR_CLOSED);
    RUN_UNTIL(opens == 2 && hellos == 2);
    finish();
}

Test(control_uplink, comes_back_after_the_controller_was_away)
{
    start_open();
    grpc_server_close(controller.server, NULL);
    RUN_UNTIL(losts == 1);
    agent_controller_listen(&controller, &loop, &SERVER_EVENTS, NULL);
    RUN_UNTIL(opens == 2 && hellos == 2);
    finish();
}

Test(control_uplink, refused_host_is_told_why)
{
    start_with("spiffe://example.org/controller/main");
    mood = REFUSE;
    use_agent("spiffe://example.org/agent/web");
    RUN_UNTIL(strstr(uplink_problem(uplink), "is revoked"));
    cr_expect(strstr(uplink_problem(uplink), "the controller refused this host"), "%s", uplink_problem(uplink));
    // It goes on trying, with the last cause to be told meanwhile.
    RUN_UNTIL(sessions == 2);
    finish();
}

Test(control_uplink, somebody_else_s_certificate_of_the_same_ca)
{
    start_with("spiffe://example.org/host/api");
    use_agent("spiffe://example.org/agent/web");
    RUN_UNTIL(strstr(uplink_problem(uplink), "not a controller"));
    cr_expect_eq(sessions, 0);
    cr_expect_eq(opens, 0);
    finish();
}

Test(control_uplink, controller_of_another_trust_domain)
{
    start_with("spiffe://example.net/controller/main");
    use_agent("spiffe://example.org/agent/web");
    RUN_UNTIL(strstr(uplink_problem(uplink), "not a controller of this trust domain"));
    cr_expect_eq(sessions, 0);
    finish();
}

Test(control_uplink, nobody_there)
{
    start_with("spiffe://example.org/controller/main");
    grpc_server_close(controller.server, NULL);
    controller.server = NULL;
    use_agent("spiffe://example.org/agent/web");
    RUN_UNTIL(!strstr(uplink_problem(uplink), "connecting"));
    cr_expect(uplink_problem(uplink)[0]);
    finish();
}

Test(control_uplink, message_that_cannot_be_read_ends_the_session)
{
    start_open();
    cr_assert_eq(grpc_call_send(stream, "\xff\xff\xff", 3), ERR_OK);
    RUN_UNTIL(losts == 1);
    cr_expect(strstr(why, "cannot be read"), "%s", why);
    cr_expect_eq(messages, 0);
    finish();
}

Test(control_uplink, new_identity_reconnects_at_once)
{
    start_open();
    use_agent("spiffe://example.org/agent/web");
    RUN_UNTIL(opens == 2 && hellos == 2);
    cr_expect_eq(losts, 1);
    finish();
}

Test(control_uplink, closing_at_every_step)
{
    for (int turns = 0; turns < 30; turns++) {
        start_with("spiffe://example.org/controller/main");
        use_agent("spiffe://example.org/agent/web");
        for (int i = 0; i < turns; i++)
            uv_run(&loop, UV_RUN_NOWAIT);
        closed = 0;
        finish();
        stream = NULL;
        memset(&agent, 0, sizeof(agent));
    }
}

// ---- renewal

static void ask_to_renew(void)
{
    Twofold__V1__RenewRequest request = TWOFOLD__V1__RENEW_REQUEST__INIT;
    Twofold__V1__CertificateRequests requests = TWOFOLD__V1__CERTIFICATE_REQUESTS__INIT;
    struct key *key;

    cr_assert_eq(key_new(&key), ERR_OK);
    cr_assert_eq(key_request(key, "x", &requests.agent.data, &requests.agent.len), ERR_OK);
    requests.host = requests.workload = requests.agent;
    request.requests = &requests;
    cr_assert_eq(uplink_renew(uplink, &request), ERR_OK);
    cr_expect_eq(uplink_renew(uplink, &request), ERR_AGAIN, "one at a time");
    free(requests.agent.data);
    key_free(key);
}

Test(control_uplink, renewal)
{
    start_open();
    ask_to_renew();
    RUN_UNTIL(renewals == 1);
    cr_expect(renewed_with_certificates);
    finish();
}

Test(control_uplink, renewal_that_is_refused)
{
    start_open();
    mood = RENEW_REFUSE;
    ask_to_renew();
    RUN_UNTIL(renewals == 1);
    cr_expect_not(renewed_with_certificates);
    cr_expect_str_eq(renew_why, "revoked");
    finish();
}

Test(control_uplink, renewal_that_is_garbage_or_empty)
{
    start_open();
    mood = RENEW_GARBAGE;
    ask_to_renew();
    RUN_UNTIL(renewals == 1);
    cr_expect_not(renewed_with_certificates);
    finish();
}

Test(control_uplink, renewal_without_an_answer)
{
    start_open();
    mood = RENEW_NOTHING;
    ask_to_renew();
    RUN_UNTIL(renewals == 1);
    cr_expect_not(renewed_with_certificates);
    cr_expect(renew_why[0]);
    finish();
}

Test(control_uplink, renewal_without_a_session)
{
    Twofold__V1__RenewRequest request = TWOFOLD__V1__RENEW_REQUEST__INIT;

    start_with("spiffe://example.org/controller/main");
    cr_expect_eq(uplink_renew(uplink, &request), ERR_CLOSED);
    finish();
}
