// SPDX-License-Identifier: GPL-2.0-or-later
// Sets of peers' addresses for the ruleset: rules with the same peers share one. Pure.
#ifndef TWOFOLD_AGENT_NETWORK_PEER_SETS_H
#define TWOFOLD_AGENT_NETWORK_PEER_SETS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/base/buf.h"
#include "proto/base/err.h"
#include "slice.pb-c.h"

// Hosts, ascending, without duplicates; they point into the slice.
struct peer_set {
    const char **hosts;
    size_t count;
    bool has[2]; // any IPv4, any IPv6 address
};

struct peer_sets {
    const Twofold__V1__Slice *slice;
    struct peer_set *items;
    size_t count;
};

void peer_sets_init(struct peer_sets *sets, const Twofold__V1__Slice *slice);
void peer_sets_free(struct peer_sets *sets);

// The number of the set with these hosts (each a peer of the slice), made when it is not there yet. ERR_NOMEM.
MUST_USE enum err peer_sets_add(struct peer_sets *sets, char *const *hosts, size_t count, size_t *ret_index);
// The set of the peers whose mark has this bit; `marks` has one byte for each of the slice's peers.
MUST_USE enum err peer_sets_select(struct peer_sets *sets, const uint8_t *marks, uint8_t bit, size_t *ret_index);

// "    set p0v4 { type ipv4_addr; elements = { … }; }" for each that has addresses of the family.
MUST_USE enum err peer_sets_write(const struct peer_sets *sets, struct buf *text);

#endif
