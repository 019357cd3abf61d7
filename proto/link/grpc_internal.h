// SPDX-License-Identifier: GPL-2.0-or-later
// What the two ends of gRPC share: the call. For grpc_*.c only.
#ifndef TWOFOLD_LINK_GRPC_INTERNAL_H
#define TWOFOLD_LINK_GRPC_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "proto/base/buf.h"
#include "proto/link/grpc.h"

#define GRPC_PREFIX_BYTES               5
#define GRPC_TEXT_BYTES                 512
#define GRPC_QUEUE_BYTES_MAX            (32u << 20)
#define GRPC_INPUT_BYTES_MAX            (32u << 20) // unfinished messages of all calls of a connection
#define GRPC_STRANGER_MESSAGE_BYTES_MAX (64u << 10) // from clients without a certificate

struct grpc_call {
    bool is_server;
    struct h2_stream *stream;              // NULL once it is gone
    const struct grpc_call_events *events; // NULL: a server's call that nobody has taken
    void *owner;
    size_t message_bytes_max;
    size_t *in_total; // of the connection; NULL: not counted
    size_t in_counted;
    struct buf in;     // of the next message, with its prefix
    struct buf out;    // not yet taken by the stream
    bool headers_sent; // server
    bool ends;         // our half ends behind `out`
    bool ended;        // the stream was told
    bool cancelled;
    bool has_status;
    enum grpc_status status;
    char text[GRPC_TEXT_BYTES];
    bool has_deadline;
    uv_timer_t deadline;
};

MUST_USE enum err grpc_call_new(bool is_server, size_t message_bytes_max, struct grpc_call **ret_call);
void grpc_call_free(struct grpc_call *call);

// The stream's events, as h2 gives them.
void grpc_call_on_data(struct grpc_call *call, const uint8_t *bytes, size_t len);
void grpc_call_on_writable(struct grpc_call *call);
// Tells the owner that the call is over and frees it.
void grpc_call_on_gone(struct grpc_call *call, uint32_t code);

// Keeps the first status of a call; what comes later is a consequence of it.
void grpc_call_set_status(struct grpc_call *call, enum grpc_status status, const char *text);

// gRPC's percent-encoding of grpc-message: everything but printable ASCII without '%'. The text is cut to fit.
void grpc_text_encode(const char *text, char *room, size_t room_len);
void grpc_text_decode(const char *text, char *room, size_t room_len); // control bytes become '?'

// True for "application/grpc", "application/grpc+proto" and with parameters.
bool grpc_content_type_is_good(const char *value);

#endif
