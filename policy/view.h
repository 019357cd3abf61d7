// SPDX-License-Identifier: GPL-2.0-or-later
// Who is in which segment. Internal to policy/; made by policy_view_new.
#ifndef TWOFOLD_POLICY_VIEW_H
#define TWOFOLD_POLICY_VIEW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "policy/model.h"
#include "policy/policy.h"

struct view_host {
    const struct inventory_host *host;
    struct ip *addresses; // ascending, IPv4 first
    size_t address_count;
};

// A set of hosts is `words` words with one bit for each host, in the order of `hosts`.
struct view_rule {
    const struct policy_rule *rule;
    const uint64_t *from;
    const uint64_t *to;
};

struct policy_view {
    const struct policy *policy;
    const struct inventory *inventory;
    struct arena arena;
    struct view_host *hosts; // not revoked, by name
    size_t host_count;
    const char **revoked; // names, ascending
    size_t revoked_count;
    size_t words;
    uint64_t *reachable;     // hosts with an address: those that can be peers
    uint64_t **segments;     // one set for each segment of the policy
    struct view_rule *rules; // by name
};

#define VIEW_NONE SIZE_MAX

static inline bool view_has(const uint64_t *set, size_t host)
{
    return set[host / 64] >> (host % 64) & 1;
}

// Index in `hosts`, or VIEW_NONE.
size_t view_host_by_name(const struct policy_view *view, const char *name);
size_t view_host_by_address(const struct policy_view *view, const struct ip *address);
size_t view_set_count(const struct policy_view *view, const uint64_t *set);

#endif
