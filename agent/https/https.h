// SPDX-License-Identifier: GPL-2.0-or-later
// What the parts of the https role share: one loop, one table, one set of credentials. role.c makes and ends it.
#ifndef TWOFOLD_AGENT_HTTPS_HTTPS_H
#define TWOFOLD_AGENT_HTTPS_HTTPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <uv.h>

#include "agent/https/credentials.h"
#include "agent/https/flows.h"
#include "agent/https/limits.h"
#include "agent/https/queue.h"
#include "agent/https/table.h"
#include "agent/role.h"
#include "proto/base/clock.h"

struct flow;
struct lane;
struct tunnel;

LIST_HEAD(flow_list, flow);
LIST_HEAD(tunnel_list, tunnel);
LIST_HEAD(lane_list, lane);

// X(name, meaning)
#define HTTPS_COUNTERS(X)                                                   \
    X(flows_carried, "flows carried in tunnels since the start")            \
    X(flows_refused, "flows refused")                                       \
    X(flows_cut, "live flows ended because they are no longer allowed")     \
    X(tunnels_opened, "tunnels that came up")                               \
    X(tunnels_failed, "tunnels to peers that did not come up")              \
    X(strangers_refused, "tunnel attempts refused before their first flow") \
    X(limits_hit, "times that a limit was reached")

struct https_counters {
#define HTTPS_COUNTER_FIELD(name, meaning) uint64_t name;
    HTTPS_COUNTERS(HTTPS_COUNTER_FIELD)
#undef HTTPS_COUNTER_FIELD
};

#define HTTPS_LANE_BUCKETS 256
#define HTTPS_PROBLEMS     64 // the last ones are remembered for status

// Why the last tunnel to an address did not come up.
struct https_problem {
    struct ip destination; // len 0: free
    char reason[FLOW_REASON_BYTES];
};

struct https {
    uv_loop_t loop;
    const struct clock *clock;
    const struct role_start *start;
    const struct https_limits *limits;
    struct credentials *credentials;
    struct table *table; // NULL: no slice yet
    struct flows *records;
    struct chunk_store chunks;
    struct https_counters counters;

    struct flow_list flows; // live ones, and those whose socket still closes
    size_t flow_count;
    struct flow_list ready;         // have bytes to write to their application in this turn
    struct tunnel_list handshaking; // inbound, not open yet
    size_t handshaking_count;
    struct tunnel_list tunnels; // all others
    size_t inbound_count;       // inbound, handshaking ones too
    struct lane_list lanes[HTTPS_LANE_BUCKETS];

    struct https_problem problems[HTTPS_PROBLEMS];
    size_t next_problem;

    uint64_t log_second; // of the last lines about flows
    uint64_t log_count;
    uint8_t *read_room; // HTTPS_READ_BYTES, shared: it is empty again when a read callback returns
};

static inline uint64_t https_limit(const struct https *https, enum https_limit limit)
{
    return https->limits->value[limit];
}

// Counts the hit and says the sentence.
void https_limit_sentence(struct https *https, enum https_limit limit, char *ret_text, size_t room);

// False when enough lines about flows were written in this second; they are in `twofold flows` all the same.
bool https_may_log(struct https *https);

#endif
