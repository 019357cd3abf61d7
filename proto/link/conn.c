// SPDX-License-Identifier: GPL-2.0-or-later
//                 conn_connect        conn_accept
//                       v                  v
//                   CONNECTING ------> HANDSHAKE ------> OPEN
//                       |                  |              |      conn_close, the peer's end, a fault
//                       |                  v              v
//                       |              FLUSHING: what is queued goes out, and an alert or close_notify
//                       |                  v
//                       |              LINGERING: our FIN is out, waits for the peer's
//                       v                  v
//                   CLOSING: both handles close -> on_close -> free
//
// Within a turn: reads are opened and delivered at once; writes are sealed at once and go to the socket in on_turn_end.
#include "proto/link/conn.h"

#include <assert.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/link/turn.h"

#define CONN_MAGIC          0x636f6e6eu
#define CLOSE_MS            1000
#define USER_TIMEOUT_MS     20000
#define KEEPALIVE_S         30
#define TURN_READ_BYTES_MAX (1u << 20) // of one connection, so that it does not starve the others
#define SHRINK_BYTES        (64u << 10)

enum conn_state { CONN_CONNECTING, CONN_HANDSHAKE, CONN_OPEN, CONN_FLUSHING, CONN_LINGERING, CONN_CLOSING };

struct conn {
    unsigned magic;
    enum conn_state state;
    unsigned handles_open;
    uv_tcp_t tcp;
    uv_timer_t timer;
    uv_connect_t connect;
    uv_write_t write;
    uv_shutdown_t shutdown;
    struct turn *turn;
    struct turn_work turn_work;
    struct tls_session *tls;
    struct buf flight; // handed to uv_write, untouched until it is done
    bool is_writing;
    bool is_paused;    // by the owner
    bool is_reading;   // by libuv
    bool peer_ended;   // its FIN came
    bool pump_wanted;  // plaintext may be waiting in the TLS session
    bool flush_wanted; // by the owner
    bool drain_wanted; // the queue was above the low mark
    bool orphan;       // never given to anybody: no on_close
    size_t turn_read_bytes;
    size_t turn_written_bytes;
    uint64_t timeout_ms;
    struct ip_endpoint remote;
    struct ip_endpoint local;
    const struct conn_events *events;
    void *owner;
    enum err err;
    struct note note;
};

static struct conn *conn_of(void *data)
{
    struct conn *conn = data;
    assert(conn->magic == CONN_MAGIC);
    return conn;
}

static bool is_ending(const struct conn *conn)
{
    return conn->state >= CONN_FLUSHING;
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret_room);
static void on_read(uv_stream_t *stream, ssize_t len, const uv_buf_t *room);

// ---- the end

static void conn_free(struct conn *conn)
{
    turn_unqueue(conn->turn, &conn->turn_work);
    turn_drop(conn->turn);
    tls_session_free(conn->tls);
    buf_free(&conn->flight);
    conn->magic = 0;
    free(conn);
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct conn *conn = conn_of(handle->data);

    if (--conn->handles_open > 0)
        return;
    if (!conn->orphan)
        conn->events->on_close(conn->owner, conn, conn->err, &conn->note);
    conn_free(conn);
}

static void close_handles(struct conn *conn, bool reset)
{
    if (conn->state == CONN_CLOSING)
        return;
    bool shut = conn->state == CONN_LINGERING; // no RST behind a FIN
    conn->state = CONN_CLOSING;
    turn_unqueue(conn->turn, &conn->turn_work);
    if (!reset || shut || uv_tcp_close_reset(&conn->tcp, on_handle_closed) != 0)
        if (!uv_is_closing((uv_handle_t *)&conn->tcp))
            uv_close((uv_handle_t *)&conn->tcp, on_handle_closed);
    uv_close((uv_handle_t *)&conn->timer, on_handle_closed);
}

static void on_close_timeout(uv_timer_t *timer)
{
    close_handles(conn_of(timer->data), true);
}

// What is queued still goes out: data, our close_notify, or the alert that tells the peer what is wrong.
static void start_flushing(struct conn *conn)
{
    conn->state = CONN_FLUSHING;
    uv_timer_start(&conn->timer, on_close_timeout, CLOSE_MS, 0);
    turn_queue(conn->turn, &conn->turn_work);
}

static void set_reason(struct conn *conn, enum err err, const char *format, ...) __attribute__((format(printf, 3, 4)));

static void set_reason(struct conn *conn, enum err err, const char *format, ...)
{
    va_list args;

    conn->err = err;
    va_start(args, format);
    vsnprintf(conn->note.text, sizeof(conn->note.text), format, args);
    va_end(args);
}

static void fail_by_socket(struct conn *conn, int status)
{
    char remote[IP_ENDPOINT_TEXT_BYTES];

    if (!is_ending(conn)) {
        ip_endpoint_format(&conn->remote, remote);
        bool connecting = conn->state == CONN_CONNECTING;
        set_reason(conn, connecting ? ERR_UNREACHABLE : err_from_errno(-status), "%s %s: %s",
                   connecting ? "cannot connect to" : "the connection with", remote, uv_strerror(status));
    }
    close_handles(conn, false);
}

static void fail_by_tls(struct conn *conn, enum err err)
{
    if (is_ending(conn))
        return;
    conn->err = err;
    if (err == ERR_CLOSED)
        set_reason(conn, err, "the peer closed the connection");
    else
        tls_failure(conn->tls, &conn->note);
    start_flushing(conn);
}

void conn_close(struct conn *conn)
{
    if (is_ending(conn))
        return;
    set_reason(conn, ERR_OK, "closed");
    if (conn->state == CONN_CONNECTING) {
        close_handles(conn, false);
        return;
    }
    if (conn->state == CONN_OPEN && tls_close_notify(conn->tls) != ERR_OK) {
        close_handles(conn, true);
        return;
    }
    start_flushing(conn);
}

void conn_abort(struct conn *conn)
{
    if (!is_ending(conn))
        set_reason(conn, ERR_OK, "closed");
    close_handles(conn, true);
}

static void on_shutdown(uv_shutdown_t *request, int status)
{
    struct conn *conn = conn_of(request->data);

    if (conn->state == CONN_LINGERING && status < 0)
        close_handles(conn, false);
}

static void start_lingering(struct conn *conn)
{
    conn->state = CONN_LINGERING;
    conn->shutdown.data = conn;
    if (conn->peer_ended || uv_shutdown(&conn->shutdown, (uv_stream_t *)&conn->tcp, on_shutdown) != 0)
        close_handles(conn, false);
    else if (!conn->is_reading && uv_read_start((uv_stream_t *)&conn->tcp, on_alloc, on_read) != 0)
        close_handles(conn, false);
}

// ---- writing

size_t conn_queued_bytes(const struct conn *conn)
{
    return tls_output(conn->tls)->len + uv_stream_get_write_queue_size((const uv_stream_t *)&conn->tcp);
}

enum err conn_write(struct conn *conn, const uint8_t *bytes, size_t len)
{
    if (is_ending(conn))
        return ERR_CLOSED;
    if (conn->state != CONN_OPEN)
        return ERR_AGAIN;
    size_t queued = conn_queued_bytes(conn);
    if (len > CONN_QUEUE_BYTES_MAX || queued > CONN_QUEUE_BYTES_MAX - len)
        return ERR_LIMIT;
    enum err err = tls_write(conn->tls, bytes, len);
    if (err) {
        fail_by_tls(conn, err);
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
        fail_by_socket(conn, status);
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
                fail_by_socket(conn, status);
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
    if (is_ending(conn))
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
        fail_by_tls(conn, err);
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

static void pump(struct conn *conn)
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
        fail_by_tls(conn, err);
}

static void on_end_of_stream(struct conn *conn)
{
    if (conn->state == CONN_LINGERING) {
        close_handles(conn, false);
    } else if (conn->state != CONN_FLUSHING) {
        if (conn->state == CONN_HANDSHAKE)
            set_reason(conn, ERR_CLOSED, "the peer hung up during the TLS handshake");
        else
            set_reason(conn, ERR_CLOSED, "the peer closed the connection without saying so in TLS");
        start_flushing(conn);
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
        fail_by_socket(conn, (int)len);
        return;
    }
    if (is_ending(conn) || len == 0)
        return; // nobody wants it any more
    enum err err = tls_lend(conn->tls, (const uint8_t *)room->base, (size_t)len);
    if (!err) {
        pump(conn);
        err = tls_reclaim(conn->tls);
    }
    if (err && !is_ending(conn)) {
        set_reason(conn, err, "the connection's input cannot be kept: %s", err_text(err));
        start_flushing(conn);
    }
    if (is_ending(conn))
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
    if (conn->is_reading || conn->is_paused || is_ending(conn))
        return;
    int status = uv_read_start((uv_stream_t *)&conn->tcp, on_alloc, on_read);
    conn->is_reading = status == 0;
    if (status < 0)
        fail_by_socket(conn, status);
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

static void on_turn_end(struct turn_work *work)
{
    struct conn *conn = conn_of((char *)work - offsetof(struct conn, turn_work));

    conn->turn_read_bytes = 0;
    conn->turn_written_bytes = 0;
    if (conn->pump_wanted && !conn->is_paused)
        pump(conn);
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

// ---- the beginning

static void on_open_timeout(uv_timer_t *timer)
{
    struct conn *conn = conn_of(timer->data);
    char remote[IP_ENDPOINT_TEXT_BYTES];

    ip_endpoint_format(&conn->remote, remote);
    set_reason(conn, ERR_TIMEOUT, "%s did not %s within %llu ms", remote,
               conn->state == CONN_CONNECTING ? "answer" : "finish the TLS handshake",
               (unsigned long long)conn->timeout_ms);
    close_handles(conn, conn->state != CONN_CONNECTING);
}

static enum err conn_new(uv_loop_t *loop, unsigned family, struct tls_context *context,
                         const struct conn_events *events, void *owner, struct conn **ret_conn)
{
    struct conn *conn = calloc(1, sizeof(*conn));

    if (!conn)
        return ERR_NOMEM;
    enum err err = tls_session_new(context, &conn->tls);
    if (!err)
        err = turn_hold(loop, &conn->turn);
    if (err)
        goto err_after_alloc;
    int status = uv_tcp_init_ex(loop, &conn->tcp, family);
    if (status < 0) {
        err = err_from_errno(-status);
        goto err_after_turn;
    }
    uv_timer_init(loop, &conn->timer);
    conn->magic = CONN_MAGIC;
    conn->handles_open = 2;
    conn->tcp.data = conn;
    conn->timer.data = conn;
    conn->turn_work.run = on_turn_end;
    conn->events = events;
    conn->owner = owner;
    *ret_conn = conn;
    return ERR_OK;

err_after_turn:
    turn_drop(conn->turn);
err_after_alloc:
    tls_session_free(conn->tls);
    free(conn);
    return err;
}

static void set_options(struct conn *conn)
{
    uv_os_fd_t fd;
    unsigned timeout_ms = USER_TIMEOUT_MS;

    uv_tcp_nodelay(&conn->tcp, 1);
    uv_tcp_keepalive(&conn->tcp, 1, KEEPALIVE_S);
    if (uv_fileno((uv_handle_t *)&conn->tcp, &fd) == 0)
        setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout_ms, sizeof(timeout_ms));
}

static void read_addresses(struct conn *conn)
{
    struct sockaddr_storage address;
    int len = sizeof(address);

    if (uv_tcp_getpeername(&conn->tcp, (struct sockaddr *)&address, &len) != 0 ||
        ip_endpoint_from_sockaddr((struct sockaddr *)&address, &conn->remote) != ERR_OK)
        conn->remote = (struct ip_endpoint){0};
    len = sizeof(address);
    if (uv_tcp_getsockname(&conn->tcp, (struct sockaddr *)&address, &len) != 0 ||
        ip_endpoint_from_sockaddr((struct sockaddr *)&address, &conn->local) != ERR_OK)
        conn->local = (struct ip_endpoint){0};
}

static void on_connected(uv_connect_t *request, int status)
{
    struct conn *conn = conn_of(request->data);

    if (conn->state == CONN_CLOSING)
        return;
    if (status < 0) {
        fail_by_socket(conn, status);
        return;
    }
    conn->state = CONN_HANDSHAKE;
    read_addresses(conn);
    pump(conn);
    turn_queue(conn->turn, &conn->turn_work);
}

static int start_connecting(struct conn *conn, const struct ip *local)
{
    struct sockaddr_storage address;

    if (local) {
        int one = 1;
        uv_os_fd_t fd;
        struct ip_endpoint source = {.ip = *local};
        ip_endpoint_to_sockaddr(&source, &address);
        // The port is chosen at connect, so that it is only taken for this destination.
        if (uv_fileno((uv_handle_t *)&conn->tcp, &fd) == 0)
            setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one));
        int status = uv_tcp_bind(&conn->tcp, (struct sockaddr *)&address, 0);
        if (status < 0)
            return status;
    }
    ip_endpoint_to_sockaddr(&conn->remote, &address);
    conn->connect.data = conn;
    return uv_tcp_connect(&conn->connect, &conn->tcp, (struct sockaddr *)&address, on_connected);
}

enum err conn_connect(uv_loop_t *loop, const struct ip_endpoint *remote, const struct ip *local,
                      struct tls_context *context, uint64_t timeout_ms, const struct conn_events *events, void *owner,
                      struct conn **ret_conn)
{
    struct conn *conn;

    enum err err = conn_new(loop, (unsigned)ip_family(&remote->ip), context, events, owner, &conn);
    if (err)
        return err;
    conn->state = CONN_CONNECTING;
    conn->remote = *remote;
    conn->timeout_ms = timeout_ms;
    set_options(conn);
    uv_timer_start(&conn->timer, on_open_timeout, timeout_ms, 0);
    int status = start_connecting(conn, local);
    if (status < 0)
        fail_by_socket(conn, status); // the owner hears of it in on_close, as of any other failure
    *ret_conn = conn;
    return ERR_OK;
}

enum err conn_accept(uv_stream_t *listener, struct tls_context *context, uint64_t timeout_ms,
                     const struct conn_events *events, void *owner, struct conn **ret_conn)
{
    struct conn *conn;

    enum err err = conn_new(listener->loop, AF_UNSPEC, context, events, owner, &conn);
    if (err)
        return err;
    int status = uv_accept(listener, (uv_stream_t *)&conn->tcp);
    if (status < 0) {
        conn->orphan = true;
        close_handles(conn, false);
        return err_from_errno(-status);
    }
    conn->state = CONN_HANDSHAKE;
    conn->timeout_ms = timeout_ms;
    set_options(conn);
    read_addresses(conn);
    uv_timer_start(&conn->timer, on_open_timeout, timeout_ms, 0);
    turn_queue(conn->turn, &conn->turn_work); // starts to read
    *ret_conn = conn;
    return ERR_OK;
}

// ---- what there is to know

const struct cert_facts *conn_peer(const struct conn *conn)
{
    return tls_peer(conn->tls);
}

struct tls_session *conn_tls(struct conn *conn)
{
    return conn->tls;
}

const struct ip_endpoint *conn_remote(const struct conn *conn)
{
    return &conn->remote;
}

const struct ip_endpoint *conn_local(const struct conn *conn)
{
    return &conn->local;
}

void conn_set_owner(struct conn *conn, const struct conn_events *events, void *owner)
{
    conn->events = events;
    conn->owner = owner;
}
