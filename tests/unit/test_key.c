// SPDX-License-Identifier: GPL-2.0-or-later
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/base/file.h"
#include "proto/base/secret.h"
#include "proto/link/cert.h"
#include "proto/link/key.h"

static char folder[64];

static void make_folder(void)
{
    strcpy(folder, "/tmp/twofold-test-key.XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
}

static void remove_folder(void)
{
    char command[128];
    snprintf(command, sizeof(command), "rm -rf %s", folder);
    cr_assert_eq(system(command), 0);
}

TestSuite(key, .init = make_folder, .fini = remove_folder);

Test(key, a_saved_key_is_the_same_key)
{
    struct key *key, *again;
    struct note note;
    char path[128];
    uint8_t a[DIGEST_BYTES], b[DIGEST_BYTES];
    struct stat status;

    snprintf(path, sizeof(path), "%s/key.pem", folder);
    cr_assert_eq(key_new(&key), ERR_OK);
    cr_assert_eq(key_save(key, path, &note), ERR_OK, "%s", note.text);
    cr_assert_eq(stat(path, &status), 0);
    cr_expect_eq(status.st_mode & 07777, 0600);
    cr_assert_eq(key_load(path, &again, &note), ERR_OK, "%s", note.text);
    cr_assert_eq(key_spki_sha384(key, a), ERR_OK);
    cr_assert_eq(key_spki_sha384(again, b), ERR_OK);
    cr_expect_arr_eq(a, b, sizeof(a));
    key_free(key);
    key_free(again);
}

Test(key, others_tools_read_it)
{
    struct key *key;
    struct note note;
    char path[128], command[256];

    snprintf(path, sizeof(path), "%s/key.pem", folder);
    cr_assert_eq(key_new(&key), ERR_OK);
    cr_assert_eq(key_save(key, path, &note), ERR_OK);
    key_free(key);
    snprintf(command, sizeof(command), "head -1 %s | grep -q 'BEGIN EC PRIVATE KEY'", path);
    cr_expect_eq(system(command), 0);
    if (access("/usr/bin/openssl", X_OK) != 0)
        cr_skip_test("openssl is not installed");
    snprintf(command, sizeof(command), "openssl ec -in %s -noout -check >/dev/null 2>&1", path);
    cr_expect_eq(system(command), 0);
}

static void refused(const char *content, mode_t mode, enum err expected, const char *words)
{
    struct key *key = NULL;
    struct note note = {0};
    char path[128];

    snprintf(path, sizeof(path), "%s/bad.pem", folder);
    cr_assert_eq(file_write(path, content, strlen(content), mode, &note), ERR_OK, "%s", note.text);
    cr_expect_eq(key_load(path, &key, &note), expected);
    cr_expect_null(key);
    cr_expect(strstr(note.text, words), "%s", note.text);
}

Test(key, what_is_no_p384_key_is_refused)
{
    struct key *key = NULL;
    struct note note;

    refused("nonsense", 0600, ERR_MALFORMED, "not an EC private key");
    refused("", 0600, ERR_MALFORMED, "not an EC private key");
    // A P-256 key of RFC 9500, which is public.
    refused("-----BEGIN EC PRIVATE KEY-----\n"
            "MHcCAQEEIObLW92AqkWunJXowVR2Z5/+yVPBaFHnEedDk5WJxk/BoAoGCCqGSM49\n"
            "AwEHoUQDQgAEQiVI+I+3gv+17KN0RFLHKh5Vj71vc75eSOkyMsxFxbFsTNEMTLjV\n"
            "uKFxOelIgsiZJXKZNCX0FBmrfpCkKklCcg==\n"
            "-----END EC PRIVATE KEY-----\n",
            0600, ERR_INVALID, "P-384");
    cr_expect_eq(key_load("/nonexistent/key.pem", &key, &note), ERR_NOT_FOUND);
    cr_expect_null(key);
}

Test(key, a_key_that_others_can_read_is_refused)
{
    refused("x", 0644, ERR_INVALID, "chmod 600");
}

Test(key, signatures_verify_and_have_a_low_s)
{
    static const uint8_t half_order[48] = {0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                                           0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                                           0xe3, 0xb1, 0xa6, 0xc0, 0xfa, 0x1b, 0x96, 0xef, 0xac, 0x0d, 0x06, 0xd9,
                                           0x24, 0x58, 0x53, 0xbd, 0x76, 0x76, 0x0c, 0xb5, 0x66, 0x62, 0x94, 0xb9};
    struct key *key;
    uint8_t point[KEY_POINT_BYTES], signature[KEY_SIGNATURE_BYTES];

    cr_assert_eq(key_new(&key), ERR_OK);
    key_public_point(key, point);
    for (int i = 0; i < 16; i++) {
        cr_assert_eq(key_sign(key, "message", 7, signature), ERR_OK);
        cr_expect_leq(memcmp(signature + 48, half_order, 48), 0);
        cr_expect_eq(cert_verify_signature(point, "message", 7, signature), ERR_OK);
    }
    cr_expect_eq(cert_verify_signature(point, "messagf", 7, signature), ERR_CRYPTO);
    signature[10] ^= 1;
    cr_expect_eq(cert_verify_signature(point, "message", 7, signature), ERR_CRYPTO);
    key_free(key);
}

Test(key, a_high_s_is_refused)
{
    static const uint8_t order[48] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                                      0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                                      0xc7, 0x63, 0x4d, 0x81, 0xf4, 0x37, 0x2d, 0xdf, 0x58, 0x1a, 0x0d, 0xb2,
                                      0x48, 0xb0, 0xa7, 0x7a, 0xec, 0xec, 0x19, 0x6a, 0xcc, 0xc5, 0x29, 0x73};
    struct key *key;
    uint8_t point[KEY_POINT_BYTES], signature[KEY_SIGNATURE_BYTES];
    int borrow = 0;

    cr_assert_eq(key_new(&key), ERR_OK);
    key_public_point(key, point);
    cr_assert_eq(key_sign(key, "message", 7, signature), ERR_OK);
    for (int i = 47; i >= 0; i--) { // the other signature: order - s
        int digit = order[i] - signature[48 + i] - borrow;
        borrow = digit < 0;
        signature[48 + i] = (uint8_t)digit;
    }
    cr_expect_eq(cert_verify_signature(point, "message", 7, signature), ERR_CRYPTO);
    memset(signature, 0, sizeof(signature));
    cr_expect_eq(cert_verify_signature(point, "message", 7, signature), ERR_CRYPTO);
    key_free(key);
}

Test(key, a_request_proves_possession)
{
    struct key *key;
    struct note note;
    uint8_t point[KEY_POINT_BYTES], of_key[KEY_POINT_BYTES];
    uint8_t *der;
    size_t len;

    cr_assert_eq(key_new(&key), ERR_OK);
    cr_assert_eq(key_request(key, "web", &der, &len), ERR_OK);
    cr_assert_eq(cert_request_check(der, len, point, &note), ERR_OK, "%s", note.text);
    key_public_point(key, of_key);
    cr_expect_arr_eq(point, of_key, sizeof(point));
    free(der);
    cr_expect_eq(key_request(key, "", &der, &len), ERR_INVALID);
    key_free(key);
}

Test(key, the_private_key_comes_out_as_der)
{
    struct key *key;
    uint8_t *der;
    size_t len;

    cr_assert_eq(key_new(&key), ERR_OK);
    cr_assert_eq(key_private_der(key, &der, &len), ERR_OK);
    cr_expect_eq(der[0], 0x30);
    cr_expect_gt(len, 100);
    secret_wipe(der, len);
    free(der);
    key_free(key);
    key_free(NULL);
}
