// SPDX-License-Identifier: GPL-2.0-or-later
// The engine over a conn: h2_connect, h2_accept -> on_open: SETTINGS -> on_data, on_flush -> on_close: streams go, then
// on_session_gone -> the timer closes -> free
#include "proto/link/h2.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "proto/link/h2_internal.h"

#define H2_MAGIC 0x68327373u

static struct h2_session *session_of(void *data)
{
    struct h2_session *session = data;
    assert(session->magic == H2_MAGIC);
    return session;
}

static uint64_t now_of(const struct h2_session *session)
{
    return uv_now(session->timer.loop);
}

static enum err transport_write(void *context, const uint8_t *bytes, size_t len)
{
    return conn_write(session_of(context)->conn, bytes, len);
}

static bool transport_is_full(void *context)
{
    return conn_queued_bytes(session_of(context)->conn) >= CONN_QUEUE_BYTES_LOW;
}

static void transport_schedule(void *context)
{
    conn_schedule(session_of(context)->conn);
}

static void transport_close(void *context)
{
    struct h2_session *session = session_of(context);

    if (session->err == ERR_TIMEOUT)
        conn_abort(session->conn); // nobody is there to say good-bye to
    else
        conn_close(session->conn);
}

static const struct h2_transport over_conn = {transport_write, transport_is_full, transport_schedule, transport_close};

static void on_timer(uv_timer_t *timer);

static void set_timer(struct h2_session *session)
{
    uint64_t deadline = h2_engine_deadline(session), now = now_of(session);

    if (deadline == UINT64_MAX)
        uv_timer_stop(&session->timer);
    else
        uv_timer_start(&session->timer, on_timer, deadline > now ? deadline - now : 0, 0);
}

static void on_timer(uv_timer_t *timer)
{
    struct h2_session *session = session_of(timer->data);

    h2_engine_tick(session, now_of(session));
    set_timer(session);
}

static void on_open(void *owner, struct conn *conn)
{
    struct h2_session *session = session_of(owner);

    (void)conn;
    h2_engine_open(session, now_of(session));
    set_timer(session);
    session->events->on_session_open(session->owner, session);
}

static void on_data(void *owner, struct conn *conn, const uint8_t *bytes, size_t len)
{
    struct h2_session *session = session_of(owner);

    (void)conn;
    h2_engine_receive(session, bytes, len, now_of(session));
}

static void on_drain(void *owner, struct conn *conn)
{
    (void)owner;
    conn_schedule(conn);
}

static void on_flush(void *owner, struct conn *conn)
{
    struct h2_session *session = session_of(owner);

    (void)conn;
    h2_engine_flush(session, now_of(session));
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct h2_session *session = session_of(handle->data);

    session->magic = 0;
    free(session);
}

static void on_close(void *owner, struct conn *conn, enum err err, const struct note *note)
{
    struct h2_session *session = session_of(owner);
    bool own = session->is_closed && err == ERR_OK; // the engine closed, and knows why

    (void)conn;
    h2_engine_free(session);
    if (own)
        session->events->on_session_gone(session->owner, session, session->err, &session->note);
    else if (err == ERR_CLOSED && session->err != ERR_OK) // the peer had said why before it hung up
        session->events->on_session_gone(session->owner, session, session->err, &session->note);
    else
        session->events->on_session_gone(session->owner, session, err, note);
    uv_close((uv_handle_t *)&session->timer, on_timer_closed);
}

static const struct conn_events conn_events = {on_open, on_data, on_drain, on_flush, on_close};

static enum err session_new(uv_loop_t *loop, bool is_server, const struct h2_settings *settings,
                            const struct h2_events *events, void *owner, struct h2_session **ret_session)
{
    struct h2_session *session = calloc(1, sizeof(*session));

    if (!session)
        return ERR_NOMEM;
    enum err err = h2_engine_init(session, is_server, settings, events, owner, &over_conn, session);
    if (err) {
        free(session);
        return err;
    }
    session->magic = H2_MAGIC;
    uv_timer_init(loop, &session->timer);
    session->timer.data = session;
    *ret_session = session;
    return ERR_OK;
}

// Nobody has seen it.
static void session_discard(struct h2_session *session)
{
    h2_engine_free(session);
    uv_close((uv_handle_t *)&session->timer, on_timer_closed);
}

enum err h2_connect(uv_loop_t *loop, const struct ip_endpoint *remote, const struct ip *local,
                    struct tls_context *context, uint64_t timeout_ms, const struct h2_settings *settings,
                    const struct h2_events *events, void *session_owner, struct h2_session **ret_session)
{
    struct h2_session *session;

    enum err err = session_new(loop, false, settings, events, session_owner, &session);
    if (err)
        return err;
    err = conn_connect(loop, remote, local, context, timeout_ms, &conn_events, session, &session->conn);
    if (err) {
        session_discard(session);
        return err;
    }
    *ret_session = session;
    return ERR_OK;
}

enum err h2_accept(uv_stream_t *listener, struct tls_context *context, uint64_t timeout_ms,
                   const struct h2_settings *settings, const struct h2_events *events, void *session_owner,
                   struct h2_session **ret_session)
{
    struct h2_session *session;

    enum err err = session_new(listener->loop, true, settings, events, session_owner, &session);
    if (err)
        return err;
    err = conn_accept(listener, context, timeout_ms, &conn_events, session, &session->conn);
    if (err) {
        session_discard(session);
        return err;
    }
    *ret_session = session;
    return ERR_OK;
}

void h2_shutdown(struct h2_session *session, uint64_t drain_ms)
{
    h2_engine_shutdown(session, drain_ms, now_of(session));
    set_timer(session);
}

struct conn *h2_conn(struct h2_session *session)
{
    return session->conn;
}
