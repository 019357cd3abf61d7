// SPDX-License-Identifier: GPL-2.0-or-later
// An agent's session over a gRPC call: joins proto/link/grpc and session.h.
#ifndef TWOFOLD_CONTROLLER_STREAM_H
#define TWOFOLD_CONTROLLER_STREAM_H

#include "controller/daemon.h"

// Takes the call of an agent that has proven its name.
void stream_open(struct daemon *daemon, struct grpc_call *call, const char *host);

// Sessions are freed from the loop, never inside a call of theirs: a call may be over while its session still sends.
void stream_free_gone(struct daemon *daemon);

#endif
