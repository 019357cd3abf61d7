// SPDX-License-Identifier: GPL-2.0-or-later
// Why a packet was refused, as a sentence for people: which rule would have been nearest, or which layer is missing. Pure.
#ifndef TWOFOLD_AGENT_NETWORK_DROP_REASON_H
#define TWOFOLD_AGENT_NETWORK_DROP_REASON_H

#include "agent/network/nflog.h"
#include "proto/base/spiffe.h"
#include "slice.pb-c.h"

#define DROP_REASON_BYTES 384

struct drop_verdict {
    char peer[NAME_MAX_BYTES + 1]; // the far end, when it is a peer; otherwise empty
    char rule[NAME_MAX_BYTES + 1]; // the rule that matches but whose layers are missing; otherwise empty
    bool ipsec;                    // it arrived by the peer's SA
    char reason[DROP_REASON_BYTES];
};

// `slice` NULL: none is in force yet.
void drop_reason(const Twofold__V1__Slice *slice, const struct nflog_event *event, uint16_t tunnel_port,
                 struct drop_verdict *ret_verdict);

#endif
