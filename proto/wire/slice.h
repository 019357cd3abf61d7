// SPDX-License-Identifier: GPL-2.0-or-later
// The slice on the wire: check, canonical encoding, digest, difference and its application. Pure.
#ifndef TWOFOLD_WIRE_SLICE_H
#define TWOFOLD_WIRE_SLICE_H

#include <stddef.h>
#include <stdint.h>

#include "control.pb-c.h"
#include "proto/base/digest.h"
#include "proto/base/err.h"
#include "proto/base/note.h"
#include "slice.pb-c.h"

// Every limit of a slice in one place; slice_check enforces them.
enum slice_limit {
    SLICE_PEERS_MAX = 16384,
    SLICE_RULES_MAX = 4096,
    SLICE_RULE_PORTS_MAX = 64,
    SLICE_PINHOLES_MAX = 256,
    SLICE_PINHOLE_PREFIXES_MAX = 256,
    SLICE_PEER_ADDRESSES_MAX = 16,
    SLICE_PEER_WORKLOADS_MAX = 64,
    SLICE_REVOKED_MAX = 65536,
};

// Puts every list in canonical order (slice.proto); for those who make slices.
void slice_sort(Twofold__V1__Slice *slice);

// Everything a receiver must know before it acts: limits, canonical order, names, ranges, references (each rule's peer is a peer, no
// peer is this host or revoked, no slot or address belongs to two peers, each rule needs a layer), and that no field is unknown to
// this version at any depth. ERR_MALFORMED, ERR_LIMIT, ERR_UNSUPPORTED (an unknown field); the note names the element.
MUST_USE enum err slice_check(const Twofold__V1__Slice *slice, struct note *note);

// SHA-384 of the canonical encoding.
MUST_USE enum err slice_digest(const Twofold__V1__Slice *slice, uint8_t ret_digest[DIGEST_BYTES]);

// The delta that turns `from` (NULL: nothing) into `to`, both canonical. Free with message_free.
MUST_USE enum err slice_diff(const Twofold__V1__Slice *from, const Twofold__V1__Slice *to, uint64_t nonce,
                             Twofold__V1__SliceDelta **ret_delta);

// Applies a delta to `from` (NULL: nothing), checks the outcome with slice_check and its digest with the delta's, and gives a new slice;
// `from` is untouched. ERR_STALE when the delta's base is not `from`; ERR_MALFORMED when something does not fit, be it only that it
// removes what is not there; ERR_UNSUPPORTED when a field of the delta is unknown; and what slice_check says. Whether the generation
// may be taken is the caller's to decide.
MUST_USE enum err slice_patch(const Twofold__V1__Slice *from, const Twofold__V1__SliceDelta *delta,
                              Twofold__V1__Slice **ret_slice, struct note *note);

const Twofold__V1__Peer *slice_peer(const Twofold__V1__Slice *slice, const char *host); // NULL: none

// The rule that carries a flow of this direction with that peer to that port, or NULL. With several, the one that needs most layers
// wins (so that an overlap never weakens), then the first by name.
const Twofold__V1__Rule *slice_rule(const Twofold__V1__Slice *slice, Twofold__V1__Direction direction, const char *peer,
                                    Twofold__V1__Protocol protocol, uint16_t port);

#endif
