// SPDX-License-Identifier: GPL-2.0-or-later
// One stream: what waits to be sent, and what its owner asks for.
#include <stdlib.h>
#include <string.h>

#include "proto/link/h2_internal.h"

#define FREE_CHUNKS_MAX 32

// ---- chunks

static struct h2_chunk *chunk_take(struct h2_session *session)
{
    struct h2_chunk *chunk = session->free_chunks;

    if (chunk) {
        session->free_chunks = chunk->next;
        session->free_chunk_count--;
    } else {
        chunk = malloc(sizeof(*chunk));
        if (!chunk)
            return NULL;
    }
    chunk->next = NULL;
    chunk->start = chunk->end = 0;
    return chunk;
}

static void chunk_give(struct h2_session *session, struct h2_chunk *chunk)
{
    if (session->free_chunk_count >= FREE_CHUNKS_MAX) {
        free(chunk);
        return;
    }
    chunk->next = session->free_chunks;
    session->free_chunks = chunk;
    session->free_chunk_count++;
}

void h2_chunks_free(struct h2_session *session)
{
    while (session->free_chunks) {
        struct h2_chunk *chunk = session->free_chunks;
        session->free_chunks = chunk->next;
        free(chunk);
    }
    session->free_chunk_count = 0;
}

static void pop_chunk(struct h2_stream *stream)
{
    struct h2_chunk *chunk = stream->first;

    stream->first = chunk->next;
    if (!stream->first)
        stream->last = NULL;
    chunk_give(stream->session, chunk);
}

// ---- life

struct h2_stream *h2_stream_new(struct h2_session *session)
{
    struct h2_stream *stream = calloc(1, sizeof(*stream));

    if (!stream)
        return NULL;
    stream->session = session;
    stream->next = session->streams;
    if (stream->next)
        stream->next->previous = stream;
    session->streams = stream;
    session->stream_count++;
    return stream;
}

static void unlink_stream(struct h2_stream *stream)
{
    struct h2_session *session = stream->session;

    if (stream->previous)
        stream->previous->next = stream->next;
    else
        session->streams = stream->next;
    if (stream->next)
        stream->next->previous = stream->previous;
    session->stream_count--;
    if (stream->writable_queued) {
        struct h2_stream **link = &session->writable;
        while (*link != stream)
            link = &(*link)->next_writable;
        *link = stream->next_writable;
    }
}

void h2_stream_finish(struct h2_stream *stream, uint32_t code)
{
    struct h2_session *session = stream->session;

    unlink_stream(stream);
    stream->is_reset = true; // what its owner asks for from here on comes too late
    if (stream->is_announced)
        session->events->on_gone(session->owner, stream, code);
    while (stream->first)
        pop_chunk(stream);
    if (stream->unconsumed_bytes > 0 &&
        code != H2_LOST) // the connection's window gets back what the stream's owner will not
        nghttp2_session_consume_connection(session->ng, stream->unconsumed_bytes);
    free(stream->trailers);
    free(stream);
}

// ---- sending

static void submit_trailers(struct h2_stream *stream)
{
    struct h2_session *session = stream->session;
    nghttp2_nv fields[H2_HEADERS_MAX];

    for (size_t i = 0; i < stream->trailers->count; i++) {
        const struct h2_header *item = &stream->trailers->items[i];
        fields[i] = (nghttp2_nv){(uint8_t *)item->name, (uint8_t *)item->value, strlen(item->name), strlen(item->value),
                                 NGHTTP2_NV_FLAG_NONE};
    }
    if (nghttp2_submit_trailer(session->ng, stream->id, fields, stream->trailers->count) != 0)
        h2_engine_fail(session, H2_INTERNAL_ERROR, ERR_NOMEM, "out of memory in HTTP/2");
}

static ssize_t on_read_data(nghttp2_session *ng, int32_t id, uint8_t *room, size_t len, uint32_t *flags,
                            nghttp2_data_source *source, void *context)
{
    struct h2_stream *stream = source->ptr;
    struct h2_chunk *chunk = stream->first;
    size_t take = 0;

    (void)ng;
    (void)id;
    (void)room;
    (void)context;
    if (chunk) {
        take = chunk->end - chunk->start;
        if (take > len)
            take = len;
        *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    }
    if (take == stream->queued_bytes && stream->end_wanted) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
        if (stream->trailers) {
            *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
            submit_trailers(stream);
        }
        return (ssize_t)take;
    }
    if (take == 0) {
        stream->is_deferred = true;
        return NGHTTP2_ERR_DEFERRED;
    }
    return (ssize_t)take;
}

nghttp2_data_provider h2_stream_provider(struct h2_stream *stream)
{
    stream->has_body = true;
    return (nghttp2_data_provider){.source = {.ptr = stream}, .read_callback = on_read_data};
}

static void queue_writable(struct h2_stream *stream)
{
    if (!stream->writable_wanted || stream->writable_queued || stream->queued_bytes > H2_SEND_QUEUE_BYTES / 2)
        return;
    stream->writable_queued = true;
    stream->next_writable = stream->session->writable;
    stream->session->writable = stream;
}

int h2_stream_on_send_data(nghttp2_session *ng, nghttp2_frame *frame, const uint8_t *header, size_t len,
                           nghttp2_data_source *source, void *context)
{
    struct h2_session *session = context;
    struct h2_stream *stream = source->ptr;
    struct h2_chunk *chunk = stream->first;

    (void)ng;
    (void)frame; // no padding is ever asked for
    if (session->transport->is_full(session->transport_context))
        return NGHTTP2_ERR_WOULDBLOCK;
    // What lies before the payload is the chunk's room for it, or payload that is sent already.
    uint8_t *start = chunk->payload + chunk->start - H2_FRAME_HEADER_BYTES;
    memcpy(start, header, H2_FRAME_HEADER_BYTES);
    if (h2_engine_write_frame(session, start, H2_FRAME_HEADER_BYTES + len))
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    chunk->start += (unsigned)len;
    stream->queued_bytes -= len;
    if (chunk->start == chunk->end)
        pop_chunk(stream);
    queue_writable(stream);
    return 0;
}

void h2_stream_call_writable(struct h2_session *session)
{
    while (session->writable) {
        struct h2_stream *stream = session->writable;
        session->writable = stream->next_writable;
        stream->writable_queued = false;
        stream->writable_wanted = false;
        if (!stream->is_reset && !stream->end_wanted)
            session->events->on_writable(session->owner, stream);
    }
}

static void wake(struct h2_stream *stream)
{
    if (stream->is_deferred) {
        stream->is_deferred = false;
        if (nghttp2_session_resume_data(stream->session->ng, stream->id) == NGHTTP2_ERR_NOMEM)
            h2_engine_fail(stream->session, H2_INTERNAL_ERROR, ERR_NOMEM, "out of memory in HTTP/2");
    }
    h2_engine_schedule(stream->session);
}

static bool can_send(const struct h2_stream *stream)
{
    return stream->has_body && !stream->is_reset && !stream->end_wanted && !stream->session->is_over;
}

size_t h2_send_room(const struct h2_stream *stream)
{
    return can_send(stream) ? H2_SEND_QUEUE_BYTES - stream->queued_bytes : 0;
}

enum err h2_send(struct h2_stream *stream, const uint8_t *bytes, size_t len, size_t *ret_taken)
{
    size_t taken = 0;

    if (!can_send(stream))
        return ERR_CLOSED;
    size_t room = H2_SEND_QUEUE_BYTES - stream->queued_bytes;
    size_t wanted = len < room ? len : room;
    while (taken < wanted) {
        struct h2_chunk *chunk = stream->last;
        if (!chunk || chunk->end == sizeof(chunk->payload)) {
            chunk = chunk_take(stream->session);
            if (!chunk)
                break; // what was taken is queued, and on_writable tries again
            if (stream->last)
                stream->last->next = chunk;
            else
                stream->first = chunk;
            stream->last = chunk;
        }
        size_t part = sizeof(chunk->payload) - chunk->end;
        if (part > wanted - taken)
            part = wanted - taken;
        memcpy(chunk->payload + chunk->end, bytes + taken, part);
        chunk->end += (unsigned)part;
        taken += part;
    }
    if (taken == 0 && wanted > 0)
        return ERR_NOMEM;
    stream->queued_bytes += taken;
    stream->writable_wanted = taken < len || stream->queued_bytes == H2_SEND_QUEUE_BYTES;
    if (taken > 0)
        wake(stream);
    *ret_taken = taken;
    return ERR_OK;
}

static struct h2_trailers *copy_trailers(const struct h2_header *items, size_t count)
{
    size_t size = sizeof(struct h2_trailers) + count * sizeof(struct h2_header);

    for (size_t i = 0; i < count; i++)
        size += strlen(items[i].name) + strlen(items[i].value) + 2;
    struct h2_trailers *trailers = malloc(size);
    if (!trailers)
        return NULL;
    char *text = (char *)&trailers->items[count];
    trailers->count = count;
    for (size_t i = 0; i < count; i++) {
        trailers->items[i].name = text;
        text = stpcpy(text, items[i].name) + 1;
        trailers->items[i].value = text;
        text = stpcpy(text, items[i].value) + 1;
    }
    return trailers;
}

enum err h2_send_end(struct h2_stream *stream, const struct h2_header *trailers, size_t count)
{
    if (!can_send(stream))
        return ERR_CLOSED;
    if (count > H2_HEADERS_MAX)
        return ERR_LIMIT;
    if (count > 0) {
        stream->trailers = copy_trailers(trailers, count);
        if (!stream->trailers)
            return ERR_NOMEM;
    }
    stream->end_wanted = true;
    wake(stream);
    return ERR_OK;
}

void h2_end_early(struct h2_stream *stream)
{
    stream->end_early = true;
    if (stream->end_sent && !stream->peer_ended)
        h2_reset(stream, H2_NO_ERROR);
}

void h2_reset(struct h2_stream *stream, uint32_t code)
{
    struct h2_session *session = stream->session;

    if (stream->is_reset || session->is_over)
        return;
    stream->is_reset = true;
    if (nghttp2_submit_rst_stream(session->ng, NGHTTP2_FLAG_NONE, stream->id, code) != 0)
        h2_engine_fail(session, H2_INTERNAL_ERROR, ERR_NOMEM, "out of memory in HTTP/2");
    h2_engine_schedule(session);
}

void h2_consume(struct h2_stream *stream, size_t len)
{
    struct h2_session *session = stream->session;

    if (len > stream->unconsumed_bytes)
        len = stream->unconsumed_bytes;
    stream->unconsumed_bytes -= len;
    if (len == 0 || session->is_over)
        return;
    if (nghttp2_session_consume(session->ng, stream->id, len) == NGHTTP2_ERR_NOMEM)
        h2_engine_fail(session, H2_INTERNAL_ERROR, ERR_NOMEM, "out of memory in HTTP/2");
    h2_engine_schedule(session);
}

void *h2_stream_owner(const struct h2_stream *stream)
{
    return stream->owner;
}

void h2_stream_set_owner(struct h2_stream *stream, void *owner)
{
    stream->owner = owner;
}

struct h2_session *h2_stream_session(struct h2_stream *stream)
{
    return stream->session;
}

int32_t h2_stream_id(const struct h2_stream *stream)
{
    return stream->id;
}
