// SPDX-License-Identifier: GPL-2.0-or-later
// The workload's identity in use: agent/identity's files, and the TLS contexts of new tunnels made of them.
#ifndef TWOFOLD_AGENT_HTTPS_CREDENTIALS_H
#define TWOFOLD_AGENT_HTTPS_CREDENTIALS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/base/clock.h"
#include "proto/base/err.h"
#include "proto/base/note.h"
#include "proto/link/cert.h"
#include "proto/link/tls.h"

struct credentials;

// Loads workload.key, workload.pem and workload-ca.pem. What is wrong with them makes no error here: then there are no contexts, no
// tunnel comes up, and credentials_problem says why. `export_folder` (may be NULL) gets tls-secrets.log. ERR_NOMEM, ERR_INVALID.
MUST_USE enum err credentials_new(const char *folder, const char *export_folder, const struct clock *clock,
                                  struct credentials **ret_credentials, struct note *note);
void credentials_free(struct credentials *credentials); // after the last session

bool credentials_are_ready(const struct credentials *credentials);
const char *credentials_problem(const struct credentials *credentials);          // a sentence; empty: none
const char *credentials_identity(const struct credentials *credentials);         // SPIFFE ID; empty while not ready
const struct cert_facts *credentials_own(const struct credentials *credentials); // while ready
const struct cert_facts *credentials_ca(const struct credentials *credentials);  // while ready

// For new tunnels, while ready; hold it.
struct tls_context *credentials_context(const struct credentials *credentials, enum tls_side side);

// A new key beside the present one, and a request for it; free() it.
MUST_USE enum err credentials_request(struct credentials *credentials, uint8_t **ret_request, size_t *ret_len,
                                      struct note *note);

// The certificate for the new key: checked, saved, and in use for tunnels from here on. On failure everything stays as it was.
MUST_USE enum err credentials_renew(struct credentials *credentials, const uint8_t *certificate, size_t certificate_len,
                                    const uint8_t *ca, size_t ca_len, struct note *note);

#endif
