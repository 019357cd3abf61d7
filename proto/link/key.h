// SPDX-License-Identifier: GPL-2.0-or-later
// P-384 private keys (FIPS 186-5; CNSA 1.0): made where they are used, never sent.
#ifndef TWOFOLD_LINK_KEY_H
#define TWOFOLD_LINK_KEY_H

#include <stddef.h>
#include <stdint.h>

#include "proto/base/digest.h"
#include "proto/base/err.h"
#include "proto/base/note.h"

#define KEY_SIGNATURE_BYTES 96 // r then s, big-endian, s in the lower half of the order
#define KEY_POINT_BYTES     97 // SEC 1 uncompressed point

struct key; // private and public half

MUST_USE enum err key_new(struct key **ret_key);
void key_free(struct key *key); // wipes

// SEC 1 private key in PEM ("EC PRIVATE KEY"), mode 0600, owner as the process. The note names path and cause. A file that others
// than its owner can read is refused (ERR_INVALID).
MUST_USE enum err key_load(const char *path, struct key **ret_key, struct note *note);
MUST_USE enum err key_save(const struct key *key, const char *path, struct note *note);

// DER, for a TLS context; free with secret_wipe and free.
MUST_USE enum err key_private_der(const struct key *key, uint8_t **ret_der, size_t *ret_len);

// SHA-384 of the SubjectPublicKeyInfo in DER (what tokens pin and bundles name).
MUST_USE enum err key_spki_sha384(const struct key *key, uint8_t ret_digest[DIGEST_BYTES]);

void key_public_point(const struct key *key, uint8_t ret_point[KEY_POINT_BYTES]);

// PKCS#10 (RFC 2986) in DER, signed with this key; free() it.
MUST_USE enum err key_request(const struct key *key, const char *common_name, uint8_t **ret_der, size_t *ret_len);

// ECDSA with SHA-384 over `bytes`, low s.
MUST_USE enum err key_sign(const struct key *key, const void *bytes, size_t len,
                           uint8_t ret_signature[KEY_SIGNATURE_BYTES]);

#endif
