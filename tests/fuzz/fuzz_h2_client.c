// SPDX-License-Identifier: GPL-2.0-or-later
// What a server can send behind TLS: bytes into the HTTP/2 engine of a client that has a tunnel and a request open.
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "proto/link/h2_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct owner {
    unsigned gones;
    unsigned closes;
};

static enum err sink_write(void *context, const uint8_t *bytes, size_t len)
{
    volatile uint8_t last = bytes[len - 1];

    (void)context;
    (void)last;
    return ERR_OK;
}

static bool sink_is_full(void *context)
{
    (void)context;
    return false;
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
    (void)session_owner;
    (void)stream;
    (void)end;
    assert(h2_header(headers, ":status"));
}

static void on_data(void *session_owner, struct h2_stream *stream, const uint8_t *bytes, size_t len)
{
    size_t taken;

    (void)session_owner;
    h2_consume(stream, len / 2);
    (void)!h2_send(stream, bytes, len, &taken);
}

static void on_end(void *session_owner, struct h2_stream *stream, const struct h2_headers *trailers)
{
    (void)session_owner;
    (void)trailers;
    (void)!h2_send_end(stream, NULL, 0);
}

static void on_writable(void *session_owner, struct h2_stream *stream)
{
    (void)session_owner;
    (void)stream;
}

static void on_gone(void *session_owner, struct h2_stream *stream, uint32_t code)
{
    (void)stream;
    (void)code;
    ((struct owner *)session_owner)->gones++;
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
static const struct h2_settings settings = {.stream_window_bytes = 65536, .connection_window_bytes = 1 << 20};
static const struct h2_header tunnel[] = {{":method", "CONNECT"}, {":authority", "192.0.2.1:80"}};
static const struct h2_header request[] = {
    {":method", "POST"}, {":scheme", "https"}, {":authority", "a"}, {":path", "/a/b"}};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct h2_session *session = calloc(1, sizeof(*session));
    struct h2_stream *stream;
    struct owner owner = {0};
    uint64_t now_ms = 1000;
    unsigned opened = 0;

    if (!session || size < 1)
        goto end;
    if (h2_engine_init(session, false, &settings, &events, &owner, &sink, &owner))
        abort();
    h2_engine_open(session, now_ms);
    opened += h2_open(session, tunnel, 2, false, &owner, &stream) == ERR_OK;
    opened += h2_open(session, request, 4, true, &owner, &stream) == ERR_OK;
    h2_engine_flush(session, now_ms);
    size_t step = data[0] ? data[0] : size;
    for (size_t at = 1; at < size; at += step) {
        h2_engine_receive(session, data + at, size - at < step ? size - at : step, now_ms);
        h2_engine_flush(session, now_ms);
        opened += h2_open(session, request, 4, false, &owner, &stream) == ERR_OK;
    }
    h2_engine_free(session);
    assert(owner.gones == opened); // each stream ends once
    assert(owner.closes <= 1);
end:
    free(session);
    return 0;
}
