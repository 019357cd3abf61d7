// SPDX-License-Identifier: GPL-2.0-or-later
// The running controller: one loop with its listener, sessions, timers and signals.
//
// Order of events: daemon_start -> calls, sessions -> daemon_stop (SIGTERM, SIGINT, or a failure) -> the server has closed -> the loop
// ends -> daemon_close.
#ifndef TWOFOLD_CONTROLLER_DAEMON_H
#define TWOFOLD_CONTROLLER_DAEMON_H

#include <stdbool.h>
#include <uv.h>

#include "controller/enrol.h"
#include "controller/fleet.h"
#include "controller/state.h"
#include "proto/link/grpc.h"

#define DAEMON_CONNECTIONS_MAX 16384
#define DAEMON_TICK_MS         250

struct stream; // an agent's session over gRPC

struct daemon {
    uv_loop_t *loop;
    const struct clock *clock;
    struct state state; // owned
    struct fleet *fleet;
    struct enrolment enrolment;
    struct bucket denials;  // refused calls written to the audit log
    struct bucket refusals; // failed connections written to the log
    uint64_t refusals_unlogged;
    struct trust *trust;
    struct tls_context *context;
    struct grpc_server *server;
    struct stream *gone; // sessions whose call is over, to be freed from the loop
    uv_timer_t work;
    uv_timer_t tick;
    uv_timer_t renewal;
    uv_signal_t terminate;
    uv_signal_t interrupt;
    uint64_t started; // unix seconds
    bool stopping;
    bool failed; // stopped because memory and store could differ
};

// Takes the opened state over, on failure too, and listens. The loop is the caller's.
MUST_USE enum err daemon_start(struct daemon *daemon, uv_loop_t *loop, const struct clock *clock, struct state *state,
                               struct note *note);
void daemon_stop(struct daemon *daemon);
// After the loop has ended.
void daemon_close(struct daemon *daemon);

// The store has a change that memory could not take: ends the daemon, so that it starts again from the store.
void daemon_fail(struct daemon *daemon, enum err err);

#endif
