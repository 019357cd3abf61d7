// SPDX-License-Identifier: GPL-2.0-or-later
// The bytes of a flow: application socket <-> stream. flow.c decides about the flow's life; this moves what it carries.
#ifndef TWOFOLD_AGENT_HTTPS_PUMP_H
#define TWOFOLD_AGENT_HTTPS_PUMP_H

#include <stddef.h>
#include <stdint.h>

#include "agent/https/flow.h"

// Reads from the application while its half is open and its stream's queue has room.
void pump_update_reading(struct flow *flow);

// Bytes for the application: written at the end of the turn. The stream's window stays closed by as much until then.
void pump_deliver(struct flow *flow, const uint8_t *bytes, size_t len);

// Writes what waits, then the FIN when the peer has ended its half.
void pump_flush(struct flow *flow);

// Whether the application's socket has failed (reset, most of the time): a libuv status, 0 when it has not. For a flow that does not read because
// its half is ended or because the tunnel has no room; others learn it from a read.
int pump_app_failure(const struct flow *flow);

// From pump.c to flow.c: the application ended its half; its socket failed; the last byte and the FIN are with it.
void flow_on_app_end(struct flow *flow);
void flow_on_app_error(struct flow *flow, int status);
void flow_on_delivered(struct flow *flow);

#endif
