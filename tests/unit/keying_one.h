// SPDX-License-Identifier: GPL-2.0-or-later
// One keying, "alpha", at a desk: a kernel that takes everything, a clock that the test sets, and peers' bundles made to order.
#ifndef TWOFOLD_TESTS_UNIT_KEYING_ONE_H
#define TWOFOLD_TESTS_UNIT_KEYING_ONE_H

#include "agent/network/derive.h"
#include "agent/network/keying.h"
#include "tests/unit/pki.h"

#define ONE_NOW (PKI_NOW + 1000)

struct one {
    struct pki pki;
    struct pki_leaf leaf; // alpha's
    struct clock clock;
    uint64_t boot_ms;
    uint64_t unix_s;
    char path[64];
    struct keying *keying;
    // What it asked for.
    unsigned installs, switches, removes, publishes, words, changes;
    struct bundle published;
    uint8_t *published_blob;
    size_t published_len;
    uint8_t word[128];
    size_t word_len;
    enum err install_err, switch_err, usage_err; // what the kernel answers
    struct sa last_install;
};

// Alpha, slot 1, 192.0.2.1, has the slice one_slice(one, "bravo", 2, "192.0.2.2").
void one_init(struct one *one);
void one_free(struct one *one);

// A slice for alpha with a peer, and one revoked host if `revoked` is not NULL.
enum err one_slice(struct one *one, const char *peer, uint32_t slot, const char *address, const char *revoked,
                   struct note *note);

// A peer's parts; change them before one_sign.
struct one_peer {
    struct pki_leaf leaf;
    struct cert_facts facts;
    struct derive_key *key;
    struct bundle bundle;
    uint8_t blob[BUNDLE_BLOB_BYTES_MAX];
    size_t blob_len;
    uint8_t signature[KEY_SIGNATURE_BYTES];
};

// Bravo, slot 2, 192.0.2.2, epoch 1000, all right.
void one_peer_init(struct one *one, struct one_peer *peer);
void one_peer_certify(struct one *one, struct one_peer *peer, const char *uri); // a new certificate from `facts`
void one_peer_sign(struct one_peer *peer);                                      // a blob from `bundle`
void one_peer_free(struct one_peer *peer);
enum err one_hear_bundle(struct one *one, const struct one_peer *peer, struct note *note);
// What bravo would say of the pair with alpha's present epoch.
void one_peer_word(struct one *one, const struct one_peer *peer, enum derive_word word,
                   uint8_t ret_body[PAIR_ACK_BYTES]);

// Time passes, second by second, with ticks.
void one_wait(struct one *one, uint64_t ms);

#endif
