// SPDX-License-Identifier: GPL-2.0-or-later
// SPIFFE IDs as Twofold issues them (SPIFFE-ID specification, sections 2.1 to 2.3; Istio's workload form).
#ifndef TWOFOLD_BASE_SPIFFE_H
#define TWOFOLD_BASE_SPIFFE_H

#include <stdbool.h>

#include "proto/base/err.h"

#define SPIFFE_TEXT_BYTES 512 // with its end
#define NAME_MAX_BYTES    63  // a host, segment, rule, label key, namespace or account name

enum spiffe_kind {
    SPIFFE_HOST,       // spiffe://td/host/<name>, network CA: signs bundles
    SPIFFE_AGENT,      // spiffe://td/agent/<name>, network CA: the control channel
    SPIFFE_CONTROLLER, // spiffe://td/controller/<name>, network CA
    SPIFFE_ADMIN,      // spiffe://td/admin/<name>, network CA
    SPIFFE_WORKLOAD,   // spiffe://td/ns/<namespace>/sa/<account>, workload CA
};

struct spiffe_id {
    enum spiffe_kind kind;
    char trust_domain[256];
    char namespace_[NAME_MAX_BYTES + 1]; // of a workload, otherwise empty
    char name[NAME_MAX_BYTES + 1];       // the account of a workload
};

// Exactly these path forms: no query, fragment, port, empty part, dot part or percent sign. ERR_MALFORMED.
MUST_USE enum err spiffe_parse(const char *text, struct spiffe_id *ret_id);
void spiffe_format(const struct spiffe_id *id, char ret_text[SPIFFE_TEXT_BYTES]);

// [a-z0-9]([-a-z0-9.]*[a-z0-9])?, 1..63 bytes: DNS-like, for hosts, segments, rules, namespaces and accounts.
bool name_is_valid(const char *text);
bool trust_domain_is_valid(const char *text);
// Label keys: a name that may also hold '/' and '_'. Label values: [-A-Za-z0-9_.]{0,63}.
bool label_key_is_valid(const char *text);
bool label_value_is_valid(const char *text);

#endif
