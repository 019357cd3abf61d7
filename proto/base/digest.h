// SPDX-License-Identifier: GPL-2.0-or-later
// SHA-384 (FIPS 180-4), HMAC-SHA384 (RFC 2104) and HKDF-SHA384 (RFC 5869), by wolfCrypt.
#ifndef TWOFOLD_BASE_DIGEST_H
#define TWOFOLD_BASE_DIGEST_H

#include <stddef.h>
#include <stdint.h>

#include "proto/base/err.h"

#define DIGEST_BYTES     48
#define DIGEST_HEX_BYTES 97

void digest_sha384(const void *bytes, size_t len, uint8_t ret_digest[DIGEST_BYTES]);

// A piecewise hash in which each piece goes in with its length before it (64 bit, network order): no two lists of pieces collide.
struct digest_pieces;
MUST_USE enum err digest_pieces_new(struct digest_pieces **ret_pieces);
void digest_pieces_add(struct digest_pieces *pieces, const void *bytes, size_t len);
void digest_pieces_finish(struct digest_pieces *pieces, uint8_t ret_digest[DIGEST_BYTES]); // and frees

void digest_hmac(const uint8_t *key, size_t key_len, const void *bytes, size_t len, uint8_t ret_mac[DIGEST_BYTES]);
void digest_hkdf_extract(const uint8_t *salt, size_t salt_len, const uint8_t *input, size_t input_len,
                         uint8_t ret_prk[DIGEST_BYTES]);
void digest_hkdf_expand(const uint8_t prk[DIGEST_BYTES], const void *info, size_t info_len, uint8_t *ret_okm,
                        size_t okm_len);

#endif
