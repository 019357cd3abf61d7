// SPDX-License-Identifier: GPL-2.0-or-later
// A certificate as a peer shows it: read by our parser, then against a trusted root (whose name the corpus uses) by both.
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "proto/link/cert.h"

#define NOW 1780000000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct trust *make_trust(void)
{
    struct key *key;
    struct trust *trust;
    struct note note;
    uint8_t *root;
    size_t len;

    if (key_new(&key) || cert_issue_root(key, "Twofold test CA", NOW - 86400, NOW + 86400, &root, &len) ||
        trust_new(&trust) || trust_add(trust, root, len, &note))
        abort();
    free(root);
    key_free(key);
    return trust;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct trust *trust;
    static struct cert_facts facts;
    struct note note;

    if (!trust)
        trust = make_trust();
    memset(&facts, 0, sizeof(facts));
    if (cert_parse(data, size, &facts, &note) == ERR_OK) {
        assert(facts.address_count <= CERT_ADDRESSES_MAX && facts.label_count <= CERT_LABELS_MAX &&
               facts.name_count <= CERT_NAMES_MAX);
        assert(facts.is_ca || facts.id.trust_domain[0]);
    }
    // The root's key is new in each process: nothing can be signed by it.
    assert(trust_verify(trust, data, size, NOW, &facts, &note) != ERR_OK);
    struct trust *other;
    if (trust_new(&other))
        abort();
    (void)!trust_add(other, data, size, &note);
    trust_free(other);
    return 0;
}
