// SPDX-License-Identifier: GPL-2.0-or-later
// Policy: text to a checked policy to slices. Pure: no network, no logs, no clock.
//
//   version: 1
//   segments:
//     web:      {labels: {role: web}}
//     db:       {hosts: [db1, db2]}
//     branch:   {cidrs: [192.0.2.0/25]}
//     backend:  {segments: [api, db]}
//   rules:
//     - name: web-to-api
//       from: web
//       to: [api]
//       ports: [tcp/8080, tcp/9000-9010]
//       layers: [ipsec, https]
//   failsafe:
//     - name: ssh
//       direction: in
//       ports: [tcp/22]
//       cidrs: [192.0.2.0/24]
//   keying: {rekey: 1h}
//   independence: required
#ifndef TWOFOLD_POLICY_POLICY_H
#define TWOFOLD_POLICY_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/base/err.h"
#include "proto/base/ip.h"
#include "proto/base/note.h"
#include "proto/base/spiffe.h"
#include "slice.pb-c.h"

// Every limit in one place; exceeding one is a finding that names it.
enum policy_limit {
    POLICY_TEXT_BYTES_MAX = 1 << 20,
    POLICY_DEPTH_MAX = 16,
    POLICY_NODES_MAX = 1 << 17, // values of the text, names not counted
    POLICY_SEGMENTS_MAX = 1024,
    POLICY_RULES_MAX = 4096,
    POLICY_FAILSAFE_MAX = 64,
    POLICY_FAILSAFE_CIDRS_MAX = 256, // SLICE_PINHOLE_PREFIXES_MAX
    POLICY_LIST_MAX = 1024,
    POLICY_LABELS_MAX = 32,
    POLICY_RULE_PORTS_MAX = 64,
};

struct policy; // checked; immutable

// Reads and checks. All errors at once, each with line and column; with any, ERR_INVALID and no policy.
// YAML anchors, aliases, tags, merge keys, several documents and duplicate keys are refused.
MUST_USE enum err policy_read(const char *text, size_t len, struct policy **ret_policy, struct notes *notes);
void policy_free(struct policy *policy);

// What the controller knows of the hosts. Names are unique; the compiler needs no order.
struct inventory_label {
    const char *key;
    const char *value;
};

struct inventory_host {
    const char *name;
    const struct ip *addresses;
    size_t address_count;
    const struct inventory_label *labels;
    size_t label_count;
    uint32_t slot;
    const char *workload; // SPIFFE ID
    bool revoked;
};

struct inventory {
    const char *trust_domain;
    uint64_t generation;
    const struct inventory_host *hosts;
    size_t host_count;
};

// A policy applied to an inventory: who is in which segment, worked out once for the slices of all hosts. Immutable. Policy and inventory
// outlive it. ERR_INVALID or ERR_LIMIT, with a note, when the inventory is not fit: two hosts with one name, address or slot, a slot outside
// 1..2^20-1, too many hosts or addresses.
struct policy_view;
MUST_USE enum err policy_view_new(const struct policy *policy, const struct inventory *inventory,
                                  struct policy_view **ret_view, struct note *note);
void policy_view_free(struct policy_view *view);

// The slice of one host: deterministic, canonical, passes slice_check. A host without an address is nobody's peer yet. A revoked host,
// or one that is not there, gets ERR_NOT_FOUND; ERR_LIMIT when more peers or rules concern it than a slice holds. Free with message_free.
MUST_USE enum err policy_compile_view(const struct policy_view *view, const char *host, Twofold__V1__Slice **ret_slice);

// Both in one, for a single host.
MUST_USE enum err policy_compile(const struct policy *policy, const struct inventory *inventory, const char *host,
                                 Twofold__V1__Slice **ret_slice);

// Which rule, or the nearest miss. `source` and `destination` are hosts' names or addresses.
#define POLICY_REASON_BYTES 512
struct explanation {
    bool allowed;
    char rule[NAME_MAX_BYTES + 1]; // the rule, or the nearest miss; may be empty
    unsigned line;                 // where that rule begins
    unsigned column;
    bool ipsec;
    bool https;
    char reason[POLICY_REASON_BYTES]; // a sentence; when denied, also what would allow it
};
MUST_USE enum err policy_explain(const struct policy *policy, const struct inventory *inventory, const char *source,
                                 const char *destination, Twofold__V1__Protocol protocol, uint16_t port,
                                 struct explanation *ret_explanation, struct note *note);

// Findings that are no errors: a segment without hosts, a rule that can never match, hosts in no segment. As sentences.
MUST_USE enum err policy_effects(const struct policy *policy, const struct inventory *inventory, struct notes *notes);

// What `new` changes against `old` for the hosts of the inventory, rule by rule and failsafe by failsafe, as sentences. Positions
// are in the text that the rule is in.
MUST_USE enum err policy_changes(const struct policy *old, const struct policy *new, const struct inventory *inventory,
                                 struct notes *notes);

#endif
