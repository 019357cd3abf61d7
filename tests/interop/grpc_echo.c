// SPDX-License-Identifier: GPL-2.0-or-later
// A gRPC server over our link for other people's clients: makes a CA, its own and a client's certificate in the folder given, prints its port,
// and serves until its standard input ends.
//   Unary: the message comes back; Stream: each one does; Count: as many messages as the request has bytes; Fail: a status with words;
//   Slow: never answers. Anything else is unimplemented.
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/file.h"
#include "proto/link/grpc.h"

static struct grpc_server *server;
static uv_pipe_t input;

static void must(enum err err, const struct note *note)
{
    if (!err)
        return;
    fprintf(stderr, "grpc_echo: %s: %s\n", err_name(err), note ? note->text : "");
    exit(1);
}

// ---- calls

static void on_echo(void *owner, struct grpc_call *call, const uint8_t *bytes, size_t len)
{
    (void)owner;
    if (grpc_call_send(call, bytes, len))
        grpc_call_cancel(call);
}

static void on_count(void *owner, struct grpc_call *call, const uint8_t *bytes, size_t len)
{
    (void)owner;
    for (size_t i = 1; i <= len; i++)
        if (grpc_call_send(call, bytes, i))
            grpc_call_cancel(call);
}

static void on_ignored(void *owner, struct grpc_call *call, const uint8_t *bytes, size_t len)
{
    (void)owner;
    (void)call;
    (void)bytes;
    (void)len;
}

static void on_last(void *owner, struct grpc_call *call)
{
    (void)owner;
    grpc_call_finish(call, GRPC_OK, "");
}

static void on_last_ignored(void *owner, struct grpc_call *call)
{
    (void)owner;
    (void)call;
}

static void on_done(void *owner, struct grpc_call *call, enum grpc_status status, const char *text)
{
    (void)owner;
    (void)call;
    (void)status;
    (void)text;
}

static const struct grpc_call_events echo = {on_echo, on_last, on_done};
static const struct grpc_call_events counting = {on_count, on_last, on_done};
static const struct grpc_call_events silent = {on_ignored, on_last_ignored, on_done};

static void on_call(void *owner, struct grpc_call *call, const char *path, const struct cert_facts *peer,
                    const struct ip_endpoint *remote)
{
    (void)owner;
    (void)remote;
    if (strcmp(path, "/test.Echo/Unary") == 0)
        grpc_call_set_owner(call, &echo, NULL);
    else if (strcmp(path, "/test.Echo/Stream") == 0)
        grpc_call_set_owner(call, &echo, NULL);
    else if (strcmp(path, "/test.Echo/Count") == 0)
        grpc_call_set_owner(call, &counting, NULL);
    else if (strcmp(path, "/test.Echo/Slow") == 0)
        grpc_call_set_owner(call, &silent, NULL);
    else if (strcmp(path, "/test.Echo/Fail") == 0)
        grpc_call_finish(call, GRPC_FAILED_PRECONDITION, peer ? peer->id.name : "100 % nobody: \xc3\xa4\xc3\xb6");
    else
        grpc_call_finish(call, GRPC_UNIMPLEMENTED, "there is no such method");
}

static void on_refused(void *owner, const struct ip_endpoint *remote, enum err err, const struct note *note)
{
    (void)owner;
    (void)remote;
    printf("refused %s: %s\n", err_name(err), note->text);
    fflush(stdout);
}

static const struct grpc_server_events server_events = {on_call, on_refused};

// ---- certificates

struct leaf {
    struct key *key;
    uint8_t *der;
    size_t len;
};

static void write_pem(const char *folder, const char *name, const uint8_t *der, size_t len)
{
    char path[512], *pem;
    struct note note;

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    must(cert_der_to_pem(der, len, &pem), NULL);
    must(file_write(path, pem, strlen(pem), 0644, &note), &note);
    free(pem);
}

static void make_leaf(const struct key *ca, const uint8_t *root, size_t root_len, const char *uri,
                      struct leaf *ret_leaf)
{
    struct cert_facts *facts = calloc(1, sizeof(*facts));
    struct note note;
    uint8_t *request;
    size_t len;

    if (!facts)
        abort();
    must(spiffe_parse(uri, &facts->id), NULL);
    facts->not_before = clock_unix_ms(&clock_system) / 1000 - 60;
    facts->not_after = facts->not_before + 3600;
    facts->address_count = 1;
    must(ip_parse("127.0.0.1", &facts->addresses[0]), NULL);
    must(key_new(&ret_leaf->key), NULL);
    must(key_request(ret_leaf->key, "test", &request, &len), NULL);
    must(cert_issue(ca, root, root_len, request, len, facts, &ret_leaf->der, &ret_leaf->len, &note), &note);
    free(request);
    free(facts);
}

static void leaf_free(struct leaf *leaf)
{
    key_free(leaf->key);
    free(leaf->der);
}

static struct tls_context *make_context(const char *folder, struct trust *trust)
{
    struct tls_context *context;
    struct leaf own, client;
    char path[512];
    struct note note;
    struct key *ca;
    uint8_t *root;
    size_t root_len;
    uint64_t now = clock_unix_ms(&clock_system) / 1000;

    must(key_new(&ca), NULL);
    must(cert_issue_root(ca, "Test CA", now - 60, now + 3600, &root, &root_len), NULL);
    must(trust_add(trust, root, root_len, &note), &note);
    make_leaf(ca, root, root_len, "spiffe://example.org/controller/echo", &own);
    make_leaf(ca, root, root_len, "spiffe://example.org/admin/js", &client);
    write_pem(folder, "ca.pem", root, root_len);
    write_pem(folder, "client.pem", client.der, client.len);
    snprintf(path, sizeof(path), "%s/client.key", folder);
    must(key_save(client.key, path, &note), &note);
    struct tls_config config = {.side = TLS_SERVER,
                                .peer_check = TLS_PEER_OPTIONAL,
                                .key = own.key,
                                .certificate = own.der,
                                .certificate_len = own.len,
                                .trust = trust,
                                .alpn = "h2",
                                .clock = &clock_system};
    must(tls_context_new(&config, &context, &note), &note);
    leaf_free(&own);
    leaf_free(&client);
    key_free(ca);
    free(root);
    return context;
}

// ---- life

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret_room)
{
    static char room[64];

    (void)handle;
    (void)suggested;
    *ret_room = uv_buf_init(room, sizeof(room));
}

static void on_input(uv_stream_t *stream, ssize_t len, const uv_buf_t *room)
{
    (void)room;
    if (len >= 0)
        return;
    uv_close((uv_handle_t *)stream, NULL);
    grpc_server_close(server, NULL);
}

int main(int argc, char **argv)
{
    struct ip_endpoint address = {.port = 0};
    struct trust *trust;
    struct note note;
    uv_loop_t loop;

    if (argc != 2)
        return 2;
    signal(SIGPIPE, SIG_IGN);
    tls_library_start();
    must(trust_new(&trust), NULL);
    struct tls_context *context = make_context(argv[1], trust);
    uv_loop_init(&loop);
    must(ip_parse("127.0.0.1", &address.ip), NULL);
    must(grpc_server_new(&loop, &address, 1, context, 16, &server_events, NULL, &server, &note), &note);
    tls_context_drop(context);
    printf("port %u\n", grpc_server_address(server, 0).port);
    fflush(stdout);
    uv_pipe_init(&loop, &input, 0);
    uv_pipe_open(&input, 0);
    uv_read_start((uv_stream_t *)&input, on_alloc, on_input);
    uv_run(&loop, UV_RUN_DEFAULT);
    uv_loop_close(&loop);
    trust_free(trust);
    return 0;
}
