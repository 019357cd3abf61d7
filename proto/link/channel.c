// SPDX-License-Identifier: GPL-2.0-or-later
// channel_open -> reading as soon as there is an owner -> on_message* -> the end: channel_close, end of stream, a fault -> what is queued
// goes out (at most CLOSE_MS, and only after channel_close) -> uv_close of both handles -> on_close -> free
#include "proto/link/channel.h"

#include <assert.h>
#include <endian.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proto/base/buf.h"
#include "proto/link/channel_internal.h"

#define CHANNEL_MAGIC   0x63686e6cu
#define HEADER_BYTES    4
#define READ_BYTES      65536
#define QUEUE_BYTES_MAX (32u << 20)
#define CLOSE_MS        1000

struct channel {
    unsigned magic;
    enum { CHANNEL_OPEN, CHANNEL_DRAINING, CHANNEL_CLOSING } state;
    bool orphan; // never given to anybody: no on_close
    unsigned handles_open;
    uv_pipe_t pipe;
    uv_timer_t timer;
    size_t frame_bytes_max;
    struct buf input;
    const struct channel_events *events; // NULL: no owner yet
    void *owner;
    enum err err;
    void (*on_free)(void *context); // of the listener; NULL: none
    void *on_free_context;
};

struct channel_write {
    uv_write_t request;
    struct channel *channel;
    uint8_t bytes[];
};

static struct channel *channel_of(void *data)
{
    struct channel *channel = data;
    assert(channel->magic == CHANNEL_MAGIC);
    return channel;
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct channel *channel = channel_of(handle->data);

    if (--channel->handles_open > 0)
        return;
    if (!channel->orphan && channel->events)
        channel->events->on_close(channel->owner, channel, channel->err);
    if (channel->on_free)
        channel->on_free(channel->on_free_context);
    buf_free(&channel->input);
    channel->magic = 0;
    free(channel);
}

static void close_now(struct channel *channel, enum err err)
{
    if (channel->state == CHANNEL_CLOSING)
        return;
    if (channel->state == CHANNEL_OPEN)
        channel->err = err; // a fault while draining changes nothing: the owner has closed
    channel->state = CHANNEL_CLOSING;
    uv_close((uv_handle_t *)&channel->pipe, on_handle_closed);
    uv_close((uv_handle_t *)&channel->timer, on_handle_closed);
}

static void on_close_timeout(uv_timer_t *timer)
{
    close_now(channel_of(timer->data), ERR_OK);
}

void channel_close(struct channel *channel)
{
    if (channel->state != CHANNEL_OPEN)
        return;
    channel->err = ERR_OK;
    if (uv_stream_get_write_queue_size((uv_stream_t *)&channel->pipe) == 0) {
        close_now(channel, ERR_OK);
        return;
    }
    channel->state = CHANNEL_DRAINING;
    uv_read_stop((uv_stream_t *)&channel->pipe);
    uv_timer_start(&channel->timer, on_close_timeout, CLOSE_MS, 0);
}

// ---- reading

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret_room)
{
    struct channel *channel = channel_of(handle->data);
    uint8_t *room;

    (void)suggested;
    *ret_room = uv_buf_init(NULL, 0); // libuv then reports UV_ENOBUFS
    if (buf_reserve(&channel->input, READ_BYTES, &room) == ERR_OK)
        *ret_room = uv_buf_init((char *)room, READ_BYTES);
}

static void deliver(struct channel *channel)
{
    while (channel->state == CHANNEL_OPEN && channel->input.len >= HEADER_BYTES) {
        const uint8_t *bytes = buf_bytes(&channel->input);
        uint32_t len;
        memcpy(&len, bytes, sizeof(len));
        len = be32toh(len);
        if (len > channel->frame_bytes_max) {
            close_now(channel, ERR_LIMIT);
            return;
        }
        if (channel->input.len - HEADER_BYTES < len)
            return;
        channel->events->on_message(channel->owner, channel, bytes + HEADER_BYTES, len);
        buf_consume(&channel->input, HEADER_BYTES + len);
    }
    buf_shrink(&channel->input);
}

static void on_read(uv_stream_t *stream, ssize_t len, const uv_buf_t *room)
{
    struct channel *channel = channel_of(stream->data);

    (void)room;
    if (channel->state != CHANNEL_OPEN)
        return;
    if (len < 0) {
        bool cut = channel->input.len > 0;
        close_now(channel, len == UV_EOF ? (cut ? ERR_MALFORMED : ERR_CLOSED) : len == UV_ENOBUFS ? ERR_NOMEM : ERR_IO);
        return;
    }
    buf_commit(&channel->input, (size_t)len);
    deliver(channel);
}

void channel_set_owner(struct channel *channel, const struct channel_events *events, void *owner)
{
    bool first = !channel->events;

    channel->events = events;
    channel->owner = owner;
    if (first && channel->state == CHANNEL_OPEN && uv_read_start((uv_stream_t *)&channel->pipe, on_alloc, on_read) != 0)
        close_now(channel, ERR_IO);
}

// ---- writing

static void on_written(uv_write_t *request, int status)
{
    struct channel_write *write = request->data;
    struct channel *channel = channel_of(write->channel);

    free(write);
    if (channel->state == CHANNEL_CLOSING)
        return;
    if (status < 0)
        close_now(channel, status == UV_EPIPE || status == UV_ECONNRESET ? ERR_CLOSED : ERR_IO);
    else if (channel->state == CHANNEL_DRAINING && uv_stream_get_write_queue_size((uv_stream_t *)&channel->pipe) == 0)
        close_now(channel, ERR_OK);
}

enum err channel_send(struct channel *channel, const void *bytes, size_t len)
{
    if (channel->state != CHANNEL_OPEN)
        return ERR_CLOSED;
    size_t queued = uv_stream_get_write_queue_size((uv_stream_t *)&channel->pipe);
    if (len > CHANNEL_FRAME_BYTES_MAX || queued + len + HEADER_BYTES > QUEUE_BYTES_MAX)
        return ERR_LIMIT;
    struct channel_write *write = malloc(sizeof(*write) + HEADER_BYTES + len);
    if (!write)
        return ERR_NOMEM;
    uint32_t header = htobe32((uint32_t)len);
    memcpy(write->bytes, &header, HEADER_BYTES);
    if (len)
        memcpy(write->bytes + HEADER_BYTES, bytes, len);
    write->channel = channel;
    write->request.data = write;
    uv_buf_t piece = uv_buf_init((char *)write->bytes, (unsigned)(HEADER_BYTES + len));
    if (uv_write(&write->request, (uv_stream_t *)&channel->pipe, &piece, 1, on_written) != 0) {
        free(write);
        return ERR_IO;
    }
    return ERR_OK;
}

// ---- opening

enum err channel_new(uv_loop_t *loop, size_t frame_bytes_max, void (*on_free)(void *context), void *context,
                     struct channel **ret_channel)
{
    struct channel *channel = calloc(1, sizeof(*channel));

    if (!channel)
        return ERR_NOMEM;
    channel->magic = CHANNEL_MAGIC;
    channel->frame_bytes_max = frame_bytes_max;
    channel->on_free = on_free;
    channel->on_free_context = context;
    buf_init(&channel->input, HEADER_BYTES + frame_bytes_max + READ_BYTES);
    uv_pipe_init(loop, &channel->pipe, 0);
    uv_timer_init(loop, &channel->timer);
    channel->pipe.data = channel;
    channel->timer.data = channel;
    channel->handles_open = 2;
    *ret_channel = channel;
    return ERR_OK;
}

uv_pipe_t *channel_pipe(struct channel *channel)
{
    return &channel->pipe;
}

void channel_discard(struct channel *channel)
{
    channel->orphan = true;
    close_now(channel, ERR_OK);
}

enum err channel_open(uv_loop_t *loop, int fd, size_t frame_bytes_max, const struct channel_events *events, void *owner,
                      struct channel **ret_channel)
{
    struct channel *channel;

    enum err err = channel_new(loop, frame_bytes_max, NULL, NULL, &channel);
    if (err)
        return err;
    int failed = uv_pipe_open(&channel->pipe, fd);
    if (failed) {
        channel_discard(channel);
        return err_from_errno(-failed);
    }
    channel_set_owner(channel, events, owner);
    *ret_channel = channel;
    return ERR_OK;
}

enum err channel_peer_credentials(const struct channel *channel, uid_t *ret_uid, pid_t *ret_pid)
{
    struct ucred credentials;
    socklen_t len = sizeof(credentials);
    uv_os_fd_t fd;

    if (uv_fileno((const uv_handle_t *)&channel->pipe, &fd) != 0 ||
        getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &len) != 0 || len != sizeof(credentials))
        return ERR_IO;
    *ret_uid = credentials.uid;
    *ret_pid = credentials.pid;
    return ERR_OK;
}
