// SPDX-License-Identifier: GPL-2.0-or-later
// Enrolment against a controller in a process of its own. Needs root for the owners of the folders.
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "agent/enrol.h"
#include "agent/folders.h"
#include "agent/identity.h"
#include "proto/base/file.h"
#include "proto/wire/message.h"
#include "tests/unit/agent_controller.h"

static struct agent_controller controller;
static char base[64], state[96], token_path[96], address[IP_ENDPOINT_TEXT_BYTES];
static struct token token;
static struct options options;
static struct note note;
static pid_t server;

// What the controller does with the request.
static enum { CERTIFY, REFUSE, NOTHING, GARBAGE, TWICE, OTHER_CA, SILENT } mood;

// ---- the controller's process

static void on_message(void *owner, struct grpc_call *call, const uint8_t *bytes, size_t len)
{
    struct agent_controller *of = owner;
    Twofold__V1__EnrolResponse response;
    ProtobufCMessage *decoded;
    struct pki other;

    cr_assert_eq(message_decode(&twofold__v1__enrol_request__descriptor, bytes, len, &decoded), ERR_OK);
    Twofold__V1__EnrolRequest *request = (Twofold__V1__EnrolRequest *)decoded;
    bool good = request->token_secret.len == TOKEN_SECRET_BYTES && strcmp(request->host, "web") == 0 &&
                memcmp(request->token_secret.data, token.secret, TOKEN_SECRET_BYTES) == 0;
    if (mood == SILENT)
        return;
    if (mood == REFUSE || !good) {
        grpc_call_finish(call, GRPC_PERMISSION_DENIED, "the token has been used already");
        return;
    }
    if (mood == GARBAGE)
        cr_assert_eq(grpc_call_send(call, "\xff", 1), ERR_OK);
    if (mood == OTHER_CA) {
        pki_init(&other);
        of->network_ca = other;
    }
    if (mood == CERTIFY || mood == TWICE || mood == OTHER_CA) {
        agent_controller_certify(of, request->requests, &response);
        agent_controller_send(call, &response.base);
        if (mood == TWICE)
            agent_controller_send(call, &response.base);
        agent_controller_free_response(&response);
    }
    grpc_call_finish(call, GRPC_OK, "");
    message_free(decoded);
}

static void on_done(void *owner, struct grpc_call *call, enum grpc_status status, const char *text)
{
    (void)owner;
    (void)call;
    (void)status;
    (void)text;
}

static const struct grpc_call_events CALL_EVENTS = {.on_message = on_message, .on_done = on_done};

static void on_call(void *owner, struct grpc_call *call, const char *path, const struct cert_facts *peer,
                    const struct ip_endpoint *remote)
{
    (void)peer;
    (void)remote;
    cr_assert_str_eq(path, "/twofold.v1.Enrolment/Enrol");
    grpc_call_set_owner(call, &CALL_EVENTS, owner);
}

static void on_refused(void *owner, const struct ip_endpoint *remote, enum err err, const struct note *why)
{
    (void)owner;
    (void)remote;
    (void)err;
    (void)why;
}

static const struct grpc_server_events SERVER_EVENTS = {.on_call = on_call, .on_refused = on_refused};

static void serve(void)
{
    int port[2];
    uv_loop_t loop;

    cr_assert_eq(pipe(port), 0);
    server = fork();
    cr_assert_geq(server, 0);
    if (server == 0) {
        cr_assert_eq(uv_loop_init(&loop), 0);
        agent_controller_listen(&controller, &loop, &SERVER_EVENTS, &controller);
        if (write(port[1], &controller.address, sizeof(controller.address)) < 0)
            _exit(1);
        uv_run(&loop, UV_RUN_DEFAULT);
        _exit(0);
    }
    cr_assert_eq(read(port[0], &controller.address, sizeof(controller.address)), (ssize_t)sizeof(controller.address));
    close(port[0]);
    close(port[1]);
    ip_endpoint_format(&controller.address, address);
}

// ---- the agent

static void write_token(void)
{
    char text[TOKEN_TEXT_BYTES + 2];

    cr_assert_eq(token_encode(&token, text), ERR_OK);
    strcat(text, "\n");
    cr_assert_eq(file_write(token_path, text, strlen(text), 0600, &note), ERR_OK);
}

static void start_with(const char *controller_uri)
{
    struct cert_facts facts;

    if (geteuid() != 0)
        cr_skip_test("needs root");
    signal(SIGPIPE, SIG_IGN);
    tls_library_start();
    strcpy(base, "/tmp/enrol-XXXXXX");
    cr_assert_not_null(mkdtemp(base));
    cr_assert_eq(chmod(base, 0755), 0);
    snprintf(state, sizeof(state), "%s/state", base);
    snprintf(token_path, sizeof(token_path), "%s/token", base);
    agent_controller_init(&controller, controller_uri);
    cr_assert_eq(cert_parse(controller.network_ca.root, controller.network_ca.root_len, &facts, &note), ERR_OK);
    token = (struct token){.host = "web", .trust_domain = "example.org", .secret = "secret"};
    memcpy(token.ca_sha384, facts.spki_sha384, DIGEST_BYTES);
    write_token();
    serve();
    options = (struct options){
        .state = state,
        .controller = address,
        .token_file = token_path,
        .control_user = "61001",
        .network_user = "61002",
        .https_user = "61003",
    };
}

static void start(void)
{
    start_with("spiffe://example.org/controller/main");
}

static void stop_server(void)
{
    int status;

    if (!server)
        return;
    cr_assert_eq(kill(server, SIGKILL), 0);
    cr_assert_eq(waitpid(server, &status, 0), server);
    server = 0;
}

static void finish(void)
{
    char command[128];

    stop_server();
    agent_controller_free(&controller);
    snprintf(command, sizeof(command), "rm -rf %s", base);
    cr_expect_eq(system(command), 0);
}

TestSuite(enrol, .fini = finish, .timeout = 60);

static bool exists(const char *name)
{
    char path[200];

    snprintf(path, sizeof(path), "%s/%s", state, name);
    return access(path, F_OK) == 0;
}

// Nothing of a failed enrolment is left, and nothing is in force.
static void expect_failure(enum err err, const char *words)
{
    note = (struct note){0};
    cr_expect_eq(enrol_run(&options, &note), err, "%s", note.text);
    cr_expect(strstr(note.text, words), "%s", note.text);
    cr_expect_not(exists("control"));
    cr_expect_not(exists(".enrol"));
    cr_expect_not(exists(".enrolled"));
}

Test(enrol, everything_is_in_its_place)
{
    static const char *const files[] = {
        "control/agent.key",     "control/agent.pem",  "control/network-ca.pem", "control/controller",
        "network/host.key",      "network/host.pem",   "network/network-ca.pem", "https/workload.key",
        "https/workload-ca.pem", "https/workload.pem",
    };
    const struct user users[ROLE_COUNT] = {{61001, 61001}, {61002, 61002}, {61003, 61003}};
    struct identity *identity;
    char path[200];
    struct stat status;
    uint8_t *bytes;
    size_t len;

    start();
    cr_assert_eq(enrol_run(&options, &note), ERR_OK, "%s", note.text);
    cr_expect_eq(folders_check(state, users, &note), ERR_OK, "%s", note.text);
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        snprintf(path, sizeof(path), "%s/%s", state, files[i]);
        cr_assert_eq(stat(path, &status), 0, "%s", path);
        cr_expect_eq(status.st_mode & 07777, 0600, "%s", path);
        cr_expect_eq(status.st_uid, files[i][0] == 'c' ? 61001 : files[i][0] == 'n' ? 61002 : 61003, "%s", path);
    }
    snprintf(path, sizeof(path), "%s/control/controller", state);
    cr_assert_eq(file_read(path, 100, &bytes, &len, &note), ERR_OK);
    cr_expect_eq(strncmp((char *)bytes, address, strlen(address)), 0);
    free(bytes);
    snprintf(path, sizeof(path), "%s/control", state);
    cr_assert_eq(chown(path, 0, 0), 0);
    cr_assert_eq(identity_load(path, "agent", "network-ca", &identity, &note), ERR_OK, "%s", note.text);
    cr_expect_eq(identity->facts.id.kind, SPIFFE_AGENT);
    identity_free(identity);
}

Test(enrol, token_from_standard_input)
{
    start();
    cr_assert_not_null(freopen(token_path, "re", stdin));
    options.token_file = "-";
    cr_expect_eq(enrol_run(&options, &note), ERR_OK, "%s", note.text);
}

Test(enrol, second_one_replaces_the_first_and_a_failed_one_does_not)
{
    char path[200];
    uint8_t *before, *after;
    size_t before_len, after_len;

    start();
    snprintf(path, sizeof(path), "%s/network/host.pem", state);
    cr_assert_eq(enrol_run(&options, &note), ERR_OK, "%s", note.text);
    cr_assert_eq(file_read(path, 65536, &before, &before_len, &note), ERR_OK);
    token.secret[0] ^= 1;
    write_token();
    cr_expect_eq(enrol_run(&options, &note), ERR_DENIED);
    cr_expect(strstr(note.text, "has been used already"), "%s", note.text);
    cr_assert_eq(file_read(path, 65536, &after, &after_len, &note), ERR_OK);
    cr_expect_str_eq((char *)after, (char *)before);
    free(after);
    token.secret[0] ^= 1;
    write_token();
    cr_assert_eq(enrol_run(&options, &note), ERR_OK, "%s", note.text);
    cr_assert_eq(file_read(path, 65536, &after, &after_len, &note), ERR_OK);
    cr_expect_str_neq((char *)after, (char *)before);
    free(after);
    free(before);
}

Test(enrol, while_the_agent_runs)
{
    int lock;

    start();
    cr_assert_eq(folders_open(state, &lock, &note), ERR_OK);
    expect_failure(ERR_EXISTS, "stop it first");
    close(lock);
}

Test(enrol, refused)
{
    mood = REFUSE;
    start();
    expect_failure(ERR_DENIED, "the token has been used already");
}

Test(enrol, no_certificates)
{
    mood = NOTHING;
    start();
    expect_failure(ERR_PROTOCOL, "without certificates");
}

Test(enrol, garbage)
{
    mood = GARBAGE;
    start();
    expect_failure(ERR_MALFORMED, "cannot be read");
}

Test(enrol, two_answers)
{
    mood = TWICE;
    start();
    // Whatever the second one is taken for, the first is not used half.
    note = (struct note){0};
    if (enrol_run(&options, &note) != ERR_OK)
        cr_expect_not(exists("control"));
}

Test(enrol, certificates_of_another_ca)
{
    mood = OTHER_CA;
    start();
    expect_failure(ERR_IDENTITY, "another network CA than the token pins");
}

Test(enrol, token_that_pins_another_ca)
{
    start();
    token.ca_sha384[0] ^= 1;
    write_token();
    note = (struct note){0};
    cr_expect_neq(enrol_run(&options, &note), ERR_OK);
    cr_expect(strstr(note.text, address), "%s", note.text);
    cr_expect_not(exists("control"));
}

Test(enrol, somebody_else_of_the_same_ca)
{
    start_with("spiffe://example.org/host/api");
    expect_failure(ERR_IDENTITY, "not a controller");
}

Test(enrol, nobody_there)
{
    start();
    stop_server();
    note = (struct note){0};
    cr_expect_neq(enrol_run(&options, &note), ERR_OK);
    cr_expect(strstr(note.text, address), "%s", note.text);
    cr_expect_not(exists("control"));
}

Test(enrol, bad_token_files)
{
    start();
    cr_assert_eq(file_write(token_path, "hello", 5, 0600, &note), ERR_OK);
    expect_failure(ERR_MALFORMED, "holds no join token");
    cr_assert_eq(file_write(token_path, "tfj1.\0x", 7, 0600, &note), ERR_OK);
    expect_failure(ERR_MALFORMED, "holds no join token");
    cr_assert_eq(unlink(token_path), 0);
    expect_failure(ERR_NOT_FOUND, token_path);
}

Test(enrol, bad_controller_address)
{
    start();
    options.controller = "controller.example.org:7443";
    expect_failure(ERR_USAGE, "is not an address with a port");
}

Test(enrol, disk_that_takes_nothing)
{
    char path[200];

    start();
    // The staging folder cannot be made over a file.
    cr_assert_eq(mkdir(state, 0755), 0);
    snprintf(path, sizeof(path), "%s/.enrol", state);
    cr_assert_eq(file_write(path, "x", 1, 0600, &note), ERR_OK);
    note = (struct note){0};
    cr_expect_neq(enrol_run(&options, &note), ERR_OK);
    cr_expect(strstr(note.text, ".enrol"), "%s", note.text);
    cr_expect_not(exists("control"));
}

// ---- the checks of the answer, one by one

static struct key *keys[3];
static Twofold__V1__EnrolResponse answer;

static void make_answer(void)
{
    Twofold__V1__CertificateRequests requests = TWOFOLD__V1__CERTIFICATE_REQUESTS__INIT;
    ProtobufCBinaryData *slots[3] = {&requests.agent, &requests.host, &requests.workload};

    for (int i = 0; i < 3; i++) {
        key_free(keys[i]);
        cr_assert_eq(key_new(&keys[i]), ERR_OK);
        cr_assert_eq(key_request(keys[i], "x", &slots[i]->data, &slots[i]->len), ERR_OK);
    }
    agent_controller_certify(&controller, &requests, &answer);
    for (int i = 0; i < 3; i++)
        free(slots[i]->data);
}

static enum err check(void)
{
    note = (struct note){0};
    return enrol_check(&answer, &token, (const struct key *const *)keys, (uint64_t)time(NULL), &note);
}

static void expect_bad(enum err err, const char *words)
{
    cr_expect_eq(check(), err, "%s: %s", words, note.text);
    cr_expect(strstr(note.text, words), "%s", note.text);
    agent_controller_free_response(&answer);
    make_answer();
    cr_assert_eq(check(), ERR_OK, "%s", note.text);
}

static void swap(ProtobufCBinaryData *a, ProtobufCBinaryData *b)
{
    ProtobufCBinaryData old = *a;

    *a = *b;
    *b = old;
}

// A leaf for one of our keys that says something else.
static void replace(ProtobufCBinaryData *leaf, const struct pki *ca, const char *uri, const struct key *key,
                    uint32_t slot, uint64_t not_after)
{
    struct cert_facts facts;
    uint8_t *request;
    size_t len;

    cr_assert_eq(key_request(key, "x", &request, &len), ERR_OK);
    agent_controller_facts(uri, &facts);
    if (slot)
        facts.slot = slot;
    if (not_after)
        facts.not_after = not_after;
    free(leaf->data);
    cr_assert_eq(cert_issue(ca->key, ca->root, ca->root_len, request, len, &facts, &leaf->data, &leaf->len, &note),
                 ERR_OK, "%s", note.text);
    free(request);
}

Test(enrol, each_check_of_the_answer)
{
    const uint64_t soon = (uint64_t)time(NULL) - 30;

    start();
    make_answer();
    cr_assert_eq(check(), ERR_OK, "%s", note.text);
    swap(&answer.network_ca, &answer.workload_ca);
    expect_bad(ERR_IDENTITY, "another network CA");
    free(answer.workload_ca.data);
    answer.workload_ca.len = answer.network_ca.len;
    answer.workload_ca.data = malloc(answer.network_ca.len);
    memcpy(answer.workload_ca.data, answer.network_ca.data, answer.network_ca.len);
    expect_bad(ERR_IDENTITY, "one CA key for both layers");
    swap(&answer.workload_ca, &answer.agent);
    expect_bad(ERR_IDENTITY, "CA certificate that is none");
    answer.network_ca.len /= 2;
    expect_bad(ERR_MALFORMED, "CA certificate");
    answer.host.len = 0;
    expect_bad(ERR_MALFORMED, "host certificate");
    swap(&answer.agent, &answer.host);
    expect_bad(ERR_IDENTITY, "another key");
    replace(&answer.agent, &controller.network_ca, "spiffe://example.org/host/web", keys[0], 0, 0);
    expect_bad(ERR_IDENTITY, "something else than the agent certificate");
    replace(&answer.host, &controller.network_ca, "spiffe://example.org/host/db", keys[1], 0, 0);
    expect_bad(ERR_IDENTITY, "certificate of 'db'");
    replace(&answer.host, &controller.network_ca, "spiffe://example.net/host/web", keys[1], 0, 0);
    expect_bad(ERR_IDENTITY, "certificate of a host in example.org");
    replace(&answer.host, &controller.network_ca, "spiffe://example.org/host/web", keys[1], 77, 0);
    expect_bad(ERR_IDENTITY, "slot and addresses");
    replace(&answer.workload, &controller.network_ca, "spiffe://example.org/ns/default/sa/web", keys[2], 0, 0);
    expect_bad(ERR_IDENTITY, "workload certificate");
    replace(&answer.agent, &controller.network_ca, "spiffe://example.org/agent/web", keys[0], 0, soon);
    expect_bad(ERR_EXPIRED, "agent certificate");
    agent_controller_free_response(&answer);
    for (int i = 0; i < 3; i++)
        key_free(keys[i]);
}
