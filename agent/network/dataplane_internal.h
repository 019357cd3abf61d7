// SPDX-License-Identifier: GPL-2.0-or-later
// Shared by dataplane.c (policies, ruleset, slices) and dataplane_sa.c (SAs and the policies of their pairs) only.
#ifndef TWOFOLD_AGENT_NETWORK_DATAPLANE_INTERNAL_H
#define TWOFOLD_AGENT_NETWORK_DATAPLANE_INTERNAL_H

#include "agent/network/address_pairs.h"
#include "agent/network/dataplane.h"
#include "agent/network/nft.h"
#include "agent/network/sa_table.h"
#include "agent/network/xfrm/netlink.h"
#include "agent/network/xfrm/sad.h"

struct dataplane {
    struct dataplane_config config;
    struct netlink *xfrm;
    struct netlink *xfrm_events;
    struct netlink *nft_events;
    struct netlink *address_events; // the host's IPv6 addresses come and go
    struct nft *nft;
    struct sad_support support;
    bool has_controller;
    struct ip_endpoint controller;
    const Twofold__V1__Slice *slice;    // committed; the role's. NULL: none in this life
    char *text;                         // the ruleset that was loaded last; NULL: none in this life
    uint8_t table_digest[DIGEST_BYTES]; // of the table that it made
    struct address_pairs pairs;
    struct sa_table sas;
    uint64_t refused[NFT_REASON_COUNT]; // counted by tables that were replaced
};

// Compares our SAs with the kernel's: strays are removed, lost ones forgotten, pairs counted anew.
MUST_USE enum err dataplane_compare_sas(struct dataplane *dataplane, struct dataplane_repairs *repairs,
                                        struct note *note);

#endif
