// SPDX-License-Identifier: GPL-2.0-or-later
#include <criterion/criterion.h>
#include <string.h>

#include "proto/base/digest.h"
#include "proto/base/secret.h"
#include "proto/base/text.h"

static void expect(const uint8_t *bytes, size_t len, const char *hex)
{
    char text[256];
    hex_encode(bytes, len, text);
    cr_assert_str_eq(text, hex);
}

// FIPS 180-4 example: "abc".
Test(digest, sha384)
{
    uint8_t digest[DIGEST_BYTES];
    digest_sha384("abc", 3, digest);
    expect(digest, sizeof(digest),
           "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7");
    digest_sha384(NULL, 0, digest);
    expect(digest, sizeof(digest),
           "38b060a751ac96384cd9327eb1b1e36a21fdb71114be07434c0cc7bf63f6e1da274edebfe76f65fbd51ad2f14898b95b");
}

// RFC 4231, test case 2.
Test(digest, hmac)
{
    uint8_t mac[DIGEST_BYTES];
    digest_hmac((const uint8_t *)"Jefe", 4, "what do ya want for nothing?", 28, mac);
    expect(mac, sizeof(mac),
           "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e8e2240ca5e69e2c78b3239ecfab21649");
}

// Made with Python's hmac and hashlib: salt 00..0c, input 22 bytes 0b, info f0..f9 (RFC 5869, A.1, with SHA-384).
Test(digest, hkdf)
{
    uint8_t salt[13], input[22], info[10], prk[DIGEST_BYTES], okm[42];
    for (unsigned i = 0; i < sizeof(salt); i++)
        salt[i] = (uint8_t)i;
    memset(input, 0x0b, sizeof(input));
    for (unsigned i = 0; i < sizeof(info); i++)
        info[i] = (uint8_t)(0xf0 + i);
    digest_hkdf_extract(salt, sizeof(salt), input, sizeof(input), prk);
    digest_hkdf_expand(prk, info, sizeof(info), okm, sizeof(okm));
    expect(prk, sizeof(prk),
           "704b39990779ce1dc548052c7dc39f303570dd13fb39f7acc564680bef80e8dec70ee9a7e1f3e293ef68eceb072a5ade");
    expect(okm, sizeof(okm), "9b5097a86038b805309076a44b3a9f38063e25b516dcbf369f394cfab43685f748b6457763e4f0204fc5");
}

Test(digest, pieces_do_not_run_together)
{
    struct digest_pieces *a, *b;
    uint8_t x[DIGEST_BYTES], y[DIGEST_BYTES];
    cr_assert_eq(digest_pieces_new(&a), ERR_OK);
    cr_assert_eq(digest_pieces_new(&b), ERR_OK);
    digest_pieces_add(a, "ab", 2);
    digest_pieces_add(a, "c", 1);
    digest_pieces_add(b, "a", 1);
    digest_pieces_add(b, "bc", 2);
    digest_pieces_finish(a, x);
    digest_pieces_finish(b, y);
    cr_assert_neq(memcmp(x, y, sizeof(x)), 0);
}

Test(secret, compares_and_wipes)
{
    void *bytes;
    uint8_t a[32], b[32];
    random_bytes(a, sizeof(a));
    memcpy(b, a, sizeof(b));
    cr_assert(secret_equal(a, b, sizeof(a)));
    b[31] ^= 1;
    cr_assert(!secret_equal(a, b, sizeof(a)));
    cr_assert_eq(secret_alloc(100, &bytes), ERR_OK);
    for (unsigned i = 0; i < 100; i++)
        cr_assert_eq(((uint8_t *)bytes)[i], 0);
    memcpy(bytes, a, sizeof(a));
    secret_wipe(bytes, 100);
    cr_assert_eq(((uint8_t *)bytes)[5], 0);
    secret_free(bytes, 100);
    secret_free(NULL, 100);
}
