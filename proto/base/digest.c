// SPDX-License-Identifier: GPL-2.0-or-later
#include "proto/base/digest.h"

#include <wolfssl/options.h>

#include <endian.h>
#include <stdlib.h>
#include <wolfssl/wolfcrypt/hmac.h>
#include <wolfssl/wolfcrypt/kdf.h>
#include <wolfssl/wolfcrypt/sha512.h>

// wolfCrypt's software hashes fail on null pointers only: that would be our fault, never an input's.
static void expect_success(int result)
{
    if (result != 0)
        abort();
}

void digest_sha384(const void *bytes, size_t len, uint8_t ret_digest[DIGEST_BYTES])
{
    wc_Sha384 sha;

    expect_success(wc_InitSha384(&sha));
    expect_success(wc_Sha384Update(&sha, len ? bytes : (const uint8_t *)"", (word32)len));
    expect_success(wc_Sha384Final(&sha, ret_digest));
    wc_Sha384Free(&sha);
}

struct digest_pieces {
    wc_Sha384 sha;
};

enum err digest_pieces_new(struct digest_pieces **ret_pieces)
{
    struct digest_pieces *pieces = malloc(sizeof(*pieces));
    if (!pieces)
        return ERR_NOMEM;
    expect_success(wc_InitSha384(&pieces->sha));
    *ret_pieces = pieces;
    return ERR_OK;
}

void digest_pieces_add(struct digest_pieces *pieces, const void *bytes, size_t len)
{
    uint64_t prefix = htobe64(len);

    expect_success(wc_Sha384Update(&pieces->sha, (const uint8_t *)&prefix, sizeof(prefix)));
    if (len)
        expect_success(wc_Sha384Update(&pieces->sha, bytes, (word32)len));
}

void digest_pieces_finish(struct digest_pieces *pieces, uint8_t ret_digest[DIGEST_BYTES])
{
    expect_success(wc_Sha384Final(&pieces->sha, ret_digest));
    wc_Sha384Free(&pieces->sha);
    free(pieces);
}

void digest_hmac(const uint8_t *key, size_t key_len, const void *bytes, size_t len, uint8_t ret_mac[DIGEST_BYTES])
{
    Hmac hmac;

    expect_success(wc_HmacInit(&hmac, NULL, INVALID_DEVID));
    expect_success(wc_HmacSetKey(&hmac, WC_SHA384, key, (word32)key_len));
    expect_success(wc_HmacUpdate(&hmac, bytes, (word32)len));
    expect_success(wc_HmacFinal(&hmac, ret_mac));
    wc_HmacFree(&hmac);
}

void digest_hkdf_extract(const uint8_t *salt, size_t salt_len, const uint8_t *input, size_t input_len,
                         uint8_t ret_prk[DIGEST_BYTES])
{
    expect_success(wc_HKDF_Extract(WC_SHA384, salt, (word32)salt_len, input, (word32)input_len, ret_prk));
}

void digest_hkdf_expand(const uint8_t prk[DIGEST_BYTES], const void *info, size_t info_len, uint8_t *ret_okm,
                        size_t okm_len)
{
    expect_success(wc_HKDF_Expand(WC_SHA384, prk, DIGEST_BYTES, info, (word32)info_len, ret_okm, (word32)okm_len));
}
