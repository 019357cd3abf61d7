// SPDX-License-Identifier: GPL-2.0-or-later
// The engine: nghttp2 between a transport and streams. nghttp2 is entered by h2_engine_receive and h2_engine_flush only; what owners ask
// for inside its callbacks is queued by it.
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/link/h2_internal.h"

#define RECORD_BYTES      16384
#define SMALL_FRAME_BYTES 8192 // smaller ones are gathered into common records
#define CONTINUATIONS_MAX 8
#define REMOTE_STREAMS    100     // until the peer's SETTINGS say
#define RESET_BURST       1000000 // nghttp2's own limiter also counts honest cancellations: ours decides
#define FLUSH_ROUNDS      4

const char *h2_header(const struct h2_headers *headers, const char *name)
{
    for (size_t i = 0; i < headers->count; i++)
        if (strcmp(headers->items[i].name, name) == 0)
            return headers->items[i].value;
    return NULL;
}

void h2_engine_schedule(struct h2_session *session)
{
    session->transport->schedule(session->transport_context);
}

void h2_engine_fail(struct h2_session *session, uint32_t code, enum err err, const char *format, ...)
{
    va_list args;

    if (session->is_over)
        return;
    session->is_over = true;
    session->err = err;
    va_start(args, format);
    vsnprintf(session->note.text, sizeof(session->note.text), format, args);
    va_end(args);
    nghttp2_session_terminate_session(session->ng, code);
    h2_engine_schedule(session);
}

void h2_engine_count(struct h2_session *session, enum h2_limit limit)
{
    if (!h2_allow(&session->allowances[limit], limit, session->now_ms))
        h2_engine_fail(session, H2_ENHANCE_YOUR_CALM, ERR_LIMIT, "the peer sends too many %s", h2_limit_text(limit));
}

// ---- writing

static enum err write_gathered(struct h2_session *session)
{
    if (session->gathered.len == 0)
        return ERR_OK;
    enum err err =
        session->transport->write(session->transport_context, buf_bytes(&session->gathered), session->gathered.len);
    buf_consume(&session->gathered, session->gathered.len);
    return err;
}

enum err h2_engine_write_frame(struct h2_session *session, const uint8_t *bytes, size_t len)
{
    enum err err = ERR_OK;

    if (session->gathered.len + len > RECORD_BYTES || len >= SMALL_FRAME_BYTES)
        err = write_gathered(session);
    if (err)
        return err;
    if (len >= SMALL_FRAME_BYTES)
        return session->transport->write(session->transport_context, bytes, len);
    return buf_append(&session->gathered, bytes, len);
}

static ssize_t on_send(nghttp2_session *ng, const uint8_t *bytes, size_t len, int flags, void *context)
{
    struct h2_session *session = context;

    (void)ng;
    (void)flags;
    if (session->transport->is_full(session->transport_context))
        return NGHTTP2_ERR_WOULDBLOCK;
    return h2_engine_write_frame(session, bytes, len) ? NGHTTP2_ERR_CALLBACK_FAILURE : (ssize_t)len;
}

static ssize_t on_frame_length(nghttp2_session *ng, uint8_t type, int32_t id, int32_t session_window,
                               int32_t stream_window, uint32_t frame_max, void *context)
{
    (void)ng;
    (void)type;
    (void)id;
    (void)session_window;
    (void)stream_window;
    (void)context;
    return frame_max < H2_FRAME_PAYLOAD_BYTES ? (ssize_t)frame_max : H2_FRAME_PAYLOAD_BYTES;
}

static int on_frame_sent(nghttp2_session *ng, const nghttp2_frame *frame, void *context)
{
    struct h2_session *session = context;
    struct h2_stream *stream =
        frame->hd.stream_id ? nghttp2_session_get_stream_user_data(ng, frame->hd.stream_id) : NULL;

    if (frame->hd.type == NGHTTP2_GOAWAY && frame->goaway.error_code != NGHTTP2_NO_ERROR && session->note.text[0] == 0)
        note_set(&session->note, ERR_PROTOCOL, "the peer broke HTTP/2 (%s)%s%.*s",
                 nghttp2_http2_strerror(frame->goaway.error_code), frame->goaway.opaque_data_len ? ": " : "",
                 (int)frame->goaway.opaque_data_len, (const char *)frame->goaway.opaque_data);
    if (frame->hd.type == NGHTTP2_RST_STREAM && (!stream || !stream->is_reset))
        h2_engine_count(session, H2_LIMIT_RESETS); // provoked by the peer
    if (stream && (frame->hd.type == NGHTTP2_DATA || frame->hd.type == NGHTTP2_HEADERS) &&
        (frame->hd.flags & NGHTTP2_FLAG_END_STREAM)) {
        stream->end_sent = true;
        if (stream->end_early && !stream->peer_ended)
            h2_reset(stream, H2_NO_ERROR);
    }
    return 0;
}

static int on_frame_not_sent(nghttp2_session *ng, const nghttp2_frame *frame, int code, void *context)
{
    struct h2_session *session = context;

    (void)ng;
    (void)code;
    if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0;
    for (struct h2_stream *stream = session->streams; stream; stream = stream->next)
        if (stream->id == frame->hd.stream_id)
            stream->is_unsent = session->has_unsent = true;
    return 0;
}

// Requests that GOAWAY overtook: nghttp2 may not have opened their streams yet, and then does not close them.
static void finish_unsent(struct h2_session *session)
{
    while (session->has_unsent) {
        struct h2_stream *stream = session->streams;
        while (stream && !stream->is_unsent)
            stream = stream->next;
        if (stream)
            h2_stream_finish(stream, H2_REFUSED_STREAM);
        else
            session->has_unsent = false;
    }
}

static void close_transport(struct h2_session *session)
{
    if (session->is_closed)
        return;
    session->is_over = true;
    session->is_closed = true;
    session->transport->close(session->transport_context);
}

void h2_engine_receive(struct h2_session *session, const uint8_t *bytes, size_t len, uint64_t now_ms)
{
    session->now_ms = now_ms;
    if (session->is_over)
        return;
    ssize_t read = nghttp2_session_mem_recv(session->ng, bytes, len);
    if (read < 0 && !session->is_over) {
        if (read == NGHTTP2_ERR_FLOODED)
            h2_engine_fail(session, H2_ENHANCE_YOUR_CALM, ERR_LIMIT, "the peer floods the connection");
        else if (read == NGHTTP2_ERR_BAD_CLIENT_MAGIC)
            h2_engine_fail(session, H2_PROTOCOL_ERROR, ERR_PROTOCOL, "the peer does not speak HTTP/2");
        else
            h2_engine_fail(session, H2_INTERNAL_ERROR, read == NGHTTP2_ERR_NOMEM ? ERR_NOMEM : ERR_PROTOCOL,
                           "HTTP/2 failed: %s", nghttp2_strerror((int)read));
    }
    h2_engine_schedule(session);
}

// Why nghttp2 wants nothing any more.
static void explain_end(struct h2_session *session)
{
    if (session->err != ERR_OK || session->is_over || session->drain_ms)
        return;
    if (session->goaway_seen) {
        session->err = ERR_CLOSED;
        snprintf(session->note.text, sizeof(session->note.text), "the peer ended HTTP/2 in order");
    } else {
        session->err = ERR_PROTOCOL;
        if (session->note.text[0] == 0)
            snprintf(session->note.text, sizeof(session->note.text), "the peer broke HTTP/2");
    }
}

void h2_engine_flush(struct h2_session *session, uint64_t now_ms)
{
    session->now_ms = now_ms;
    if (session->is_closed || !session->is_open)
        return;
    for (int round = 0; round < FLUSH_ROUNDS; round++) {
        int failed = nghttp2_session_send(session->ng);
        finish_unsent(session);
        if (failed || write_gathered(session)) {
            if (session->err == ERR_OK) {
                session->err = failed == NGHTTP2_ERR_NOMEM ? ERR_NOMEM : ERR_CLOSED;
                snprintf(session->note.text, sizeof(session->note.text), "HTTP/2 cannot send: %s",
                         failed ? nghttp2_strerror(failed) : "the connection is closed");
            }
            close_transport(session);
            return;
        }
        if (!session->writable)
            break;
        h2_stream_call_writable(session);
    }
    if (!nghttp2_session_want_read(session->ng) && !nghttp2_session_want_write(session->ng)) {
        explain_end(session);
        close_transport(session);
    }
}

// ---- time

uint64_t h2_engine_deadline(const struct h2_session *session)
{
    uint64_t deadline = UINT64_MAX;

    if (session->is_closed)
        return deadline;
    if (session->next_ping_ms)
        deadline = session->next_ping_ms;
    if (session->drain_ms && session->drain_ms < deadline)
        deadline = session->drain_ms;
    return deadline;
}

void h2_engine_tick(struct h2_session *session, uint64_t now_ms)
{
    session->now_ms = now_ms;
    if (session->drain_ms && now_ms >= session->drain_ms) {
        close_transport(session);
        return;
    }
    if (!session->next_ping_ms || now_ms < session->next_ping_ms || session->is_over)
        return;
    session->next_ping_ms = now_ms + session->settings.ping_interval_ms;
    if (session->unanswered_pings >= 2) {
        session->err = ERR_TIMEOUT;
        snprintf(session->note.text, sizeof(session->note.text),
                 "the peer does not answer any more: two PINGs of HTTP/2, %llu s apart",
                 (unsigned long long)session->settings.ping_interval_ms / 1000);
        close_transport(session);
        return;
    }
    session->unanswered_pings++;
    nghttp2_submit_ping(session->ng, NGHTTP2_FLAG_NONE, NULL);
    h2_engine_schedule(session);
}

void h2_engine_shutdown(struct h2_session *session, uint64_t drain_ms, uint64_t now_ms)
{
    if (session->is_over)
        return;
    session->now_ms = now_ms;
    session->err = ERR_OK;
    if (!session->is_open) {
        close_transport(session);
        return;
    }
    if (drain_ms == 0 || session->stream_count == 0) {
        session->is_over = true;
        nghttp2_session_terminate_session(session->ng, NGHTTP2_NO_ERROR);
    } else if (!session->drain_ms) {
        nghttp2_submit_goaway(session->ng, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(session->ng),
                              NGHTTP2_NO_ERROR, NULL, 0);
        session->drain_ms = session->now_ms + drain_ms;
    }
    h2_engine_schedule(session);
}

// ---- beginning and end

static int make_callbacks(nghttp2_session_callbacks **ret_callbacks)
{
    nghttp2_session_callbacks *callbacks;

    int failed = nghttp2_session_callbacks_new(&callbacks);
    if (failed)
        return failed;
    nghttp2_session_callbacks_set_send_callback(callbacks, on_send);
    nghttp2_session_callbacks_set_send_data_callback(callbacks, h2_stream_on_send_data);
    nghttp2_session_callbacks_set_data_source_read_length_callback(callbacks, on_frame_length);
    nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_frame_sent);
    nghttp2_session_callbacks_set_on_frame_not_send_callback(callbacks, on_frame_not_sent);
    h2_receive_set_callbacks(callbacks);
    *ret_callbacks = callbacks;
    return 0;
}

static int make_option(nghttp2_option **ret_option)
{
    nghttp2_option *option;

    int failed = nghttp2_option_new(&option);
    if (failed)
        return failed;
    nghttp2_option_set_no_auto_window_update(option, 1);
    nghttp2_option_set_peer_max_concurrent_streams(option, REMOTE_STREAMS);
    nghttp2_option_set_no_closed_streams(option, 1);
    nghttp2_option_set_stream_reset_rate_limit(option, RESET_BURST, RESET_BURST);
    nghttp2_option_set_max_continuations(option, CONTINUATIONS_MAX);
    *ret_option = option;
    return 0;
}

enum err h2_engine_init(struct h2_session *session, bool is_server, const struct h2_settings *settings,
                        const struct h2_events *events, void *owner, const struct h2_transport *transport,
                        void *context)
{
    nghttp2_session_callbacks *callbacks = NULL;
    nghttp2_option *option = NULL;

    session->is_server = is_server;
    session->settings = *settings;
    session->events = events;
    session->owner = owner;
    session->transport = transport;
    session->transport_context = context;
    buf_init(&session->gathered, 2 * RECORD_BYTES);
    int failed = make_callbacks(&callbacks);
    if (!failed)
        failed = make_option(&option);
    if (!failed)
        failed = is_server ? nghttp2_session_server_new2(&session->ng, callbacks, session, option)
                           : nghttp2_session_client_new2(&session->ng, callbacks, session, option);
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(callbacks);
    return failed ? ERR_NOMEM : ERR_OK;
}

void h2_engine_free(struct h2_session *session)
{
    session->is_over = true;
    while (session->streams)
        h2_stream_finish(session->streams, H2_LOST);
    nghttp2_session_del(session->ng);
    h2_chunks_free(session);
    free(session->incoming);
    buf_free(&session->gathered);
}

void h2_engine_open(struct h2_session *session, uint64_t now_ms)
{
    const struct h2_settings *settings = &session->settings;
    nghttp2_settings_entry entries[5];
    size_t count = 0;

    entries[count++] = (nghttp2_settings_entry){NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, settings->stream_window_bytes};
    entries[count++] = (nghttp2_settings_entry){NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, H2_HEADER_BYTES_MAX};
    if (session->is_server) {
        entries[count++] =
            (nghttp2_settings_entry){NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, settings->max_concurrent_streams};
        if (settings->connect_protocol)
            entries[count++] = (nghttp2_settings_entry){NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, 1};
    } else {
        entries[count++] = (nghttp2_settings_entry){NGHTTP2_SETTINGS_ENABLE_PUSH, 0};
    }
    session->now_ms = now_ms;
    session->is_open = true;
    if (nghttp2_submit_settings(session->ng, NGHTTP2_FLAG_NONE, entries, count) != 0 ||
        nghttp2_session_set_local_window_size(session->ng, NGHTTP2_FLAG_NONE, 0,
                                              (int32_t)settings->connection_window_bytes) != 0)
        h2_engine_fail(session, H2_INTERNAL_ERROR, ERR_NOMEM, "out of memory in HTTP/2");
    if (settings->ping_interval_ms)
        session->next_ping_ms = now_ms + settings->ping_interval_ms;
    h2_engine_schedule(session);
}

// ---- requests and responses

static size_t fill_fields(nghttp2_nv *fields, const struct h2_header *headers, size_t count)
{
    for (size_t i = 0; i < count; i++)
        fields[i] = (nghttp2_nv){(uint8_t *)headers[i].name, (uint8_t *)headers[i].value, strlen(headers[i].name),
                                 strlen(headers[i].value), NGHTTP2_NV_FLAG_NONE};
    return count;
}

enum err h2_open(struct h2_session *session, const struct h2_header *headers, size_t count, bool end, void *owner,
                 struct h2_stream **ret_stream)
{
    nghttp2_nv fields[H2_HEADERS_MAX];

    if (!session->is_open || session->is_over || session->goaway_seen || session->drain_ms ||
        !nghttp2_session_check_request_allowed(session->ng))
        return ERR_CLOSED;
    if (count > H2_HEADERS_MAX || session->stream_count >= nghttp2_session_get_remote_settings(
                                                               session->ng, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS))
        return ERR_LIMIT;
    struct h2_stream *stream = h2_stream_new(session);
    if (!stream)
        return ERR_NOMEM;
    stream->owner = owner;
    fill_fields(fields, headers, count);
    nghttp2_data_provider provider;
    if (!end)
        provider = h2_stream_provider(stream);
    int32_t id = nghttp2_submit_request(session->ng, NULL, fields, count, end ? NULL : &provider, stream);
    if (id < 0) {
        h2_stream_finish(stream, H2_REFUSED_STREAM); // not announced: no event
        return id == NGHTTP2_ERR_NOMEM ? ERR_NOMEM : ERR_CLOSED;
    }
    stream->id = id;
    stream->is_announced = true;
    stream->end_wanted = end;
    h2_engine_schedule(session);
    *ret_stream = stream;
    return ERR_OK;
}

enum err h2_respond(struct h2_stream *stream, const struct h2_header *headers, size_t count, bool end)
{
    struct h2_session *session = stream->session;
    nghttp2_nv fields[H2_HEADERS_MAX];

    if (stream->is_reset || stream->has_body || stream->end_wanted || session->is_over)
        return ERR_CLOSED;
    if (count > H2_HEADERS_MAX)
        return ERR_LIMIT;
    fill_fields(fields, headers, count);
    nghttp2_data_provider provider;
    if (!end)
        provider = h2_stream_provider(stream);
    if (nghttp2_submit_response(session->ng, stream->id, fields, count, end ? NULL : &provider) != 0) {
        stream->has_body = false;
        return ERR_NOMEM;
    }
    stream->end_wanted = end;
    h2_engine_schedule(session);
    return ERR_OK;
}

// ---- what there is to know

void *h2_session_owner(const struct h2_session *session)
{
    return session->owner;
}

void h2_session_set_owner(struct h2_session *session, void *owner)
{
    session->owner = owner;
}

size_t h2_session_streams(const struct h2_session *session)
{
    return session->stream_count;
}
