// SPDX-License-Identifier: GPL-2.0-or-later
// The two certificate authorities, with their keys in the state folder: *network* signs hosts, agents, controllers and
// administrators, *workload* signs workloads. They share nothing: ca_load refuses two with one key.
#ifndef TWOFOLD_CONTROLLER_CA_H
#define TWOFOLD_CONTROLLER_CA_H

#include <stddef.h>
#include <stdint.h>

#include "control.pb-c.h"
#include "controller/store/hosts.h"
#include "proto/base/digest.h"
#include "proto/base/err.h"
#include "proto/base/note.h"
#include "proto/link/cert.h"
#include "proto/link/key.h"

#define CA_ROOT_SECONDS  (10ull * 365 * 86400)
#define CA_LEAF_SECONDS  86400ull
#define CA_EARLY_SECONDS 300ull // certificates begin in the past, for clocks that are behind

struct ca_root {
    struct key *key;
    uint8_t *der;
    size_t der_len;
    uint8_t spki_sha384[DIGEST_BYTES];
    uint64_t not_after;
};

struct ca {
    char trust_domain[256];
    struct ca_root network;
    struct ca_root workload;
};

// Makes both in the folder: network-ca.key, network-ca.pem, workload-ca.key, workload-ca.pem.
MUST_USE enum err ca_create(const char *folder, const char *trust_domain, uint64_t now, struct note *note);
MUST_USE enum err ca_load(const char *folder, const char *trust_domain, uint64_t now, struct ca **ret_ca,
                          struct note *note);
void ca_free(struct ca *ca); // wipes the keys

// A certificate of the network CA for a controller or an administrator; free() it. The key is the caller's.
MUST_USE enum err ca_issue_own(const struct ca *ca, const struct key *key, const struct cert_facts *facts,
                               uint8_t **ret_der, size_t *ret_len, struct certificate_serial *ret_serial,
                               struct note *note);

// The three certificates of a host.
struct ca_issued {
    uint8_t *agent, *host, *workload;
    size_t agent_len, host_len, workload_len;
    struct certificate_serial agent_serial;
    uint64_t expires;
};

// Each request proves possession of its key; three different keys are demanded, because the layers must not share one.
// ERR_MALFORMED, ERR_CRYPTO, ERR_INVALID.
MUST_USE enum err ca_issue_host(const struct ca *ca, const struct host_record *host,
                                const Twofold__V1__CertificateRequests *requests, uint64_t now,
                                struct ca_issued *ret_issued, struct note *note);
void ca_issued_free(struct ca_issued *issued);

#endif
