// SPDX-License-Identifier: GPL-2.0-or-later
// Keying `bundle`: how two hosts derive the keys of their SAs from signed bundles, and when SAs come and go (docs/wire.md, "Bundles";
// docs/keying.md). Sans-I/O: slices, bundles, acknowledgements and time go in; what is to be done goes out through `struct keying_actions`,
// which the network role implements with the kernel and the tests with a simulation. Never calls back into the role while the
// role is inside an action.
#ifndef TWOFOLD_AGENT_NETWORK_KEYING_H
#define TWOFOLD_AGENT_NETWORK_KEYING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "control.pb-c.h"
#include "proto/base/clock.h"
#include "proto/base/err.h"
#include "proto/base/ip.h"
#include "proto/base/note.h"
#include "proto/base/spiffe.h"
#include "proto/link/cert.h"
#include "proto/link/key.h"
#include "slice.pb-c.h"

#define SA_KEY_BYTES 36 // AES-256 key and the 4-byte salt of RFC 4106

// One IPsec SA of a pair of hosts and of addresses. There is one in each direction for each family that both hosts have: between the
// first (lowest) address of this host's certificate and the first of the peer in the slice. Further addresses of a family have no
// SA: what they send stays blocked (docs/adr/0004).
struct sa {
    char peer[NAME_MAX_BYTES + 1];
    bool inbound;
    struct ip source;
    struct ip destination;
    uint32_t spi;         // host order
    uint32_t reqid;       // REQID_BASE + slot of the peer
    uint64_t local_epoch; // 0: not known (adopted from the kernel)
    uint64_t peer_epoch;
    uint8_t key[SA_KEY_BYTES]; // for `install` only; zero otherwise
};

#define REQID_BASE 0x54000000u // own objects: reqid in REQID_BASE + [1, 2^20)

// What keying asks for. Each is done when it returns: the kernel has acknowledged. ERR_EXISTS and ERR_NOT_FOUND are answers, not faults.
struct keying_actions {
    enum err (*install)(void *context, const struct sa *sa);
    // Points the outbound policy of the address pair at this SA (makes the policies when they are not there yet).
    enum err (*switch_outbound)(void *context, const struct sa *sa);
    enum err (*remove)(void *context, const struct sa *sa);
    // True when a packet has been authenticated on this inbound SA.
    bool (*inbound_used)(void *context, const struct sa *sa);
    // Packets sent and bytes sent on an outbound SA, for the soft limits.
    enum err (*usage)(void *context, const struct sa *sa, uint64_t *ret_packets, uint64_t *ret_bytes);
    void (*publish)(void *context, const Twofold__V1__Bundle *bundle);
    void (*send_pair)(void *context, const char *peer, const uint8_t *body, size_t len);
    // A peer's state changed: for the https role and for status.
    void (*changed)(void *context, const char *peer);
};

struct keying_config {
    const struct clock *clock;
    const char *state_path; // file: highest epochs and burned pairs
    const char *host;
    const struct trust *trust; // the network CA; outlives
    const struct keying_actions *actions;
    void *context;
};

struct keying;
MUST_USE enum err keying_new(const struct keying_config *config, struct keying **ret_keying, struct note *note);
void keying_free(struct keying *keying); // wipes; touches no kernel object

// The signing key and its certificate; again at renewal. Both are copied or held by reference as said: `key` must outlive.
MUST_USE enum err keying_set_identity(struct keying *keying, const struct key *key, const uint8_t *certificate,
                                      size_t len, struct note *note);

// SAs that the kernel held at start in the own reqid range: kept in use until they are replaced. Outbound ones that a policy points at
// come first (of several the first is reported in the state). Once there is an identity and a slice, those of no peer are removed.
MUST_USE enum err keying_adopt(struct keying *keying, const struct sa *sas, size_t count);

// Checks a slice against the certificates known (addresses, slot): ERR_IDENTITY with a sentence when it names an address outside a
// peer's certificate. Changes nothing.
MUST_USE enum err keying_check(const struct keying *keying, const Twofold__V1__Slice *slice, struct note *note);

// Makes the slice's peers (those with a rule that needs IPsec) the present ones: new ones are keyed, SAs of gone or revoked ones removed
// at once and their pairs burned.
MUST_USE enum err keying_set_slice(struct keying *keying, const Twofold__V1__Slice *slice, struct note *note);

// From peers, through the controller: hostile. ERR_IDENTITY, ERR_CRYPTO, ERR_STALE, ERR_LIMIT, ERR_MALFORMED…: counted, nothing changes.
MUST_USE enum err keying_on_bundle(struct keying *keying, const Twofold__V1__Bundle *bundle, struct note *note);
MUST_USE enum err keying_on_pair(struct keying *keying, const char *from, const uint8_t *body, size_t len,
                                 struct note *note);

// The present bundle again, e.g. when the session with the controller is new. Publishes the first one when there is none yet.
void keying_publish_again(struct keying *keying);

// Time passes: call at the time that keying_deadline names (boot milliseconds; UINT64_MAX: never) or earlier.
void keying_tick(struct keying *keying);
uint64_t keying_deadline(const struct keying *keying);

// State of one peer. `problem` is a sentence with cause and remedy, or empty.
struct keying_peer_state {
    bool up; // inbound and outbound SAs of at least one address pair are installed and the policy points at them
    uint64_t local_epoch;
    uint64_t peer_epoch;
    uint32_t inbound_spi;
    uint32_t outbound_spi;
    uint64_t outbound_since_boot_ms;
    char problem[256];
};
MUST_USE enum err keying_peer_state(const struct keying *keying, const char *peer, struct keying_peer_state *ret_state);

struct keying_counters {
    uint64_t epochs_published, rekeys_done, bundles_accepted, bundles_refused, bundles_stale, acks_accepted,
        acks_refused, pairs_burned;
    uint64_t acks_stale;    // of pairs that are not, or no longer, there
    uint64_t kernel_errors; // installs, switches, removals and questions that the kernel refused; each is tried again
};
const struct keying_counters *keying_counters(const struct keying *keying);

#endif
