// SPDX-License-Identifier: GPL-2.0-or-later
// Slices to agents: one difference in flight for each host, the newest wins, and what the agent answers is what counts.
//
//   behind --compile, send--> in flight --ACK with our digest--> current
//     ^                          |   |
//     |  change, retry, mismatch |   +--NACK--> refused (the old slice stays in force; offered again after a while)
//     +--------------------------+
#ifndef TWOFOLD_CONTROLLER_PUSH_H
#define TWOFOLD_CONTROLLER_PUSH_H

#include <stdbool.h>

#include "controller/fleet.h"

// The agent has connected and says what it has in force. ERR_PROTOCOL.
MUST_USE enum err push_on_hello(struct agent *agent, const Twofold__V1__Hello *hello, struct note *note);
// ERR_PROTOCOL for an answer to something that was never sent.
MUST_USE enum err push_on_result(struct agent *agent, const Twofold__V1__SliceResult *result, struct note *note);
void push_on_disconnect(struct agent *agent);

// Compiles and sends for a few agents that are behind; true when there are more.
bool push_turn(struct fleet *fleet);
void push_tick(struct agent *agent);

// The slice that the host would get now. Free with message_free. ERR_NOT_FOUND for a revoked or unknown one.
MUST_USE enum err push_compile(struct fleet *fleet, const char *host, Twofold__V1__Slice **ret_slice,
                               struct note *note);

#endif
