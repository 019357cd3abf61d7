// SPDX-License-Identifier: GPL-2.0-or-later
#include "proto/link/key.h"

#include <wolfssl/options.h>

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <wolfssl/wolfcrypt/asn.h>
#include <wolfssl/wolfcrypt/asn_public.h>
#include <wolfssl/wolfcrypt/ecc.h>
#include <wolfssl/wolfcrypt/random.h>

#include "proto/base/file.h"
#include "proto/base/secret.h"
#include "proto/link/cert_form.h"

#define FIELD_BYTES        48
#define KEY_FILE_BYTES_MAX 16384
#define KEY_DER_BYTES_MAX  512
#define COMMON_NAME_MAX    64 // ub-common-name of RFC 5280

struct key {
    ecc_key ecc;
    WC_RNG random;
    uint8_t point[CERT_POINT_BYTES];
};

// wolfCrypt takes keys without const although signing leaves them as they are.
static ecc_key *writable(const struct key *key)
{
    return (ecc_key *)&key->ecc;
}

static enum err key_alloc(struct key **ret_key)
{
    struct key *key = calloc(1, sizeof(*key));

    if (!key)
        return ERR_NOMEM;
    if (wc_InitRng(&key->random)) {
        free(key);
        return ERR_CRYPTO;
    }
    if (wc_ecc_init(&key->ecc) || wc_ecc_set_rng(&key->ecc, &key->random)) {
        wc_FreeRng(&key->random);
        free(key);
        return ERR_CRYPTO;
    }
    *ret_key = key;
    return ERR_OK;
}

static enum err export_point(struct key *key)
{
    word32 len = sizeof(key->point);
    return wc_ecc_export_x963(&key->ecc, key->point, &len) || len != sizeof(key->point) ? ERR_CRYPTO : ERR_OK;
}

enum err key_new(struct key **ret_key)
{
    struct key *key;
    enum err err = key_alloc(&key);

    if (err)
        return err;
    if (wc_ecc_make_key_ex(&key->random, FIELD_BYTES, &key->ecc, ECC_SECP384R1) || export_point(key)) {
        key_free(key);
        return ERR_CRYPTO;
    }
    *ret_key = key;
    return ERR_OK;
}

void key_free(struct key *key)
{
    if (!key)
        return;
    wc_ecc_free(&key->ecc); // wipes the scalar
    wc_FreeRng(&key->random);
    secret_wipe(key, sizeof(*key));
    free(key);
}

static enum err import(const uint8_t *pem, size_t len, struct key **ret_key)
{
    struct key *key = NULL;
    DerBuffer *der = NULL;
    word32 at = 0;

    if (wc_PemToDer(pem, (long)len, ECC_PRIVATEKEY_TYPE, &der, NULL, NULL, NULL) || !der)
        return ERR_MALFORMED;
    enum err err = key_alloc(&key);
    if (err)
        goto end;
    err = ERR_MALFORMED;
    if (wc_EccPrivateKeyDecode(der->buffer, &at, &key->ecc, der->length))
        goto end;
    err = ERR_INVALID;
    if (wc_ecc_get_curve_id(key->ecc.idx) != ECC_SECP384R1)
        goto end;
    // The public half is derived, not believed.
    err = ERR_CRYPTO;
    if (wc_ecc_make_pub_ex(&key->ecc, NULL, &key->random) || wc_ecc_check_key(&key->ecc))
        goto end;
    err = export_point(key);
    if (!err) {
        *ret_key = key;
        key = NULL;
    }
end:
    wc_FreeDer(&der); // zeroes private keys
    key_free(key);
    return err;
}

enum err key_load(const char *path, struct key **ret_key, struct note *note)
{
    uint8_t *pem;
    size_t len;
    struct stat status;

    enum err err = file_read(path, KEY_FILE_BYTES_MAX, &pem, &len, note);
    if (err)
        return err;
    if (stat(path, &status) == 0 && (status.st_mode & (S_IRWXG | S_IRWXO))) {
        err = note_set(note, ERR_INVALID,
                       "%s: other users can read this private key (mode %04o): chmod 600 it, or make a new key", path,
                       status.st_mode & 07777u);
    } else {
        err = import(pem, len, ret_key);
        if (err == ERR_MALFORMED)
            note_set(note, err, "%s: this is not an EC private key in PEM", path);
        else if (err == ERR_INVALID)
            note_set(note, err,
                     "%s: the private key is not on the curve P-384: make one with 'openssl ecparam -name secp384r1 "
                     "-genkey'",
                     path);
        else if (err)
            note_set(note, err, "%s: the private key cannot be used: %s", path, err_text(err));
    }
    secret_wipe(pem, len);
    free(pem);
    return err;
}

enum err key_save(const struct key *key, const char *path, struct note *note)
{
    uint8_t *der;
    uint8_t pem[2 * KEY_DER_BYTES_MAX];
    size_t der_len;

    enum err err = key_private_der(key, &der, &der_len);
    if (err)
        return note_set(note, err, "%s: the private key cannot be encoded: %s", path, err_text(err));
    int len = wc_DerToPem(der, (word32)der_len, pem, sizeof(pem), ECC_PRIVATEKEY_TYPE);
    if (len > 0)
        err = file_write(path, pem, (size_t)len, 0600, note);
    else
        err = note_set(note, ERR_CRYPTO, "%s: the private key cannot be encoded", path);
    secret_wipe(pem, sizeof(pem));
    secret_wipe(der, der_len);
    free(der);
    return err;
}

enum err key_private_der(const struct key *key, uint8_t **ret_der, size_t *ret_len)
{
    uint8_t *der = malloc(KEY_DER_BYTES_MAX);

    if (!der)
        return ERR_NOMEM;
    int len = wc_EccKeyToDer(writable(key), der, KEY_DER_BYTES_MAX);
    if (len <= 0) {
        secret_wipe(der, KEY_DER_BYTES_MAX);
        free(der);
        return ERR_CRYPTO;
    }
    *ret_der = der;
    *ret_len = (size_t)len;
    return ERR_OK;
}

enum err key_spki_sha384(const struct key *key, uint8_t ret_digest[DIGEST_BYTES])
{
    struct der_out *out = calloc(1, sizeof(*out));

    if (!out)
        return ERR_NOMEM;
    cert_put_spki(out, key->point);
    digest_sha384(out->bytes, out->len, ret_digest);
    free(out);
    return ERR_OK;
}

void key_public_point(const struct key *key, uint8_t ret_point[KEY_POINT_BYTES])
{
    memcpy(ret_point, key->point, KEY_POINT_BYTES);
}

enum err key_request(const struct key *key, const char *common_name, uint8_t **ret_der, size_t *ret_len)
{
    size_t name_len = strlen(common_name);

    if (name_len == 0 || name_len > COMMON_NAME_MAX)
        return ERR_INVALID;
    struct der_out *out = calloc(1, sizeof(*out));
    if (!out)
        return ERR_NOMEM;
    size_t info = der_open(out, DER_SEQUENCE);
    der_put_u32(out, 0);
    cert_put_name(out, common_name);
    cert_put_spki(out, key->point);
    der_close(out, der_open(out, DER_CONTEXT_SET(0))); // no attributes
    der_close(out, info);
    enum err err = cert_sign(key, out, ret_der, ret_len);
    free(out);
    return err;
}

// s -> order - s when s is in the upper half: of the two valid signatures the smaller one.
static int lower(const struct key *key, mp_int *s)
{
    mp_int order, rest;

    int failed = mp_init_multi(&order, &rest, NULL, NULL, NULL, NULL);
    if (failed)
        return failed;
    failed = mp_read_radix(&order, key->ecc.dp->order, MP_RADIX_HEX);
    if (!failed)
        failed = mp_sub(&order, s, &rest);
    if (!failed && mp_cmp(s, &rest) == MP_GT)
        failed = mp_copy(&rest, s);
    mp_clear(&order);
    mp_clear(&rest);
    return failed;
}

enum err key_sign(const struct key *key, const void *bytes, size_t len, uint8_t ret_signature[KEY_SIGNATURE_BYTES])
{
    uint8_t digest[DIGEST_BYTES], signature[KEY_SIGNATURE_BYTES];
    mp_int r, s;

    digest_sha384(bytes, len, digest);
    if (mp_init_multi(&r, &s, NULL, NULL, NULL, NULL))
        return ERR_NOMEM;
    int failed = wc_ecc_sign_hash_ex(digest, sizeof(digest), (WC_RNG *)&key->random, writable(key), &r, &s);
    if (!failed)
        failed = lower(key, &s);
    if (!failed)
        failed = mp_to_unsigned_bin_len(&r, signature, FIELD_BYTES);
    if (!failed)
        failed = mp_to_unsigned_bin_len(&s, signature + FIELD_BYTES, FIELD_BYTES);
    mp_clear(&r);
    mp_clear(&s);
    if (failed)
        return ERR_CRYPTO;
    memcpy(ret_signature, signature, sizeof(signature));
    return ERR_OK;
}
