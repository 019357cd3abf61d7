// SPDX-License-Identifier: GPL-2.0-or-later
// Calls of the command against a gRPC server in a process of its own, which answers each method in another way.
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "admin.pb-c.h"
#include "controller/cli/admin_credentials.h"
#include "controller/cli/call.h"
#include "proto/base/clock.h"
#include "proto/base/file.h"
#include "proto/link/grpc.h"
#include "proto/wire/message.h"
#include "tests/unit/pki.h"

static struct pki pki;
static char folder[64];
static pid_t server;
static struct ip_endpoint address;

static uint64_t now(void)
{
    return clock_unix_ms(&clock_system) / 1000;
}

// ---- the server

static void on_half_close(void *owner, struct grpc_call *call)
{
    const char *path = owner;
    Twofold__V1__ListHostsResponse response = TWOFOLD__V1__LIST_HOSTS_RESPONSE__INIT;
    uint8_t *bytes;
    size_t len;
    enum err err = ERR_OK;

    response.generation = 7;
    if (message_encode(&response.base, &bytes, &len))
        abort();
    if (strstr(path, "/ListHosts") || strstr(path, "/ShowPolicy"))
        err = grpc_call_send(call, bytes, len);
    if (!err && strstr(path, "/ShowPolicy"))
        err = grpc_call_send(call, bytes, len);
    if (!err && strstr(path, "/ListAudit"))
        err = grpc_call_send(call, "\xff\xff\xff", 3);
    free(bytes);
    if (err)
        abort();
    if (strstr(path, "/GetStatus"))
        grpc_call_finish(call, GRPC_PERMISSION_DENIED, "no right to ask");
    else if (!strstr(path, "/Explain"))
        grpc_call_finish(call, GRPC_OK, "");
}

static void on_done(void *owner, struct grpc_call *call, enum grpc_status status, const char *text)
{
    (void)call;
    (void)status;
    (void)text;
    free(owner);
}

static void on_message(void *owner, struct grpc_call *call, const uint8_t *bytes, size_t len)
{
    (void)owner;
    (void)call;
    (void)bytes;
    (void)len;
}

static void on_call(void *owner, struct grpc_call *call, const char *path, const struct cert_facts *peer,
                    const struct ip_endpoint *remote)
{
    static const struct grpc_call_events events = {
        .on_message = on_message, .on_half_close = on_half_close, .on_done = on_done};
    (void)owner;
    (void)peer;
    (void)remote;
    grpc_call_set_owner(call, &events, strdup(path));
}

static void on_refused(void *owner, const struct ip_endpoint *remote, enum err err, const struct note *note)
{
    (void)owner;
    (void)remote;
    (void)err;
    (void)note;
}

static void make_leaf(const char *uri, uint64_t not_after, struct pki_leaf *leaf)
{
    struct cert_facts facts;
    pki_facts(uri, &facts);
    facts.not_before = now() - 3600;
    facts.not_after = not_after;
    pki_leaf(&pki, &facts, leaf);
}

static void serve(const char *uri, int report_fd)
{
    static const struct grpc_server_events events = {.on_call = on_call, .on_refused = on_refused};
    struct ip_endpoint any = {.ip = {.len = 4, .bytes = {127, 0, 0, 1}}}, bound;
    struct tls_context *context;
    struct grpc_server *grpc;
    struct pki_leaf leaf;
    struct note note = {0};
    uv_loop_t loop;

    make_leaf(uri, now() + 3600, &leaf);
    const struct tls_config config = {.side = TLS_SERVER,
                                      .peer_check = TLS_PEER_OPTIONAL,
                                      .key = leaf.key,
                                      .certificate = leaf.der,
                                      .certificate_len = leaf.len,
                                      .trust = pki.trust,
                                      .alpn = "h2",
                                      .clock = &clock_system};
    if (tls_context_new(&config, &context, &note) || uv_loop_init(&loop) ||
        grpc_server_new(&loop, &any, 1, context, 4, &events, NULL, &grpc, &note))
        abort();
    bound = grpc_server_address(grpc, 0);
    if (write(report_fd, &bound, sizeof(bound)) != sizeof(bound))
        abort();
    uv_run(&loop, UV_RUN_DEFAULT);
    _exit(0);
}

static void start_server(const char *uri)
{
    int fds[2];
    cr_assert_eq(pipe(fds), 0);
    server = fork();
    cr_assert_geq(server, 0);
    if (server == 0)
        serve(uri, fds[1]);
    cr_assert_eq(read(fds[0], &address, sizeof(address)), (ssize_t)sizeof(address));
    close(fds[0]);
    close(fds[1]);
}

// ---- the administrator's folder

static void put(const char *name, const void *bytes, size_t len)
{
    char path[128];
    struct note note = {0};
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    cr_assert_eq(file_write(path, bytes, len, 0600, &note), ERR_OK, "%s", note.text);
}

static void put_certificate(const char *name, const uint8_t *der, size_t len)
{
    char *pem;
    cr_assert_eq(cert_der_to_pem(der, len, &pem), ERR_OK);
    put(name, pem, strlen(pem));
    free(pem);
}

static void put_admin(const char *uri, uint64_t not_after)
{
    char path[128];
    struct pki_leaf leaf;
    struct note note = {0};
    make_leaf(uri, not_after, &leaf);
    put_certificate("admin.pem", leaf.der, leaf.len);
    snprintf(path, sizeof(path), "%s/admin.key", folder);
    cr_assert_eq(key_save(leaf.key, path, &note), ERR_OK, "%s", note.text);
    pki_leaf_free(&leaf);
}

static void put_controller(void)
{
    char text[IP_ENDPOINT_TEXT_BYTES + 1];
    ip_endpoint_format(&address, text);
    strcat(text, "\n");
    put("controller", text, strlen(text));
}

static void set_up(void)
{
    strcpy(folder, "/tmp/twofold-cli-XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
    tls_library_start();
    pki_init(&pki);
    put_certificate("network-ca.pem", pki.root, pki.root_len);
    put_admin("spiffe://example.org/admin/alice", now() + 3600);
}

static void tear_down(void)
{
    char command[128];
    if (server > 0) {
        kill(server, SIGKILL);
        waitpid(server, NULL, 0);
    }
    pki_free(&pki);
    snprintf(command, sizeof(command), "rm -r %s", folder);
    cr_assert_eq(system(command), 0);
}

TestSuite(cli_call, .init = set_up, .fini = tear_down);

static struct args args_with(const char *timeout)
{
    static const struct command_option credentials = {"credentials", "DIR", ""}, seconds = {"timeout", "S", ""};
    struct args args = {.option_count = 1, .options = {{&credentials, folder}}};
    if (timeout)
        args.options[args.option_count++] = (struct command_given){&seconds, timeout};
    return args;
}

static enum err ask(const char *method, const char *timeout, void *ret_answer, struct note *note)
{
    struct args args = args_with(timeout);
    Twofold__V1__ListHostsRequest request = TWOFOLD__V1__LIST_HOSTS_REQUEST__INIT;
    return call_admin(&args, method, &request.base, &twofold__v1__list_hosts_response__descriptor, 0, ret_answer, note);
}

static void fails(const char *method, enum err wanted, const char *words)
{
    ProtobufCMessage *answer = NULL;
    struct note note = {0};
    enum err err = ask(method, "1", &answer, &note);
    cr_assert_eq(err, wanted, "%s: %s", err_name(err), note.text);
    cr_assert_null(answer);
    cr_assert(strstr(note.text, words), "%s", note.text);
}

Test(cli_call, an_answer)
{
    Twofold__V1__ListHostsResponse *answer = NULL;
    struct note note = {0};
    start_server("spiffe://example.org/controller/main");
    put_controller();
    cr_assert_eq(ask("ListHosts", NULL, &answer, &note), ERR_OK, "%s", note.text);
    cr_assert_eq(answer->generation, 7);
    message_free(answer);
}

Test(cli_call, answers_that_are_none)
{
    start_server("spiffe://example.org/controller/main");
    put_controller();
    fails("GetStatus", ERR_DENIED, "The controller refuses: no right to ask");
    fails("ListAudit", ERR_MALFORMED, "cannot be read");
    fails("ShowPolicy", ERR_PROTOCOL, "cannot be read");
    fails("CheckPolicy", ERR_PROTOCOL, "without an answer");
    fails("Explain", ERR_TIMEOUT, "did not answer in time");
}

Test(cli_call, a_host_is_no_controller)
{
    start_server("spiffe://example.org/agent/main");
    put_controller();
    fails("ListHosts", ERR_IDENTITY, "no controller of trust domain 'example.org'");
}

Test(cli_call, a_controller_of_another_trust_domain)
{
    start_server("spiffe://example.com/controller/main");
    put_controller();
    fails("ListHosts", ERR_IDENTITY, "no controller of trust domain 'example.org'");
}

Test(cli_call, nobody_there)
{
    address = (struct ip_endpoint){.ip = {.len = 4, .bytes = {127, 0, 0, 1}}, .port = 1};
    put_controller();
    fails("ListHosts", ERR_UNREACHABLE, "The controller at 127.0.0.1:1 does not answer");
}

Test(cli_call, credentials_that_are_no_good)
{
    address = (struct ip_endpoint){.ip = {.len = 4, .bytes = {127, 0, 0, 1}}, .port = 1};
    fails("ListHosts", ERR_NOT_FOUND, "/controller");
    put("controller", "localhost\n", 10);
    fails("ListHosts", ERR_INVALID, "does not hold an address and a port");
    put_controller();
    put("network-ca.pem", "x", 1);
    fails("ListHosts", ERR_NOT_FOUND, "network-ca.pem holds no certificate");
    put_admin("spiffe://example.org/admin/alice", now() - 60);
    fails("ListHosts", ERR_EXPIRED, "has expired");
    put_admin("spiffe://example.org/agent/web", now() + 3600);
    fails("ListHosts", ERR_IDENTITY, "no administrator's certificate");
    put_admin("spiffe://example.org/admin/alice", now() + 3600);
    put("admin.key", "x", 1);
    fails("ListHosts", ERR_MALFORMED, "admin.key");
    put_admin("spiffe://example.org/admin/alice", now() + 3600);
    put("admin.pem", "", 0);
    fails("ListHosts", ERR_NOT_FOUND, "admin.pem holds no certificate");
    strcat(folder, "/none");
    fails("ListHosts", ERR_NOT_FOUND, "There are no administrator's credentials");
    folder[strlen(folder) - 5] = 0;
}
