// SPDX-License-Identifier: GPL-2.0-or-later
// The control role as a whole: its process, confined, between a controller that speaks gRPC, two fake roles behind their channels, and the local
// socket. Needs no root.
#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "agent/control/slice_store.h"
#include "agent/identity.h"
#include "agent/role.h"
#include "proto/base/file.h"
#include "proto/base/log.h"
#include "proto/link/channel.h"
#include "proto/wire/message.h"
#include "proto/wire/slice.h"
#include "role.pb-c.h"
#include "tests/unit/agent_controller.h"
#include "tests/unit/slice_fixture.h"

struct fake_role {
    enum role role;
    struct channel *channel;
    bool refuse_prepare;
    bool silent; // to status requests
    unsigned status_requests, prepares, commits, aborts, bundles, pairs, publishes, renewals, certificates;
    uint64_t generation; // of the last prepare
    struct ip_endpoint controller;
    Twofold__V1__RoleMessage__BodyCase first;
    struct key *key; // of its certificate request
};

static uv_loop_t loop;
static struct agent_controller controller;
static char folder[64], runtime[96];
static struct fake_role network, https;
static struct note note;
static pid_t control;
static int ready_fd;

// The controller's end.
static struct grpc_call *stream;
static unsigned sessions, results, statuses, bundles_up, pairs_up, renew_calls;
static uint64_t hello_generation, result_nonce;
static bool result_applied;
static char result_reason[NOTE_TEXT_BYTES];
static uint8_t session_key[DIGEST_BYTES]; // of the agent's certificate

// ---- the controller

static void on_agent_message(void *owner, struct grpc_call *call, const uint8_t *bytes, size_t len)
{
    ProtobufCMessage *decoded;

    (void)owner;
    (void)call;
    cr_assert_eq(message_decode(&twofold__v1__agent_message__descriptor, bytes, len, &decoded), ERR_OK);
    Twofold__V1__AgentMessage *message = (Twofold__V1__AgentMessage *)decoded;
    switch (message->body_case) {
    case TWOFOLD__V1__AGENT_MESSAGE__BODY_HELLO:
        hello_generation = message->hello->generation;
        sessions++;
        break;
    case TWOFOLD__V1__AGENT_MESSAGE__BODY_RESULT:
        results++;
        result_nonce = message->result->nonce;
        result_applied = message->result->applied;
        snprintf(result_reason, sizeof(result_reason), "%s", message->result->reason);
        break;
    case TWOFOLD__V1__AGENT_MESSAGE__BODY_BUNDLE:
        bundles_up++;
        break;
    case TWOFOLD__V1__AGENT_MESSAGE__BODY_PAIR:
        pairs_up++;
        break;
    case TWOFOLD__V1__AGENT_MESSAGE__BODY_STATUS:
        statuses++;
        break;
    default:
        cr_assert_fail("unexpected message");
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

static const struct grpc_call_events SESSION_EVENTS = {.on_message = on_agent_message, .on_done = on_call_done};

static void on_renew_message(void *owner, struct grpc_call *call, const uint8_t *bytes, size_t len)
{
    Twofold__V1__EnrolResponse response;
    ProtobufCMessage *decoded;

    (void)owner;
    renew_calls++;
    cr_assert_eq(message_decode(&twofold__v1__renew_request__descriptor, bytes, len, &decoded), ERR_OK);
    agent_controller_certify(&controller, ((Twofold__V1__RenewRequest *)decoded)->requests, &response);
    agent_controller_send(call, &response.base);
    agent_controller_free_response(&response);
    grpc_call_finish(call, GRPC_OK, "");
    message_free(decoded);
}

static const struct grpc_call_events RENEW_EVENTS = {.on_message = on_renew_message, .on_done = on_call_done};

static void on_call(void *owner, struct grpc_call *call, const char *path, const struct cert_facts *peer,
                    const struct ip_endpoint *remote)
{
    (void)owner;
    (void)remote;
    if (strcmp(path, "/twofold.v1.Enrolment/Renew") == 0) {
        grpc_call_set_owner(call, &RENEW_EVENTS, NULL);
        return;
    }
    cr_assert_not_null(peer);
    memcpy(session_key, peer->spki_sha384, DIGEST_BYTES);
    grpc_call_set_owner(call, &SESSION_EVENTS, NULL);
    stream = call;
}

static void on_refused(void *owner, const struct ip_endpoint *remote, enum err err, const struct note *why)
{
    (void)owner;
    (void)remote;
    (void)err;
    (void)why;
}

static const struct grpc_server_events SERVER_EVENTS = {.on_call = on_call, .on_refused = on_refused};

static void send_delta(const Twofold__V1__Slice *from, uint64_t generation, uint64_t nonce)
{
    Twofold__V1__ControllerMessage message = TWOFOLD__V1__CONTROLLER_MESSAGE__INIT;
    Twofold__V1__Slice *slice = fixture_slice();

    slice->settings->generation = generation;
    cr_assert_eq(slice_diff(from, slice, nonce, &message.delta), ERR_OK);
    message.body_case = TWOFOLD__V1__CONTROLLER_MESSAGE__BODY_DELTA;
    agent_controller_send(stream, &message.base);
    message_free(message.delta);
    message_free(slice);
}

static void send_bundle_of(const char *host)
{
    Twofold__V1__ControllerMessage message = TWOFOLD__V1__CONTROLLER_MESSAGE__INIT;
    Twofold__V1__Bundle bundle = TWOFOLD__V1__BUNDLE__INIT;

    bundle.host = (char *)host;
    message.body_case = TWOFOLD__V1__CONTROLLER_MESSAGE__BODY_BUNDLE;
    message.bundle = &bundle;
    agent_controller_send(stream, &message.base);
}

// ---- the fake roles

static void say(struct fake_role *fake, const Twofold__V1__RoleMessage *message)
{
    uint8_t *bytes;
    size_t len;

    cr_assert_eq(message_encode(&message->base, &bytes, &len), ERR_OK);
    cr_assert_eq(channel_send(fake->channel, bytes, len), ERR_OK);
    free(bytes);
}

static void say_answer(struct fake_role *fake, uint64_t generation, bool ok)
{
    Twofold__V1__RoleMessage message = TWOFOLD__V1__ROLE_MESSAGE__INIT;
    Twofold__V1__RoleAnswer answer = TWOFOLD__V1__ROLE_ANSWER__INIT;

    answer.generation = generation;
    answer.ok = ok;
    answer.reason = ok ? (char *)"" : (char *)"the kernel says no";
    message.body_case = TWOFOLD__V1__ROLE_MESSAGE__BODY_ANSWER;
    message.answer = &answer;
    say(fake, &message);
}

static void say_status(struct fake_role *fake)
{
    Twofold__V1__RoleMessage message = TWOFOLD__V1__ROLE_MESSAGE__INIT;
    Twofold__V1__RoleStatus status = TWOFOLD__V1__ROLE_STATUS__INIT;

    status.role = (char *)role_name(fake->role);
    status.cipher_code = fake->role == ROLE_NETWORK ? (char *)"Linux kernel" : (char *)"wolfSSL";
    status.uid = fake->role;
    status.pid = fake->role;
    message.body_case = TWOFOLD__V1__ROLE_MESSAGE__BODY_STATUS;
    message.status = &status;
    say(fake, &message);
}

static void say_bundle(struct fake_role *fake)
{
    Twofold__V1__RoleMessage message = TWOFOLD__V1__ROLE_MESSAGE__INIT;
    Twofold__V1__Bundle bundle = TWOFOLD__V1__BUNDLE__INIT;

    bundle.host = (char *)"web";
    message.body_case = TWOFOLD__V1__ROLE_MESSAGE__BODY_BUNDLE;
    message.bundle = &bundle;
    say(fake, &message);
}

static void say_request(struct fake_role *fake)
{
    Twofold__V1__RoleMessage message = TWOFOLD__V1__ROLE_MESSAGE__INIT;
    Twofold__V1__CertificateRequest request = TWOFOLD__V1__CERTIFICATE_REQUEST__INIT;

    key_free(fake->key);
    cr_assert_eq(key_new(&fake->key), ERR_OK);
    cr_assert_eq(key_request(fake->key, "x", &request.request.data, &request.request.len), ERR_OK);
    message.body_case = TWOFOLD__V1__ROLE_MESSAGE__BODY_REQUEST;
    message.request = &request;
    say(fake, &message);
    free(request.request.data);
}

static void on_role_message(void *owner, struct channel *channel, const uint8_t *bytes, size_t len)
{
    struct fake_role *fake = owner;
    ProtobufCMessage *decoded;

    (void)channel;
    cr_assert_eq(message_decode(&twofold__v1__role_message__descriptor, bytes, len, &decoded), ERR_OK);
    Twofold__V1__RoleMessage *message = (Twofold__V1__RoleMessage *)decoded;
    if (!fake->first)
        fake->first = message->body_case;
    switch (message->body_case) {
    case TWOFOLD__V1__ROLE_MESSAGE__BODY_CONTROLLER:
        cr_assert_eq(
            ip_from_bytes(message->controller->address.data, message->controller->address.len, &fake->controller.ip),
            ERR_OK);
        fake->controller.port = (uint16_t)message->controller->port;
        break;
    case TWOFOLD__V1__ROLE_MESSAGE__BODY_STATUS_REQUEST:
        fake->status_requests++;
        if (!fake->silent)
            say_status(fake);
        break;
    case TWOFOLD__V1__ROLE_MESSAGE__BODY_PREPARE:
        fake->prepares++;
        fake->generation = message->prepare->settings->generation;
        cr_expect_eq(slice_check(message->prepare, &note), ERR_OK, "%s", note.text);
        say_answer(fake, fake->generation, !fake->refuse_prepare);
        break;
    case TWOFOLD__V1__ROLE_MESSAGE__BODY_COMMIT:
        fake->commits++;
        say_answer(fake, message->commit->generation, true);
        break;
    case TWOFOLD__V1__ROLE_MESSAGE__BODY_ABORT:
        fake->aborts++;
        break;
    case TWOFOLD__V1__ROLE_MESSAGE__BODY_BUNDLE:
        fake->bundles++;
        break;
    case TWOFOLD__V1__ROLE_MESSAGE__BODY_PAIR:
        fake->pairs++;
        break;
    case TWOFOLD__V1__ROLE_MESSAGE__BODY_PUBLISH:
        fake->publishes++;
        break;
    case TWOFOLD__V1__ROLE_MESSAGE__BODY_RENEWAL_START:
        fake->renewals++;
        say_request(fake);
        break;
    case TWOFOLD__V1__ROLE_MESSAGE__BODY_CERTIFICATE:
        fake->certificates++;
        break;
    default:
        cr_assert_fail("unexpected message");
    }
    message_free(decoded);
}

static void on_role_close(void *owner, struct channel *channel, enum err err)
{
    (void)channel;
    (void)err;
    ((struct fake_role *)owner)->channel = NULL;
}

static const struct channel_events ROLE_EVENTS = {.on_message = on_role_message, .on_close = on_role_close};

// ---- set-up

static char *in_folder(const char *name)
{
    static char path[160];

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    return path;
}

// An identity of this age in seconds, of a life of a day.
static void write_identity(uint64_t age)
{
    char text[IP_ENDPOINT_TEXT_BYTES];
    struct cert_facts facts;
    struct pki_leaf leaf;

    agent_controller_facts("spiffe://example.org/agent/web", &facts);
    facts.not_before = (uint64_t)time(NULL) - age;
    facts.not_after = facts.not_before + 86400;
    pki_leaf(&controller.network_ca, &facts, &leaf);
    cr_assert_eq(identity_save(folder, "agent", "network-ca", leaf.key, leaf.der, leaf.len, controller.network_ca.root,
                               controller.network_ca.root_len, &note),
                 ERR_OK, "%s", note.text);
    pki_leaf_free(&leaf);
    ip_endpoint_format(&controller.address, text);
    cr_assert_eq(file_write(in_folder("controller"), text, strlen(text), 0600, &note), ERR_OK);
}

static void start(void)
{
    signal(SIGPIPE, SIG_IGN);
    tls_library_start();
    strcpy(folder, "/tmp/control-role-XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
    snprintf(runtime, sizeof(runtime), "%s/run", folder);
    cr_assert_eq(mkdir(runtime, 0755), 0);
    cr_assert_eq(uv_loop_init(&loop), 0);
    agent_controller_init(&controller, "spiffe://example.org/controller/main");
    agent_controller_listen(&controller, &loop, &SERVER_EVENTS, NULL);
    write_identity(600);
    network.role = ROLE_NETWORK;
    https.role = ROLE_HTTPS;
}

static void run_control(void)
{
    int networks[2], httpss[2], ready[2];

    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, networks), 0);
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, httpss), 0);
    cr_assert_eq(pipe2(ready, O_CLOEXEC | O_NONBLOCK), 0);
    control = fork();
    cr_assert_geq(control, 0);
    if (control == 0) {
        const struct role_start role_start = {
            .role = ROLE_CONTROL,
            .folder = folder,
            .runtime_folder = runtime,
            .control_fd = -1,
            .network_fd = networks[0],
            .https_fd = httpss[0],
            .admin_gid = (gid_t)-1,
            .ready_fd = ready[1],
        };
        close(networks[1]);
        close(httpss[1]);
        // Without the exit handlers of the test framework and the sanitizers.
        _exit(control_main(&role_start));
    }
    close(networks[0]);
    close(httpss[0]);
    close(ready[1]);
    ready_fd = ready[0];
    cr_assert_eq(channel_open(&loop, networks[1], CHANNEL_FRAME_BYTES_MAX, &ROLE_EVENTS, &network, &network.channel),
                 ERR_OK);
    cr_assert_eq(channel_open(&loop, httpss[1], CHANNEL_FRAME_BYTES_MAX, &ROLE_EVENTS, &https, &https.channel), ERR_OK);
}

#define RUN_UNTIL(condition)          \
    do {                              \
        uv_run(&loop, UV_RUN_NOWAIT); \
        usleep(500);                  \
    } while (!(condition))

static bool is_ready(void)
{
    char byte;

    return read(ready_fd, &byte, 1) == 1;
}

static int wait_for_exit(void)
{
    int status = 0;

    RUN_UNTIL(waitpid(control, &status, WNOHANG) == control);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int stop(void)
{
    cr_assert_eq(kill(control, SIGTERM), 0);
    return wait_for_exit();
}

static void finish(void)
{
    char command[128];

    if (network.channel)
        channel_close(network.channel);
    if (https.channel)
        channel_close(https.channel);
    grpc_server_close(controller.server, NULL);
    cr_expect_eq(uv_run(&loop, UV_RUN_DEFAULT), 0);
    cr_expect_eq(uv_loop_close(&loop), 0);
    agent_controller_free(&controller);
    key_free(network.key);
    key_free(https.key);
    close(ready_fd);
    snprintf(command, sizeof(command), "rm -rf %s", folder);
    cr_expect_eq(system(command), 0);
}

TestSuite(control_role, .init = start, .fini = finish, .timeout = 60);

static void start_session(void)
{
    run_control();
    RUN_UNTIL(sessions == 1 && stream && network.publishes == 1);
}

// ---- cases

Test(control_role, first_start)
{
    start_session();
    cr_expect(is_ready());
    cr_expect_eq(network.first, TWOFOLD__V1__ROLE_MESSAGE__BODY_CONTROLLER, "before anything else");
    cr_expect_eq(ip_compare(&network.controller.ip, &controller.address.ip), 0);
    cr_expect_eq(network.controller.port, controller.address.port);
    cr_expect_eq(https.first, TWOFOLD__V1__ROLE_MESSAGE__BODY_STATUS_REQUEST);
    cr_expect_eq(hello_generation, 0);
    RUN_UNTIL(statuses == 1);
    send_delta(NULL, 7, 99);
    RUN_UNTIL(results == 1);
    cr_expect(result_applied, "%s", result_reason);
    cr_expect_eq(result_nonce, 99);
    cr_expect(network.prepares == 1 && network.commits == 1 && https.prepares == 1 && https.commits == 1);
    cr_expect_eq(access(in_folder("slice.pb"), F_OK), 0, "acknowledged is stored");
    RUN_UNTIL(statuses == 2);
    cr_expect_eq(stop(), 0);
}

Test(control_role, cold_start_without_a_controller)
{
    Twofold__V1__Slice *slice = fixture_slice();

    slice->settings->generation = 12;
    cr_assert_eq(slice_store_stage(folder, slice, 5, &note), ERR_OK);
    cr_assert_eq(slice_store_publish(folder, &note), ERR_OK);
    message_free(slice);
    // An address at which nobody listens.
    cr_assert_eq(file_write(in_folder("controller"), "127.0.0.1:1", 11, 0600, &note), ERR_OK);
    run_control();
    RUN_UNTIL(is_ready());
    cr_expect_eq(network.generation, 12);
    cr_expect(network.commits == 1 && https.commits == 1);
    cr_expect_eq(stop(), 0);
}

Test(control_role, cold_start_then_its_generation_in_the_hello)
{
    Twofold__V1__Slice *slice = fixture_slice();

    slice->settings->generation = 12;
    cr_assert_eq(slice_store_stage(folder, slice, 5, &note), ERR_OK);
    cr_assert_eq(slice_store_publish(folder, &note), ERR_OK);
    start_session();
    cr_expect_eq(hello_generation, 12);
    send_delta(slice, 13, 1);
    RUN_UNTIL(results == 1);
    cr_expect(result_applied, "%s", result_reason);
    message_free(slice);
    cr_expect_eq(stop(), 0);
}

Test(control_role, damaged_stored_slice_is_as_none)
{
    cr_assert_eq(file_write(in_folder("slice.pb"), "garbage", 7, 0600, &note), ERR_OK);
    start_session();
    cr_expect(is_ready());
    cr_expect_eq(hello_generation, 0);
    cr_expect_eq(network.prepares, 0);
    cr_expect_eq(stop(), 0);
}

Test(control_role, roles_that_do_not_answer_at_the_start)
{
    https.silent = true;
    run_control();
    RUN_UNTIL(sessions == 1);
    cr_expect(is_ready());
    cr_expect_eq(stop(), 0);
}

Test(control_role, refused_slice)
{
    network.refuse_prepare = true;
    start_session();
    send_delta(NULL, 7, 99);
    RUN_UNTIL(results == 1);
    cr_expect_not(result_applied);
    cr_expect_str_eq(result_reason, "the network role refused: the kernel says no");
    RUN_UNTIL(network.aborts == 1 && https.aborts == 1);
    cr_expect_neq(access(in_folder("slice.pb"), F_OK), 0);
    // The next one is tried as if nothing had been.
    network.refuse_prepare = false;
    send_delta(NULL, 8, 100);
    RUN_UNTIL(results == 2);
    cr_expect(result_applied, "%s", result_reason);
    cr_expect_eq(stop(), 0);
}

Test(control_role, bundles_and_pair_messages_pass_through)
{
    Twofold__V1__RoleMessage up = TWOFOLD__V1__ROLE_MESSAGE__INIT;
    Twofold__V1__ControllerMessage down = TWOFOLD__V1__CONTROLLER_MESSAGE__INIT;
    Twofold__V1__PairMessage pair = TWOFOLD__V1__PAIR_MESSAGE__INIT;

    start_session();
    say_bundle(&network);
    pair.from = (char *)"web";
    pair.to = (char *)"api";
    up.body_case = TWOFOLD__V1__ROLE_MESSAGE__BODY_PAIR;
    up.pair = &pair;
    say(&network, &up);
    RUN_UNTIL(bundles_up == 1 && pairs_up == 1);
    // Before its slice a bundle waits; a stranger's waits on.
    send_bundle_of("api");
    send_bundle_of("stranger");
    down.body_case = TWOFOLD__V1__CONTROLLER_MESSAGE__BODY_PAIR;
    down.pair = &pair;
    agent_controller_send(stream, &down.base);
    RUN_UNTIL(network.pairs == 1);
    cr_expect_eq(network.bundles, 0);
    send_delta(NULL, 7, 99);
    RUN_UNTIL(results == 1 && network.bundles == 1);
    send_bundle_of("api");
    RUN_UNTIL(network.bundles == 2);
    cr_expect_eq(https.bundles, 0);
    cr_expect_eq(stop(), 0);
}

Test(control_role, role_that_ends_ends_it)
{
    start_session();
    channel_close(https.channel);
    cr_expect_eq(wait_for_exit(), 1);
}

Test(control_role, https_role_may_not_speak_for_the_network_role)
{
    start_session();
    say_bundle(&https);
    cr_expect_eq(wait_for_exit(), 1);
    cr_expect_eq(bundles_up, 0);
}

Test(control_role, garbage_from_a_role)
{
    start_session();
    cr_assert_eq(channel_send(network.channel, "\xff\xff", 2), ERR_OK);
    cr_expect_eq(wait_for_exit(), 1);
}

Test(control_role, certificates_are_renewed_when_they_are_due)
{
    uint8_t before[DIGEST_BYTES];
    struct identity *identity;

    write_identity(70000);
    start_session();
    memcpy(before, session_key, sizeof(before));
    // The first attempt may have come before the session: it is made again within seconds.
    RUN_UNTIL(renew_calls == 1 && network.certificates == 1 && https.certificates == 1);
    // It comes back with the new one.
    RUN_UNTIL(sessions == 2);
    cr_expect_arr_neq(session_key, before, DIGEST_BYTES);
    cr_assert_eq(identity_load(folder, "agent", "network-ca", &identity, &note), ERR_OK, "%s", note.text);
    cr_expect_arr_eq(identity->facts.spki_sha384, session_key, DIGEST_BYTES);
    identity_free(identity);
    cr_expect_eq(stop(), 0);
}

Test(control_role, local_socket_answers)
{
    struct stat status;
    char path[160];

    start_session();
    snprintf(path, sizeof(path), "%s/agent.sock", runtime);
    cr_assert_eq(stat(path, &status), 0);
    cr_expect(S_ISSOCK(status.st_mode));
    cr_expect_eq(stop(), 0);
    cr_expect_neq(access(path, F_OK), 0, "it goes with the role");
}

Test(control_role, does_not_start_without_an_identity)
{
    cr_assert_eq(unlink(in_folder("agent.pem")), 0);
    run_control();
    cr_expect_eq(wait_for_exit(), 1);
}

Test(control_role, does_not_start_without_the_controller_s_address)
{
    cr_assert_eq(file_write(in_folder("controller"), "somewhere", 9, 0600, &note), ERR_OK);
    run_control();
    cr_expect_eq(wait_for_exit(), 1);
}
