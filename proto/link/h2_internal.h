// SPDX-License-Identifier: GPL-2.0-or-later
// The HTTP/2 engine without sockets: bytes and time in, bytes and events out. h2.c runs it over a conn, tests and fuzzers over memory.
// For h2*.c and tests only.
#ifndef TWOFOLD_LINK_H2_INTERNAL_H
#define TWOFOLD_LINK_H2_INTERNAL_H

#include <nghttp2/nghttp2.h>

#include "proto/base/buf.h"
#include "proto/link/h2.h"

// What a peer can do for nothing, and how often it may.
#define H2_LIMIT_LIST(X)                       \
    X(RESETS, 4000, 1000, "resets of streams") \
    X(PINGS, 200, 10, "PING frames")           \
    X(SETTINGS, 30, 1, "SETTINGS frames")      \
    X(EMPTY, 200, 20, "empty DATA frames")     \
    X(GLITCHES, 200, 2, "invalid frames")      \
    X(OTHERS, 2000, 200, "frames that carry nothing")

enum h2_limit {
#define H2_LIMIT_ENUM(name, burst, per_second, text) H2_LIMIT_##name,
    H2_LIMIT_LIST(H2_LIMIT_ENUM)
#undef H2_LIMIT_ENUM
        H2_LIMIT_COUNT,
};

struct h2_allowance {
    uint64_t used_thousandths;
    uint64_t since_ms;
};

// False when this one is too many.
bool h2_allow(struct h2_allowance *allowance, enum h2_limit limit, uint64_t now_ms);
const char *h2_limit_text(enum h2_limit limit);

// A DATA frame with its header fills one TLS record.
#define H2_FRAME_HEADER_BYTES  9
#define H2_FRAME_PAYLOAD_BYTES 16375

// Queued payload, with room before it in which the frame's header is written, so that both go to TLS without another copy.
struct h2_chunk {
    struct h2_chunk *next;
    unsigned start;
    unsigned end;
    uint8_t header[H2_FRAME_HEADER_BYTES];
    uint8_t payload[H2_FRAME_PAYLOAD_BYTES];
};

struct h2_trailers {
    size_t count;
    struct h2_header items[];
};

struct h2_stream {
    struct h2_session *session;
    struct h2_stream *previous;
    struct h2_stream *next;
    struct h2_stream *next_writable;
    int32_t id;
    void *owner;
    struct h2_chunk *first;
    struct h2_chunk *last;
    size_t queued_bytes;
    size_t unconsumed_bytes;
    struct h2_trailers *trailers; // to send
    bool is_announced;            // the owner knows it
    bool has_response;            // client: the final one came
    bool has_body;                // of ours: nghttp2 asks for data
    bool is_deferred;             // nghttp2 waits for nghttp2_session_resume_data
    bool end_wanted;
    bool end_sent;
    bool end_early;
    bool peer_ended;
    bool is_reset;  // by us
    bool is_unsent; // its request could not go out
    bool writable_wanted;
    bool writable_queued;
};

struct h2_incoming {
    struct h2_headers headers;
    size_t used;
    size_t list_bytes;
    bool too_large;
    char text[H2_HEADER_BYTES_MAX];
};

// Where the bytes go.
struct h2_transport {
    enum err (*write)(void *context, const uint8_t *bytes, size_t len);
    bool (*is_full)(void *context);  // no more now; h2_engine_flush again when it drained
    void (*schedule)(void *context); // h2_engine_flush is wanted at the end of the turn
    void (*close)(void *context);    // the session is over, as session->err and note say
};

struct h2_session {
    nghttp2_session *ng;
    bool is_server;
    struct h2_settings settings;
    const struct h2_events *events;
    void *owner;
    const struct h2_transport *transport;
    void *transport_context;
    struct h2_stream *streams;
    size_t stream_count;
    struct h2_stream *writable;
    struct h2_chunk *free_chunks;
    unsigned free_chunk_count;
    struct h2_incoming *incoming; // while a header block comes in
    struct buf gathered;          // small frames for one record
    bool has_unsent;
    struct h2_allowance allowances[H2_LIMIT_COUNT];
    uint64_t now_ms;
    uint64_t next_ping_ms; // 0: none
    uint64_t drain_ms;     // when draining ends; 0: not draining
    unsigned unanswered_pings;
    bool is_open;
    bool is_over;   // nothing more is read or sent but what is queued
    bool is_closed; // transport->close was called
    bool goaway_seen;
    enum err err;
    struct note note;

    // h2.c
    unsigned magic;
    struct conn *conn;
    uv_timer_t timer;
};

MUST_USE enum err h2_engine_init(struct h2_session *session, bool is_server, const struct h2_settings *settings,
                                 const struct h2_events *events, void *owner, const struct h2_transport *transport,
                                 void *context);
void h2_engine_free(struct h2_session *session); // all streams go with H2_LOST
void h2_engine_open(struct h2_session *session, uint64_t now_ms);
void h2_engine_receive(struct h2_session *session, const uint8_t *bytes, size_t len, uint64_t now_ms);
void h2_engine_flush(struct h2_session *session, uint64_t now_ms);
uint64_t h2_engine_deadline(const struct h2_session *session); // UINT64_MAX: none
void h2_engine_tick(struct h2_session *session, uint64_t now_ms);
void h2_engine_shutdown(struct h2_session *session, uint64_t drain_ms, uint64_t now_ms);

// Ends the session with GOAWAY.
void h2_engine_fail(struct h2_session *session, uint32_t code, enum err err, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
void h2_engine_schedule(struct h2_session *session);
// One more of those that are limited; the session fails when it is one too many.
void h2_engine_count(struct h2_session *session, enum h2_limit limit);

// h2_receive.c
void h2_receive_set_callbacks(nghttp2_session_callbacks *callbacks);

// h2_stream.c
struct h2_stream *h2_stream_new(struct h2_session *session);
void h2_stream_finish(struct h2_stream *stream, uint32_t code); // on_gone, and frees
nghttp2_data_provider h2_stream_provider(struct h2_stream *stream);
int h2_stream_on_send_data(nghttp2_session *ng, nghttp2_frame *frame, const uint8_t *header, size_t len,
                           nghttp2_data_source *source, void *context);
void h2_stream_call_writable(struct h2_session *session);
void h2_chunks_free(struct h2_session *session);

// h2_session.c: one DATA frame, header and payload in a row
MUST_USE enum err h2_engine_write_frame(struct h2_session *session, const uint8_t *bytes, size_t len);

#endif
