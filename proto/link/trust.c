// SPDX-License-Identifier: GPL-2.0-or-later
// Which certificates are believed. Chain and signature are wolfSSL's to check; form, time and purpose are checked here, by a parser of
// our own: a certificate must pass both.
#include <wolfssl/options.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <wolfssl/ssl.h>
#include <wolfssl/wolfcrypt/asn.h>
#include <wolfssl/wolfcrypt/error-crypt.h>

#include "proto/link/cert.h"
#include "proto/link/cert_form.h"
#include "proto/link/trust.h"

#define TRUST_ROOTS_MAX 16
#define SKEW_SECONDS    300 // a clock may be this far behind the issuer's

struct root {
    uint8_t *der;
    size_t len;
    uint64_t not_before;
    uint64_t not_after;
    uint8_t spki_sha384[DIGEST_BYTES];
    struct cursor subject; // in der
};

struct trust {
    WOLFSSL_CERT_MANAGER *manager;
    size_t count;
    struct root roots[TRUST_ROOTS_MAX];
};

enum err trust_new(struct trust **ret_trust)
{
    struct trust *trust = calloc(1, sizeof(*trust));

    if (!trust)
        return ERR_NOMEM;
    trust->manager = wolfSSL_CertManagerNew();
    if (!trust->manager) {
        free(trust);
        return ERR_NOMEM;
    }
    *ret_trust = trust;
    return ERR_OK;
}

void trust_free(struct trust *trust)
{
    if (!trust)
        return;
    for (size_t i = 0; i < trust->count; i++)
        free(trust->roots[i].der);
    wolfSSL_CertManagerFree(trust->manager);
    free(trust);
}

static enum err check_root(const struct cert_facts *facts, const struct cert_view *view, struct note *note)
{
    if (!facts->is_ca)
        return note_set(note, ERR_INVALID, "this certificate cannot be a root: it is not a CA certificate");
    if (!view->has_key_usage || !(view->key_usage & CERT_USAGE_KEY_CERT_SIGN))
        return note_set(note, ERR_INVALID, "this certificate cannot be a root: its key may not sign certificates");
    if (!der_equal(&view->issuer, view->subject.bytes, view->subject.left))
        return note_set(note, ERR_INVALID, "this certificate cannot be a root: another CA has issued it");
    if (facts->public_point[0] != 0x04)
        return note_set(note, ERR_INVALID, "this certificate cannot be a root: its key is not on the curve P-384");
    if (cert_check_signature(facts->public_point, &view->body, &view->algorithm, &view->signature))
        return note_set(note, ERR_INVALID, "this certificate cannot be a root: its own signature is wrong");
    return ERR_OK;
}

static enum err add_root(struct trust *trust, const struct cert_facts *facts, const struct cert_view *view,
                         const uint8_t *der, size_t len)
{
    struct root *root = &trust->roots[trust->count];

    root->der = malloc(len);
    if (!root->der)
        return ERR_NOMEM;
    memcpy(root->der, der, len);
    if (wolfSSL_CertManagerLoadCABuffer_ex(trust->manager, der, (long)len, WOLFSSL_FILETYPE_ASN1, 0,
                                           WOLFSSL_LOAD_FLAG_DATE_ERR_OKAY) != WOLFSSL_SUCCESS) {
        free(root->der);
        return ERR_CRYPTO;
    }
    root->len = len;
    root->not_before = facts->not_before;
    root->not_after = facts->not_after;
    root->subject = (struct cursor){root->der + (view->subject.bytes - der), view->subject.left};
    memcpy(root->spki_sha384, facts->spki_sha384, DIGEST_BYTES);
    trust->count++;
    return ERR_OK;
}

enum err trust_add(struct trust *trust, const uint8_t *root_der, size_t len, struct note *note)
{
    struct cert_view view;
    struct cert_facts *facts;

    if (trust_holds(trust, root_der, len))
        return ERR_OK;
    if (trust->count == TRUST_ROOTS_MAX)
        return note_set(note, ERR_LIMIT, "there are %d trusted roots already", TRUST_ROOTS_MAX);
    facts = calloc(1, sizeof(*facts));
    if (!facts)
        return note_set(note, ERR_NOMEM, "a root cannot be added: out of memory");
    enum err err = cert_read(root_der, len, facts, &view, note);
    if (!err)
        err = check_root(facts, &view, note);
    if (!err) {
        err = add_root(trust, facts, &view, root_der, len);
        if (err)
            note_set(note, err, "a root cannot be added: %s", err_text(err));
    }
    free(facts);
    return err;
}

bool trust_holds(const struct trust *trust, const uint8_t *der, size_t len)
{
    for (size_t i = 0; i < trust->count; i++)
        if (trust->roots[i].len == len && memcmp(trust->roots[i].der, der, len) == 0)
            return true;
    return false;
}

size_t trust_count(const struct trust *trust)
{
    return trust->count;
}

const uint8_t *trust_root_der(const struct trust *trust, size_t index, size_t *ret_len)
{
    *ret_len = trust->roots[index].len;
    return trust->roots[index].der;
}

// "3 h" and the like.
static void span_format(uint64_t seconds, char ret_text[32])
{
    if (seconds < 120)
        snprintf(ret_text, 32, "%" PRIu64 " s", seconds);
    else if (seconds < 7200)
        snprintf(ret_text, 32, "%" PRIu64 " min", seconds / 60);
    else if (seconds < 172800)
        snprintf(ret_text, 32, "%" PRIu64 " h", seconds / 3600);
    else
        snprintf(ret_text, 32, "%" PRIu64 " days", seconds / 86400);
}

static void time_format(uint64_t unix_s, char ret_text[32])
{
    struct tm tm;
    time_t time = (time_t)unix_s;

    if (!gmtime_r(&time, &tm) || strftime(ret_text, 32, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
        snprintf(ret_text, 32, "%" PRIu64, unix_s);
}

static enum err check_time(const char *whose, uint64_t not_before, uint64_t not_after, uint64_t now, struct note *note)
{
    char span[32], when[32];

    if (now + SKEW_SECONDS < not_before) {
        span_format(not_before - now, span);
        time_format(not_before, when);
        return note_set(note, ERR_EXPIRED,
                        "%s certificate is not valid for another %s, until %s; check the clocks of both hosts", whose,
                        span, when);
    }
    if (now > not_after) {
        span_format(now - not_after, span);
        time_format(not_after, when);
        return note_set(note, ERR_EXPIRED,
                        "%s certificate expired %s ago at %s; it must be renewed, or a clock is wrong", whose, span,
                        when);
    }
    return ERR_OK;
}

static enum err check_purpose(const struct cert_facts *facts, const struct cert_view *view, struct note *note)
{
    if (facts->is_ca)
        return note_set(note, ERR_IDENTITY, "the peer's certificate is that of a CA, which no peer may use");
    if (!view->has_basic_constraints)
        return note_set(note, ERR_IDENTITY,
                        "the peer's certificate does not say that it is not a CA (basic constraints are missing)");
    if (!view->has_key_usage || !(view->key_usage & CERT_USAGE_DIGITAL_SIGNATURE) ||
        (view->key_usage & CERT_USAGE_KEY_CERT_SIGN))
        return note_set(note, ERR_IDENTITY, "the peer's certificate is not for signatures in TLS (key usage)");
    if (!view->server_auth || !view->client_auth)
        return note_set(note, ERR_IDENTITY,
                        "the peer's certificate is not for both ends of TLS: extended key usage lacks %s",
                        view->server_auth ? "clientAuth" : "serverAuth");
    return ERR_OK;
}

static const struct root *find_issuer(const struct trust *trust, const struct cert_view *view)
{
    for (size_t i = 0; i < trust->count; i++)
        if (der_equal(&view->issuer, trust->roots[i].subject.bytes, trust->roots[i].subject.left))
            return &trust->roots[i];
    return NULL;
}

// The signature by a root, the names and their constraints, without the time: wolfSSL would read the system's clock.
static enum err check_chain(const struct trust *trust, const uint8_t *der, size_t len, struct note *note)
{
    struct DecodedCert *decoded = calloc(1, sizeof(*decoded));

    if (!decoded)
        return note_set(note, ERR_NOMEM, "the peer's certificate cannot be checked: out of memory");
    wc_InitDecodedCert(decoded, der, (word32)len, NULL);
    int result = wc_ParseCert(decoded, CERT_TYPE, VERIFY_SKIP_DATE, trust->manager);
    wc_FreeDecodedCert(decoded);
    free(decoded);
    if (result == 0)
        return ERR_OK;
    if (result == MEMORY_E)
        return note_set(note, ERR_NOMEM, "the peer's certificate cannot be checked: out of memory");
    if (result == ASN_NO_SIGNER_E)
        return note_set(note, ERR_IDENTITY, "the peer's certificate was not issued by a CA that is trusted here");
    if (result == ASN_SIG_CONFIRM_E)
        return note_set(
            note, ERR_IDENTITY,
            "the signature in the peer's certificate is not that of the CA it names: another CA has the same "
            "name, or the certificate was changed");
    return note_set(note, ERR_IDENTITY, "the peer's certificate does not lead to a trusted CA: %s",
                    wc_GetErrorString(result));
}

static enum err verify(const struct trust *trust, const uint8_t *der, size_t len, uint64_t now,
                       struct cert_facts *facts, struct note *note)
{
    struct cert_view view;

    enum err err = cert_read(der, len, facts, &view, note);
    if (err)
        return err;
    const struct root *issuer = find_issuer(trust, &view);
    if (!issuer)
        return note_set(note, ERR_IDENTITY, "the peer's certificate was not issued by a CA that is trusted here");
    err = check_chain(trust, der, len, note);
    if (!err)
        err = check_time("the CA's", issuer->not_before, issuer->not_after, now, note);
    if (!err)
        err = check_time("the peer's", facts->not_before, facts->not_after, now, note);
    if (!err)
        err = check_purpose(facts, &view, note);
    return err;
}

enum err trust_verify(const struct trust *trust, const uint8_t *leaf_der, size_t len, uint64_t now,
                      struct cert_facts *ret_facts, struct note *note)
{
    struct cert_facts *facts = calloc(1, sizeof(*facts));

    if (!facts)
        return note_set(note, ERR_NOMEM, "the peer's certificate cannot be checked: out of memory");
    enum err err = verify(trust, leaf_der, len, now, facts, note);
    if (!err)
        *ret_facts = *facts;
    free(facts);
    return err;
}

enum err cert_verify_signature(const uint8_t point[CERT_POINT_BYTES], const void *bytes, size_t len,
                               const uint8_t signature[KEY_SIGNATURE_BYTES])
{
    uint8_t digest[DIGEST_BYTES];
    mp_int r, s, order;
    ecc_key key;
    int good = 0;

    digest_sha384(bytes, len, digest);
    if (wc_ecc_init(&key))
        return ERR_NOMEM;
    int failed = mp_init_multi(&r, &s, &order, NULL, NULL, NULL);
    if (!failed)
        failed = wc_ecc_import_x963_ex(point, CERT_POINT_BYTES, &key, ECC_SECP384R1);
    if (!failed)
        failed = mp_read_unsigned_bin(&r, signature, KEY_SIGNATURE_BYTES / 2);
    if (!failed)
        failed = mp_read_unsigned_bin(&s, signature + KEY_SIGNATURE_BYTES / 2, KEY_SIGNATURE_BYTES / 2);
    if (!failed)
        failed = mp_read_radix(&order, key.dp->order, MP_RADIX_HEX);
    if (!failed)
        failed = mp_sub(&order, &s, &order);
    // One signature has one encoding: of s and order - s only the smaller one.
    if (!failed && mp_cmp(&s, &order) == MP_GT)
        failed = 1;
    if (!failed)
        failed = wc_ecc_verify_hash_ex(&r, &s, digest, sizeof(digest), &good, &key);
    wc_ecc_free(&key);
    return failed || !good ? ERR_CRYPTO : ERR_OK;
}
