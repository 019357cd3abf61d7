// SPDX-License-Identifier: GPL-2.0-or-later
// Between conn.c (how a connection begins and ends) and conn_io.c (what goes through it) only.
#ifndef TWOFOLD_LINK_CONN_INTERNAL_H
#define TWOFOLD_LINK_CONN_INTERNAL_H

#include <assert.h>

#include "proto/link/conn.h"
#include "proto/link/turn.h"

#define CONN_MAGIC 0x636f6e6eu

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

static inline struct conn *conn_of(void *data)
{
    struct conn *conn = data;
    assert(conn->magic == CONN_MAGIC);
    return conn;
}

static inline bool conn_is_ending(const struct conn *conn)
{
    return conn->state >= CONN_FLUSHING;
}

// ---- conn.c

// Closes at once; with a reset where that is still possible.
void conn_close_handles(struct conn *conn, bool reset);
// What is queued still goes out: data, our close_notify, or the alert that tells the peer what is wrong.
void conn_start_flushing(struct conn *conn);
void conn_set_reason(struct conn *conn, enum err err, const char *format, ...) __attribute__((format(printf, 3, 4)));
void conn_fail_by_socket(struct conn *conn, int status);
void conn_fail_by_tls(struct conn *conn, enum err err);

// ---- conn_io.c

void conn_pump(struct conn *conn); // handshake or plaintext, as far as the input goes
void conn_on_turn_end(struct turn_work *work);

#endif
