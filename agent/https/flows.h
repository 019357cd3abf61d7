// SPDX-License-Identifier: GPL-2.0-or-later
// The record of flows: live ones, the last ended ones, and tunnel attempts by strangers, kept apart so that noise on the tunnel's
// port cannot push real flows out. Pure but for the memory it keeps.
#ifndef TWOFOLD_AGENT_HTTPS_FLOWS_H
#define TWOFOLD_AGENT_HTTPS_FLOWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/https/table.h"
#include "proto/base/err.h"
#include "proto/base/ip.h"
#include "proto/base/spiffe.h"
#include "role.pb-c.h"

#define FLOW_REASON_BYTES 384
#define FLOW_SUITE_BYTES  40

// What is known of one flow. The owner of a live flow changes the fields; the list fields belong to `struct flows`.
struct flow_record {
    uint64_t id;
    Twofold__V1__Direction direction;
    Twofold__V1__Verdict verdict;
    struct ip_endpoint source; // port 0: not known
    struct ip_endpoint destination;
    char peer_identity[SPIFFE_TEXT_BYTES];
    char peer[NAME_MAX_BYTES + 1];
    char rule[NAME_MAX_BYTES + 1];
    char reason[FLOW_REASON_BYTES];
    char ipsec_suite[FLOW_SUITE_BYTES]; // empty: the layer was not up
    char https_suite[FLOW_SUITE_BYTES];
    bool ipsec;
    bool https;
    uint64_t bytes_sent; // by the local application
    uint64_t bytes_received;
    uint64_t started_ms;
    uint64_t ended_ms;
    struct flow_record *next;
    struct flow_record *previous;
};

struct flows;
// How many ended flows and how many strangers are remembered.
MUST_USE enum err flows_new(size_t ended_max, size_t strangers_max, struct flows **ret_flows);
void flows_free(struct flows *flows);

// Makes a record live, with a new id and its start. The record must stay until flows_end, which copies it and unlinks it.
void flows_begin(struct flows *flows, struct flow_record *record, uint64_t now_ms);
void flows_end(struct flows *flows, struct flow_record *record, uint64_t now_ms);

// A tunnel attempt that came to nothing: copied, with an id, start and end.
void flows_add_stranger(struct flows *flows, const struct flow_record *record, uint64_t now_ms);

size_t flows_live(const struct flows *flows);

// What a verdict says of a flow: peer, rule, layers and, when it refuses, the reason.
void flow_record_judge(struct flow_record *record, const struct verdict *verdict);

// A report in one piece of memory: live flows first, then ended ones and strangers, the newest first, at most `limit`. `own_identity` is
// this host's workload. free() the result.
MUST_USE enum err flows_report(const struct flows *flows, const char *own_identity, size_t limit,
                               Twofold__V1__Flows **ret_report);

#endif
