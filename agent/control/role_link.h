// SPDX-License-Identifier: GPL-2.0-or-later
// The control role's end of its channel to another role. That role may have been taken over: only what it has a right to say comes
// through, and anything else ends the link.
#ifndef TWOFOLD_AGENT_CONTROL_ROLE_LINK_H
#define TWOFOLD_AGENT_CONTROL_ROLE_LINK_H

#include <stdint.h>
#include <uv.h>

#include "agent/role.h"
#include "proto/base/err.h"
#include "proto/base/note.h"
#include "role.pb-c.h"

struct role_link;

// on_message* -> on_gone once, last; the link frees itself behind it.
struct role_link_events {
    void (*on_message)(void *owner, enum role role, const Twofold__V1__RoleMessage *message); // during the call only
    void (*on_gone)(void *owner, enum role role, enum err err);
};

// Takes over the descriptor.
MUST_USE enum err role_link_open(uv_loop_t *loop, int fd, enum role role, const struct role_link_events *events,
                                 void *owner, struct role_link **ret_link);
MUST_USE enum err role_link_send(struct role_link *link, const Twofold__V1__RoleMessage *message);
void role_link_close(struct role_link *link);

// Decodes and checks what came from `role` (here for the fuzzer). Free with message_free. ERR_MALFORMED, ERR_DENIED.
MUST_USE enum err role_message_decode(enum role role, const uint8_t *bytes, size_t len,
                                      Twofold__V1__RoleMessage **ret_message);

#endif
