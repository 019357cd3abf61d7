// SPDX-License-Identifier: GPL-2.0-or-later
// Join tokens as text: "tfj1." (form and version) and base64url of id, secret, the pin of the network CA, the host's name and the trust
// domain (docs/wire.md).
#ifndef TWOFOLD_WIRE_TOKEN_H
#define TWOFOLD_WIRE_TOKEN_H

#include <stdint.h>

#include "proto/base/digest.h"
#include "proto/base/err.h"
#include "proto/base/spiffe.h"

#define TOKEN_ID_BYTES     16
#define TOKEN_SECRET_BYTES 32
#define TOKEN_TEXT_BYTES   568

struct token {
    uint8_t id[TOKEN_ID_BYTES];
    uint8_t secret[TOKEN_SECRET_BYTES];
    uint8_t ca_sha384[DIGEST_BYTES]; // of the network CA's SPKI
    char host[NAME_MAX_BYTES + 1];
    char trust_domain[256];
};

// White space around the text is allowed. ERR_MALFORMED.
MUST_USE enum err token_decode(const char *text, struct token *ret_token);
// ERR_INVALID: the name or the trust domain is none.
MUST_USE enum err token_encode(const struct token *token, char ret_text[TOKEN_TEXT_BYTES]);

#endif
