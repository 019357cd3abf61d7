// SPDX-License-Identifier: GPL-2.0-or-later
// What a peer sends, as nghttp2 hands it over: to the owner of the stream, counted where it costs the peer nothing.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/link/h2_internal.h"

// ---- headers

static int on_begin_headers(nghttp2_session *ng, const nghttp2_frame *frame, void *context)
{
    struct h2_session *session = context;

    if (frame->hd.type != NGHTTP2_HEADERS)
        return 0;
    if (frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
        struct h2_stream *stream = h2_stream_new(session);
        if (!stream)
            return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
        stream->id = frame->hd.stream_id;
        nghttp2_session_set_stream_user_data(ng, stream->id, stream);
    }
    if (!session->incoming) {
        session->incoming = malloc(sizeof(*session->incoming));
        if (!session->incoming)
            return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    }
    session->incoming->headers.count = 0;
    session->incoming->used = 0;
    session->incoming->list_bytes = 0;
    session->incoming->too_large = false;
    return 0;
}

static const char *keep_text(struct h2_incoming *incoming, const uint8_t *bytes, size_t len)
{
    char *text = incoming->text + incoming->used;

    memcpy(text, bytes, len);
    text[len] = 0;
    incoming->used += len + 1;
    return text;
}

static int on_header(nghttp2_session *ng, const nghttp2_frame *frame, const uint8_t *name, size_t name_len,
                     const uint8_t *value, size_t value_len, uint8_t flags, void *context)
{
    struct h2_session *session = context;
    struct h2_incoming *incoming = session->incoming;

    (void)ng;
    (void)flags;
    if (frame->hd.type != NGHTTP2_HEADERS || !incoming)
        return 0;
    incoming->list_bytes += name_len + value_len + 32; // as RFC 9113, 10.5.1 counts
    if (incoming->list_bytes > H2_HEADER_BYTES_MAX || incoming->headers.count == H2_HEADERS_MAX) {
        incoming->too_large = true;
        return 0;
    }
    struct h2_header *item = &incoming->headers.items[incoming->headers.count++];
    item->name = keep_text(incoming, name, name_len);
    item->value = keep_text(incoming, value, value_len);
    return 0;
}

static void call_end(struct h2_session *session, struct h2_stream *stream, const struct h2_headers *trailers)
{
    if (stream->peer_ended)
        return;
    stream->peer_ended = true;
    if (!stream->is_reset)
        session->events->on_end(session->owner, stream, trailers);
}

static void deliver_headers(struct h2_session *session, struct h2_stream *stream, const nghttp2_frame *frame,
                            const struct h2_headers *headers)
{
    bool end = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;
    const char *status = session->is_server ? NULL : h2_header(headers, ":status");

    if (stream->has_response) {
        call_end(session, stream, headers);
        return;
    }
    if (status && status[0] == '1') {
        h2_engine_count(session, H2_LIMIT_OTHERS);
        return;
    }
    stream->has_response = true; // on a server: the request
    stream->is_announced = true;
    if (!stream->is_reset)
        session->events->on_headers(session->owner, stream, headers, end);
    if (end)
        call_end(session, stream, NULL);
}

static void on_headers_complete(struct h2_session *session, const nghttp2_frame *frame)
{
    struct h2_incoming *incoming = session->incoming;
    struct h2_stream *stream = nghttp2_session_get_stream_user_data(session->ng, frame->hd.stream_id);

    session->incoming = NULL;
    if (stream && incoming && incoming->too_large) {
        h2_engine_count(session, H2_LIMIT_GLITCHES);
        h2_reset(stream, H2_ENHANCE_YOUR_CALM);
    } else if (stream && incoming) {
        deliver_headers(session, stream, frame, &incoming->headers);
    }
    free(incoming);
}

// ---- receiving

static void on_data_frame(struct h2_session *session, const nghttp2_frame *frame)
{
    bool end = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;
    struct h2_stream *stream = nghttp2_session_get_stream_user_data(session->ng, frame->hd.stream_id);

    if (frame->hd.length == frame->data.padlen && !end)
        h2_engine_count(session, H2_LIMIT_EMPTY);
    if (stream && end)
        call_end(session, stream, NULL);
}

static void on_goaway(struct h2_session *session, const nghttp2_goaway *goaway)
{
    if (session->goaway_seen) {
        h2_engine_count(session, H2_LIMIT_OTHERS);
        return;
    }
    session->goaway_seen = true;
    if (goaway->error_code != NGHTTP2_NO_ERROR) {
        session->err = ERR_CLOSED;
        snprintf(session->note.text, sizeof(session->note.text), "the peer ended HTTP/2: %s",
                 nghttp2_http2_strerror(goaway->error_code));
    }
    session->events->on_session_goaway(session->owner, session);
}

static int on_frame(nghttp2_session *ng, const nghttp2_frame *frame, void *context)
{
    struct h2_session *session = context;

    (void)ng;
    switch (frame->hd.type) {
    case NGHTTP2_HEADERS:
        on_headers_complete(session, frame);
        break;
    case NGHTTP2_DATA:
        on_data_frame(session, frame);
        break;
    case NGHTTP2_RST_STREAM:
        h2_engine_count(session, H2_LIMIT_RESETS);
        break;
    case NGHTTP2_SETTINGS:
        h2_engine_count(session, H2_LIMIT_SETTINGS);
        break;
    case NGHTTP2_PING:
        if (frame->hd.flags & NGHTTP2_FLAG_ACK)
            session->unanswered_pings = 0;
        else
            h2_engine_count(session, H2_LIMIT_PINGS);
        break;
    case NGHTTP2_GOAWAY:
        on_goaway(session, &frame->goaway);
        break;
    default: // WINDOW_UPDATE and what nghttp2 keeps to itself
        break;
    }
    return 0;
}

static int on_begin_frame(nghttp2_session *ng, const nghttp2_frame_hd *header, void *context)
{
    struct h2_session *session = context;

    (void)ng;
    if (session->is_over)
        return NGHTTP2_ERR_CALLBACK_FAILURE; // what still comes is not looked at
    if (header->type == NGHTTP2_CONTINUATION || header->type == NGHTTP2_PRIORITY)
        h2_engine_count(session, H2_LIMIT_OTHERS);
    return 0;
}

static int on_invalid_frame(nghttp2_session *ng, const nghttp2_frame *frame, int code, void *context)
{
    (void)ng;
    (void)frame;
    (void)code;
    h2_engine_count(context, H2_LIMIT_GLITCHES);
    return 0;
}

static int on_data_chunk(nghttp2_session *ng, uint8_t flags, int32_t id, const uint8_t *bytes, size_t len,
                         void *context)
{
    struct h2_session *session = context;
    struct h2_stream *stream = nghttp2_session_get_stream_user_data(ng, id);

    (void)flags;
    if (!stream || stream->is_reset) {
        nghttp2_session_consume(ng, id, len);
        return 0;
    }
    stream->unconsumed_bytes += len;
    session->events->on_data(session->owner, stream, bytes, len);
    return 0;
}

static int on_stream_close(nghttp2_session *ng, int32_t id, uint32_t code, void *context)
{
    struct h2_stream *stream = nghttp2_session_get_stream_user_data(ng, id);

    (void)context;
    if (stream) {
        nghttp2_session_set_stream_user_data(ng, id, NULL);
        h2_stream_finish(stream, code);
    }
    return 0;
}

static int on_library_error(nghttp2_session *ng, int code, const char *text, size_t len, void *context)
{
    struct h2_session *session = context;

    (void)ng;
    (void)code;
    if (!session->is_over)
        note_set(&session->note, ERR_PROTOCOL, "the peer broke HTTP/2: %.*s", (int)len, text); // its bytes are in there
    return 0;
}

void h2_receive_set_callbacks(nghttp2_session_callbacks *callbacks)
{
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_begin_frame_callback(callbacks, on_begin_frame);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(callbacks, on_invalid_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data_chunk);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
    nghttp2_session_callbacks_set_error_callback2(callbacks, on_library_error);
}
