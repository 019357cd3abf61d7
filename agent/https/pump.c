// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/https/pump.h"

#include <assert.h>
#include <sys/socket.h>

#include "agent/https/tunnel.h"

#define WRITE_BUFFERS 16 // in one system call; 1 MiB of full chunks

// ---- from the application into the tunnel

static bool app_may_send(const struct flow *flow)
{
    return flow->state == FLOW_OPEN || flow->state == FLOW_PEER_ENDED;
}

static int socket_error(const struct flow *flow)
{
    uv_os_fd_t fd;
    int error = 0;
    socklen_t len = sizeof(error);
    if (uv_fileno((const uv_handle_t *)&flow->app, &fd) != 0 ||
        getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0) {
        return 0;
    }
    return uv_translate_sys_error(error);
}

// libuv watches a socket only while it reads or writes.
int pump_app_failure(const struct flow *flow)
{
    return flow->is_reading || flow->writing > 0 ? 0 : socket_error(flow);
}

// What is read fits into the stream's queue, so nothing read is ever held here.
static void on_room(uv_handle_t *handle, size_t suggested, uv_buf_t *ret_buf)
{
    struct flow *flow = handle->data;
    size_t room = flow->stream ? h2_send_room(flow->stream) : 0;
    (void)suggested;
    *ret_buf = uv_buf_init((char *)flow->https->read_room, room < HTTPS_READ_BYTES ? (unsigned)room : HTTPS_READ_BYTES);
}

static void on_read(uv_stream_t *socket, ssize_t count, const uv_buf_t *buf)
{
    struct flow *flow = socket->data;
    if (!app_may_send(flow) || !flow->stream) {
        return;
    }
    if (count == UV_EOF) {
        // libuv also says so of a reset that came together with the last bytes.
        int status = socket_error(flow);
        if (status != 0) {
            flow_on_app_error(flow, status);
        } else {
            flow_on_app_end(flow);
        }
        return;
    }
    if (count == UV_ENOBUFS) {
        // Most of the time the end of the turn makes room: watching goes on until there was none twice.
        if (flow->is_starved) {
            pump_update_reading(flow);
        }
        flow->is_starved = true;
        return;
    }
    if (count < 0) {
        flow_on_app_error(flow, (int)count);
        return;
    }
    if (count > 0) {
        size_t taken = 0;
        enum err err = h2_send(flow->stream, (const uint8_t *)buf->base, (size_t)count, &taken);
        if (err) {
            flow_cut(flow, "the tunnel takes no more bytes");
            return;
        }
        assert(taken == (size_t)count);
        flow->record.bytes_sent += taken;
        flow->is_starved = false;
    }
}

void pump_update_reading(struct flow *flow)
{
    bool wanted = app_may_send(flow) && flow->stream && h2_send_room(flow->stream) > 0;
    if (wanted == flow->is_reading) {
        return;
    }
    flow->is_reading = wanted;
    if (!wanted) {
        uv_read_stop((uv_stream_t *)&flow->app);
        return;
    }
    int status = uv_read_start((uv_stream_t *)&flow->app, on_room, on_read);
    if (status != 0) {
        flow->is_reading = false;
        flow_on_app_error(flow, status);
    }
}

// ---- from the tunnel to the application

static bool app_is_there(const struct flow *flow)
{
    switch (flow->state) {
    case FLOW_OPEN:
    case FLOW_APP_ENDED:
    case FLOW_PEER_ENDED:
    case FLOW_ENDED:
        return true;
    case FLOW_NONE:
    case FLOW_WAITING:
    case FLOW_ASKING:
    case FLOW_REACHING:
    case FLOW_REACHING_HALF:
    case FLOW_CLOSING:
    case FLOW_STATE_COUNT:
        return false;
    }
    return false;
}

void pump_deliver(struct flow *flow, const uint8_t *bytes, size_t len)
{
    enum err err = queue_append(&flow->queue, bytes, len);
    if (err == ERR_LIMIT) {
        char reason[FLOW_REASON_BYTES];
        https_limit_sentence(flow->https, HTTPS_LIMIT_QUEUED_BYTES, reason, sizeof(reason));
        h2_consume(flow->stream, len);
        flow_cut(flow, reason);
        return;
    }
    if (err) {
        h2_consume(flow->stream, len);
        flow_cut(flow, "no memory for its bytes");
        return;
    }
    if (!flow->is_ready) {
        flow->is_ready = true;
        LIST_INSERT_HEAD(&flow->https->ready, flow, of_ready);
    }
    if (flow->queue.bytes >= HTTPS_FLUSH_BYTES && flow->writing == 0) {
        pump_flush(flow);
    }
}

static void written(struct flow *flow, size_t len)
{
    queue_drop(&flow->queue, len);
    flow->record.bytes_received += len;
    if (flow->stream) {
        h2_consume(flow->stream, len);
    }
}

static void on_written(uv_write_t *request, int status)
{
    struct flow *flow = request->data;
    size_t len = flow->writing;
    flow->writing = 0;
    if (flow->state == FLOW_CLOSING) {
        queue_clear(&flow->queue);
        return;
    }
    if (status != 0) {
        flow_on_app_error(flow, status);
        return;
    }
    written(flow, len);
    pump_flush(flow);
}

// The rest goes when the socket takes it.
static void write_rest(struct flow *flow)
{
    uv_buf_t bufs[WRITE_BUFFERS];
    size_t count = queue_peek(&flow->queue, bufs, WRITE_BUFFERS);
    for (size_t i = 0; i < count; i++) {
        flow->writing += bufs[i].len;
    }
    flow->write.data = flow;
    int status = uv_write(&flow->write, (uv_stream_t *)&flow->app, bufs, (unsigned)count, on_written);
    if (status != 0) {
        flow->writing = 0;
        flow_on_app_error(flow, status);
    }
}

static void on_shutdown(uv_shutdown_t *request, int status)
{
    struct flow *flow = request->data;
    if (flow->state == FLOW_CLOSING) {
        return;
    }
    if (status != 0) {
        flow_on_app_error(flow, status);
        return;
    }
    flow->app_half = APP_ENDED;
    flow_on_delivered(flow);
}

static void send_fin(struct flow *flow)
{
    if ((flow->state != FLOW_PEER_ENDED && flow->state != FLOW_ENDED) || flow->app_half != APP_OPEN) {
        return;
    }
    flow->app_half = APP_ENDING;
    flow->shutdown.data = flow;
    int status = uv_shutdown(&flow->shutdown, (uv_stream_t *)&flow->app, on_shutdown);
    if (status != 0) {
        flow_on_app_error(flow, status);
    }
}

void pump_flush(struct flow *flow)
{
    if (!app_is_there(flow) || flow->writing > 0) {
        return;
    }
    while (flow->queue.bytes > 0) {
        uv_buf_t bufs[WRITE_BUFFERS];
        size_t count = queue_peek(&flow->queue, bufs, WRITE_BUFFERS);
        int status = uv_try_write((uv_stream_t *)&flow->app, bufs, (unsigned)count);
        if (status == UV_EAGAIN) {
            write_rest(flow);
            return;
        }
        if (status < 0) {
            flow_on_app_error(flow, status);
            return;
        }
        written(flow, (size_t)status);
    }
    send_fin(flow);
}

void flow_flush_all(struct https *https)
{
    while (!LIST_EMPTY(&https->ready)) {
        struct flow *flow = LIST_FIRST(&https->ready);
        LIST_REMOVE(flow, of_ready);
        flow->is_ready = false;
        pump_flush(flow);
    }
}
