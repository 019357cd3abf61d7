// SPDX-License-Identifier: GPL-2.0-or-later
// The client's end: a channel over one HTTP/2 connection. Order: grpc_connect -> on_open -> calls -> on_gone, last.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/text.h"
#include "proto/link/grpc_internal.h"

struct grpc_channel {
    uv_loop_t *loop;
    struct h2_session *session;
    const struct grpc_channel_events *events;
    void *owner;
    char authority[IP_ENDPOINT_TEXT_BYTES];
};

// The status that headers or trailers carry, if they do.
static void take_status(struct grpc_call *call, const struct h2_headers *headers)
{
    const char *value = h2_header(headers, "grpc-status");
    const char *message = h2_header(headers, "grpc-message");
    char text[GRPC_TEXT_BYTES] = "";
    uint64_t status;

    if (!value)
        return;
    if (message)
        grpc_text_decode(message, text, sizeof(text));
    if (decimal_parse(value, GRPC_UNAUTHENTICATED, &status) != ERR_OK)
        status = GRPC_UNKNOWN;
    grpc_call_set_status(call, (enum grpc_status)status, text);
}

static void on_headers(void *session_owner, struct h2_stream *stream, const struct h2_headers *headers, bool end)
{
    struct grpc_call *call = h2_stream_owner(stream);
    const char *status = h2_header(headers, ":status");
    char text[GRPC_TEXT_BYTES];

    (void)session_owner;
    if (!status || strcmp(status, "200") != 0 || !grpc_content_type_is_good(h2_header(headers, "content-type"))) {
        snprintf(text, sizeof(text), "the server answered with HTTP status %.16s and not with gRPC",
                 status ? status : "?");
        grpc_call_set_status(call, GRPC_UNKNOWN, text);
        grpc_call_cancel(call);
    } else if (end) {
        take_status(call, headers);
    }
}

static void on_data(void *session_owner, struct h2_stream *stream, const uint8_t *bytes, size_t len)
{
    (void)session_owner;
    grpc_call_on_data(h2_stream_owner(stream), bytes, len);
}

static void on_end(void *session_owner, struct h2_stream *stream, const struct h2_headers *trailers)
{
    struct grpc_call *call = h2_stream_owner(stream);

    (void)session_owner;
    if (trailers)
        take_status(call, trailers);
    // The call is decided; what we would still send is of no use.
    if (!call->ended) {
        call->ended = true;
        h2_reset(stream, H2_NO_ERROR);
    }
}

static void on_writable(void *session_owner, struct h2_stream *stream)
{
    (void)session_owner;
    grpc_call_on_writable(h2_stream_owner(stream));
}

static void on_gone(void *session_owner, struct h2_stream *stream, uint32_t code)
{
    (void)session_owner;
    grpc_call_on_gone(h2_stream_owner(stream), code);
}

static void on_session_open(void *session_owner, struct h2_session *session)
{
    struct grpc_channel *channel = session_owner;

    (void)session;
    channel->events->on_open(channel->owner, channel);
}

static void on_session_goaway(void *session_owner, struct h2_session *session)
{
    (void)session_owner;
    // Calls that the server still answers go on; new ones are refused by h2_open.
    (void)session;
}

static void on_session_gone(void *session_owner, struct h2_session *session, enum err err, const struct note *note)
{
    struct grpc_channel *channel = session_owner;

    (void)session;
    channel->events->on_gone(channel->owner, channel, err, note);
    free(channel);
}

static const struct h2_events client_events = {
    .on_headers = on_headers,
    .on_data = on_data,
    .on_end = on_end,
    .on_writable = on_writable,
    .on_gone = on_gone,
    .on_session_open = on_session_open,
    .on_session_goaway = on_session_goaway,
    .on_session_gone = on_session_gone,
};

static const struct h2_settings client_settings = {
    .stream_window_bytes = 1u << 20,
    .connection_window_bytes = 4u << 20,
    .max_concurrent_streams = 0,
    .ping_interval_ms = 10000,
};

enum err grpc_connect(uv_loop_t *loop, const struct ip_endpoint *remote, const struct ip *local,
                      struct tls_context *context, uint64_t timeout_ms, const struct grpc_channel_events *events,
                      void *owner, struct grpc_channel **ret_channel)
{
    struct grpc_channel *channel = calloc(1, sizeof(*channel));
    if (!channel)
        return ERR_NOMEM;
    channel->loop = loop;
    channel->events = events;
    channel->owner = owner;
    ip_endpoint_format(remote, channel->authority);
    enum err err = h2_connect(loop, remote, local, context, timeout_ms, &client_settings, &client_events, channel,
                              &channel->session);
    if (err) {
        free(channel);
        return err;
    }
    *ret_channel = channel;
    return ERR_OK;
}

void grpc_channel_close(struct grpc_channel *channel)
{
    h2_shutdown(channel->session, 0);
}

struct conn *grpc_channel_conn(struct grpc_channel *channel)
{
    return h2_conn(channel->session);
}

static void on_deadline(uv_timer_t *timer)
{
    struct grpc_call *call = timer->data;

    grpc_call_set_status(call, GRPC_DEADLINE_EXCEEDED, "the deadline passed without an answer");
    grpc_call_cancel(call);
}

static enum err start_deadline(struct grpc_channel *channel, struct grpc_call *call, uint64_t deadline_ms)
{
    if (uv_timer_init(channel->loop, &call->deadline) < 0)
        return ERR_IO;
    call->has_deadline = true;
    call->deadline.data = call;
    return uv_timer_start(&call->deadline, on_deadline, deadline_ms, 0) < 0 ? ERR_IO : ERR_OK;
}

enum err grpc_call_start(struct grpc_channel *channel, const char *path, uint64_t deadline_ms,
                         const struct grpc_call_events *events, void *owner, struct grpc_call **ret_call)
{
    char timeout[24];
    struct h2_header headers[] = {
        {":method", "POST"},
        {":scheme", "https"},
        {":path", path},
        {":authority", channel->authority},
        {"te", "trailers"},
        {"content-type", "application/grpc"},
        {"user-agent", "twofold/" TWOFOLD_VERSION},
        {"grpc-timeout", timeout},
    };
    size_t count = sizeof(headers) / sizeof(headers[0]) - (deadline_ms ? 0 : 1);
    struct grpc_call *call;

    enum err err = grpc_call_new(false, GRPC_MESSAGE_BYTES_MAX, &call);
    if (err)
        return err;
    grpc_call_set_owner(call, events, owner);
    // At most 8 digits are allowed (gRPC over HTTP/2, "Timeout").
    if (deadline_ms < 100000000)
        snprintf(timeout, sizeof(timeout), "%um", (unsigned)deadline_ms);
    else
        snprintf(timeout, sizeof(timeout), "%uS", (unsigned)(deadline_ms / 1000 % 100000000));
    err = h2_open(channel->session, headers, count, false, call, &call->stream);
    if (err) {
        grpc_call_free(call);
        return err;
    }
    // Without its timer the call would have no end: give it up now, which frees it in a later turn.
    if (deadline_ms && start_deadline(channel, call, deadline_ms) != ERR_OK)
        grpc_call_cancel(call);
    *ret_call = call;
    return ERR_OK;
}
