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
// Within a turn: reads are opened and delivered at once; writes are sealed at once and go to the socket in conn_on_turn_end.

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/link/conn_internal.h"

#define CLOSE_MS        1000
#define USER_TIMEOUT_MS 20000
#define KEEPALIVE_S     30

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

void conn_close_handles(struct conn *conn, bool reset)
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
    conn_close_handles(conn_of(timer->data), true);
}

void conn_start_flushing(struct conn *conn)
{
    conn->state = CONN_FLUSHING;
    uv_timer_start(&conn->timer, on_close_timeout, CLOSE_MS, 0);
    turn_queue(conn->turn, &conn->turn_work);
}

void conn_set_reason(struct conn *conn, enum err err, const char *format, ...)
{
    va_list args;

    conn->err = err;
    va_start(args, format);
    vsnprintf(conn->note.text, sizeof(conn->note.text), format, args);
    va_end(args);
}

void conn_fail_by_socket(struct conn *conn, int status)
{
    char remote[IP_ENDPOINT_TEXT_BYTES];

    if (!conn_is_ending(conn)) {
        ip_endpoint_format(&conn->remote, remote);
        bool connecting = conn->state == CONN_CONNECTING;
        conn_set_reason(conn, connecting ? ERR_UNREACHABLE : err_from_errno(-status), "%s %s: %s",
                        connecting ? "cannot connect to" : "the connection with", remote, uv_strerror(status));
    }
    conn_close_handles(conn, false);
}

void conn_fail_by_tls(struct conn *conn, enum err err)
{
    if (conn_is_ending(conn))
        return;
    conn->err = err;
    if (err == ERR_CLOSED)
        conn_set_reason(conn, err, "the peer closed the connection");
    else
        tls_failure(conn->tls, &conn->note);
    conn_start_flushing(conn);
}

void conn_close(struct conn *conn)
{
    if (conn_is_ending(conn))
        return;
    conn_set_reason(conn, ERR_OK, "closed");
    if (conn->state == CONN_CONNECTING) {
        conn_close_handles(conn, false);
        return;
    }
    if (conn->state == CONN_OPEN && tls_close_notify(conn->tls) != ERR_OK) {
        conn_close_handles(conn, true);
        return;
    }
    conn_start_flushing(conn);
}

void conn_abort(struct conn *conn)
{
    if (!conn_is_ending(conn))
        conn_set_reason(conn, ERR_OK, "closed");
    conn_close_handles(conn, true);
}

// ---- the beginning

static void on_open_timeout(uv_timer_t *timer)
{
    struct conn *conn = conn_of(timer->data);
    char remote[IP_ENDPOINT_TEXT_BYTES];

    ip_endpoint_format(&conn->remote, remote);
    conn_set_reason(conn, ERR_TIMEOUT, "%s did not %s within %llu ms", remote,
                    conn->state == CONN_CONNECTING ? "answer" : "finish the TLS handshake",
                    (unsigned long long)conn->timeout_ms);
    conn_close_handles(conn, conn->state != CONN_CONNECTING);
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
    conn->turn_work.run = conn_on_turn_end;
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
        conn_fail_by_socket(conn, status);
        return;
    }
    conn->state = CONN_HANDSHAKE;
    read_addresses(conn);
    conn_pump(conn);
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
        conn_fail_by_socket(conn, status); // the owner hears of it in on_close, as of any other failure
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
        conn_close_handles(conn, false);
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
