// SPDX-License-Identifier: GPL-2.0-or-later
// Who the other side is. The library calls back with each certificate that it cannot verify itself, and always with the leaf; the verdict
// is ours: trust_verify, which has the library verify the chain again and adds what it does not check.
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/secret.h"
#include "proto/link/tls_internal.h"
#include "proto/link/trust.h"

static bool is_pinned(const struct tls_session *session, const WOLFSSL_BUFFER_INFO *certificate)
{
    struct note note;
    struct cert_facts *facts = calloc(1, sizeof(*facts));

    if (!facts)
        return false;
    bool pinned = cert_parse(certificate->buffer, certificate->length, facts, &note) == ERR_OK && facts->is_ca &&
                  secret_equal(facts->spki_sha384, session->context->pin, DIGEST_BYTES);
    free(facts);
    return pinned;
}

// First contact: the root comes with the handshake, and is believed because its key has the pinned hash.
static enum err verify_pinned(struct tls_session *session, const WOLFSSL_X509_STORE_CTX *store, uint64_t now)
{
    const WOLFSSL_BUFFER_INFO *root = NULL;
    struct trust *trust;

    for (int i = 1; i < store->totalCerts && !root; i++)
        if (is_pinned(session, &store->certs[i]))
            root = &store->certs[i];
    if (!root)
        return tls_fail(
            session, ERR_IDENTITY,
            "the server did not show the CA that the token pins: this is not the controller that made the token");
    enum err err = trust_new(&trust);
    if (err)
        return tls_fail(session, err, "the peer's certificate cannot be checked: out of memory");
    err = trust_add(trust, root->buffer, root->length, &session->failure_note);
    if (!err)
        err = trust_verify(trust, store->certs[0].buffer, store->certs[0].length, now, session->peer,
                           &session->failure_note);
    if (!err)
        err = buf_append(&session->peer_root_der, root->buffer, root->length);
    trust_free(trust);
    return err;
}

static enum err verify_leaf(struct tls_session *session, const WOLFSSL_X509_STORE_CTX *store)
{
    const struct tls_context *context = session->context;
    uint64_t now = clock_unix_ms(context->clock) / 1000;
    const WOLFSSL_BUFFER_INFO *leaf = &store->certs[0];

    session->peer = calloc(1, sizeof(*session->peer));
    if (!session->peer)
        return tls_fail(session, ERR_NOMEM, "the peer's certificate cannot be checked: out of memory");
    enum err err = context->peer_check == TLS_PEER_PIN ? verify_pinned(session, store, now)
                                                       : trust_verify(context->trust, leaf->buffer, leaf->length, now,
                                                                      session->peer, &session->failure_note);
    if (!err)
        err = buf_append(&session->peer_der, leaf->buffer, leaf->length);
    return err;
}

// The library's own objections that do not decide: it reads the system's clock instead of ours, and it knows no pins.
static bool is_for_us_to_judge(const struct tls_session *session, int error)
{
    return error == ASN_BEFORE_DATE_E || error == ASN_AFTER_DATE_E ||
           (error == ASN_NO_SIGNER_E && session->context->peer_check == TLS_PEER_PIN);
}

static bool accept_above_leaf(struct tls_session *session, const WOLFSSL_BUFFER_INFO *certificate)
{
    if (session->context->peer_check == TLS_PEER_PIN)
        return is_pinned(session, certificate);
    return trust_holds(session->context->trust, certificate->buffer, certificate->length);
}

int tls_verify_callback(int preverified, WOLFSSL_X509_STORE_CTX *store)
{
    struct tls_session *session = store->userCtx;

    if (store->totalCerts == 0) // the library asks even when nothing was shown
        return !session->failure && preverified && session->context->peer_check == TLS_PEER_OPTIONAL;
    if (session->failure || !store->certs || store->error_depth < 0 || store->error_depth >= store->totalCerts)
        return 0;
    if (store->error_depth > 0) {
        if (accept_above_leaf(session, &store->certs[store->error_depth]))
            return 1;
        tls_fail(
            session, ERR_IDENTITY, "%s",
            session->context->peer_check == TLS_PEER_PIN
                ? "the server did not show the CA that the token pins: this is not the controller that made the token"
                : "the peer's certificate was not issued by a CA that is trusted here: it came with another CA's "
                  "certificate");
        return 0;
    }
    if (session->peer) { // once a session
        tls_fail(session, ERR_PROTOCOL, "the peer showed certificates twice");
        return 0;
    }
    enum err err = verify_leaf(session, store);
    if (err) {
        session->failure = err;
        return 0;
    }
    if (!preverified && !is_for_us_to_judge(session, store->error)) {
        tls_fail(session, ERR_IDENTITY, "the peer's certificate does not lead to a trusted CA: %s",
                 wolfSSL_ERR_reason_error_string((unsigned long)store->error));
        return 0;
    }
    return 1;
}
