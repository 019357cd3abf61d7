// SPDX-License-Identifier: GPL-2.0-or-later
// A CA and leaves for tests. Asserts on failure.
#ifndef TWOFOLD_TESTS_UNIT_PKI_H
#define TWOFOLD_TESTS_UNIT_PKI_H

#include "proto/link/cert.h"

#define PKI_NOW 1780000000 // 2026-05-28T20:26:40Z

struct pki {
    struct key *key;
    uint8_t *root;
    size_t root_len;
    struct trust *trust;
};

struct pki_leaf {
    struct key *key;
    uint8_t *der;
    size_t len;
};

// Valid from a day before PKI_NOW for ten years.
void pki_init(struct pki *pki);
void pki_free(struct pki *pki);

// Facts with this SPIFFE ID, valid from an hour before PKI_NOW for a day.
void pki_facts(const char *uri, struct cert_facts *ret_facts);

// A leaf with a fresh key.
void pki_leaf(const struct pki *pki, const struct cert_facts *facts, struct pki_leaf *ret_leaf);
void pki_leaf_free(struct pki_leaf *leaf);

#endif
