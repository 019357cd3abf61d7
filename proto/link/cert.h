// SPDX-License-Identifier: GPL-2.0-or-later
// X.509 certificates (RFC 5280) as Twofold issues and checks them. Two CAs that share nothing: *network* (hosts, agents, controllers,
// administrators) and *workload*. All leaves: P-384, one URI SAN with the SPIFFE ID, both EKUs, CA:FALSE.
// Host and agent certificates also carry the host's addresses as IP SANs and one own extension with its slot and labels (docs/wire.md).
#ifndef TWOFOLD_LINK_CERT_H
#define TWOFOLD_LINK_CERT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/base/digest.h"
#include "proto/base/err.h"
#include "proto/base/ip.h"
#include "proto/base/note.h"
#include "proto/base/spiffe.h"
#include "proto/link/key.h"

#define CERT_ADDRESSES_MAX 16
#define CERT_LABELS_MAX    32
#define CERT_NAMES_MAX     4 // DNS SANs of a controller
#define CERT_DER_BYTES_MAX 16384

struct cert_label {
    char key[NAME_MAX_BYTES + 1];
    char value[NAME_MAX_BYTES + 1];
};

// What a certificate says, after parsing. A plain value.
struct cert_facts {
    struct spiffe_id id;
    uint32_t slot; // 0: none
    size_t address_count;
    struct ip addresses[CERT_ADDRESSES_MAX];
    size_t label_count;
    struct cert_label labels[CERT_LABELS_MAX];
    size_t name_count;
    char names[CERT_NAMES_MAX][256];
    uint64_t not_before; // unix seconds
    uint64_t not_after;
    bool is_ca;
    uint8_t serial[20];
    size_t serial_len;
    uint8_t spki_sha384[DIGEST_BYTES];
    uint8_t public_point[97]; // uncompressed P-384 (SEC 1, 2.3.3); all zero for other key types
};

// Parses one certificate, whole, and checks nothing but its form: exactly one URI SAN that is a SPIFFE ID (a CA may have none), no
// trailing bytes. A DNS SAN is never taken for an identity. ERR_MALFORMED, ERR_IDENTITY.
MUST_USE enum err cert_parse(const uint8_t *der, size_t len, struct cert_facts *ret_facts, struct note *note);

// A root, self-signed. `common_name` e.g. "Twofold network CA example.org". DER; free() it.
MUST_USE enum err cert_issue_root(const struct key *key, const char *common_name, uint64_t not_before,
                                  uint64_t not_after, uint8_t **ret_der, size_t *ret_len);

// Checks a PKCS#10 request, with its proof of possession and key type (P-384), and gives its key as uncompressed point.
// ERR_MALFORMED, ERR_CRYPTO (bad signature), ERR_INVALID (other key type).
MUST_USE enum err cert_request_check(const uint8_t *der, size_t len, uint8_t ret_point[97], struct note *note);

// A leaf for the key in a request, with the facts' id, slot, addresses, labels, names and validity (serial and hashes are ignored and
// made here). Checks the request as above. `ca_der` is the issuer's certificate. DER; free() it.
MUST_USE enum err cert_issue(const struct key *ca_key, const uint8_t *ca_der, size_t ca_len, const uint8_t *request,
                             size_t request_len, const struct cert_facts *facts, uint8_t **ret_der, size_t *ret_len,
                             struct note *note);

// A set of trusted roots.
struct trust;
MUST_USE enum err trust_new(struct trust **ret_trust);
void trust_free(struct trust *trust);
MUST_USE enum err trust_add(struct trust *trust, const uint8_t *root_der, size_t len, struct note *note);

// Signature and chain to a root, validity at `now` (unix seconds), not a CA, both EKUs; then the facts. ERR_IDENTITY, ERR_EXPIRED,
// ERR_MALFORMED.
MUST_USE enum err trust_verify(const struct trust *trust, const uint8_t *leaf_der, size_t len, uint64_t now,
                               struct cert_facts *ret_facts, struct note *note);

// ECDSA P-384 with SHA-384 by an uncompressed public point. High s is refused. ERR_CRYPTO.
MUST_USE enum err cert_verify_signature(const uint8_t point[97], const void *bytes, size_t len,
                                        const uint8_t signature[KEY_SIGNATURE_BYTES]);

// PEM with one or more certificates to DER and back. `index` counts from 0; ERR_NOT_FOUND past the last one. free() results.
MUST_USE enum err cert_pem_to_der(const uint8_t *pem, size_t len, size_t index, uint8_t **ret_der, size_t *ret_len);
MUST_USE enum err cert_der_to_pem(const uint8_t *der, size_t len, char **ret_pem);

#endif
