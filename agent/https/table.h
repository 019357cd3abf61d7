// SPDX-License-Identifier: GPL-2.0-or-later
// The admission table: which flow may pass, made from the slice and from what the network role reports of its SAs. Pure. The same
// questions are asked again of live flows and tunnels whenever one of the two changes.
#ifndef TWOFOLD_AGENT_HTTPS_TABLE_H
#define TWOFOLD_AGENT_HTTPS_TABLE_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/base/err.h"
#include "proto/base/ip.h"
#include "proto/base/note.h"
#include "role.pb-c.h"
#include "slice.pb-c.h"

struct table;

// Checks the slice (slice_check) and copies it. The two ports are those of the role itself: no flow may name them.
MUST_USE enum err table_new(const Twofold__V1__Slice *slice, uint16_t outbound_port, uint16_t tunnel_port,
                            struct table **ret_table, struct note *note);
void table_free(struct table *table);
const Twofold__V1__Slice *table_slice(const struct table *table);

// Which SA pairs are installed, copied. Until the first report no pair is. ERR_NOMEM: then none counts as installed.
MUST_USE enum err table_set_sas(struct table *table, const Twofold__V1__SaReport *report);

// The answer. Pointers live as long as the table, `pair` until the next report.
struct verdict {
    bool allowed;
    const Twofold__V1__Peer *peer;   // NULL: not known
    const Twofold__V1__Rule *rule;   // that carries it; NULL: none
    const Twofold__V1__SaPair *pair; // installed with that peer's address; NULL: none
    char reason[NOTE_TEXT_BYTES];    // why not, for people of this host; empty when allowed
    char told[NOTE_TEXT_BYTES];      // why not, for the peer: does not describe the policy
};

// A flow that a local application opened to `destination`.
void table_outbound(const struct table *table, const struct ip_endpoint *destination, struct verdict *ret_verdict);

// Who is at the other end of a tunnel, and where.
struct table_caller {
    const char *identity; // SPIFFE ID, from the certificate
    struct ip remote;     // the peer's address of the tunnel
    struct ip local;      // ours
};

// A flow that a peer asks for: `authority` is where it wants to go.
void table_inbound(const struct table *table, const struct table_caller *caller, const struct ip_endpoint *authority,
                   struct verdict *ret_verdict);

// Whether a tunnel may be there at all: the identity belongs to the peer that has the address, and a rule of this direction is
// usable with it now.
void table_tunnel(const struct table *table, const struct table_caller *caller, Twofold__V1__Direction direction,
                  struct verdict *ret_verdict);

const Twofold__V1__Peer *table_peer_at(const struct table *table, const struct ip *address); // NULL: none
bool table_is_revoked(const struct table *table, const char *host);
bool table_peer_has_workload(const Twofold__V1__Peer *peer, const char *identity);

#endif
