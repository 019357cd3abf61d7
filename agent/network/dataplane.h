// SPDX-License-Identifier: GPL-2.0-or-later
// What the kernel holds for us, as one thing: SAs, policies, the nftables table. Takes slices and keying's SAs, keeps both databases
// and the ruleset in step, repairs what others changed. Blocking netlink calls; everything is done when a function returns.
//
// Order at start: dataplane_new -> dataplane_start (the floor, unless tables of an earlier life stand) -> first slice: dataplane_adopt,
// dataplane_commit. Nothing is open in between, and dataplane_free leaves the kernel as it is.
#ifndef TWOFOLD_AGENT_NETWORK_DATAPLANE_H
#define TWOFOLD_AGENT_NETWORK_DATAPLANE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "agent/network/keying.h"
#include "agent/network/nft_text.h"
#include "agent/network/xfrm/sad.h"
#include "proto/base/err.h"
#include "proto/base/ip.h"
#include "proto/base/note.h"
#include "slice.pb-c.h"

struct dataplane_config {
    uid_t control_uid;
    uid_t https_uid;
    uint16_t outbound_port;
    uint16_t tunnel_port;
};

struct dataplane;

// Opens the sockets and probes the kernel. ERR_UNSUPPORTED without XFRM or nftables: the agent cannot enforce anything then.
MUST_USE enum err dataplane_new(const struct dataplane_config *config, struct dataplane **ret_dataplane,
                                struct note *note);
void dataplane_free(struct dataplane *dataplane);

const struct sad_support *dataplane_support(const struct dataplane *dataplane);
// Probes again whether the kernel has ESP now (a module was loaded).
void dataplane_probe(struct dataplane *dataplane);

MUST_USE enum err dataplane_start(struct dataplane *dataplane, struct note *note);

// The pinhole for the control role; takes effect at once. `controller` is copied.
MUST_USE enum err dataplane_set_controller(struct dataplane *dataplane, const struct ip_endpoint *controller,
                                           struct note *note);

// Could this slice be applied? Renders everything and lets the kernel check the ruleset; changes nothing.
MUST_USE enum err dataplane_check(struct dataplane *dataplane, const Twofold__V1__Slice *slice, struct note *note);

// Policies and ruleset of this slice, whole or not at all. The slice must live until another one is committed. The SAs are keying's.
MUST_USE enum err dataplane_commit(struct dataplane *dataplane, const Twofold__V1__Slice *slice, struct note *note);

// Before the first commit: the SAs that an earlier life left in the kernel for peers that `slice` needs IPsec with, the outbound ones only
// where a policy points at them. free() the list. All other SAs of ours are removed.
MUST_USE enum err dataplane_adopt(struct dataplane *dataplane, const Twofold__V1__Slice *slice, struct sa **ret_sas,
                                  size_t *ret_count, struct note *note);

// keying's actions (keying.h).
MUST_USE enum err dataplane_install(struct dataplane *dataplane, const struct sa *sa, struct note *note);
MUST_USE enum err dataplane_switch_outbound(struct dataplane *dataplane, const struct sa *sa, struct note *note);
MUST_USE enum err dataplane_remove(struct dataplane *dataplane, const struct sa *sa, struct note *note);
MUST_USE enum err dataplane_usage(struct dataplane *dataplane, const struct sa *sa, uint64_t *ret_packets,
                                  uint64_t *ret_bytes);

// The SAs in force, as the kernel should hold them, without keys: for keying that starts anew. free() the list.
MUST_USE enum err dataplane_sas(const struct dataplane *dataplane, const Twofold__V1__Slice *slice, struct sa **ret_sas,
                                size_t *ret_count);

// What others changed, found and put right.
struct dataplane_repairs {
    size_t policies; // put right
    size_t strays;   // SAs in our range that we never installed: removed
    size_t lost;     // SAs that are gone from the kernel: keying has to start anew
    bool table;      // the nftables table was gone or changed
};
MUST_USE enum err dataplane_reconcile(struct dataplane *dataplane, struct dataplane_repairs *ret_repairs,
                                      struct note *note);

// Descriptors that become readable when someone changes SAs, policies, the ruleset or the host's IPv6 addresses; drain reads them all and
// tells whether it was someone else.
#define DATAPLANE_EVENT_FDS 3
void dataplane_event_fds(const struct dataplane *dataplane, int ret_fds[DATAPLANE_EVENT_FDS]);
bool dataplane_drain_events(struct dataplane *dataplane);

// Refused packets by reason since this process started.
void dataplane_refused(struct dataplane *dataplane, uint64_t ret_packets[NFT_REASON_COUNT]);

#endif
