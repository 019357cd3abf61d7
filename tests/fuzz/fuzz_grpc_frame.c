// SPDX-License-Identifier: GPL-2.0-or-later
// The body of a gRPC call: messages behind their prefixes, in pieces as the first byte says, and grpc-message texts.
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "proto/link/grpc_internal.h"
#include "proto/link/h2_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t seen_bytes;

static enum err sink_write(void *context, const uint8_t *bytes, size_t len)
{
    (void)context;
    (void)bytes;
    (void)len;
    return ERR_OK;
}

static bool sink_is_full(void *context)
{
    (void)context;
    return false;
}

static void sink_ignore(void *context)
{
    (void)context;
}

static const struct h2_transport sink = {sink_write, sink_is_full, sink_ignore, sink_ignore};

static void on_message(void *owner, struct grpc_call *call, const uint8_t *bytes, size_t len)
{
    (void)owner;
    (void)call;
    volatile uint8_t last = len ? bytes[len - 1] : 0;
    (void)last;
    seen_bytes += len + GRPC_PREFIX_BYTES;
}

static void on_done(void *owner, struct grpc_call *call, enum grpc_status status, const char *text)
{
    (void)owner;
    (void)call;
    (void)status;
    (void)text;
}

static void on_gone(void *session_owner, struct h2_stream *stream, uint32_t code)
{
    (void)session_owner;
    grpc_call_on_gone(h2_stream_owner(stream), code);
}

static const struct grpc_call_events call_events = {.on_message = on_message, .on_done = on_done};
static const struct h2_events events = {.on_gone = on_gone};
static const struct h2_settings settings = {.stream_window_bytes = 65536, .connection_window_bytes = 65536};
static const struct h2_header request[] = {
    {":method", "POST"}, {":scheme", "https"}, {":authority", "a"}, {":path", "/a/b"}};

static void check_text(const uint8_t *data, size_t size)
{
    char text[256], encoded[3 * sizeof(text) + 1], decoded[sizeof(text)];

    if (size >= sizeof(text))
        size = sizeof(text) - 1;
    memcpy(text, data, size);
    text[size] = 0;
    grpc_text_decode(text, decoded, sizeof(decoded));
    grpc_text_encode(decoded, encoded, sizeof(encoded));
    grpc_text_decode(encoded, text, sizeof(text));
    assert(strcmp(text, decoded) == 0);
    (void)grpc_content_type_is_good(decoded);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct h2_session *session = calloc(1, sizeof(*session));
    struct grpc_call *call;

    if (!session || size < 1)
        goto end;
    check_text(data, size);
    if (h2_engine_init(session, false, &settings, &events, NULL, &sink, NULL) || grpc_call_new(false, 65536, &call))
        abort();
    h2_engine_open(session, 1000);
    grpc_call_set_owner(call, &call_events, NULL);
    if (h2_open(session, request, 4, false, call, &call->stream))
        abort();
    seen_bytes = 0;
    size_t step = data[0] ? data[0] : size;
    for (size_t at = 1; at < size; at += step)
        grpc_call_on_data(call, data + at, size - at < step ? size - at : step);
    assert(seen_bytes <= size);
    h2_engine_free(session);
end:
    free(session);
    return 0;
}
