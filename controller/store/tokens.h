// SPDX-License-Identifier: GPL-2.0-or-later
// Join tokens as the store keeps them: never the secret, only its SHA-384.
#ifndef TWOFOLD_CONTROLLER_STORE_TOKENS_H
#define TWOFOLD_CONTROLLER_STORE_TOKENS_H

#include <stdint.h>

#include "controller/store/store.h"
#include "proto/base/digest.h"
#include "proto/base/ip.h"
#include "proto/base/spiffe.h"
#include "proto/link/cert.h"
#include "proto/wire/token.h"

struct token_record {
    uint8_t id[TOKEN_ID_BYTES];
    uint8_t secret_sha384[DIGEST_BYTES];
    char host[NAME_MAX_BYTES + 1];
    char workload[NAME_MAX_BYTES + 1]; // account
    uint64_t expires;                  // unix seconds
    uint64_t used_at;                  // 0: not yet
    size_t address_count;              // 0: the address that the host enrols from
    struct ip addresses[CERT_ADDRESSES_MAX];
    size_t label_count;
    struct cert_label labels[CERT_LABELS_MAX];
};

// Keeps a new one, and forgets those that expired more than TOKEN_KEEP_SECONDS ago.
#define TOKEN_KEEP_SECONDS (30u * 86400u)
MUST_USE enum err store_add_token(struct store *store, const struct token_record *token, uint64_t now,
                                  struct note *note);
MUST_USE enum err store_token(struct store *store, const uint8_t id[TOKEN_ID_BYTES], struct token_record *ret_token,
                              struct note *note); // ERR_NOT_FOUND
// ERR_EXISTS when it was used before.
MUST_USE enum err store_use_token(struct store *store, const uint8_t id[TOKEN_ID_BYTES], uint64_t now,
                                  struct note *note);

#endif
