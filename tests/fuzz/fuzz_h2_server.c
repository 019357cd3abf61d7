// SPDX-License-Identifier: GPL-2.0-or-later
// What a client can send behind TLS: bytes into the HTTP/2 engine of a server that answers, echoes, and resets now and then. The preface and
// SETTINGS come first where the input has none; the first byte says in which pieces the rest arrives.
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "proto/link/h2_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0";

struct owner {
    size_t streams;
    size_t written;
    unsigned closes;
};

static enum err sink_write(void *context, const uint8_t *bytes, size_t len)
{
    struct owner *owner = context;
    volatile uint8_t last = bytes[len - 1];

    (void)last;
    owner->written += len;
    return ERR_OK;
}

static bool sink_is_full(void *context)
{
    return ((struct owner *)context)->written % 7 == 3;
}

static void sink_schedule(void *context)
{
    (void)context;
}

static void sink_close(void *context)
{
    ((struct owner *)context)->closes++;
}

static const struct h2_transport sink = {sink_write, sink_is_full, sink_schedule, sink_close};

static void on_headers(void *session_owner, struct h2_stream *stream, const struct h2_headers *headers, bool end)
{
    static const struct h2_header ok[] = {{":status", "200"}};
    struct owner *owner = session_owner;

    (void)end;
    owner->streams++;
    assert(headers->count <= H2_HEADERS_MAX);
    assert(h2_header(headers, ":method"));
    h2_stream_set_owner(stream, owner);
    if (h2_stream_id(stream) % 8 == 7)
        h2_reset(stream, H2_CANCEL);
    else
        (void)!h2_respond(stream, ok, 1, false);
}

static void on_data(void *session_owner, struct h2_stream *stream, const uint8_t *bytes, size_t len)
{
    size_t taken;

    (void)session_owner;
    (void)!h2_send(stream, bytes, len, &taken);
    h2_consume(stream, len);
}

static void on_end(void *session_owner, struct h2_stream *stream, const struct h2_headers *trailers)
{
    static const struct h2_header done[] = {{"grpc-status", "0"}};

    (void)session_owner;
    (void)!h2_send_end(stream, done, trailers ? 1 : 0);
}

static void on_writable(void *session_owner, struct h2_stream *stream)
{
    (void)session_owner;
    (void)stream;
}

static void on_gone(void *session_owner, struct h2_stream *stream, uint32_t code)
{
    struct owner *owner = session_owner;

    (void)code;
    assert(h2_stream_owner(stream) == owner);
    assert(owner->streams > 0);
    owner->streams--;
}

static void on_session(void *session_owner, struct h2_session *session)
{
    (void)session_owner;
    (void)session;
}

static const struct h2_events events = {.on_headers = on_headers,
                                        .on_data = on_data,
                                        .on_end = on_end,
                                        .on_writable = on_writable,
                                        .on_gone = on_gone,
                                        .on_session_open = on_session,
                                        .on_session_goaway = on_session};
static const struct h2_settings settings = {.stream_window_bytes = 65536,
                                            .connection_window_bytes = 1 << 20,
                                            .max_concurrent_streams = 20,
                                            .connect_protocol = true,
                                            .ping_interval_ms = 1000};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct h2_session *session = calloc(1, sizeof(*session));
    struct owner owner = {0};
    uint64_t now_ms = 1000;

    if (!session || size < 1)
        goto end;
    if (h2_engine_init(session, true, &settings, &events, &owner, &sink, &owner))
        abort();
    h2_engine_open(session, now_ms);
    if (size < 4 || memcmp(data + 1, "PRI", 3) != 0)
        h2_engine_receive(session, (const uint8_t *)preface, sizeof(preface) - 1, now_ms);
    size_t step = data[0] ? data[0] : size;
    for (size_t at = 1; at < size; at += step) {
        h2_engine_receive(session, data + at, size - at < step ? size - at : step, now_ms);
        h2_engine_flush(session, now_ms);
        owner.written++;
        now_ms += 10;
        h2_engine_tick(session, now_ms);
    }
    h2_engine_shutdown(session, data[0] % 2 ? 100 : 0, now_ms);
    h2_engine_flush(session, now_ms);
    h2_engine_free(session);
    assert(owner.streams == 0);
    assert(owner.closes <= 1);
end:
    free(session);
    return 0;
}
