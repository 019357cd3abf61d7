// SPDX-License-Identifier: GPL-2.0-or-later
// A pair of epochs with one peer: its SAs, what each end is known to have done, and the words between the ends. No I/O.
//
// The end whose name is lower leads: it uses the pair first, and only when the other has said that it is there with the same keys. So an
// end gives leave to use its SAs only to one who has just shown that it is alive, and a pair on which neither word nor packet
// came can be dropped at any time.
//
//   leads:    NEW ──inbound SAs──▶ OFFERED ──peer's ack──▶ READY ──policies point──▶ SWITCHED ──peer's done, or packet──▶ COMPLETE
//             says "ack" when OFFERED and "done" when SWITCHED, each again until it is answered
//   follows:  NEW ──inbound SAs──▶ OFFERED ──peer's ack──▶ ANSWERED ──peer's done, or packet──▶ READY ──policies point──▶ COMPLETE
//             answers "ack" with "ack" and "done" with "done"
//
// Whatever its state: burned when its SAs are removed, and never made again.
#ifndef TWOFOLD_AGENT_NETWORK_PAIR_H
#define TWOFOLD_AGENT_NETWORK_PAIR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/network/derive.h"
#include "agent/network/keying.h"
#include "proto/wire/bundle.h"

enum pair_state {
    PAIR_NEW,      // inbound SAs are not all in the kernel yet
    PAIR_OFFERED,  // they are; the peer does not use them
    PAIR_ANSWERED, // follows only: the peer may use them
    PAIR_READY,    // the outbound SAs are to be used
    PAIR_SWITCHED, // leads only: they are; the peer may still use older ones
    PAIR_COMPLETE, // both ends use it: nothing older is needed
};

enum pair_event {
    PAIR_INSTALLED, // the kernel has all inbound SAs
    PAIR_ACK,       // the peer has its own
    PAIR_DONE,      // the peer uses its outbound SAs: it says so, or a packet has come
    PAIR_POINTED,   // the kernel has ours, and the policies point at them
};

struct pair {
    enum pair_state state;
    bool leads;
    uint64_t local_epoch;
    uint64_t peer_epoch;
    uint32_t inbound_spi;
    uint32_t outbound_spi;
    struct derive_secrets *secrets; // from the vault
    uint8_t ack_out[DIGEST_BYTES];  // MACs, worked out once: ours and those expected
    uint8_t done_out[DIGEST_BYTES];
    uint8_t ack_in[DIGEST_BYTES];
    uint8_t done_in[DIGEST_BYTES];
    bool inbound_installed[DERIVE_PATHS_MAX];
    bool outbound_installed[DERIVE_PATHS_MAX];
    bool inbound_tried[DERIVE_PATHS_MAX]; // the kernel gave no clear answer: it may be there
    bool outbound_tried[DERIVE_PATHS_MAX];
    uint64_t made_ms;
    uint64_t switched_ms;
};

// What follows; the same state when the event means nothing there.
enum pair_state pair_next(bool leads, enum pair_state state, enum pair_event event);
const char *pair_state_name(enum pair_state state);

// Neither end sends on it.
bool pair_is_unused(const struct pair *pair);

// Derives everything. `secrets` is the pair's from then on. ERR_CRYPTO, ERR_IDENTITY.
MUST_USE enum err pair_make(const struct derive_key *key, const struct derive_input *input,
                            struct derive_secrets *secrets, struct pair *ret_pair);

// The body of a PairMessage.
void pair_say(const struct pair *pair, enum derive_word word, uint8_t ret_body[PAIR_ACK_BYTES]);

// What the peer said: ERR_CRYPTO when it isn't from one who has the keys.
MUST_USE enum err pair_hear(const struct pair *pair, const struct pair_ack *ack, enum derive_word *ret_word);

#endif
