// SPDX-License-Identifier: GPL-2.0-or-later
// gRPC over HTTP/2 (grpc/doc/PROTOCOL-HTTP2.md), both ends: unary calls and streams of messages. Messages are opaque bytes here; no
// compression. `grpc-status` and `grpc-message` (percent-encoded) come back as status and text.
//
// Client: grpc_channel keeps one connection; grpc_call_start -> on_message* -> on_done once, last; the call is freed behind it.
// Server: each accepted connection; on_call -> on_message* -> on_half_close -> (the handler answers with grpc_call_send / grpc_call_finish)
// -> on_done once, last, when the call is over for any reason.
#ifndef TWOFOLD_LINK_GRPC_H
#define TWOFOLD_LINK_GRPC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "proto/base/err.h"
#include "proto/base/note.h"
#include "proto/link/cert.h"
#include "proto/link/h2.h"

#define GRPC_MESSAGE_BYTES_MAX (16u << 20) // default bound of one message, either way

enum grpc_status {
    GRPC_OK = 0,
    GRPC_CANCELLED = 1,
    GRPC_UNKNOWN = 2,
    GRPC_INVALID_ARGUMENT = 3,
    GRPC_DEADLINE_EXCEEDED = 4,
    GRPC_NOT_FOUND = 5,
    GRPC_ALREADY_EXISTS = 6,
    GRPC_PERMISSION_DENIED = 7,
    GRPC_RESOURCE_EXHAUSTED = 8,
    GRPC_FAILED_PRECONDITION = 9,
    GRPC_ABORTED = 10,
    GRPC_OUT_OF_RANGE = 11,
    GRPC_UNIMPLEMENTED = 12,
    GRPC_INTERNAL = 13,
    GRPC_UNAVAILABLE = 14,
    GRPC_DATA_LOSS = 15,
    GRPC_UNAUTHENTICATED = 16,
};

struct grpc_call;

struct grpc_call_events {
    void (*on_message)(void *owner, struct grpc_call *call, const uint8_t *bytes,
                       size_t len);                             // valid during the call only
    void (*on_half_close)(void *owner, struct grpc_call *call); // server: the client sent its last
    void (*on_done)(void *owner, struct grpc_call *call, enum grpc_status status, const char *text);
};

// Queues one message; memory is bounded by the channel: ERR_LIMIT when more than 32 MiB wait.
MUST_USE enum err grpc_call_send(struct grpc_call *call, const void *bytes, size_t len);
// Client: no more messages from here.
MUST_USE enum err grpc_call_half_close(struct grpc_call *call);
// Either end: gives up; on_done follows with GRPC_CANCELLED.
void grpc_call_cancel(struct grpc_call *call);
void *grpc_call_owner(const struct grpc_call *call);
void grpc_call_set_owner(struct grpc_call *call, const struct grpc_call_events *events, void *owner);

// ---- client

struct grpc_channel;

struct grpc_channel_events {
    void (*on_open)(void *owner, struct grpc_channel *channel);
    // Last; the channel frees itself behind it. Calls got their on_done before.
    void (*on_gone)(void *owner, struct grpc_channel *channel, enum err err, const struct note *note);
};

MUST_USE enum err grpc_connect(uv_loop_t *loop, const struct ip_endpoint *remote, const struct ip *local,
                               struct tls_context *context, uint64_t timeout_ms,
                               const struct grpc_channel_events *events, void *owner,
                               struct grpc_channel **ret_channel);
void grpc_channel_close(struct grpc_channel *channel);
struct conn *grpc_channel_conn(struct grpc_channel *channel);

// `path`: "/twofold.v1.Admin/ListHosts". `deadline_ms` 0: none.
MUST_USE enum err grpc_call_start(struct grpc_channel *channel, const char *path, uint64_t deadline_ms,
                                  const struct grpc_call_events *events, void *owner, struct grpc_call **ret_call);

// ---- server

struct grpc_server;

struct grpc_server_events {
    // A call begins. Take it with grpc_call_set_owner, or refuse it with grpc_call_finish. `peer`: NULL without a client certificate.
    void (*on_call)(void *owner, struct grpc_call *call, const char *path, const struct cert_facts *peer,
                    const struct ip_endpoint *remote);
    // A connection attempt that failed before any call, or a client that broke HTTP/2 or one of its limits: for the log.
    void (*on_refused)(void *owner, const struct ip_endpoint *remote, enum err err, const struct note *note);
};

// Listens on each address; at most `max_connections` at once, of them an eighth (at least 8) by clients without a certificate, for 30 s
// each; and of 1024 half-open ones (then the oldest goes) 64 by one source. `context` is held.
MUST_USE enum err grpc_server_new(uv_loop_t *loop, const struct ip_endpoint *addresses, size_t count,
                                  struct tls_context *context, size_t max_connections,
                                  const struct grpc_server_events *events, void *owner, struct grpc_server **ret_server,
                                  struct note *note);
void grpc_server_set_context(struct grpc_server *server, struct tls_context *context); // for new connections
// Where it listens (port 0 was asked for in tests).
struct ip_endpoint grpc_server_address(const struct grpc_server *server, size_t index);
// Stops listening, ends all calls with GRPC_UNAVAILABLE; on_gone (may be NULL) when all is closed, then freed.
void grpc_server_close(struct grpc_server *server, void (*on_gone)(void *owner));

// Ends the call: trailers with status and text. The server only.
void grpc_call_finish(struct grpc_call *call, enum grpc_status status, const char *text);
// The connection under a server's call, e.g. to cut it when the peer is revoked.
void grpc_call_cut_connection(struct grpc_call *call);

#endif
