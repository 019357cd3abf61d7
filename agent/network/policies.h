// SPDX-License-Identifier: GPL-2.0-or-later
// Which policies the kernel's SPD should hold: from the slice, the controller's endpoint and the pairs that have SAs. Pure.
//
// By priority: link matters (neighbour discovery, own IPv6 addresses) · pinholes · pairs with SAs, everything between the two addresses
// in ESP · tunnels of peers with rules that need https only · ICMP errors of routers · the floor.
//
// The floor blocks what comes in and what would be forwarded. What goes out meets a *trap*: a template that no SA ever fits, so that the
// kernel discards the packet, but only behind nftables' output hook. A plain block would already refuse connect() with EPERM: neither the
// capture of rules that need https nor the report of a refused flow could ever see the packet.
#ifndef TWOFOLD_AGENT_NETWORK_POLICIES_H
#define TWOFOLD_AGENT_NETWORK_POLICIES_H

#include <stdint.h>

#include "agent/network/address_pairs.h"
#include "agent/network/xfrm/spd.h"
#include "proto/base/err.h"
#include "proto/base/ip.h"
#include "proto/base/note.h"
#include "slice.pb-c.h"

struct policies_input {
    const Twofold__V1__Slice *slice;      // NULL: none yet; the floor, with DHCP so that the host gets its address
    const struct ip_endpoint *controller; // NULL: none
    uint16_t tunnel_port;
    const struct ip *own6; // the host's IPv6 addresses (its traffic with itself meets the SPD; IPv4's does not)
    size_t own6_count;
    const struct address_pairs *pairs; // NULL: none
};

#define POLICIES_MAX 200000

// Sorted by spd_compare_key, no selector twice; free() them. ERR_LIMIT with a sentence, ERR_NOMEM.
MUST_USE enum err policies_make(const struct policies_input *input, struct spd_policy **ret_policies, size_t *ret_count,
                                struct note *note);

// The two policies of a pair.
struct spd_policy policies_pair_in(const struct address_pair *pair);
struct spd_policy policies_pair_out(const struct address_pair *pair);

#endif
