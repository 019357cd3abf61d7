// SPDX-License-Identifier: GPL-2.0-or-later
// From two bundles to the keys of their SAs (docs/keying.md, "Derivation"): P-384 ECDH (SP 800-56A), HKDF-SHA384 (RFC 5869). Pure but for
// the random scalar of a new key. Checked against tests/unit/vectors/keying_vectors.py.
#ifndef TWOFOLD_AGENT_NETWORK_DERIVE_H
#define TWOFOLD_AGENT_NETWORK_DERIVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/network/keying.h"
#include "proto/wire/bundle.h"

#define DERIVE_SCALAR_BYTES 48
#define DERIVE_PATHS_MAX    2 // one pair of addresses for each family

// An ephemeral private key, in locked memory.
struct derive_key;
MUST_USE enum err derive_key_new(struct derive_key **ret_key);
// From a known scalar: for known answers. ERR_INVALID when it is not in 1..order-1.
MUST_USE enum err derive_key_import(const uint8_t scalar[DERIVE_SCALAR_BYTES], struct derive_key **ret_key);
void derive_key_free(struct derive_key *key); // wipes
void derive_key_point(const struct derive_key *key, uint8_t ret_point[BUNDLE_POINT_BYTES]);

// Full public-key validation (SP 800-56A, 5.6.2.3.3): coordinates in range, on the curve, not infinity; the cofactor is 1. ERR_CRYPTO.
MUST_USE enum err derive_check_point(const uint8_t point[BUNDLE_POINT_BYTES]);

// slot of the sender (20 bits) | receiver's epoch mod 64 | sender's epoch mod 64: at least 4096 for any slot but 0.
uint32_t derive_spi(uint32_t sender_slot, uint64_t receiver_epoch, uint64_t sender_epoch);

// A pair of addresses that gets an SA in each direction.
struct derive_path {
    struct ip local;
    struct ip peer;
};

// One end's bundle: the bytes that were signed and what they say. Held by reference.
struct derive_end {
    const uint8_t *blob;
    size_t blob_len;
    const struct bundle *bundle;
};

struct derive_input {
    struct derive_end local;
    struct derive_end peer;
    size_t path_count;
    struct derive_path paths[DERIVE_PATHS_MAX];
};

// What a pair of epochs has in secret. Keep it in locked memory and wipe it.
struct derive_secrets {
    uint8_t transcript[DIGEST_BYTES];    // T: public
    uint8_t confirm_local[DIGEST_BYTES]; // K_conf of what this host says
    uint8_t confirm_peer[DIGEST_BYTES];
    uint8_t inbound[DERIVE_PATHS_MAX][SA_KEY_BYTES];
    uint8_t outbound[DERIVE_PATHS_MAX][SA_KEY_BYTES];
};

// The peer's point has passed derive_check_point. Z and PRK are wiped before it returns. ERR_CRYPTO; ERR_IDENTITY: both ends are the same host, point or nonce (reflection).
MUST_USE enum err derive_secrets(const struct derive_key *key, const struct derive_input *input,
                                 struct derive_secrets *ret_secrets);

// What is said of a pair (docs/keying.md, "Acknowledgements").
enum derive_word {
    DERIVE_ACK,  // my inbound SAs are installed
    DERIVE_DONE, // my outbound policies point at the new SAs as well
};
void derive_confirm(const struct derive_secrets *secrets, const struct derive_input *input, enum derive_word word,
                    bool by_local, uint8_t ret_mac[DIGEST_BYTES]);

#endif
