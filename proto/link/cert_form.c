// SPDX-License-Identifier: GPL-2.0-or-later
#include "proto/link/cert_form.h"

#include <wolfssl/options.h>

#include <stdlib.h>
#include <string.h>
#include <wolfssl/wolfcrypt/ecc.h>

#define OID(...)                                \
    {                                           \
        sizeof((const uint8_t[]){__VA_ARGS__}), \
        {                                       \
            __VA_ARGS__                         \
        }                                       \
    }

const struct cert_oid cert_oid_common_name = OID(0x55, 0x04, 0x03);
const struct cert_oid cert_oid_subject_key_id = OID(0x55, 0x1d, 0x0e);
const struct cert_oid cert_oid_key_usage = OID(0x55, 0x1d, 0x0f);
const struct cert_oid cert_oid_alternative_names = OID(0x55, 0x1d, 0x11);
const struct cert_oid cert_oid_basic_constraints = OID(0x55, 0x1d, 0x13);
const struct cert_oid cert_oid_authority_key_id = OID(0x55, 0x1d, 0x23);
const struct cert_oid cert_oid_extended_key_usage = OID(0x55, 0x1d, 0x25);
const struct cert_oid cert_oid_server_auth = OID(0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x01);
const struct cert_oid cert_oid_client_auth = OID(0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x02);
const struct cert_oid cert_oid_host = OID(0x69, 0x81, 0x9e, 0xd4, 0x91, 0x99, 0xc1, 0xae, 0xda, 0x96, 0x99, 0xaa, 0x95,
                                          0xbd, 0xe4, 0xd6, 0xd5, 0xc5, 0xd8, 0x01);
static const struct cert_oid oid_ec_public_key = OID(0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01);
static const struct cert_oid oid_secp384r1 = OID(0x2b, 0x81, 0x04, 0x00, 0x22);
static const struct cert_oid oid_ecdsa_sha384 = OID(0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x03);

bool cert_oid_is(const struct cursor *oid, const struct cert_oid *known)
{
    return der_equal(oid, known->bytes, known->len);
}

void cert_put_oid(struct der_out *out, const struct cert_oid *oid)
{
    der_put(out, DER_OID, oid->bytes, oid->len);
}

void cert_put_name(struct der_out *out, const char *common_name)
{
    size_t name = der_open(out, DER_SEQUENCE);
    size_t set = der_open(out, DER_SET);
    size_t pair = der_open(out, DER_SEQUENCE);

    cert_put_oid(out, &cert_oid_common_name);
    der_put(out, DER_UTF8, common_name, strlen(common_name));
    der_close(out, pair);
    der_close(out, set);
    der_close(out, name);
}

void cert_put_spki(struct der_out *out, const uint8_t point[CERT_POINT_BYTES])
{
    size_t spki = der_open(out, DER_SEQUENCE);
    size_t algorithm = der_open(out, DER_SEQUENCE);

    cert_put_oid(out, &oid_ec_public_key);
    cert_put_oid(out, &oid_secp384r1);
    der_close(out, algorithm);
    der_put_bits(out, point, CERT_POINT_BYTES);
    der_close(out, spki);
}

void cert_put_algorithm(struct der_out *out)
{
    size_t algorithm = der_open(out, DER_SEQUENCE);
    cert_put_oid(out, &oid_ecdsa_sha384);
    der_close(out, algorithm);
}

enum err cert_sign(const struct key *key, const struct der_out *body, uint8_t **ret_der, size_t *ret_len)
{
    uint8_t raw[KEY_SIGNATURE_BYTES];
    struct der_out *out, *signature;
    enum err err = ERR_NOMEM;

    if (body->full)
        return ERR_LIMIT;
    out = calloc(1, sizeof(*out));
    signature = calloc(1, sizeof(*signature));
    if (!out || !signature)
        goto end;
    err = key_sign(key, body->bytes, body->len, raw);
    if (err)
        goto end;
    size_t pair = der_open(signature, DER_SEQUENCE);
    der_put_unsigned(signature, raw, sizeof(raw) / 2);
    der_put_unsigned(signature, raw + sizeof(raw) / 2, sizeof(raw) / 2);
    der_close(signature, pair);

    size_t whole = der_open(out, DER_SEQUENCE);
    der_put_raw(out, body->bytes, body->len);
    cert_put_algorithm(out);
    der_put_bits(out, signature->bytes, signature->len);
    der_close(out, whole);
    err = der_take(out, ret_der, ret_len);
end:
    free(signature);
    free(out);
    return err;
}

enum err cert_read_spki(const struct cursor *spki, uint8_t ret_point[CERT_POINT_BYTES])
{
    struct cursor in = *spki, content, algorithm, oid, curve, point;

    if (der_read(&in, DER_SEQUENCE, &content) || in.left || der_read(&content, DER_SEQUENCE, &algorithm) ||
        der_read_oid(&algorithm, &oid) || der_read_bits(&content, &point) || content.left)
        return ERR_MALFORMED;
    if (!cert_oid_is(&oid, &oid_ec_public_key) || der_read_oid(&algorithm, &curve) || algorithm.left ||
        !cert_oid_is(&curve, &oid_secp384r1) || point.left != CERT_POINT_BYTES || point.bytes[0] != 0x04)
        return ERR_INVALID;
    memcpy(ret_point, point.bytes, CERT_POINT_BYTES);
    return ERR_OK;
}

enum err cert_check_signature(const uint8_t point[CERT_POINT_BYTES], const struct cursor *body,
                              const struct cursor *algorithm, const struct cursor *signature)
{
    struct cursor in = *algorithm, content, oid;
    uint8_t digest[DIGEST_BYTES];
    ecc_key public;
    int good = 0;

    if (der_read(&in, DER_SEQUENCE, &content) || der_read_oid(&content, &oid))
        return ERR_MALFORMED;
    if (!cert_oid_is(&oid, &oid_ecdsa_sha384) || content.left)
        return ERR_UNSUPPORTED;
    if (wc_ecc_init(&public))
        return ERR_NOMEM;
    digest_sha384(body->bytes, body->left, digest);
    int failed = wc_ecc_import_x963_ex(point, CERT_POINT_BYTES, &public, ECC_SECP384R1);
    if (!failed)
        failed = wc_ecc_verify_hash(signature->bytes, (word32)signature->left, digest, sizeof(digest), &good, &public);
    wc_ecc_free(&public);
    return failed || !good ? ERR_CRYPTO : ERR_OK;
}

void cert_key_id(const uint8_t point[CERT_POINT_BYTES], uint8_t ret_id[CERT_KEY_ID_BYTES])
{
    uint8_t digest[DIGEST_BYTES];

    digest_sha384(point, CERT_POINT_BYTES, digest);
    memcpy(ret_id, digest, CERT_KEY_ID_BYTES);
}
