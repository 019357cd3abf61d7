// SPDX-License-Identifier: GPL-2.0-or-later
// A TLS connection over TCP on a libuv loop: one owner, bounded buffers, one close.
//
// The process must ignore SIGPIPE.
//
// Order of events: conn_connect or conn_accept -> on_open once (handshake complete, peer verified) -> on_data*, on_drain* -> on_close
// once, always last, never from inside a call of the owner. After conn_close no event but on_close comes. The conn frees itself behind
// on_close.
#ifndef TWOFOLD_LINK_CONN_H
#define TWOFOLD_LINK_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "proto/base/err.h"
#include "proto/base/ip.h"
#include "proto/base/note.h"
#include "proto/link/tls.h"

struct conn;

struct conn_events {
    void (*on_open)(void *owner, struct conn *conn);
    // The bytes are valid during the call only. Reading can be held with conn_pause.
    void (*on_data)(void *owner, struct conn *conn, const uint8_t *bytes, size_t len);
    // What was queued has fallen below the low mark.
    void (*on_drain)(void *owner, struct conn *conn);
    // Asked for with conn_schedule: the turn of the loop ends, and what is written now goes out with all else. May be NULL.
    void (*on_flush)(void *owner, struct conn *conn);
    // `err` is ERR_OK after conn_close by the owner, ERR_CLOSED when the peer closed in order; the note says why otherwise.
    void (*on_close)(void *owner, struct conn *conn, enum err err, const struct note *note);
};

// Connects, then handshakes; both within `timeout_ms`. `local` (may be NULL) is the source address to bind.
// TCP_NODELAY is set; TCP_USER_TIMEOUT 20 s.
MUST_USE enum err conn_connect(uv_loop_t *loop, const struct ip_endpoint *remote, const struct ip *local,
                               struct tls_context *context, uint64_t timeout_ms, const struct conn_events *events,
                               void *owner, struct conn **ret_conn);

// Accepts from a listening stream inside its connection callback.
MUST_USE enum err conn_accept(uv_stream_t *listener, struct tls_context *context, uint64_t timeout_ms,
                              const struct conn_events *events, void *owner, struct conn **ret_conn);

// Seals and queues; goes to the socket at the end of the loop turn, coalesced. ERR_LIMIT past CONN_QUEUE_BYTES_MAX, ERR_CLOSED.
#define CONN_QUEUE_BYTES_MAX (4u << 20)
#define CONN_QUEUE_BYTES_LOW (256u << 10)
MUST_USE enum err conn_write(struct conn *conn, const uint8_t *bytes, size_t len);
size_t conn_queued_bytes(const struct conn *conn);
// on_flush comes once at the end of this turn.
void conn_schedule(struct conn *conn);

void conn_pause(struct conn *conn);
void conn_resume(struct conn *conn);

// Sends what is queued and close_notify, waits for the peer's end, then closes; all within 1 s.
void conn_close(struct conn *conn);
// Closes with RST.
void conn_abort(struct conn *conn);

const struct cert_facts *conn_peer(const struct conn *conn);
struct tls_session *conn_tls(struct conn *conn);
const struct ip_endpoint *conn_remote(const struct conn *conn);
const struct ip_endpoint *conn_local(const struct conn *conn);
void conn_set_owner(struct conn *conn, const struct conn_events *events, void *owner);

#endif
