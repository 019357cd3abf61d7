// SPDX-License-Identifier: GPL-2.0-or-later
// The parts that certificates and requests are made of (RFC 5280, RFC 5480, RFC 5758), written and read in one place.
// For key.c and cert*.c only.
#ifndef TWOFOLD_LINK_CERT_FORM_H
#define TWOFOLD_LINK_CERT_FORM_H

#include "proto/link/cert.h"
#include "proto/link/der.h"

#define CERT_POINT_BYTES  97
#define CERT_KEY_ID_BYTES 20

struct cert_oid {
    uint8_t len;
    uint8_t bytes[23];
};

extern const struct cert_oid cert_oid_common_name;
extern const struct cert_oid cert_oid_subject_key_id;
extern const struct cert_oid cert_oid_key_usage;
extern const struct cert_oid cert_oid_alternative_names;
extern const struct cert_oid cert_oid_basic_constraints;
extern const struct cert_oid cert_oid_authority_key_id;
extern const struct cert_oid cert_oid_extended_key_usage;
extern const struct cert_oid cert_oid_server_auth;
extern const struct cert_oid cert_oid_client_auth;
// 2.25.105445862289703656195870429745534561281 (a UUID, ITU-T X.667): slot and labels of a host.
extern const struct cert_oid cert_oid_host;

bool cert_oid_is(const struct cursor *oid, const struct cert_oid *known);
void cert_put_oid(struct der_out *out, const struct cert_oid *oid);

void cert_put_name(struct der_out *out, const char *common_name);
void cert_put_spki(struct der_out *out, const uint8_t point[CERT_POINT_BYTES]);
void cert_put_algorithm(struct der_out *out);

// Wraps what is in `body` and its signature by `key` into the outer SEQUENCE.
MUST_USE enum err cert_sign(const struct key *key, const struct der_out *body, uint8_t **ret_der, size_t *ret_len);

// A P-384 SubjectPublicKeyInfo with an uncompressed point; ERR_INVALID for any other kind of key, ERR_MALFORMED.
MUST_USE enum err cert_read_spki(const struct cursor *spki, uint8_t ret_point[CERT_POINT_BYTES]);
// ECDSA with SHA-384 as it stands in certificates and requests; high s passes. ERR_MALFORMED, ERR_UNSUPPORTED, ERR_CRYPTO.
MUST_USE enum err cert_check_signature(const uint8_t point[CERT_POINT_BYTES], const struct cursor *body,
                                       const struct cursor *algorithm, const struct cursor *signature);
// The leftmost 160 bits of the key's SHA-384 (RFC 7093, method 3).
void cert_key_id(const uint8_t point[CERT_POINT_BYTES], uint8_t ret_id[CERT_KEY_ID_BYTES]);

// What a certificate is made of, as views into its bytes: beyond the facts, what its check needs.
struct cert_view {
    struct cursor issuer; // whole elements
    struct cursor subject;
    struct cursor spki;
    struct cursor body; // what is signed
    struct cursor algorithm;
    struct cursor signature;
    struct cursor subject_key_id; // empty: none
    struct cursor authority_key_id;
    bool has_basic_constraints;
    bool has_key_usage;
    uint16_t key_usage; // CERT_USAGE_*
    bool has_extended_key_usage;
    bool server_auth;
    bool client_auth;
};

enum cert_usage {
    CERT_USAGE_DIGITAL_SIGNATURE = 1 << 0,
    CERT_USAGE_KEY_CERT_SIGN = 1 << 5,
};

MUST_USE enum err cert_read(const uint8_t *der, size_t len, struct cert_facts *ret_facts, struct cert_view *ret_view,
                            struct note *note);

#endif
