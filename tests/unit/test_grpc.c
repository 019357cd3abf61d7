// SPDX-License-Identifier: GPL-2.0-or-later
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/link/grpc.h"
#include "proto/link/grpc_internal.h"
#include "tests/unit/pki.h"

static uint64_t read_clock(void *context)
{
    (void)context;
    return PKI_NOW * 1000ull;
}

static const struct clock test_clock = {.boot_ms = read_clock, .unix_ms = read_clock};

// What a call saw; on the server also what it does.
struct seen {
    struct grpc_call *call;
    unsigned messages, half_closes, dones;
    size_t bytes;
    uint8_t sum;
    enum grpc_status status;
    char text[GRPC_TEXT_BYTES];
    bool inside;
};

enum behaviour {
    ECHO_EACH,
    ECHO_AT_END,
    FINISH_AT_ONCE,
    SILENT,
    CANCEL_ON_MESSAGE,
    CUT_ON_MESSAGE,
    REFUSE,
    SEND_TOO_MUCH
};

static uv_loop_t loop;
static uv_timer_t tick;
static struct pki pki;
static struct tls_context *server_context, *client_context, *stranger_context;
static struct grpc_server *server;
static struct grpc_channel *channel;
static unsigned opens, gones, server_gones, calls, refusals;
static enum err gone_err;
static struct note gone_note;
static enum behaviour behaviour;
static struct seen at_server, at_client;
static char called_path[128], called_by[64];

static void on_tick(uv_timer_t *timer)
{
    (void)timer;
}

static void run_until(const unsigned *count, unsigned value)
{
    while (*count < value)
        uv_run(&loop, UV_RUN_ONCE);
}

// ---- calls

static void see_message(struct seen *seen, const uint8_t *bytes, size_t len)
{
    cr_expect_eq(seen->dones, 0);
    seen->messages++;
    seen->bytes += len;
    for (size_t i = 0; i < len; i++)
        seen->sum = (uint8_t)(seen->sum * 31 + bytes[i]);
}

static void on_done(void *owner, struct grpc_call *call, enum grpc_status status, const char *text)
{
    struct seen *seen = owner;

    (void)call;
    cr_expect_not(seen->inside);
    seen->dones++;
    seen->status = status;
    snprintf(seen->text, sizeof(seen->text), "%s", text);
    seen->call = NULL;
}

static void on_server_message(void *owner, struct grpc_call *call, const uint8_t *bytes, size_t len)
{
    struct seen *seen = owner;

    see_message(seen, bytes, len);
    seen->inside = true;
    switch (behaviour) {
    case ECHO_EACH:
        cr_expect_eq(grpc_call_send(call, bytes, len), ERR_OK);
        break;
    case CANCEL_ON_MESSAGE:
        grpc_call_cancel(call);
        break;
    case CUT_ON_MESSAGE:
        grpc_call_cut_connection(call);
        break;
    case FINISH_AT_ONCE:
        grpc_call_finish(call, GRPC_ABORTED, "enough");
        break;
    case ECHO_AT_END:
    case SILENT:
    case REFUSE:
    case SEND_TOO_MUCH:
        break;
    }
    seen->inside = false;
}

static void on_server_half_close(void *owner, struct grpc_call *call)
{
    struct seen *seen = owner;

    seen->half_closes++;
    if (behaviour == SILENT)
        return;
    if (behaviour == ECHO_AT_END)
        cr_expect_eq(grpc_call_send(call, "end", 3), ERR_OK);
    grpc_call_finish(call, GRPC_OK, "");
}

static const struct grpc_call_events server_call_events = {on_server_message, on_server_half_close, on_done};

static void on_client_message(void *owner, struct grpc_call *call, const uint8_t *bytes, size_t len)
{
    (void)call;
    see_message(owner, bytes, len);
}

static const struct grpc_call_events client_call_events = {.on_message = on_client_message, .on_done = on_done};

static void on_call(void *owner, struct grpc_call *call, const char *path, const struct cert_facts *peer,
                    const struct ip_endpoint *remote)
{
    (void)owner;
    calls++;
    cr_expect(ip_is_loopback(&remote->ip));
    snprintf(called_path, sizeof(called_path), "%s", path);
    snprintf(called_by, sizeof(called_by), "%s", peer ? peer->id.name : "nobody");
    if (behaviour == REFUSE) {
        grpc_call_finish(call, GRPC_PERMISSION_DENIED, "50 % of hosts may,\nthis one not: \xc3\xa4");
        return;
    }
    at_server.call = call;
    grpc_call_set_owner(call, &server_call_events, &at_server);
    if (behaviour == SEND_TOO_MUCH) {
        static uint8_t bytes[16 << 20];
        enum err err = ERR_OK;
        for (int i = 0; i < 4 && !err; i++)
            err = grpc_call_send(call, bytes, sizeof(bytes));
        cr_expect_eq(err, ERR_LIMIT);
    }
}

static void on_refused(void *owner, const struct ip_endpoint *remote, enum err err, const struct note *note)
{
    (void)owner;
    cr_expect(ip_is_loopback(&remote->ip));
    cr_expect_neq(err, ERR_OK);
    cr_expect_neq(note->text[0], 0);
    refusals++;
}

static const struct grpc_server_events server_events = {on_call, on_refused};

static void on_open(void *owner, struct grpc_channel *channel_)
{
    (void)owner;
    (void)channel_;
    opens++;
}

static void on_gone(void *owner, struct grpc_channel *channel_, enum err err, const struct note *note)
{
    (void)owner;
    (void)channel_;
    gones++;
    gone_err = err;
    gone_note = *note;
    channel = NULL;
}

static const struct grpc_channel_events channel_events = {on_open, on_gone};

static void on_server_gone(void *owner)
{
    (void)owner;
    server_gones++;
    server = NULL;
}

// ---- the rig

static struct tls_context *context_of(enum tls_side side, enum tls_peer_check check, const char *uri)
{
    struct cert_facts facts;
    struct pki_leaf leaf;
    struct tls_context *context;
    struct note note;

    pki_facts(uri ? uri : "spiffe://example.org/host/none", &facts);
    pki_leaf(&pki, &facts, &leaf);
    struct tls_config config = {.side = side,
                                .peer_check = check,
                                .key = uri ? leaf.key : NULL,
                                .certificate = uri ? leaf.der : NULL,
                                .certificate_len = uri ? leaf.len : 0,
                                .trust = pki.trust,
                                .alpn = "h2",
                                .clock = &test_clock};
    cr_assert_eq(tls_context_new(&config, &context, &note), ERR_OK, "%s", note.text);
    pki_leaf_free(&leaf);
    return context;
}

static void start_server(size_t max_connections)
{
    struct ip_endpoint address = {.port = 0};
    struct note note;

    cr_assert_eq(ip_parse("127.0.0.1", &address.ip), ERR_OK);
    cr_assert_eq(
        grpc_server_new(&loop, &address, 1, server_context, max_connections, &server_events, NULL, &server, &note),
        ERR_OK, "%s", note.text);
}

static void start(void)
{
    signal(SIGPIPE, SIG_IGN);
    tls_library_start();
    pki_init(&pki);
    server_context = context_of(TLS_SERVER, TLS_PEER_OPTIONAL, "spiffe://example.org/controller/one");
    client_context = context_of(TLS_CLIENT, TLS_PEER_REQUIRED, "spiffe://example.org/agent/web");
    stranger_context = context_of(TLS_CLIENT, TLS_PEER_REQUIRED, NULL);
    uv_loop_init(&loop);
    uv_timer_init(&loop, &tick);
    uv_timer_start(&tick, on_tick, 5, 5);
    start_server(16);
}

static void finish(void)
{
    if (channel) {
        grpc_channel_close(channel);
        run_until(&gones, 1);
    }
    if (server)
        grpc_server_close(server, on_server_gone);
    uv_close((uv_handle_t *)&tick, NULL);
    cr_expect_eq(uv_run(&loop, UV_RUN_DEFAULT), 0);
    cr_expect_eq(uv_loop_close(&loop), 0);
    tls_context_drop(server_context);
    tls_context_drop(client_context);
    tls_context_drop(stranger_context);
    pki_free(&pki);
}

TestSuite(grpc, .init = start, .fini = finish, .timeout = 60);

static void connect_with(struct tls_context *context)
{
    struct ip_endpoint address = grpc_server_address(server, 0);

    cr_assert_eq(grpc_connect(&loop, &address, NULL, context, 10000, &channel_events, NULL, &channel), ERR_OK);
    run_until(&opens, 1);
}

static void start_call(uint64_t deadline_ms)
{
    cr_assert_eq(grpc_call_start(channel, "/twofold.v1.Test/Call", deadline_ms, &client_call_events, &at_client,
                                 &at_client.call),
                 ERR_OK);
}

Test(grpc, a_unary_call)
{
    behaviour = ECHO_EACH;
    connect_with(client_context);
    start_call(5000);
    cr_assert_eq(grpc_call_send(at_client.call, "hello", 5), ERR_OK);
    cr_assert_eq(grpc_call_half_close(at_client.call), ERR_OK);
    cr_expect_eq(grpc_call_send(at_client.call, "more", 4), ERR_CLOSED);
    run_until(&at_client.dones, 1);
    cr_expect_eq(at_client.status, GRPC_OK, "%s", at_client.text);
    cr_expect_eq(at_client.messages, 1);
    cr_expect_eq(at_client.bytes, 5);
    cr_expect_str_eq(called_path, "/twofold.v1.Test/Call");
    cr_expect_str_eq(called_by, "web");
    run_until(&at_server.dones, 1);
    cr_expect_eq(at_server.half_closes, 1);
    cr_expect_eq(at_server.status, GRPC_OK);
}

Test(grpc, an_empty_request_without_a_message)
{
    behaviour = ECHO_AT_END;
    connect_with(client_context);
    start_call(0);
    cr_assert_eq(grpc_call_half_close(at_client.call), ERR_OK);
    run_until(&at_client.dones, 1);
    cr_expect_eq(at_client.status, GRPC_OK);
    cr_expect_eq(at_client.bytes, 3);
    cr_expect_eq(at_server.half_closes, 1);
}

Test(grpc, a_stream_of_messages_both_ways)
{
    static uint8_t bytes[300000];
    size_t total = 0;

    behaviour = ECHO_EACH;
    connect_with(client_context);
    start_call(0);
    for (size_t i = 0; i < 40; i++) {
        size_t len = i % 5 == 0 ? 0 : i * 7001 % sizeof(bytes);
        bytes[0] = (uint8_t)i;
        cr_assert_eq(grpc_call_send(at_client.call, bytes, len), ERR_OK);
        total += len;
    }
    cr_assert_eq(grpc_call_half_close(at_client.call), ERR_OK);
    run_until(&at_client.dones, 1);
    cr_expect_eq(at_client.messages, 40);
    cr_expect_eq(at_client.bytes, total);
    cr_expect_eq(at_client.sum, at_server.sum);
    cr_expect_eq(at_client.status, GRPC_OK);
}

Test(grpc, the_largest_message_passes_and_a_larger_one_does_not)
{
    uint8_t *bytes = calloc(1, GRPC_MESSAGE_BYTES_MAX + 1);

    behaviour = ECHO_AT_END;
    connect_with(client_context);
    start_call(0);
    cr_expect_eq(grpc_call_send(at_client.call, bytes, GRPC_MESSAGE_BYTES_MAX + 1), ERR_LIMIT);
    cr_assert_eq(grpc_call_send(at_client.call, bytes, GRPC_MESSAGE_BYTES_MAX), ERR_OK);
    cr_assert_eq(grpc_call_send(at_client.call, "behind", 6), ERR_OK);
    cr_assert_eq(grpc_call_half_close(at_client.call), ERR_OK);
    run_until(&at_client.dones, 1);
    cr_expect_eq(at_client.status, GRPC_OK, "%s", at_client.text);
    cr_expect_eq(at_server.bytes, GRPC_MESSAGE_BYTES_MAX + 6);
    free(bytes);
}

Test(grpc, what_waits_is_bounded)
{
    behaviour = SEND_TOO_MUCH;
    connect_with(client_context);
    start_call(0);
    run_until(&calls, 1);
}

Test(grpc, a_refusal_brings_its_words)
{
    behaviour = REFUSE;
    connect_with(client_context);
    start_call(0);
    cr_assert_eq(grpc_call_send(at_client.call, "x", 1), ERR_OK);
    run_until(&at_client.dones, 1);
    cr_expect_eq(at_client.status, GRPC_PERMISSION_DENIED);
    cr_expect_str_eq(at_client.text, "50 % of hosts may,?this one not: \xc3\xa4");
}

Test(grpc, the_server_ends_before_the_client_does)
{
    behaviour = FINISH_AT_ONCE;
    connect_with(client_context);
    start_call(0);
    cr_assert_eq(grpc_call_send(at_client.call, "one", 3), ERR_OK);
    cr_assert_eq(grpc_call_send(at_client.call, "two", 3), ERR_OK);
    run_until(&at_client.dones, 1);
    run_until(&at_server.dones, 1); // without the client's half-close
    cr_expect_eq(at_server.messages, 1);
    cr_expect_eq(at_client.status, GRPC_ABORTED);
    cr_expect_str_eq(at_client.text, "enough");
}

Test(grpc, the_deadline_passes)
{
    behaviour = SILENT;
    connect_with(client_context);
    start_call(50);
    cr_assert_eq(grpc_call_send(at_client.call, "x", 1), ERR_OK);
    run_until(&at_client.dones, 1);
    cr_expect_eq(at_client.status, GRPC_DEADLINE_EXCEEDED);
    run_until(&at_server.dones, 1);
    cr_expect_eq(at_server.status, GRPC_CANCELLED);
}

Test(grpc, either_end_cancels)
{
    behaviour = SILENT;
    connect_with(client_context);
    start_call(0);
    run_until(&calls, 1);
    at_client.inside = true;
    grpc_call_cancel(at_client.call);
    grpc_call_cancel(at_client.call);
    at_client.inside = false;
    run_until(&at_client.dones, 1);
    cr_expect_eq(at_client.status, GRPC_CANCELLED);
    run_until(&at_server.dones, 1);

    memset(&at_client, 0, sizeof(at_client));
    memset(&at_server, 0, sizeof(at_server));
    behaviour = CANCEL_ON_MESSAGE;
    start_call(0);
    cr_assert_eq(grpc_call_send(at_client.call, "x", 1), ERR_OK);
    run_until(&at_client.dones, 1);
    run_until(&at_server.dones, 1);
    cr_expect_eq(at_client.status, GRPC_CANCELLED);
    cr_expect_eq(gones, 0);
}

Test(grpc, a_cut_connection_ends_its_calls)
{
    behaviour = CUT_ON_MESSAGE;
    connect_with(client_context);
    start_call(0);
    cr_assert_eq(grpc_call_send(at_client.call, "x", 1), ERR_OK);
    run_until(&gones, 1);
    cr_expect_eq(at_client.dones, 1); // before the channel's end
    cr_expect_eq(at_client.status, GRPC_UNAVAILABLE);
    run_until(&at_server.dones, 1);
}

Test(grpc, a_closing_server_ends_its_calls)
{
    behaviour = SILENT;
    connect_with(client_context);
    start_call(0);
    run_until(&calls, 1);
    grpc_server_close(server, on_server_gone);
    run_until(&at_client.dones, 1);
    cr_expect_eq(at_client.status, GRPC_UNAVAILABLE);
    run_until(&server_gones, 1);
    run_until(&gones, 1);
    cr_expect_eq(at_server.dones, 1);
}

Test(grpc, a_closing_channel_ends_its_calls)
{
    behaviour = SILENT;
    connect_with(client_context);
    start_call(0);
    run_until(&calls, 1);
    grpc_channel_close(channel);
    cr_expect_eq(at_client.dones, 0);
    run_until(&gones, 1);
    cr_expect_eq(at_client.dones, 1);
    cr_expect_eq(gone_err, ERR_OK);
    run_until(&at_server.dones, 1);
}

Test(grpc, a_client_without_a_certificate_is_nobody_and_small)
{
    static uint8_t bytes[GRPC_STRANGER_MESSAGE_BYTES_MAX + 1];

    behaviour = ECHO_AT_END;
    connect_with(stranger_context);
    start_call(0);
    cr_assert_eq(grpc_call_send(at_client.call, bytes, sizeof(bytes)), ERR_OK);
    run_until(&at_client.dones, 1);
    cr_expect_str_eq(called_by, "nobody");
    cr_expect_eq(at_client.status, GRPC_RESOURCE_EXHAUSTED);
    cr_expect_eq(at_server.messages, 0);
}

Test(grpc, too_many_connections_are_turned_away)
{
    struct ip_endpoint address;

    grpc_server_close(server, on_server_gone);
    run_until(&server_gones, 1);
    start_server(0);
    address = grpc_server_address(server, 0);
    cr_assert_eq(grpc_connect(&loop, &address, NULL, client_context, 10000, &channel_events, NULL, &channel), ERR_OK);
    run_until(&gones, 1);
    cr_expect_eq(opens, 0);
    cr_expect_neq(gone_err, ERR_OK);
}

// 64 of one source; with 1,024 places there is room for 128 strangers in all.
Test(grpc, strangers_of_one_source_leave_places_to_others)
{
    struct grpc_channel *strangers[65];

    grpc_server_close(server, NULL);
    start_server(1024);
    for (size_t i = 0; i < 65; i++) {
        opens = 0;
        connect_with(stranger_context);
        strangers[i] = channel;
    }
    run_until(&gones, 1); // the last
    channel = NULL;
    for (size_t i = 0; i < 64; i++)
        grpc_channel_close(strangers[i]);
    run_until(&gones, 65);
}

Test(grpc, a_stranger_is_reported)
{
    struct tls_context *own = client_context;
    struct pki kept = pki;
    struct ip_endpoint address = grpc_server_address(server, 0);

    pki_init(&pki);
    struct tls_context *other = context_of(TLS_CLIENT, TLS_PEER_REQUIRED, "spiffe://example.org/agent/web");
    cr_assert_eq(grpc_connect(&loop, &address, NULL, other, 10000, &channel_events, NULL, &channel), ERR_OK);
    run_until(&gones, 1);
    run_until(&refusals, 1);
    cr_expect_eq(gone_err, ERR_IDENTITY, "%s", gone_note.text);
    tls_context_drop(other);
    pki_free(&pki);
    pki = kept;
    client_context = own;
}

Test(grpc, a_taken_address_is_said)
{
    struct grpc_server *second;
    struct ip_endpoint address = grpc_server_address(server, 0);
    struct note note;

    cr_expect_neq(grpc_server_new(&loop, &address, 1, server_context, 1, &server_events, NULL, &second, &note), ERR_OK);
    cr_expect(strstr(note.text, "127.0.0.1"), "%s", note.text);
}

Test(grpc, a_new_context_serves_new_connections)
{
    struct tls_context *next = context_of(TLS_SERVER, TLS_PEER_REQUIRED, "spiffe://example.org/controller/two");

    behaviour = ECHO_EACH;
    grpc_server_set_context(server, next);
    tls_context_drop(next);
    connect_with(client_context);
    cr_expect_str_eq(conn_peer(grpc_channel_conn(channel))->id.name, "two");
}

Test(grpc, texts_and_types)
{
    char encoded[64], decoded[64];

    grpc_text_encode("a %\n\xc3\xa4", encoded, sizeof(encoded));
    cr_expect_str_eq(encoded, "a %25%0A%C3%A4");
    grpc_text_decode(encoded, decoded, sizeof(decoded));
    cr_expect_str_eq(decoded, "a %?\xc3\xa4");
    grpc_text_decode("%zz%4", decoded, sizeof(decoded));
    cr_expect_str_eq(decoded, "%zz%4");
    grpc_text_encode("%%%%%%%%%%", encoded, 8); // cut, never within an escape
    cr_expect_str_eq(encoded, "%25%25");
    cr_expect(grpc_content_type_is_good("application/grpc"));
    cr_expect(grpc_content_type_is_good("application/grpc+proto"));
    cr_expect(grpc_content_type_is_good("application/grpc;charset=utf-8"));
    cr_expect_not(grpc_content_type_is_good("application/grpc+json"));
    cr_expect_not(grpc_content_type_is_good("application/grpc-web"));
    cr_expect_not(grpc_content_type_is_good("text/html"));
    cr_expect_not(grpc_content_type_is_good(NULL));
}

Test(grpc, strangers_do_not_take_the_places_of_known_clients)
{
    struct grpc_channel *strangers[9];

    behaviour = ECHO_EACH;
    for (size_t i = 0; i < 9; i++) {
        opens = 0;
        connect_with(stranger_context);
        strangers[i] = channel;
    }
    run_until(&gones, 1); // the ninth
    opens = 0;
    connect_with(client_context);
    start_call(5000);
    cr_assert_eq(grpc_call_send(at_client.call, "hello", 5), ERR_OK);
    cr_assert_eq(grpc_call_half_close(at_client.call), ERR_OK);
    run_until(&at_client.dones, 1);
    cr_expect_eq(at_client.status, GRPC_OK);
    struct grpc_channel *known = channel;
    for (size_t i = 0; i < 8; i++)
        grpc_channel_close(strangers[i]);
    run_until(&gones, 9);
    gones = 0;
    channel = known;
}
