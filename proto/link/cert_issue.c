// SPDX-License-Identifier: GPL-2.0-or-later
// Making certificates: roots and leaves, and the check of the requests they are made from.
#include <wolfssl/options.h>

#include <stdlib.h>
#include <string.h>
#include <wolfssl/wolfcrypt/ecc.h>

#include "proto/base/secret.h"
#include "proto/link/cert.h"
#include "proto/link/cert_form.h"

#define SERIAL_BYTES 16

static void put_serial(struct der_out *out)
{
    uint8_t serial[SERIAL_BYTES];

    random_bytes(serial, sizeof(serial));
    serial[0] = (serial[0] & 0x7f) | 0x40; // positive and always 16 bytes long
    der_put_unsigned(out, serial, sizeof(serial));
}

// From the version to the issuer.
static void put_head(struct der_out *out, const struct cursor *issuer, uint64_t not_before, uint64_t not_after)
{
    size_t version = der_open(out, DER_CONTEXT_SET(0));
    der_put_u32(out, 2);
    der_close(out, version);
    put_serial(out);
    cert_put_algorithm(out);
    der_put_raw(out, issuer->bytes, issuer->left);
    size_t validity = der_open(out, DER_SEQUENCE);
    der_put_time(out, not_before);
    der_put_time(out, not_after);
    der_close(out, validity);
}

struct extension_marks {
    size_t extension;
    size_t value;
};

static struct extension_marks open_extension(struct der_out *out, const struct cert_oid *oid, bool critical)
{
    struct extension_marks marks;

    marks.extension = der_open(out, DER_SEQUENCE);
    cert_put_oid(out, oid);
    if (critical)
        der_put_boolean(out, true);
    marks.value = der_open(out, DER_OCTET_STRING);
    return marks;
}

static void close_extension(struct der_out *out, struct extension_marks marks)
{
    der_close(out, marks.value);
    der_close(out, marks.extension);
}

static void put_basic_constraints(struct der_out *out, bool is_ca)
{
    struct extension_marks marks = open_extension(out, &cert_oid_basic_constraints, true);
    size_t content = der_open(out, DER_SEQUENCE);
    if (is_ca) {
        der_put_boolean(out, true);
        der_put_u32(out, 0); // no CA below it
    }
    der_close(out, content);
    close_extension(out, marks);
}

static void put_key_usage(struct der_out *out, bool is_ca)
{
    struct extension_marks marks = open_extension(out, &cert_oid_key_usage, true);
    // keyCertSign and cRLSign, or digitalSignature; the first byte counts the unused bits
    der_put(out, DER_BIT_STRING, is_ca ? "\x01\x06" : "\x07\x80", 2);
    close_extension(out, marks);
}

static void put_key_ids(struct der_out *out, const uint8_t *subject, const struct cursor *authority)
{
    struct extension_marks marks = open_extension(out, &cert_oid_subject_key_id, false);
    der_put(out, DER_OCTET_STRING, subject, CERT_KEY_ID_BYTES);
    close_extension(out, marks);

    marks = open_extension(out, &cert_oid_authority_key_id, false);
    size_t content = der_open(out, DER_SEQUENCE);
    der_put(out, DER_CONTEXT(0), authority->bytes, authority->left);
    der_close(out, content);
    close_extension(out, marks);
}

static void put_extended_key_usage(struct der_out *out)
{
    struct extension_marks marks = open_extension(out, &cert_oid_extended_key_usage, false);
    size_t usages = der_open(out, DER_SEQUENCE);
    cert_put_oid(out, &cert_oid_server_auth);
    cert_put_oid(out, &cert_oid_client_auth);
    der_close(out, usages);
    close_extension(out, marks);
}

static void put_alternative_names(struct der_out *out, const struct cert_facts *facts)
{
    char uri[SPIFFE_TEXT_BYTES];

    spiffe_format(&facts->id, uri);
    struct extension_marks marks = open_extension(out, &cert_oid_alternative_names, false);
    size_t names = der_open(out, DER_SEQUENCE);
    der_put(out, DER_CONTEXT(6), uri, strlen(uri));
    for (size_t i = 0; i < facts->name_count; i++)
        der_put(out, DER_CONTEXT(2), facts->names[i], strlen(facts->names[i]));
    for (size_t i = 0; i < facts->address_count; i++)
        der_put(out, DER_CONTEXT(7), facts->addresses[i].bytes, facts->addresses[i].len);
    der_close(out, names);
    close_extension(out, marks);
}

static void put_host(struct der_out *out, const struct cert_facts *facts)
{
    if (facts->slot == 0 && facts->label_count == 0)
        return;
    struct extension_marks marks = open_extension(out, &cert_oid_host, false);
    size_t content = der_open(out, DER_SEQUENCE);
    der_put_u32(out, facts->slot);
    size_t labels = der_open(out, DER_SEQUENCE);
    for (size_t i = 0; i < facts->label_count; i++) {
        size_t pair = der_open(out, DER_SEQUENCE);
        der_put(out, DER_UTF8, facts->labels[i].key, strlen(facts->labels[i].key));
        der_put(out, DER_UTF8, facts->labels[i].value, strlen(facts->labels[i].value));
        der_close(out, pair);
    }
    der_close(out, labels);
    der_close(out, content);
    close_extension(out, marks);
}

enum err cert_issue_root(const struct key *key, const char *common_name, uint64_t not_before, uint64_t not_after,
                         uint8_t **ret_der, size_t *ret_len)
{
    uint8_t point[CERT_POINT_BYTES], id[CERT_KEY_ID_BYTES];
    struct der_out *out = calloc(1, sizeof(*out));
    struct der_out *name = calloc(1, sizeof(*name));
    enum err err = ERR_NOMEM;

    if (!out || !name)
        goto end;
    key_public_point(key, point);
    cert_key_id(point, id);
    cert_put_name(name, common_name);
    struct cursor issuer = {name->bytes, name->len}, authority = {id, sizeof(id)};

    size_t body = der_open(out, DER_SEQUENCE);
    put_head(out, &issuer, not_before, not_after);
    der_put_raw(out, name->bytes, name->len);
    cert_put_spki(out, point);
    size_t outer = der_open(out, DER_CONTEXT_SET(3));
    size_t list = der_open(out, DER_SEQUENCE);
    put_basic_constraints(out, true);
    put_key_usage(out, true);
    put_key_ids(out, id, &authority);
    der_close(out, list);
    der_close(out, outer);
    der_close(out, body);
    err = cert_sign(key, out, ret_der, ret_len);
end:
    free(name);
    free(out);
    return err;
}

static enum err check_point(const uint8_t point[CERT_POINT_BYTES])
{
    ecc_key key;

    if (wc_ecc_init(&key))
        return ERR_NOMEM;
    int failed = wc_ecc_import_x963_ex(point, CERT_POINT_BYTES, &key, ECC_SECP384R1);
    if (!failed)
        failed = wc_ecc_check_key(&key);
    wc_ecc_free(&key);
    return failed ? ERR_INVALID : ERR_OK;
}

enum err cert_request_check(const uint8_t *der, size_t len, uint8_t ret_point[CERT_POINT_BYTES], struct note *note)
{
    struct cursor in = {der, len}, whole, body, content, algorithm, signature, part, spki;
    uint8_t point[CERT_POINT_BYTES], tag;
    uint32_t version;

    if (len > CERT_DER_BYTES_MAX || der_read(&in, DER_SEQUENCE, &whole) || in.left ||
        der_read_any(&whole, &tag, &content, &body) || tag != DER_SEQUENCE ||
        der_read_any(&whole, &tag, &part, &algorithm) || tag != DER_SEQUENCE || der_read_bits(&whole, &signature) ||
        whole.left || der_read_u32(&content, &version) || version != 0 || der_read(&content, DER_SEQUENCE, &part) ||
        der_read_any(&content, &tag, &part, &spki) || tag != DER_SEQUENCE ||
        der_read(&content, DER_CONTEXT_SET(0), &part) || content.left)
        return note_set(note, ERR_MALFORMED, "the certificate request is malformed: it is not PKCS#10 in DER");
    enum err err = cert_read_spki(&spki, point);
    if (err == ERR_INVALID || (!err && check_point(point)))
        return note_set(note, ERR_INVALID, "the certificate request is not for a key on the curve P-384");
    if (err)
        return note_set(note, err, "the certificate request is malformed: its public key");
    err = cert_check_signature(point, &body, &algorithm, &signature);
    if (err == ERR_UNSUPPORTED)
        return note_set(note, ERR_INVALID, "the certificate request is not signed by ECDSA with SHA-384");
    if (err)
        return note_set(note, err,
                        "the certificate request's signature is wrong: its sender does not hold the private key");
    memcpy(ret_point, point, sizeof(point));
    return ERR_OK;
}

static enum err check_leaf(const struct cert_facts *facts, struct note *note)
{
    if (!trust_domain_is_valid(facts->id.trust_domain) || !name_is_valid(facts->id.name))
        return note_set(note, ERR_INVALID,
                        "a certificate cannot be made: the name '%s' or the trust domain '%s' is not valid",
                        facts->id.name, facts->id.trust_domain);
    if (facts->address_count > CERT_ADDRESSES_MAX || facts->label_count > CERT_LABELS_MAX ||
        facts->name_count > CERT_NAMES_MAX)
        return note_set(note, ERR_INVALID, "a certificate cannot be made: too many addresses, labels or names");
    if (facts->not_after <= facts->not_before)
        return note_set(note, ERR_INVALID, "a certificate cannot be made: it would end before it begins");
    return ERR_OK;
}

static void put_leaf(struct der_out *out, const struct cert_view *ca, const struct cert_facts *facts,
                     const uint8_t point[CERT_POINT_BYTES])
{
    uint8_t id[CERT_KEY_ID_BYTES];

    cert_key_id(point, id);
    size_t body = der_open(out, DER_SEQUENCE);
    put_head(out, &ca->subject, facts->not_before, facts->not_after);
    cert_put_name(out, facts->id.name);
    cert_put_spki(out, point);
    size_t outer = der_open(out, DER_CONTEXT_SET(3));
    size_t list = der_open(out, DER_SEQUENCE);
    put_basic_constraints(out, false);
    put_key_usage(out, false);
    put_extended_key_usage(out);
    put_key_ids(out, id, &ca->subject_key_id);
    put_alternative_names(out, facts);
    put_host(out, facts);
    der_close(out, list);
    der_close(out, outer);
    der_close(out, body);
}

enum err cert_issue(const struct key *ca_key, const uint8_t *ca_der, size_t ca_len, const uint8_t *request,
                    size_t request_len, const struct cert_facts *facts, uint8_t **ret_der, size_t *ret_len,
                    struct note *note)
{
    uint8_t point[CERT_POINT_BYTES], ca_point[CERT_POINT_BYTES];
    struct cert_view ca;
    uint8_t *der = NULL;
    size_t len;

    enum err err = cert_request_check(request, request_len, point, note);
    if (!err)
        err = check_leaf(facts, note);
    if (err)
        return err;
    struct cert_facts *parsed = calloc(1, sizeof(*parsed));
    struct der_out *out = calloc(1, sizeof(*out));
    if (!parsed || !out) {
        err = note_set(note, ERR_NOMEM, "a certificate cannot be made: out of memory");
        goto end;
    }
    err = cert_read(ca_der, ca_len, parsed, &ca, note);
    if (err)
        goto end;
    key_public_point(ca_key, ca_point);
    if (!parsed->is_ca || memcmp(ca_point, parsed->public_point, sizeof(ca_point)) != 0) {
        err = note_set(note, ERR_INVALID,
                       "a certificate cannot be made: the CA's key does not belong to its certificate");
        goto end;
    }
    put_leaf(out, &ca, facts, point);
    err = cert_sign(ca_key, out, &der, &len);
    if (err) {
        note_set(note, err, "a certificate cannot be made: %s", err_text(err));
        goto end;
    }
    // Never give out what we ourselves would refuse to read.
    err = cert_parse(der, len, parsed, note);
    if (err) {
        note_prefix(note, "a certificate cannot be made: ");
        free(der);
        goto end;
    }
    *ret_der = der;
    *ret_len = len;
end:
    free(out);
    free(parsed);
    return err;
}
