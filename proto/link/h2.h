// SPDX-License-Identifier: GPL-2.0-or-later
// HTTP/2 (RFC 9113) over a conn, by nghttp2: streams with headers, flow-controlled data and trailers, for gRPC and for CONNECT tunnels.
//
// Flow control: received DATA counts against the stream's window until h2_consume. h2_send queues at most H2_SEND_QUEUE_BYTES a
// stream and takes less when full; on_writable follows then, and also when the queue was filled exactly.
// Order of a stream's events: on_headers (server: request; client: response; 1xx never) -> on_data* -> on_end (the peer's half is closed;
// its trailers come with it; also behind headers that ended the stream) ; on_gone once, last: the stream is freed behind it. After
// h2_reset only on_gone comes. No event of a session after its on_session_gone, and none from inside a call of the owner.
#ifndef TWOFOLD_LINK_H2_H
#define TWOFOLD_LINK_H2_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/base/err.h"
#include "proto/base/note.h"
#include "proto/link/conn.h"

#define H2_HEADERS_MAX      64
#define H2_HEADER_BYTES_MAX 16384
#define H2_SEND_QUEUE_BYTES 65536

// Error codes of RFC 9113, chapter 7, that owners use, and one of ours.
#define H2_NO_ERROR          0x0u
#define H2_PROTOCOL_ERROR    0x1u
#define H2_INTERNAL_ERROR    0x2u
#define H2_REFUSED_STREAM    0x7u
#define H2_CANCEL            0x8u
#define H2_CONNECT_ERROR     0xau
#define H2_ENHANCE_YOUR_CALM 0xbu
#define H2_LOST              UINT32_MAX // the whole connection ended

struct h2_session;
struct h2_stream;

struct h2_header {
    const char *name;  // lower case
    const char *value; // no control bytes
};

struct h2_headers {
    size_t count;
    struct h2_header items[H2_HEADERS_MAX];
};

// NULL when absent. Pseudo-headers are there under their names (":authority").
const char *h2_header(const struct h2_headers *headers, const char *name);

struct h2_events {
    // Server: a request came; set the stream's owner with h2_stream_set_owner. Headers live during the call.
    void (*on_headers)(void *session_owner, struct h2_stream *stream, const struct h2_headers *headers, bool end);
    void (*on_data)(void *session_owner, struct h2_stream *stream, const uint8_t *bytes, size_t len);
    void (*on_end)(void *session_owner, struct h2_stream *stream,
                   const struct h2_headers *trailers); // trailers: NULL or theirs
    void (*on_writable)(void *session_owner, struct h2_stream *stream);
    // `code`: HTTP/2 error code of the reset, 0 after an orderly end of both halves, H2_LOST.
    void (*on_gone)(void *session_owner, struct h2_stream *stream, uint32_t code);
    void (*on_session_open)(void *session_owner, struct h2_session *session);   // TLS is up, SETTINGS are sent
    void (*on_session_goaway)(void *session_owner, struct h2_session *session); // no new streams; live ones go on
    void (*on_session_gone)(void *session_owner, struct h2_session *session, enum err err, const struct note *note);
};

struct h2_settings {
    uint32_t stream_window_bytes; // 64 KiB .. 16 MiB
    uint32_t connection_window_bytes;
    uint32_t max_concurrent_streams; // that the peer may open
    bool connect_protocol;           // RFC 8441
    uint64_t ping_interval_ms;       // 0: none; the peer is gone after two unanswered intervals
};

// The session owns its conn from the call on. Client: connects. Both: limits against abuse (resets, PING, SETTINGS, CONTINUATION,
// header bytes, empty frames, errors) are built in; a peer that breaks one gets GOAWAY(ENHANCE_YOUR_CALM).
MUST_USE enum err h2_connect(uv_loop_t *loop, const struct ip_endpoint *remote, const struct ip *local,
                             struct tls_context *context, uint64_t timeout_ms, const struct h2_settings *settings,
                             const struct h2_events *events, void *session_owner, struct h2_session **ret_session);
MUST_USE enum err h2_accept(uv_stream_t *listener, struct tls_context *context, uint64_t timeout_ms,
                            const struct h2_settings *settings, const struct h2_events *events, void *session_owner,
                            struct h2_session **ret_session);
struct conn *h2_conn(struct h2_session *session);
void *h2_session_owner(const struct h2_session *session);
void h2_session_set_owner(struct h2_session *session, void *owner);

// Client: opens a stream. With `end` there is no body. ERR_LIMIT: the peer's stream limit is reached; ERR_CLOSED after GOAWAY.
MUST_USE enum err h2_open(struct h2_session *session, const struct h2_header *headers, size_t count, bool end,
                          void *owner, struct h2_stream **ret_stream);
// Server: the response's headers. With `end` there is no body.
MUST_USE enum err h2_respond(struct h2_stream *stream, const struct h2_header *headers, size_t count, bool end);

// Queues a copy of up to all bytes and says how many were taken; fewer: wait for on_writable.
MUST_USE enum err h2_send(struct h2_stream *stream, const uint8_t *bytes, size_t len, size_t *ret_taken);
// Room left in the queue now.
size_t h2_send_room(const struct h2_stream *stream);
// Ends our half behind what is queued, with trailers if there are any.
MUST_USE enum err h2_send_end(struct h2_stream *stream, const struct h2_header *trailers, size_t count);
// Server: once our end is sent, gives up the peer's half if it is still open (RST_STREAM with NO_ERROR; RFC 9113, 8.1). Not for tunnels.
void h2_end_early(struct h2_stream *stream);
// RST_STREAM; on_gone follows, at the earliest at the end of the turn.
void h2_reset(struct h2_stream *stream, uint32_t code);
// Gives `len` received bytes back to the stream's and the connection's window.
void h2_consume(struct h2_stream *stream, size_t len);

void *h2_stream_owner(const struct h2_stream *stream);
void h2_stream_set_owner(struct h2_stream *stream, void *owner);
struct h2_session *h2_stream_session(struct h2_stream *stream);
int32_t h2_stream_id(const struct h2_stream *stream);
size_t h2_session_streams(const struct h2_session *session);

// GOAWAY, streams may end within `drain_ms`, then close. 0: at once.
void h2_shutdown(struct h2_session *session, uint64_t drain_ms);

#endif
