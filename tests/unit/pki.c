// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/unit/pki.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static void must(enum err err)
{
    assert(err == ERR_OK);
    (void)err;
}

void pki_init(struct pki *pki)
{
    struct note note;

    must(key_new(&pki->key));
    must(cert_issue_root(pki->key, "Twofold test CA", PKI_NOW - 86400, PKI_NOW + 3650ull * 86400, &pki->root,
                         &pki->root_len));
    must(trust_new(&pki->trust));
    must(trust_add(pki->trust, pki->root, pki->root_len, &note));
}

void pki_free(struct pki *pki)
{
    trust_free(pki->trust);
    free(pki->root);
    key_free(pki->key);
}

void pki_facts(const char *uri, struct cert_facts *ret_facts)
{
    memset(ret_facts, 0, sizeof(*ret_facts));
    must(spiffe_parse(uri, &ret_facts->id));
    ret_facts->not_before = PKI_NOW - 3600;
    ret_facts->not_after = PKI_NOW - 3600 + 86400;
}

void pki_leaf(const struct pki *pki, const struct cert_facts *facts, struct pki_leaf *ret_leaf)
{
    struct note note;
    uint8_t *request;
    size_t len;

    must(key_new(&ret_leaf->key));
    must(key_request(ret_leaf->key, "request", &request, &len));
    must(cert_issue(pki->key, pki->root, pki->root_len, request, len, facts, &ret_leaf->der, &ret_leaf->len, &note));
    free(request);
}

void pki_leaf_free(struct pki_leaf *leaf)
{
    key_free(leaf->key);
    free(leaf->der);
}
