// SPDX-License-Identifier: GPL-2.0-or-later
// Inside of flows, shared by flow.c and flow_opening.c alone.
#ifndef TWOFOLD_AGENT_HTTPS_FLOW_LIFE_H
#define TWOFOLD_AGENT_HTTPS_FLOW_LIFE_H

#include "agent/https/flow.h"

enum app_close { APP_CLOSE, APP_RESET };

// NULL without memory. The record is live from here on.
struct flow *flow_new(struct https *https, Twofold__V1__Direction direction, enum flow_state state);

// The one place where the state changes.
void flow_move(struct flow *flow, enum flow_event event);

void flow_attach(struct flow *flow, struct tunnel *tunnel, struct h2_stream *stream);
void flow_set_reason(struct flow *flow, const char *reason);
void flow_count_refusal(struct flow *flow);

// Answers the peer's request with a refusal: `told` goes to the peer, `reason` into the record. The flow ends.
void flow_answer_no(struct flow *flow, const char *status, const char *told, const char *reason);

// The end of every flow.
void flow_close(struct flow *flow, enum flow_event event, enum app_close how);

#endif
