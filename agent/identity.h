// SPDX-License-Identifier: GPL-2.0-or-later
// A role's own identity on disk: key, certificate and trust anchor as PEM files in its folder, and their renewal so that a crash at any
// moment leaves a key and a certificate that belong together. Blocking file access; all files are small.
//
// FOLDER/<name>.key, FOLDER/<name>.pem, FOLDER/<ca>.pem. Renewal writes <name>-next.key, then <name>-next.pem (from here on it is done), then renames
// both over the old ones; identity_load finishes a renewal that was cut short behind that point and drops one that was cut before.
#ifndef TWOFOLD_AGENT_IDENTITY_H
#define TWOFOLD_AGENT_IDENTITY_H

#include <stddef.h>
#include <stdint.h>

#include "proto/base/err.h"
#include "proto/base/note.h"
#include "proto/link/cert.h"
#include "proto/link/key.h"

// Owned by the role. Replaced as a whole by identity_finish: whoever keeps pointers to its parts must let go of them before.
struct identity {
    char folder[512];
    char name[32];    // "agent", "host", "workload"
    char ca_name[32]; // "network-ca", "workload-ca"
    struct key *key;
    uint8_t *certificate; // DER, own leaf
    size_t certificate_len;
    struct cert_facts facts; // of the leaf
    uint8_t *ca;             // DER, the trust anchor
    size_t ca_len;
    struct cert_facts ca_facts;
    struct key *next_key; // between identity_begin and identity_finish; NULL otherwise
};

// Checks that the key belongs to the certificate and that the anchor is a CA; not whether the certificate is still valid (an expired
// one is reported by the role, it does not stop the agent). ERR_NOT_FOUND, ERR_CORRUPT, ERR_MALFORMED; the note names the file and the remedy.
MUST_USE enum err identity_load(const char *folder, const char *name, const char *ca_name,
                                struct identity **ret_identity, struct note *note);
void identity_free(struct identity *identity); // NULL is fine; wipes

// Writes the three files of a new identity into an existing folder (enrolment).
MUST_USE enum err identity_save(const char *folder, const char *name, const char *ca_name, const struct key *key,
                                const uint8_t *certificate, size_t certificate_len, const uint8_t *ca, size_t ca_len,
                                struct note *note);

// RenewalStart: makes the next key (a second call makes another one) and a request for it in DER; free() it.
MUST_USE enum err identity_begin(struct identity *identity, uint8_t **ret_request, size_t *ret_len, struct note *note);

// Certificate: it must be for the next key, name the same SPIFFE ID, chain to the anchor in force, and be valid at `now` (unix seconds);
// the anchor sent with it must have the key of the one in force. Stored, then swapped in; on failure the old identity stays, on disk too.
MUST_USE enum err identity_finish(struct identity *identity, const uint8_t *certificate, size_t certificate_len,
                                  const uint8_t *ca, size_t ca_len, uint64_t now, struct note *note);

#endif
