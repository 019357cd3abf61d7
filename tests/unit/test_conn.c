// SPDX-License-Identifier: GPL-2.0-or-later
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proto/link/conn.h"
#include "tests/unit/pki.h"

static uint64_t read_clock(void *context)
{
    (void)context;
    return PKI_NOW * 1000ull;
}

static const struct clock test_clock = {.boot_ms = read_clock, .unix_ms = read_clock};

enum act { ACT_NONE, ACT_CLOSE, ACT_ABORT, ACT_PAUSE };

// One end of a connection, and what it does when something happens to it.
struct end {
    struct conn *conn;
    unsigned opens, closes, drains, flushes;
    size_t bytes;
    uint8_t sum;
    enum err err;
    char text[NOTE_TEXT_BYTES];
    bool inside;
    enum act on_open, on_data;
    bool echo;
    const uint8_t *to_send; // goes out as the queue lets it
    size_t to_send_len;
    bool close_behind;
};

static uv_loop_t loop;
static uv_tcp_t listener;
static uv_timer_t tick; // so that a turn never waits long
static struct pki pki;
static struct tls_context *client_context, *server_context;
static struct ip_endpoint address;
static struct end client, server;
static unsigned accepted;
static uint64_t accept_timeout_ms = 10000;

static void act(struct end *end, enum act what)
{
    end->inside = true;
    switch (what) {
    case ACT_NONE:
        break;
    case ACT_CLOSE:
        conn_close(end->conn);
        break;
    case ACT_ABORT:
        conn_abort(end->conn);
        break;
    case ACT_PAUSE:
        conn_pause(end->conn);
        break;
    }
    end->inside = false;
}

static void send_more(struct end *end)
{
    while (end->to_send_len > 0) {
        size_t len = end->to_send_len < 65536 ? end->to_send_len : 65536;
        enum err err = conn_write(end->conn, end->to_send, len);
        if (err == ERR_LIMIT)
            return;
        cr_assert_eq(err, ERR_OK);
        end->to_send += len;
        end->to_send_len -= len;
    }
    if (end->close_behind)
        conn_close(end->conn);
}

static void on_open(void *owner, struct conn *conn)
{
    struct end *end = owner;

    cr_expect_eq(end->closes, 0);
    end->conn = conn;
    end->opens++;
    if (end->to_send)
        send_more(end);
    act(end, end->on_open);
}

static void on_data(void *owner, struct conn *conn, const uint8_t *bytes, size_t len)
{
    struct end *end = owner;

    cr_expect_eq(end->opens, 1);
    cr_expect_eq(end->closes, 0);
    end->bytes += len;
    for (size_t i = 0; i < len; i++)
        end->sum = (uint8_t)(end->sum * 31 + bytes[i]);
    if (end->echo)
        cr_expect_eq(conn_write(conn, bytes, len), ERR_OK);
    act(end, end->on_data);
}

static void on_drain(void *owner, struct conn *conn)
{
    struct end *end = owner;

    (void)conn;
    end->drains++;
    send_more(end);
}

static void on_flush(void *owner, struct conn *conn)
{
    (void)conn;
    ((struct end *)owner)->flushes++;
}

static void on_close(void *owner, struct conn *conn, enum err err, const struct note *note)
{
    struct end *end = owner;

    (void)conn;
    cr_expect_not(end->inside);
    end->closes++;
    end->err = err;
    snprintf(end->text, sizeof(end->text), "%s", note->text);
    end->conn = NULL;
}

static const struct conn_events events = {on_open, on_data, on_drain, on_flush, on_close};

static void on_connection(uv_stream_t *stream, int status)
{
    cr_assert_eq(status, 0);
    accepted++;
    cr_assert_eq(conn_accept(stream, server_context, accept_timeout_ms, &events, &server, &server.conn), ERR_OK);
}

static struct tls_context *context_of(enum tls_side side, const char *uri)
{
    struct cert_facts facts;
    struct pki_leaf leaf;
    struct tls_context *context;
    struct note note;

    pki_facts(uri, &facts);
    pki_leaf(&pki, &facts, &leaf);
    struct tls_config config = {.side = side,
                                .peer_check = TLS_PEER_REQUIRED,
                                .key = leaf.key,
                                .certificate = leaf.der,
                                .certificate_len = leaf.len,
                                .trust = pki.trust,
                                .alpn = "h2",
                                .clock = &test_clock};
    cr_assert_eq(tls_context_new(&config, &context, &note), ERR_OK, "%s", note.text);
    pki_leaf_free(&leaf);
    return context;
}

static void on_tick(uv_timer_t *timer)
{
    (void)timer;
}

static void start(void)
{
    struct sockaddr_storage bound;
    int len = sizeof(bound);

    signal(SIGPIPE, SIG_IGN);
    tls_library_start();
    pki_init(&pki);
    client_context = context_of(TLS_CLIENT, "spiffe://example.org/host/web");
    server_context = context_of(TLS_SERVER, "spiffe://example.org/host/api");
    cr_assert_eq(uv_loop_init(&loop), 0);
    uv_timer_init(&loop, &tick);
    uv_timer_start(&tick, on_tick, 5, 5);
    cr_assert_eq(uv_tcp_init(&loop, &listener), 0);
    struct sockaddr_in any;
    uv_ip4_addr("127.0.0.1", 0, &any);
    cr_assert_eq(uv_tcp_bind(&listener, (struct sockaddr *)&any, 0), 0);
    cr_assert_eq(uv_listen((uv_stream_t *)&listener, 16, on_connection), 0);
    cr_assert_eq(uv_tcp_getsockname(&listener, (struct sockaddr *)&bound, &len), 0);
    cr_assert_eq(ip_endpoint_from_sockaddr((struct sockaddr *)&bound, &address), ERR_OK);
}

static void finish(void)
{
    if (!uv_is_closing((uv_handle_t *)&listener))
        uv_close((uv_handle_t *)&listener, NULL);
    uv_close((uv_handle_t *)&tick, NULL);
    cr_expect_eq(uv_run(&loop, UV_RUN_DEFAULT), 0);
    cr_expect_eq(uv_loop_close(&loop), 0);
    tls_context_drop(client_context);
    tls_context_drop(server_context);
    pki_free(&pki);
}

TestSuite(conn, .init = start, .fini = finish, .timeout = 60);

static void run_until(const unsigned *count, unsigned value)
{
    while (*count < value)
        uv_run(&loop, UV_RUN_ONCE);
}

static void connect_client(void)
{
    cr_assert_eq(conn_connect(&loop, &address, NULL, client_context, 10000, &events, &client, &client.conn), ERR_OK);
}

static void open_both(void)
{
    connect_client();
    run_until(&client.opens, 1);
    run_until(&server.opens, 1);
}

static void both_close(void)
{
    run_until(&client.closes, 1);
    run_until(&server.closes, 1);
}

Test(conn, opens_talks_and_closes_in_order)
{
    server.echo = true;
    open_both();
    cr_expect_str_eq(conn_peer(client.conn)->id.name, "api");
    cr_expect_str_eq(conn_peer(server.conn)->id.name, "web");
    cr_expect_eq(conn_remote(client.conn)->port, address.port);
    cr_expect_eq(conn_local(server.conn)->port, address.port);
    cr_expect_eq(conn_remote(server.conn)->port, conn_local(client.conn)->port);
    cr_assert_eq(conn_write(client.conn, (const uint8_t *)"hello", 5), ERR_OK);
    while (client.bytes < 5)
        uv_run(&loop, UV_RUN_ONCE);
    conn_close(client.conn);
    conn_close(client.conn);
    cr_expect_eq(conn_write(client.conn, (const uint8_t *)"x", 1), ERR_CLOSED);
    both_close();
    cr_expect_eq(client.err, ERR_OK);
    cr_expect_eq(server.err, ERR_CLOSED, "%s", server.text);
}

Test(conn, sixteen_megabytes_arrive_whole)
{
    static uint8_t bytes[16 << 20];
    uint8_t sum = 0;

    for (size_t i = 0; i < sizeof(bytes); i++) {
        bytes[i] = (uint8_t)(i ^ i >> 8 ^ i >> 16);
        sum = (uint8_t)(sum * 31 + bytes[i]);
    }
    client.to_send = bytes;
    client.to_send_len = sizeof(bytes);
    client.close_behind = true;
    open_both();
    both_close();
    cr_expect_eq(server.bytes, sizeof(bytes));
    cr_expect_eq(server.sum, sum);
    cr_expect_gt(client.drains, 0);
    cr_expect_eq(client.err, ERR_OK);
}

Test(conn, the_queue_is_bounded)
{
    static uint8_t bytes[1 << 20];
    int taken = 0;

    server.on_open = ACT_PAUSE;
    open_both();
    enum err err = ERR_OK;
    for (int i = 0; i < 64 && !err; i++) {
        err = conn_write(client.conn, bytes, sizeof(bytes));
        taken += !err;
    }
    cr_expect_eq(err, ERR_LIMIT);
    cr_expect_leq(taken, 4);
    cr_expect_leq(conn_queued_bytes(client.conn), CONN_QUEUE_BYTES_MAX + (64u << 10));
    conn_abort(client.conn);
    conn_abort(server.conn);
    both_close();
}

Test(conn, a_paused_end_gets_nothing_until_it_resumes)
{
    static uint8_t bytes[300000];

    server.on_data = ACT_PAUSE;
    open_both();
    cr_assert_eq(conn_write(client.conn, bytes, sizeof(bytes)), ERR_OK);
    while (server.bytes == 0)
        uv_run(&loop, UV_RUN_ONCE);
    size_t before = server.bytes;
    for (int i = 0; i < 5; i++)
        uv_run(&loop, UV_RUN_NOWAIT);
    cr_expect_eq(server.bytes, before);
    cr_expect_lt(server.bytes, sizeof(bytes));
    while (server.bytes < sizeof(bytes)) {
        conn_resume(server.conn);
        uv_run(&loop, UV_RUN_ONCE);
    }
    cr_expect_eq(server.bytes, sizeof(bytes));
    conn_close(client.conn);
    conn_resume(server.conn);
    both_close();
}

Test(conn, flush_comes_once_a_turn)
{
    open_both();
    conn_schedule(client.conn);
    conn_schedule(client.conn);
    cr_expect_eq(client.flushes, 0);
    run_until(&client.flushes, 1);
    uv_run(&loop, UV_RUN_NOWAIT);
    cr_expect_eq(client.flushes, 1);
    conn_close(client.conn);
    both_close();
}

Test(conn, the_owner_closes_from_inside_on_open)
{
    server.on_open = ACT_CLOSE;
    connect_client();
    both_close();
    cr_expect_eq(server.err, ERR_OK);
    cr_expect_eq(client.err, ERR_CLOSED);
}

Test(conn, the_owner_closes_from_inside_on_data)
{
    static uint8_t bytes[200000];

    server.on_data = ACT_CLOSE;
    open_both();
    cr_assert_eq(conn_write(client.conn, bytes, sizeof(bytes)), ERR_OK);
    both_close();
    cr_expect_eq(server.err, ERR_OK);
}

Test(conn, an_abort_resets)
{
    server.on_data = ACT_ABORT;
    open_both();
    cr_assert_eq(conn_write(client.conn, (const uint8_t *)"x", 1), ERR_OK);
    both_close();
    cr_expect_eq(server.err, ERR_OK);
    cr_expect_eq(client.err, ERR_CLOSED);
    cr_expect(strstr(client.text, "reset"), "%s", client.text);
}

Test(conn, closing_before_it_is_open)
{
    connect_client();
    conn_close(client.conn);
    cr_expect_eq(client.closes, 0);
    run_until(&client.closes, 1);
    cr_expect_eq(client.opens, 0);
    cr_expect_eq(client.err, ERR_OK);
    if (accepted)
        run_until(&server.closes, 1);
}

Test(conn, nobody_listens)
{
    address.port = 1;
    connect_client();
    run_until(&client.closes, 1);
    cr_expect_eq(client.err, ERR_UNREACHABLE);
    cr_expect(strstr(client.text, "127.0.0.1:1"), "%s", client.text);
}

Test(conn, an_address_that_is_not_ours)
{
    struct ip local;

    cr_assert_eq(ip_parse("192.0.2.77", &local), ERR_OK);
    cr_assert_eq(conn_connect(&loop, &address, &local, client_context, 10000, &events, &client, &client.conn), ERR_OK);
    cr_expect_eq(client.closes, 0);
    run_until(&client.closes, 1);
    cr_expect_eq(client.err, ERR_UNREACHABLE);
}

Test(conn, a_local_address_is_used)
{
    struct ip local;

    cr_assert_eq(ip_parse("127.0.0.9", &local), ERR_OK);
    cr_assert_eq(conn_connect(&loop, &address, &local, client_context, 10000, &events, &client, &client.conn), ERR_OK);
    run_until(&server.opens, 1);
    cr_expect_eq(ip_compare(&conn_remote(server.conn)->ip, &local), 0);
    run_until(&client.opens, 1);
    conn_close(client.conn);
    both_close();
}

static int raw_client(void)
{
    struct sockaddr_storage to;
    socklen_t len = ip_endpoint_to_sockaddr(&address, &to);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    cr_assert_eq(connect(fd, (struct sockaddr *)&to, len), 0);
    return fd;
}

Test(conn, a_client_that_never_speaks_is_dropped)
{
    accept_timeout_ms = 200;
    int fd = raw_client();

    run_until(&accepted, 1);
    run_until(&server.closes, 1);
    cr_expect_eq(server.err, ERR_TIMEOUT);
    cr_expect(strstr(server.text, "TLS handshake within 200 ms"), "%s", server.text);
    close(fd);
}

Test(conn, a_client_that_hangs_up)
{
    close(raw_client());
    run_until(&server.closes, 1);
    cr_expect_eq(server.err, ERR_CLOSED);
    cr_expect_eq(server.opens, 0);
}

Test(conn, a_client_that_does_not_speak_tls)
{
    int fd = raw_client();

    cr_assert_eq(write(fd, "GET / HTTP/1.0\r\n\r\n", 18), 18);
    run_until(&accepted, 1);
    close(fd);
    run_until(&server.closes, 1);
    cr_expect_eq(server.err, ERR_PROTOCOL, "%s", server.text);
}

Test(conn, a_stranger_is_refused_and_told_so)
{
    struct pki own = pki;
    struct tls_context *kept = client_context;

    pki_init(&pki);
    client_context = context_of(TLS_CLIENT, "spiffe://example.org/host/web");
    connect_client();
    both_close();
    // The client finds the server just as strange.
    cr_expect_eq(client.err, ERR_IDENTITY, "%s", client.text);
    cr_expect_neq(server.err, ERR_OK);
    tls_context_drop(client_context);
    client_context = kept;
    pki_free(&pki);
    pki = own;
}

Test(conn, it_closes_clean_at_every_turn)
{
    static uint8_t bytes[100000];

    for (unsigned turns = 0; turns < 25; turns++) {
        memset(&client, 0, sizeof(client));
        memset(&server, 0, sizeof(server));
        accepted = 0;
        client.to_send = bytes;
        client.to_send_len = sizeof(bytes);
        server.echo = true;
        connect_client();
        for (unsigned i = 0; i < turns; i++)
            uv_run(&loop, UV_RUN_NOWAIT);
        if (client.conn)
            turns % 2 ? conn_close(client.conn) : conn_abort(client.conn);
        run_until(&client.closes, 1);
        while (accepted && !server.closes)
            uv_run(&loop, UV_RUN_ONCE);
        for (int i = 0; i < 3; i++) // a connection that was in the backlog
            uv_run(&loop, UV_RUN_NOWAIT);
        while (accepted && !server.closes)
            uv_run(&loop, UV_RUN_ONCE);
        cr_assert_eq(client.closes, 1);
    }
}
