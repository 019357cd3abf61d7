// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/https/credentials.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/identity.h"

struct credentials {
    const struct clock *clock;
    char keylog_path[PATH_MAX]; // empty: none
    struct identity *identity;  // NULL: could not be loaded
    struct trust *trust;        // outlives every context, and with it every session
    char text[SPIFFE_TEXT_BYTES];
    struct tls_context *contexts[2]; // by enum tls_side; both or none
    struct note problem;
};

static enum err make_context(const struct credentials *credentials, enum tls_side side,
                             struct tls_context **ret_context, struct note *note)
{
    const struct identity *identity = credentials->identity;
    struct tls_config config = {
        .side = side,
        .peer_check = TLS_PEER_REQUIRED,
        .key = identity->key,
        .certificate = identity->certificate,
        .certificate_len = identity->certificate_len,
        .trust = credentials->trust,
        .alpn = "h2",
        .clock = credentials->clock,
        .keylog_path = credentials->keylog_path[0] ? credentials->keylog_path : NULL,
    };
    return tls_context_new(&config, ret_context, note);
}

static void drop_contexts(struct credentials *credentials)
{
    for (size_t i = 0; i < 2; i++) {
        if (credentials->contexts[i]) {
            tls_context_drop(credentials->contexts[i]);
            credentials->contexts[i] = NULL;
        }
    }
}

static enum err make_contexts(struct credentials *credentials, struct note *note)
{
    struct tls_context *client = NULL;
    struct tls_context *server = NULL;
    enum err err = make_context(credentials, TLS_CLIENT, &client, note);
    if (err) {
        return err;
    }
    err = make_context(credentials, TLS_SERVER, &server, note);
    if (err) {
        tls_context_drop(client);
        return err;
    }
    drop_contexts(credentials);
    credentials->contexts[TLS_CLIENT] = client;
    credentials->contexts[TLS_SERVER] = server;
    spiffe_format(&credentials->identity->facts.id, credentials->text);
    return ERR_OK;
}

static enum err load(struct credentials *credentials, const char *folder, struct note *note)
{
    enum err err = identity_load(folder, "workload", "workload-ca", &credentials->identity, note);
    if (err) {
        return err;
    }
    if (credentials->identity->facts.id.kind != SPIFFE_WORKLOAD) {
        return note_set(note, ERR_IDENTITY,
                        "%s/workload.pem is not the certificate of a workload; enrol the host again", folder);
    }
    err = trust_new(&credentials->trust);
    if (err) {
        return note_set(note, err, "cannot set up the trust in the workload CA: %s", err_text(err));
    }
    err = trust_add(credentials->trust, credentials->identity->ca, credentials->identity->ca_len, note);
    return err ? err : make_contexts(credentials, note);
}

enum err credentials_new(const char *folder, const char *export_folder, const struct clock *clock,
                         struct credentials **ret_credentials, struct note *note)
{
    struct credentials *credentials = calloc(1, sizeof(*credentials));
    if (!credentials) {
        return note_set(note, ERR_NOMEM, "no memory for the workload's identity");
    }
    credentials->clock = clock;
    if (export_folder && snprintf(credentials->keylog_path, sizeof(credentials->keylog_path), "%s/tls-secrets.log",
                                  export_folder) >= (int)sizeof(credentials->keylog_path)) {
        free(credentials);
        return note_set(note, ERR_INVALID, "%s: the path is too long", export_folder);
    }
    enum err err = load(credentials, folder, &credentials->problem);
    if (err == ERR_NOMEM) {
        credentials_free(credentials);
        return note_set(note, ERR_NOMEM, "no memory for the workload's identity");
    }
    *ret_credentials = credentials;
    return ERR_OK;
}

void credentials_free(struct credentials *credentials)
{
    if (!credentials) {
        return;
    }
    drop_contexts(credentials);
    trust_free(credentials->trust);
    identity_free(credentials->identity);
    free(credentials);
}

bool credentials_are_ready(const struct credentials *credentials)
{
    return credentials->contexts[TLS_CLIENT] != NULL;
}

const char *credentials_problem(const struct credentials *credentials)
{
    return credentials->problem.text;
}

const char *credentials_identity(const struct credentials *credentials)
{
    return credentials->text;
}

const struct cert_facts *credentials_own(const struct credentials *credentials)
{
    return &credentials->identity->facts;
}

const struct cert_facts *credentials_ca(const struct credentials *credentials)
{
    return &credentials->identity->ca_facts;
}

struct tls_context *credentials_context(const struct credentials *credentials, enum tls_side side)
{
    return credentials->contexts[side];
}

enum err credentials_request(struct credentials *credentials, uint8_t **ret_request, size_t *ret_len, struct note *note)
{
    if (!credentials->identity) {
        return note_set(note, ERR_INVALID, "the workload's identity cannot be renewed: %s", credentials->problem.text);
    }
    return identity_begin(credentials->identity, ret_request, ret_len, note);
}

enum err credentials_renew(struct credentials *credentials, const uint8_t *certificate, size_t certificate_len,
                           const uint8_t *ca, size_t ca_len, struct note *note)
{
    if (!credentials->identity) {
        return note_set(note, ERR_INVALID, "the workload's identity cannot be renewed: %s", credentials->problem.text);
    }
    uint64_t now = clock_unix_ms(credentials->clock) / 1000;
    enum err err = identity_finish(credentials->identity, certificate, certificate_len, ca, ca_len, now, note);
    if (err) {
        return err;
    }
    // The identity on disk is the new one from here on. Should the contexts fail, the old ones go on until the next renewal.
    return make_contexts(credentials, note);
}
