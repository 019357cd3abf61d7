// SPDX-License-Identifier: GPL-2.0-or-later
// The pairs of addresses that have SAs, and which of them the policies use: what the SPD needs to know of the SAD. Sorted by
// (local, remote).
#ifndef TWOFOLD_AGENT_NETWORK_ADDRESS_PAIRS_H
#define TWOFOLD_AGENT_NETWORK_ADDRESS_PAIRS_H

#include <stddef.h>
#include <stdint.h>

#include "proto/base/err.h"
#include "proto/base/ip.h"

struct address_pair {
    struct ip local;
    struct ip remote;
    uint32_t reqid;
    uint32_t inbound;      // SAs towards us; with any, the IN policy is there
    uint32_t outbound_spi; // that the OUT policy pins; 0: no OUT policy
};

// A plain value; zero is empty.
struct address_pairs {
    struct address_pair *items;
    size_t count;
    size_t capacity;
};

void address_pairs_free(struct address_pairs *pairs);
struct address_pair *address_pairs_find(const struct address_pairs *pairs, const struct ip *local,
                                        const struct ip *remote); // NULL: none
// The pair, made when it is not there yet. Pointers to others become invalid. ERR_NOMEM, ERR_LIMIT.
MUST_USE enum err address_pairs_put(struct address_pairs *pairs, const struct ip *local, const struct ip *remote,
                                    uint32_t reqid, struct address_pair **ret_pair);
void address_pairs_drop(struct address_pairs *pairs, struct address_pair *pair);

#endif
