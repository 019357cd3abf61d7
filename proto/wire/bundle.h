// SPDX-License-Identifier: GPL-2.0-or-later
// Bundles and pair acknowledgements as bytes (docs/wire.md; KEYING.md's "Bundle"). Pure: signatures are checked by the caller.
#ifndef TWOFOLD_WIRE_BUNDLE_H
#define TWOFOLD_WIRE_BUNDLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/base/digest.h"
#include "proto/base/err.h"
#include "proto/base/spiffe.h"

#define BUNDLE_NONCE_BYTES    32
#define BUNDLE_POINT_BYTES    97 // SEC 1 uncompressed P-384
#define BUNDLE_BLOB_BYTES_MAX 4096

enum bundle_suite {
    BUNDLE_SUITE_ECP384_AES256GCM16 = 1, // ECDSA P-384, ECDH P-384, SHA-384, AES-256-GCM with a 16-byte ICV
};

struct bundle {
    enum bundle_suite suite;
    char host[NAME_MAX_BYTES + 1];
    uint8_t signer_spki_sha384[DIGEST_BYTES];
    uint64_t epoch;
    uint32_t slot;
    uint8_t point[BUNDLE_POINT_BYTES];
    uint8_t nonce[BUNDLE_NONCE_BYTES];
    uint64_t not_before; // unix seconds
    uint64_t not_after;
};

// One encoding only: decode(encode(x)) = x and encode(decode(b)) = b. ERR_MALFORMED, ERR_UNSUPPORTED (another version or suite);
// encoding also ERR_LIMIT (the room is too small) and ERR_NOMEM.
MUST_USE enum err bundle_decode(const uint8_t *blob, size_t len, struct bundle *ret_bundle);
MUST_USE enum err bundle_encode(const struct bundle *bundle, uint8_t *room, size_t room_len, size_t *ret_len);

// "Twofold-ack-v1\0" with both epochs and the MAC: the body of a PairMessage.
struct pair_ack {
    uint64_t sender_epoch;
    uint64_t receiver_epoch;
    uint8_t mac[DIGEST_BYTES];
};
#define PAIR_ACK_BYTES 79
MUST_USE enum err pair_ack_decode(const uint8_t *bytes, size_t len, struct pair_ack *ret_ack);
void pair_ack_encode(const struct pair_ack *ack, uint8_t ret_bytes[PAIR_ACK_BYTES]);

#endif
