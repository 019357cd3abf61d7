// SPDX-License-Identifier: GPL-2.0-or-later
// One agent's session with the controller (Control/Session), as messages in and out: no sockets here.
//
//   NEW --Hello--> LIVE --end, cut, replaced, protocol error--> ENDED --session_gone--> freed
//
// Order of events: session_open -> session_on_message* -> session_gone once, by the owner of the connection. After the session has
// ended, which it may do inside any call, it ignores messages.
#ifndef TWOFOLD_CONTROLLER_SESSION_H
#define TWOFOLD_CONTROLLER_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "control.pb-c.h"
#include "controller/fleet.h"
#include "proto/base/err.h"
#include "proto/link/grpc.h"

#define SESSION_HELLO_MS          10000
#define SESSION_MESSAGE_BYTES_MAX 65536
#define SESSION_STATUS_BYTES_MAX  (1u << 20)

// Where the session's messages go: a gRPC call in the daemon, memory in tests. None of these calls back into the session.
struct session_port {
    enum err (*send)(void *context, const uint8_t *bytes, size_t len); // ERR_LIMIT: too much waits
    void (*end)(void *context, enum grpc_status status, const char *text);
    void (*cut)(void *context,
                const char *text); // ends it with PERMISSION_DENIED or UNAVAILABLE, and closes the connection
};

// Replaces an older session of the host. `host` has proven its name. ERR_LIMIT: it comes back too often.
MUST_USE enum err session_open(struct fleet *fleet, const char *host, const struct session_port *port, void *context,
                               struct session **ret_session);
void session_on_message(struct session *session, const uint8_t *bytes, size_t len);
void session_gone(struct session *session); // frees

bool session_is_live(const struct session *session);
// ERR_LIMIT or ERR_CLOSED when the session has ended by it: a reader that is too slow.
MUST_USE enum err session_send(struct session *session, const Twofold__V1__ControllerMessage *message);
void session_send_bytes(struct session *session, const uint8_t *bytes, size_t len);
void session_end(struct session *session, enum grpc_status status, const char *text);
void session_cut(struct session *session, const char *text);
void session_tick(struct session *session);

#endif
