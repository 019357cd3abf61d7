// SPDX-License-Identifier: GPL-2.0-or-later
// Two engines over memory, and at the end a pair over real connections.
#include <criterion/criterion.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "proto/link/h2_internal.h"
#include "tests/unit/pki.h"

struct end {
    struct h2_session session;
    struct buf out; // for the other end
    bool full;
    unsigned closes;

    // what happened
    unsigned headers, datas, ends, gones, writables, goaways, session_gones, opens;
    size_t bytes;
    uint8_t sum;
    uint32_t last_code;
    char last_headers[1024];
    char last_trailers[256];
    struct h2_stream *stream; // the last one that began
    // what it does
    bool answer; // 200 and no body
    bool answer_and_end;
    bool consume;
    bool reset_on_data, reset_on_headers;
    const uint8_t *to_send;
    size_t to_send_len;
    bool end_behind;
};

static struct end client, server;
static uint64_t now_ms;

static const struct h2_settings settings = {.stream_window_bytes = 1 << 20,
                                            .connection_window_bytes = 4 << 20,
                                            .max_concurrent_streams = 100,
                                            .connect_protocol = true};

// ---- the transport

static enum err memory_write(void *context, const uint8_t *bytes, size_t len)
{
    return buf_append(&((struct end *)context)->out, bytes, len);
}

static bool memory_is_full(void *context)
{
    return ((struct end *)context)->full;
}

static void memory_schedule(void *context)
{
    (void)context;
}

static void memory_close(void *context)
{
    ((struct end *)context)->closes++;
}

static const struct h2_transport memory = {memory_write, memory_is_full, memory_schedule, memory_close};

// ---- the owner

static void write_headers(char *room, size_t room_len, const struct h2_headers *headers)
{
    size_t used = 0;

    room[0] = 0;
    for (size_t i = 0; i < headers->count && used < room_len; i++)
        used +=
            (size_t)snprintf(room + used, room_len - used, "%s=%s;", headers->items[i].name, headers->items[i].value);
}

static void send_more(struct end *end, struct h2_stream *stream)
{
    size_t taken;

    cr_assert_eq(h2_send(stream, end->to_send, end->to_send_len, &taken), ERR_OK);
    end->to_send += taken;
    end->to_send_len -= taken;
    if (end->to_send_len == 0 && end->end_behind)
        cr_expect_eq(h2_send_end(stream, NULL, 0), ERR_OK);
}

static void on_headers(void *owner, struct h2_stream *stream, const struct h2_headers *headers, bool is_end)
{
    struct end *end = owner;
    static const struct h2_header ok[] = {{":status", "200"}};

    (void)is_end;
    end->headers++;
    end->stream = stream;
    h2_stream_set_owner(stream, end);
    write_headers(end->last_headers, sizeof(end->last_headers), headers);
    if (end->reset_on_headers)
        h2_reset(stream, H2_CANCEL);
    else if (end->answer || end->answer_and_end)
        cr_expect_eq(h2_respond(stream, ok, 1, end->answer_and_end), ERR_OK);
    if (end->to_send)
        send_more(end, stream);
}

static void on_data(void *owner, struct h2_stream *stream, const uint8_t *bytes, size_t len)
{
    struct end *end = owner;

    end->datas++;
    end->bytes += len;
    for (size_t i = 0; i < len; i++)
        end->sum = (uint8_t)(end->sum * 31 + bytes[i]);
    if (end->consume)
        h2_consume(stream, len);
    if (end->reset_on_data)
        h2_reset(stream, H2_CANCEL);
}

static void on_end(void *owner, struct h2_stream *stream, const struct h2_headers *trailers)
{
    struct end *end = owner;

    (void)stream;
    end->ends++;
    if (trailers)
        write_headers(end->last_trailers, sizeof(end->last_trailers), trailers);
}

static void on_writable(void *owner, struct h2_stream *stream)
{
    struct end *end = owner;

    end->writables++;
    send_more(end, stream);
}

static void on_gone(void *owner, struct h2_stream *stream, uint32_t code)
{
    struct end *end = owner;

    end->gones++;
    end->last_code = code;
    if (end->stream == stream)
        end->stream = NULL;
}

static void on_session_open(void *owner, struct h2_session *session)
{
    (void)session;
    ((struct end *)owner)->opens++;
}

static void on_session_goaway(void *owner, struct h2_session *session)
{
    (void)session;
    ((struct end *)owner)->goaways++;
}

static void on_session_gone(void *owner, struct h2_session *session, enum err err, const struct note *note)
{
    (void)session;
    (void)err;
    (void)note;
    ((struct end *)owner)->session_gones++;
}

static const struct h2_events events = {on_headers,      on_data,           on_end,         on_writable, on_gone,
                                        on_session_open, on_session_goaway, on_session_gone};

// ---- the rig

static void end_init(struct end *end, bool is_server)
{
    memset(end, 0, sizeof(*end));
    buf_init(&end->out, 64 << 20);
    cr_assert_eq(h2_engine_init(&end->session, is_server, &settings, &events, end, &memory, end), ERR_OK);
    h2_engine_open(&end->session, now_ms);
}

static void start(void)
{
    signal(SIGPIPE, SIG_IGN);
    now_ms = 1000000;
    end_init(&client, false);
    end_init(&server, true);
}

static void finish(void)
{
    h2_engine_free(&client.session);
    h2_engine_free(&server.session);
    buf_free(&client.out);
    buf_free(&server.out);
}

TestSuite(h2, .init = start, .fini = finish, .timeout = 60);

static bool carry(struct end *from, struct end *to)
{
    h2_engine_flush(&from->session, now_ms);
    if (from->out.len == 0)
        return false;
    struct buf bytes = from->out;
    buf_init(&from->out, bytes.limit);
    if (!to->closes)
        h2_engine_receive(&to->session, buf_bytes(&bytes), bytes.len, now_ms);
    buf_free(&bytes);
    return true;
}

static void run(void)
{
    for (int quiet = 0; quiet < 2;)
        quiet = (carry(&client, &server) ? 1 : 0) + (carry(&server, &client) ? 1 : 0) ? 0 : quiet + 1;
}

static const struct h2_header connect_request[] = {
    {":method", "CONNECT"}, {":authority", "192.0.2.1:80"}, {"forwarded", "for=\"192.0.2.9:1\""}};
static const struct h2_header get_request[] = {
    {":method", "GET"}, {":scheme", "https"}, {":authority", "example.org"}, {":path", "/"}};

static struct h2_stream *open_connect(void)
{
    struct h2_stream *stream;
    cr_assert_eq(h2_open(&client.session, connect_request, 3, false, &client, &stream), ERR_OK);
    return stream;
}

static void raw_to_server(const void *bytes, size_t len)
{
    h2_engine_receive(&server.session, bytes, len, now_ms);
}

// A frame from a client that keeps to no rule.
static void frame_to_server(uint8_t type, uint8_t flags, uint32_t id, const void *payload, size_t len)
{
    uint8_t bytes[9 + 1024] = {(uint8_t)(len >> 16), (uint8_t)(len >> 8), (uint8_t)len,       type,       flags,
                               (uint8_t)(id >> 24),  (uint8_t)(id >> 16), (uint8_t)(id >> 8), (uint8_t)id};
    if (len)
        memcpy(bytes + 9, payload, len);
    raw_to_server(bytes, 9 + len);
}

static void raw_client_begins(void)
{
    raw_to_server("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 24);
    frame_to_server(NGHTTP2_SETTINGS, 0, 0, NULL, 0);
}

// :method CONNECT, :authority "a:1" as literals without indexing
static const uint8_t connect_block[] = {0x02, 7, 'C', 'O', 'N', 'N', 'E', 'C', 'T', 0x01, 3, 'a', ':', '1'};

static void expect_calmed(const char *words)
{
    h2_engine_flush(&server.session, now_ms);
    cr_expect_eq(server.closes, 1);
    cr_expect_eq(server.session.err, ERR_LIMIT);
    cr_expect(strstr(server.session.note.text, words), "%s", server.session.note.text);
    // The last frame is GOAWAY with ENHANCE_YOUR_CALM.
    cr_assert_geq(server.out.len, 17);
    const uint8_t *frame = NULL, *at = buf_bytes(&server.out);
    for (size_t left = server.out.len; left >= 9;) {
        frame = at;
        size_t len = 9 + (size_t)(at[0] << 16 | at[1] << 8 | at[2]);
        at += len;
        left -= len;
    }
    cr_expect_eq(frame[3], NGHTTP2_GOAWAY);
    cr_expect_eq(frame[9 + 7], NGHTTP2_ENHANCE_YOUR_CALM);
}

// ---- the good cases

Test(h2, a_tunnel_carries_bytes_and_half_closes_both_ways)
{
    size_t taken;

    server.answer = server.consume = client.consume = true;
    struct h2_stream *stream = open_connect();
    run();
    cr_expect_str_eq(server.last_headers, ":method=CONNECT;:authority=192.0.2.1:80;forwarded=for=\"192.0.2.9:1\";");
    cr_expect_str_eq(client.last_headers, ":status=200;");
    cr_assert_eq(h2_send(stream, (const uint8_t *)"ping", 4, &taken), ERR_OK);
    cr_assert_eq(h2_send_end(stream, NULL, 0), ERR_OK);
    cr_expect_eq(h2_send(stream, (const uint8_t *)"x", 1, &taken), ERR_CLOSED);
    run();
    cr_expect_eq(server.bytes, 4);
    cr_expect_eq(server.ends, 1);
    cr_expect_eq(server.gones, 0);
    cr_assert_eq(h2_send(server.stream, (const uint8_t *)"pong!", 5, &taken), ERR_OK);
    run();
    cr_expect_eq(client.bytes, 5);
    cr_expect_eq(client.gones, 0);
    cr_assert_eq(h2_send_end(server.stream, NULL, 0), ERR_OK);
    run();
    cr_expect_eq(client.ends, 1);
    cr_expect_eq(client.gones, 1);
    cr_expect_eq(client.last_code, 0);
    cr_expect_eq(server.gones, 1);
    cr_expect_eq(h2_session_streams(&client.session), 0);
    cr_expect_eq(h2_session_streams(&server.session), 0);
}

Test(h2, extended_connect_passes)
{
    static const struct h2_header udp[] = {{":method", "CONNECT"},
                                           {":protocol", "connect-udp"},
                                           {":scheme", "https"},
                                           {":authority", "example.org"},
                                           {":path", "/.well-known/masque/udp/192.0.2.1/53/"}};
    struct h2_stream *stream;

    run(); // SETTINGS
    server.answer = true;
    cr_assert_eq(h2_open(&client.session, udp, 5, false, &client, &stream), ERR_OK);
    run();
    cr_expect_eq(server.headers, 1);
    cr_expect(strstr(server.last_headers, ":protocol=connect-udp"), "%s", server.last_headers);
    cr_expect_eq(client.headers, 1);
}

Test(h2, a_request_without_a_body_and_trailers_behind_the_answer)
{
    static const struct h2_header ok[] = {{":status", "200"}}, trailers[] = {{"grpc-status", "0"}};
    struct h2_stream *stream;
    size_t taken;

    client.consume = true;
    cr_assert_eq(h2_open(&client.session, get_request, 4, true, &client, &stream), ERR_OK);
    run();
    cr_expect_eq(server.ends, 1);
    cr_assert_eq(h2_respond(server.stream, ok, 1, false), ERR_OK);
    run();
    cr_assert_eq(h2_send(server.stream, (const uint8_t *)"abc", 3, &taken), ERR_OK);
    cr_assert_eq(h2_send_end(server.stream, trailers, 1), ERR_OK);
    run();
    cr_expect_eq(client.bytes, 3);
    cr_expect_str_eq(client.last_trailers, "grpc-status=0;");
    cr_expect_eq(client.ends, 1);
    cr_expect_eq(client.gones, 1);
    cr_expect_eq(server.gones, 1);
}

static void send_large(bool both)
{
    static uint8_t bytes[10 << 20];
    uint8_t sum = 0;

    for (size_t i = 0; i < sizeof(bytes); i++) {
        bytes[i] = (uint8_t)(i ^ i >> 8 ^ i >> 16);
        sum = (uint8_t)(sum * 31 + bytes[i]);
    }
    server.answer = server.consume = client.consume = true;
    if (both) {
        server.to_send = bytes;
        server.to_send_len = sizeof(bytes);
        server.end_behind = true;
    }
    client.to_send = bytes;
    client.to_send_len = sizeof(bytes);
    client.end_behind = true;
    open_connect();
    run();
    cr_expect_eq(server.bytes, sizeof(bytes));
    cr_expect_eq(server.sum, sum);
    cr_expect_gt(client.writables, 100);
    if (both) {
        cr_expect_eq(client.sum, sum);
        cr_expect_eq(client.gones, 1);
        cr_expect_eq(client.last_code, 0);
    }
}

Test(h2, ten_megabytes_arrive_whole)
{
    send_large(false);
}

Test(h2, ten_megabytes_both_ways_at_once)
{
    send_large(true);
}

Test(h2, frames_fill_records)
{
    static uint8_t bytes[H2_SEND_QUEUE_BYTES];
    size_t taken;

    server.answer = true;
    struct h2_stream *stream = open_connect();
    run();
    cr_assert_eq(h2_send(stream, bytes, sizeof(bytes), &taken), ERR_OK);
    cr_expect_eq(taken, H2_SEND_QUEUE_BYTES);
    cr_expect_eq(h2_send_room(stream), 0);
    cr_assert_eq(h2_send(stream, bytes, 1, &taken), ERR_OK);
    cr_expect_eq(taken, 0);
    h2_engine_flush(&client.session, now_ms);
    const uint8_t *frame = buf_bytes(&client.out);
    cr_expect_eq(frame[0] << 16 | frame[1] << 8 | frame[2], 16375);
    cr_expect_eq(client.writables, 1);
    client.out.len = 0;
}

Test(h2, a_full_transport_holds_the_frames_and_loses_none)
{
    static uint8_t bytes[60000];

    server.answer = server.consume = true;
    open_connect();
    run();
    client.full = true;
    size_t taken;
    cr_assert_eq(h2_send(client.stream ? client.stream : NULL, bytes, sizeof(bytes), &taken), ERR_OK);
    run();
    cr_expect_eq(server.bytes, 0);
    client.full = false;
    run();
    cr_expect_eq(server.bytes, sizeof(bytes));
}

Test(h2, the_window_follows_what_is_consumed)
{
    static uint8_t bytes[4 << 20];

    server.answer = true; // and consumes nothing
    client.to_send = bytes;
    client.to_send_len = sizeof(bytes);
    open_connect();
    run();
    cr_expect_eq(server.bytes, settings.stream_window_bytes);
    h2_consume(server.stream, settings.stream_window_bytes);
    run();
    cr_expect_eq(server.bytes, 2 * settings.stream_window_bytes);
    // More than was received gives no more window.
    h2_consume(server.stream, 100u << 20);
    run();
    cr_expect_eq(server.bytes, 3 * settings.stream_window_bytes);
}

Test(h2, a_stream_that_goes_gives_the_window_of_the_connection_back)
{
    static uint8_t bytes[1 << 20];

    server.answer = true;
    for (int i = 0; i < 12; i++) { // three times the connection's window
        client.to_send = bytes;
        client.to_send_len = sizeof(bytes);
        client.end_behind = false;
        struct h2_stream *stream = open_connect();
        run();
        cr_assert_eq(server.bytes, (size_t)(i + 1) << 20, "stream %d", i);
        h2_reset(stream, H2_CANCEL);
        run();
    }
    cr_expect_eq(server.gones, 12);
}

// ---- ends

Test(h2, a_reset_carries_its_code_and_nothing_follows_it)
{
    size_t taken;

    server.answer = true;
    struct h2_stream *stream = open_connect();
    run();
    cr_assert_eq(h2_send(stream, (const uint8_t *)"x", 1, &taken), ERR_OK);
    h2_reset(stream, H2_CONNECT_ERROR);
    h2_reset(stream, H2_CANCEL);
    cr_expect_eq(client.gones, 0);
    cr_expect_eq(h2_send(stream, (const uint8_t *)"x", 1, &taken), ERR_CLOSED);
    run();
    cr_expect_eq(client.gones, 1);
    cr_expect_eq(server.gones, 1);
    cr_expect_eq(server.last_code, H2_CONNECT_ERROR);
    cr_expect_eq(server.ends, 0);
}

Test(h2, resets_from_inside_callbacks)
{
    size_t taken;

    server.reset_on_headers = true;
    open_connect();
    run();
    cr_expect_eq(client.gones, 1);
    cr_expect_eq(client.last_code, H2_CANCEL);
    server.reset_on_headers = false;
    server.answer = server.reset_on_data = true;
    struct h2_stream *stream = open_connect();
    run();
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(h2_send(stream, (const uint8_t *)"x", 1, &taken), ERR_OK);
        h2_engine_flush(&client.session, now_ms);
    }
    run();
    cr_expect_eq(server.datas, 1);
    cr_expect_eq(client.gones, 2);
}

Test(h2, ending_early_gives_up_the_request)
{
    server.answer_and_end = true;
    client.consume = true;
    open_connect();
    h2_engine_flush(&client.session, now_ms);
    carry(&client, &server);
    h2_end_early(server.stream);
    run();
    cr_expect_eq(client.ends, 1);
    cr_expect_eq(client.gones, 1);
    cr_expect_eq(client.last_code, H2_NO_ERROR);
    cr_expect_eq(server.gones, 1);
}

Test(h2, shutdown_lets_streams_end_and_then_closes)
{
    struct h2_stream *stream, *late;

    server.answer = client.consume = server.consume = true;
    stream = open_connect();
    run();
    h2_engine_shutdown(&server.session, 5000, now_ms);
    run();
    cr_expect_eq(client.goaways, 1);
    cr_expect_eq(h2_open(&client.session, connect_request, 3, false, &client, &late), ERR_CLOSED);
    cr_expect_eq(server.closes, 0);
    cr_assert_eq(h2_send_end(stream, NULL, 0), ERR_OK);
    run();
    cr_assert_eq(h2_send_end(server.stream, NULL, 0), ERR_OK);
    run();
    cr_expect_eq(client.gones, 1);
    cr_expect_eq(client.last_code, 0);
    cr_expect_eq(server.closes, 1);
    cr_expect_eq(server.session.err, ERR_OK);
    cr_expect_eq(client.closes, 1);
    cr_expect_eq(client.session.err, ERR_CLOSED);
}

Test(h2, shutdown_does_not_wait_for_ever)
{
    server.answer = true;
    open_connect();
    run();
    h2_engine_shutdown(&server.session, 5000, now_ms);
    run();
    cr_expect_eq(h2_engine_deadline(&server.session), now_ms + 5000);
    h2_engine_tick(&server.session, now_ms + 4999);
    cr_expect_eq(server.closes, 0);
    h2_engine_tick(&server.session, now_ms + 5000);
    cr_expect_eq(server.closes, 1);
}

Test(h2, shutdown_at_once)
{
    server.answer = true;
    open_connect();
    run();
    h2_engine_shutdown(&client.session, 0, now_ms);
    run();
    cr_expect_eq(client.closes, 1);
    cr_expect_eq(server.goaways, 1);
}

Test(h2, a_request_that_goaway_overtook_is_refused)
{
    run();
    h2_engine_shutdown(&server.session, 0, now_ms);
    open_connect(); // the client does not know yet
    carry(&server, &client);
    run();
    cr_expect_eq(client.gones, 1);
    cr_expect_eq(client.last_code, H2_REFUSED_STREAM);
    cr_expect_eq(h2_session_streams(&client.session), 0);
}

Test(h2, all_streams_go_with_the_connection)
{
    server.answer = true;
    open_connect();
    open_connect();
    run();
    h2_engine_free(&client.session);
    cr_expect_eq(client.gones, 2);
    cr_expect_eq(client.last_code, H2_LOST);
    end_init(&client, false);
}

// ---- limits

Test(h2, the_peers_stream_limit_holds)
{
    struct h2_stream *stream;

    run();
    for (unsigned i = 0; i < settings.max_concurrent_streams; i++)
        open_connect();
    cr_expect_eq(h2_open(&client.session, connect_request, 3, false, &client, &stream), ERR_LIMIT);
    run();
    cr_expect_eq(server.headers, 100);
}

Test(h2, pings_find_a_dead_peer)
{
    client.session.settings.ping_interval_ms = 10000;
    client.session.next_ping_ms = now_ms + 10000;
    run();
    now_ms += 10000;
    h2_engine_tick(&client.session, now_ms);
    cr_expect_eq(client.session.unanswered_pings, 1);
    run(); // the server answers
    cr_expect_eq(client.session.unanswered_pings, 0);
    for (int i = 0; i < 3; i++) {
        now_ms += 10000;
        h2_engine_tick(&client.session, now_ms);
    }
    cr_expect_eq(client.closes, 1);
    cr_expect_eq(client.session.err, ERR_TIMEOUT);
}

Test(h2, rapid_reset_is_stopped)
{
    raw_client_begins();
    for (uint32_t i = 0; i < 4100 && !server.session.is_over; i++) {
        frame_to_server(NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, 2 * i + 1, connect_block, sizeof(connect_block));
        frame_to_server(NGHTTP2_RST_STREAM, 0, 2 * i + 1, "\0\0\0\x08", 4);
    }
    expect_calmed("resets of streams");
    cr_expect_eq(server.headers, server.gones);
    cr_expect_leq(server.headers, 4001);
}

Test(h2, resets_that_the_peer_provokes_are_stopped_too)
{
    raw_client_begins();
    for (uint32_t i = 0; i < 4100 && !server.session.is_over; i++) {
        frame_to_server(NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, 2 * i + 1, connect_block, sizeof(connect_block));
        frame_to_server(NGHTTP2_WINDOW_UPDATE, 0, 2 * i + 1, "\x7f\xff\xff\xff", 4); // overflows the stream's window
        if (server.out.len > 1 << 20)
            buf_consume(&server.out, server.out.len);
        h2_engine_flush(&server.session, now_ms);
    }
    h2_engine_flush(&server.session, now_ms);
    cr_expect_eq(server.closes, 1);
    cr_expect_eq(server.session.err, ERR_LIMIT, "%s", server.session.note.text);
}

Test(h2, floods_of_small_frames_are_stopped)
{
    raw_client_begins();
    for (int i = 0; i < 300 && !server.session.is_over; i++) {
        frame_to_server(NGHTTP2_PING, 0, 0, "12345678", 8);
        h2_engine_flush(&server.session, now_ms);
    }
    expect_calmed("PING");
}

Test(h2, settings_floods_are_stopped)
{
    raw_client_begins();
    for (int i = 0; i < 40 && !server.session.is_over; i++) {
        frame_to_server(NGHTTP2_SETTINGS, 0, 0, NULL, 0);
        h2_engine_flush(&server.session, now_ms);
    }
    expect_calmed("SETTINGS");
}

Test(h2, floods_of_empty_data_are_stopped)
{
    server.answer = true;
    raw_client_begins();
    frame_to_server(NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, 1, connect_block, sizeof(connect_block));
    for (int i = 0; i < 300 && !server.session.is_over; i++)
        frame_to_server(NGHTTP2_DATA, 0, 1, NULL, 0);
    expect_calmed("empty DATA");
}

Test(h2, floods_of_priorities_are_stopped)
{
    raw_client_begins();
    for (uint32_t i = 0; i < 2500 && !server.session.is_over; i++)
        frame_to_server(NGHTTP2_PRIORITY, 0, 1, "\0\0\0\0\x10", 5);
    expect_calmed("carry nothing");
}

Test(h2, an_honest_pace_is_not_a_flood)
{
    raw_client_begins();
    for (int i = 0; i < 1000; i++) {
        now_ms += 200;
        frame_to_server(NGHTTP2_PING, 0, 0, "12345678", 8);
        h2_engine_flush(&server.session, now_ms);
    }
    cr_expect_not(server.session.is_over);
}

Test(h2, continuations_are_bounded)
{
    raw_client_begins();
    frame_to_server(NGHTTP2_HEADERS, 0, 1, connect_block, sizeof(connect_block));
    for (int i = 0; i < 20; i++)
        frame_to_server(NGHTTP2_CONTINUATION, 0, 1, NULL, 0);
    h2_engine_flush(&server.session, now_ms);
    cr_expect_eq(server.closes, 1);
    cr_expect_eq(server.headers, 0);
}

static void too_many_headers(size_t count, size_t value_len)
{
    struct h2_header headers[H2_HEADERS_MAX];
    char *value = calloc(1, value_len + 1);
    struct h2_stream *stream;

    memset(value, 'v', value_len);
    memcpy(headers, connect_request, sizeof(connect_request));
    for (size_t i = 3; i < count; i++)
        headers[i] = (struct h2_header){"x-header", value};
    cr_assert_eq(h2_open(&client.session, headers, count, false, &client, &stream), ERR_OK);
    run();
    free(value);
}

Test(h2, a_header_list_that_is_too_large_ends_its_stream_only)
{
    too_many_headers(20, 1000);
    cr_expect_eq(server.headers, 0);
    cr_expect_eq(server.gones, 0); // its owner never heard of it
    cr_expect_eq(client.gones, 1);
    cr_expect_eq(client.last_code, H2_ENHANCE_YOUR_CALM);
    server.answer = true;
    open_connect();
    run();
    cr_expect_eq(client.headers, 1);
}

Test(h2, sixty_four_headers_pass)
{
    server.answer = true;
    too_many_headers(64, 10);
    cr_expect_eq(server.headers, 1);
    cr_expect_eq(client.headers, 1);
}

Test(h2, garbage_is_no_http2)
{
    raw_to_server("GET / HTTP/1.1\r\nHost: example.org\r\n\r\n", 37);
    h2_engine_flush(&server.session, now_ms);
    cr_expect_eq(server.closes, 1);
    cr_expect_eq(server.session.err, ERR_PROTOCOL);
    cr_expect(strstr(server.session.note.text, "HTTP/2"), "%s", server.session.note.text);
}

Test(h2, a_broken_rule_ends_the_session_with_a_reason)
{
    raw_client_begins();
    frame_to_server(NGHTTP2_DATA, 0, 0, "x", 1); // DATA on stream 0
    h2_engine_flush(&server.session, now_ms);
    cr_expect_eq(server.closes, 1);
    cr_expect_eq(server.session.err, ERR_PROTOCOL);
    cr_expect_neq(server.session.note.text[0], 0);
}

Test(h2, invalid_requests_never_reach_the_owner)
{
    static const struct h2_header with_path[] = {
        {":method", "CONNECT"}, {":authority", "a:1"}, {":path", "/"}, {":scheme", "https"}};
    static const struct h2_header no_authority[] = {{":method", "CONNECT"}};
    static const struct h2_header no_path[] = {{":method", "GET"}, {":scheme", "https"}, {":authority", "a"}};
    static const struct h2_header connection[] = {
        {":method", "CONNECT"}, {":authority", "a:1"}, {"connection", "close"}};
    struct h2_stream *stream;

    cr_assert_eq(h2_open(&client.session, with_path, 4, false, &client, &stream), ERR_OK);
    cr_assert_eq(h2_open(&client.session, no_authority, 1, false, &client, &stream), ERR_OK);
    cr_assert_eq(h2_open(&client.session, no_path, 3, false, &client, &stream), ERR_OK);
    cr_assert_eq(h2_open(&client.session, connection, 3, false, &client, &stream), ERR_OK);
    run();
    cr_expect_eq(server.headers, 0);
    cr_expect_eq(client.gones, 4);
    cr_expect_eq(client.last_code, H2_PROTOCOL_ERROR);
}

Test(h2, bytes_one_by_one)
{
    server.answer = server.consume = true;
    client.to_send = (const uint8_t *)"hello";
    client.to_send_len = 5;
    open_connect();
    for (int i = 0; i < 3; i++) {
        h2_engine_flush(&client.session, now_ms);
        struct buf bytes = client.out;
        buf_init(&client.out, bytes.limit);
        for (size_t at = 0; at < bytes.len; at++)
            h2_engine_receive(&server.session, buf_bytes(&bytes) + at, 1, now_ms);
        buf_free(&bytes);
        carry(&server, &client);
    }
    cr_expect_eq(server.headers, 1);
    cr_expect_eq(server.bytes, 5);
}

// ---- over real connections

static uint64_t read_clock(void *context)
{
    (void)context;
    return PKI_NOW * 1000ull;
}

static const struct clock test_clock = {.boot_ms = read_clock, .unix_ms = read_clock};

struct real {
    struct tls_context *client_context, *server_context;
    struct h2_session *client_session, *server_session;
};

static struct tls_context *context_of(struct pki *pki, enum tls_side side)
{
    struct cert_facts facts;
    struct pki_leaf leaf;
    struct tls_context *context;
    struct note note;

    pki_facts("spiffe://example.org/host/web", &facts);
    pki_leaf(pki, &facts, &leaf);
    struct tls_config config = {.side = side,
                                .key = leaf.key,
                                .certificate = leaf.der,
                                .certificate_len = leaf.len,
                                .trust = pki->trust,
                                .alpn = "h2",
                                .clock = &test_clock};
    cr_assert_eq(tls_context_new(&config, &context, &note), ERR_OK, "%s", note.text);
    pki_leaf_free(&leaf);
    return context;
}

static void on_connection(uv_stream_t *stream, int status)
{
    struct real *real = stream->data;

    cr_assert_eq(status, 0);
    cr_assert_eq(h2_accept(stream, real->server_context, 10000, &settings, &events, &server, &real->server_session),
                 ERR_OK);
}

static void on_tick(uv_timer_t *timer)
{
    (void)timer;
}

Test(h2, over_tls_and_tcp)
{
    static uint8_t bytes[8 << 20];
    struct real real = {0};
    struct pki pki;
    uv_loop_t loop;
    uv_tcp_t listener;
    uv_timer_t tick;
    struct sockaddr_in any;
    struct sockaddr_storage bound;
    struct ip_endpoint address;
    int len = sizeof(bound);

    tls_library_start();
    pki_init(&pki);
    real.client_context = context_of(&pki, TLS_CLIENT);
    real.server_context = context_of(&pki, TLS_SERVER);
    uv_loop_init(&loop);
    uv_timer_init(&loop, &tick);
    uv_timer_start(&tick, on_tick, 5, 5);
    uv_tcp_init(&loop, &listener);
    listener.data = &real;
    uv_ip4_addr("127.0.0.1", 0, &any);
    cr_assert_eq(uv_tcp_bind(&listener, (struct sockaddr *)&any, 0), 0);
    cr_assert_eq(uv_listen((uv_stream_t *)&listener, 1, on_connection), 0);
    cr_assert_eq(uv_tcp_getsockname(&listener, (struct sockaddr *)&bound, &len), 0);
    cr_assert_eq(ip_endpoint_from_sockaddr((struct sockaddr *)&bound, &address), ERR_OK);

    cr_assert_eq(h2_connect(&loop, &address, NULL, real.client_context, 10000, &settings, &events, &client,
                            &real.client_session),
                 ERR_OK);
    struct h2_stream *stream;
    cr_expect_eq(h2_open(real.client_session, connect_request, 3, false, &client, &stream), ERR_CLOSED); // not yet
    while (!client.opens)
        uv_run(&loop, UV_RUN_ONCE);
    server.answer = server.consume = client.consume = true;
    client.to_send = server.to_send = bytes;
    client.to_send_len = server.to_send_len = sizeof(bytes);
    client.end_behind = server.end_behind = true;
    cr_assert_eq(h2_open(real.client_session, connect_request, 3, false, &client, &stream), ERR_OK);
    while (client.gones < 1 || server.gones < 1)
        uv_run(&loop, UV_RUN_ONCE);
    cr_expect_eq(client.bytes, sizeof(bytes));
    cr_expect_eq(server.bytes, sizeof(bytes));
    h2_shutdown(real.client_session, 1000);
    while (client.session_gones < 1 || server.session_gones < 1)
        uv_run(&loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&listener, NULL);
    uv_close((uv_handle_t *)&tick, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    cr_expect_eq(uv_loop_close(&loop), 0);
    tls_context_drop(real.client_context);
    tls_context_drop(real.server_context);
    pki_free(&pki);
}
