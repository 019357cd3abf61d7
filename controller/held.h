// SPDX-License-Identifier: GPL-2.0-or-later
// A slice that the controller holds in memory for a host, with its digest and the peers that it connects by IPsec.
#ifndef TWOFOLD_CONTROLLER_HELD_H
#define TWOFOLD_CONTROLLER_HELD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/base/digest.h"
#include "proto/base/err.h"
#include "slice.pb-c.h"

// A plain value; `slice` NULL: holds nothing.
struct held {
    Twofold__V1__Slice *slice;
    uint8_t digest[DIGEST_BYTES];
    bool *ipsec; // for each of slice->peers: a rule connects it by IPsec
};

// Takes the slice over, on failure too.
MUST_USE enum err held_set(struct held *held, Twofold__V1__Slice *slice);
void held_drop(struct held *held);
// Moves what `from` holds; `to` drops what it held.
void held_move(struct held *to, struct held *from);

// True when the host is a peer with a rule that needs IPsec.
bool held_connects(const struct held *held, const char *host);

#endif
