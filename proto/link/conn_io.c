// SPDX-License-Identifier: GPL-2.0-or-later
// What goes through a connection. Reads are opened and delivered at once; writes are sealed at once and go to the socket in
// conn_on_turn_end: straight, and through libuv's queue only what the socket does not take.
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "proto/link/conn_internal.h"

#define TURN_READ_BYTES_MAX (1u << 20) // of one connection, so that it does not starve the others
#define SHRINK_BYTES        (64u << 10)

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret_room);
static void on_read(uv_stream_t *stream, ssize_t len, const uv_buf_t *room);

// ---- the end of writing

static void on_shutdown(uv_shutdown_t *request, int status)
{
    struct conn *conn = conn_of(request->data);

    if (conn->state == CONN_LINGERING && status < 0)
        conn_close_handles(conn, false);
}

static void start_lingering(struct conn *conn)
{
    conn->state = CONN_LINGERING;
    conn->shutdown.data = conn;
    if (conn->peer_ended || uv_shutdown(&conn->shutdown, (uv_stream_t *)&conn->tcp, on_shutdown) != 0)
        conn_close_handles(conn, false);
    else if (!conn->is_reading && uv_read_start((uv_stream_t *)&conn->tcp, on_alloc, on_read) != 0)
        conn_close_handles(conn, false);
}

// ---- writing

size_t conn_queued_bytes(const struct conn *conn)
{
    return tls_output(conn->tls)->len + uv_stream_get_write_queue_size((const uv_stream_t *)&conn->tcp);
}

enum err conn_write(struct conn *conn, const uint8_t *bytes, size_t len)
{
    if (conn_is_ending(conn))
        return ERR_CLOSED;
    if (conn->state != CONN_OPEN)
        return ERR_AGAIN;
    size_t queued = conn_queued_bytes(conn);
    if (len > CONN_QUEUE_BYTES_MAX || queued > CONN_QUEUE_BYTES_MAX - len)
        return ERR_LIMIT;
    enum err err = tls_write(conn->tls, bytes, len);
    if (err) {
        conn_fail_by_tls(conn, err);
        return ERR_CLOSED;
    }
    if (conn_queued_bytes(conn) >= CONN_QUEUE_BYTES_LOW)
        conn->drain_wanted = true;
    turn_queue(conn->turn, &conn->turn_work);
    return ERR_OK;
}

static void write_out(struct conn *conn);

static void on_written(uv_write_t *request, int status)
{
    struct conn *conn = conn_of(request->data);

    conn->is_writing = false;
    buf_consume(&conn->flight, conn->flight.len);
    if (conn->state == CONN_CLOSING)
        return;
    if (status < 0)
        conn_fail_by_socket(conn, status);
    else
        write_out(conn);
}

// The output becomes the flight, which stays where it is until libuv is done with it; the old flight's memory is used again.
static int start_flight(struct conn *conn)
{
    struct buf *output = tls_output(conn->tls), empty = conn->flight;

    empty.limit = output->limit;
    conn->flight = *output;
    *output = empty;
    uv_buf_t piece = uv_buf_init((char *)conn->flight.data + conn->flight.start, (unsigned)conn->flight.len);
    conn->write.data = conn;
    int status = uv_write(&conn->write, (uv_stream_t *)&conn->tcp, &piece, 1, on_written);
    conn->is_writing = status == 0;
    return status;
}

// Straight to the socket what it takes; the rest when it has room.
static void write_out(struct conn *conn)
{
    struct buf *output = tls_output(conn->tls);

    while (output->len > 0 && !conn->is_writing) {
        uv_buf_t piece = uv_buf_init((char *)output->data + output->start, (unsigned)output->len);
        int sent = uv_try_write((uv_stream_t *)&conn->tcp, &piece, 1);
        if (sent > 0) {
            buf_consume(output, (size_t)sent);
            conn->turn_written_bytes += (size_t)sent;
        } else {
            int status = sent == UV_EAGAIN || sent == 0 ? start_flight(conn) : sent;
            if (status < 0) {
                conn_fail_by_socket(conn, status);
                return;
            }
        }
    }
    if (conn->drain_wanted && conn_queued_bytes(conn) < CONN_QUEUE_BYTES_LOW) {
        conn->drain_wanted = false;
        if (conn->state == CONN_OPEN && conn->events->on_drain)
            conn->events->on_drain(conn->owner, conn);
    }
    if (conn->state == CONN_FLUSHING && conn_queued_bytes(conn) == 0)
        start_lingering(conn);
}

void conn_schedule(struct conn *conn)
{
    if (conn_is_ending(conn))
        return;
    conn->flush_wanted = true;
    turn_queue(conn->turn, &conn->turn_work);
}

// ---- reading

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret_room)
{
    (void)suggested;
    *ret_room = uv_buf_init((char *)turn_ciphertext(conn_of(handle->data)->turn), TURN_CIPHERTEXT_BYTES);
}

static void go_on_with_handshake(struct conn *conn)
{
    enum err err = tls_handshake(conn->tls, &conn->note);

    turn_queue(conn->turn, &conn->turn_work); // there is something to send, most of the time
    if (err == ERR_AGAIN)
        return;
    if (err) {
        conn_fail_by_tls(conn, err);
        return;
    }
    uv_timer_stop(&conn->timer);
    conn->state = CONN_OPEN;
    conn->events->on_open(conn->owner, conn);
}

// Gathers records, so that the owner is called for 64 KiB rather than for each.
static enum err read_plaintext(struct conn *conn, size_t *ret_len)
{
    uint8_t *room = turn_plaintext(conn->turn);
    size_t total = 0, len;
    enum err err = ERR_OK;

    while (total < TURN_PLAINTEXT_BYTES) {
        err = tls_read(conn->tls, room + total, TURN_PLAINTEXT_BYTES - total, &len);
        if (err)
            break;
        total += len;
    }
    *ret_len = total;
    return err;
}

void conn_pump(struct conn *conn)
{
    enum err err = ERR_OK;
    size_t len;

    if (conn->state == CONN_HANDSHAKE)
        go_on_with_handshake(conn);
    while (!err && conn->state == CONN_OPEN && !conn->is_paused) {
        err = read_plaintext(conn, &len);
        if (len > 0)
            conn->events->on_data(conn->owner, conn, turn_plaintext(conn->turn), len);
    }
    conn->pump_wanted = conn->state == CONN_OPEN && err != ERR_AGAIN;
    if (err && err != ERR_AGAIN && conn->state == CONN_OPEN)
        conn_fail_by_tls(conn, err);
}

static void on_end_of_stream(struct conn *conn)
{
    if (conn->state == CONN_LINGERING) {
        conn_close_handles(conn, false);
    } else if (conn->state != CONN_FLUSHING) {
        if (conn->state == CONN_HANDSHAKE)
            conn_set_reason(conn, ERR_CLOSED, "the peer hung up during the TLS handshake");
        else
            conn_set_reason(conn, ERR_CLOSED, "the peer closed the connection without saying so in TLS");
        conn_start_flushing(conn);
    }
}

static void on_read(uv_stream_t *stream, ssize_t len, const uv_buf_t *room)
{
    struct conn *conn = conn_of(stream->data);

    if (len == UV_EOF) {
        uv_read_stop(stream);
        conn->is_reading = false;
        conn->peer_ended = true;
        on_end_of_stream(conn);
        return;
    }
    if (len < 0) {
        conn_fail_by_socket(conn, (int)len);
        return;
    }
    if (conn_is_ending(conn) || len == 0)
        return; // nobody wants it any more
    enum err err = tls_lend(conn->tls, (const uint8_t *)room->base, (size_t)len);
    if (!err) {
        conn_pump(conn);
        err = tls_reclaim(conn->tls);
    }
    if (err && !conn_is_ending(conn)) {
        conn_set_reason(conn, err, "the connection's input cannot be kept: %s", err_text(err));
        conn_start_flushing(conn);
    }
    if (conn_is_ending(conn))
        return;
    conn->turn_read_bytes += (size_t)len;
    if (conn->turn_read_bytes >= TURN_READ_BYTES_MAX) {
        uv_read_stop(stream);
        conn->is_reading = false;
    }
    turn_queue(conn->turn, &conn->turn_work);
}

static void start_reading(struct conn *conn)
{
    if (conn->is_reading || conn->is_paused || conn_is_ending(conn))
        return;
    int status = uv_read_start((uv_stream_t *)&conn->tcp, on_alloc, on_read);
    conn->is_reading = status == 0;
    if (status < 0)
        conn_fail_by_socket(conn, status);
}

void conn_pause(struct conn *conn)
{
    if (conn->state != CONN_OPEN || conn->is_paused)
        return;
    conn->is_paused = true;
    uv_read_stop((uv_stream_t *)&conn->tcp);
    conn->is_reading = false;
}

void conn_resume(struct conn *conn)
{
    if (!conn->is_paused)
        return;
    conn->is_paused = false;
    turn_queue(conn->turn, &conn->turn_work);
}

void conn_on_turn_end(struct turn_work *work)
{
    struct conn *conn = conn_of((char *)work - offsetof(struct conn, turn_work));

    conn->turn_read_bytes = 0;
    conn->turn_written_bytes = 0;
    if (conn->pump_wanted && !conn->is_paused)
        conn_pump(conn);
    if (conn->flush_wanted && conn->state == CONN_OPEN) {
        conn->flush_wanted = false;
        if (conn->events->on_flush)
            conn->events->on_flush(conn->owner, conn);
    }
    if (conn->state == CONN_CONNECTING || conn->state == CONN_CLOSING)
        return;
    write_out(conn);
    if (conn->state == CONN_HANDSHAKE || conn->state == CONN_OPEN)
        start_reading(conn);
    // Memory goes back when a burst is over, not between the turns of one.
    struct buf *output = tls_output(conn->tls);
    if (output->len == 0 && output->capacity > SHRINK_BYTES && conn->turn_written_bytes < SHRINK_BYTES / 4)
        buf_shrink(output);
    if (!conn->is_writing && conn->flight.capacity > SHRINK_BYTES && conn->turn_written_bytes < SHRINK_BYTES / 4)
        buf_shrink(&conn->flight);
}
