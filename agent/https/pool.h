// SPDX-License-Identifier: GPL-2.0-or-later
// Outbound tunnels by lane: from one local address to one address of a peer. A flow takes the lane's least loaded tunnel; while none has
// room, one at a time is opened, and flows wait for it.
#ifndef TWOFOLD_AGENT_HTTPS_POOL_H
#define TWOFOLD_AGENT_HTTPS_POOL_H

#include <stddef.h>
#include <sys/queue.h>

#include "agent/https/flow.h"
#include "agent/https/https.h"
#include "agent/https/tunnel.h"

TAILQ_HEAD(flow_tail, flow);

struct lane {
    struct https *https;
    struct ip source;
    struct ip destination;
    struct tunnel *connecting; // NULL: none
    size_t tunnel_count;       // `connecting` too
    struct tunnel_list tunnels;
    size_t waiting_count;
    struct flow_tail waiting;
    LIST_ENTRY(lane) of_bucket;
};

// Finds a tunnel for the flow now or later: flow_ask or flow_refuse follows, perhaps before this returns.
void pool_place(struct flow *flow);
// The flow no longer waits.
void pool_forget(struct flow *flow);

// From tunnels: it is up and its peer is who it has to be; it went away (`reason` when it never came up).
void pool_on_tunnel(struct tunnel *tunnel);
void pool_on_gone(struct tunnel *tunnel, const char *reason);

#endif
