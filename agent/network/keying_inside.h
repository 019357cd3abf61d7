// SPDX-License-Identifier: GPL-2.0-or-later
// What keying is made of, for keying*.c only. Order of events: docs/keying.md, "Life of a pair".
#ifndef TWOFOLD_AGENT_NETWORK_KEYING_INSIDE_H
#define TWOFOLD_AGENT_NETWORK_KEYING_INSIDE_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/network/derive.h"
#include "agent/network/epoch.h"
#include "agent/network/keying.h"
#include "agent/network/keying_vault.h"
#include "agent/network/pair.h"
#include "proto/link/cert.h"
#include "proto/wire/bundle.h"

// Every limit and time in one place (docs/keying.md, "Numbers").
enum keying_limit {
    KEYING_PAIRS_MAX = 6,             // of epochs, with one peer: the one in use and those under way
    KEYING_REKEY_SECONDS = 3600,      // before there is a slice
    KEYING_SKEW_SECONDS = 300,        // a peer's clock may be this far ahead
    KEYING_SETTLE_MS = 30000,         // a new epoch waits this long for the pairs of the last one
    KEYING_RATE_MS_MAX = 30000,       // one epoch in this time, or in half an epoch's life if that is shorter
    KEYING_RATE_BURST = 3,            // of a peer's; own ones: one less
    KEYING_OUTBOUND_LINGER_MS = 1000, // packets on their way through the kernel
    KEYING_INBOUND_LINGER_MS_MAX = 60000,
    KEYING_POLL_MS = 1000,   // packets of new SAs, and what the kernel refused
    KEYING_USAGE_MS = 10000, // how much was sent
    KEYING_RETRY_MS = 1000,  // first repetition of what was said; doubles
    KEYING_RETRY_MS_MAX = 30000,
    KEYING_REPUBLISH_MS =
        60000, // one repetition in this time publishes the bundle again, whoever it is for: all peers get it
    KEYING_REPUBLISH_BURST = 6,
    KEYING_ANSWER_MS = 100,           // at most one answer to a repeated word in this time
    KEYING_ABANDON_MS = 60000,        // a pair that nobody used gives way, when there are KEYING_PAIRS_MAX
    KEYING_REFUSAL_MS = 60000,        // `problem` speaks so long of what was refused when nothing waits for it
    KEYING_OVERDUE_MS = 10000,        // then `problem` speaks of it
    KEYING_STORE_MS = 1000,           // peers' epochs are written this late
    KEYING_OWN_RETRY_MS = 5000,       // an own epoch that could not be made
    KEYING_LIFE_MS = 8 * 3600 * 1000, // of any SA: then it is removed, whatever has become of the rekey
};
#define KEYING_SOFT_PACKETS (UINT64_C(1) << 31)
#define KEYING_SOFT_BYTES   (UINT64_C(1) << 40)

// The bundle of a peer, verified.
struct keying_bundle {
    struct bundle bundle;
    uint64_t not_after; // of bundle and certificate, the earlier
    size_t address_count;
    struct ip addresses[CERT_ADDRESSES_MAX]; // of its certificate
    size_t blob_len;
    uint8_t blob[];
};

struct keying_peer {
    char host[NAME_MAX_BYTES + 1];
    uint32_t slot;
    size_t address_count; // in the slice
    struct ip addresses[CERT_ADDRESSES_MAX];
    size_t path_count;
    struct derive_path paths[DERIVE_PATHS_MAX];
    struct epoch_seen *seen;      // the store's
    struct keying_bundle *bundle; // owned; NULL: none yet

    size_t pair_count; // oldest first
    struct pair *pairs[KEYING_PAIRS_MAX];
    struct pair *in_force; // what the outbound policies point at; NULL: nothing, or an adopted SA
    struct sa *adopted;    // owned; in use until a pair is complete
    size_t adopted_count;
    uint64_t adopted_ms;

    uint64_t since_ms; // a peer since
    uint64_t poll_at_ms;
    uint64_t usage_at_ms;
    uint64_t retry_at_ms;
    unsigned retry_count;
    uint64_t answered_ms[2]; // by word
    uint64_t nudged_ms;
    bool is_worn; // a soft limit is passed; a new epoch was asked for
    bool usage_is_unknown;
    char trouble[256]; // of the kernel or the keys' age, until a pair is complete
    char refusal[256]; // why the last thing that the peer sent was refused
    uint64_t refused_ms;
};

// An SA on its way out.
struct keying_leaving {
    struct sa sa;
    uint64_t at_ms;
};

// The present own epoch. Its private key is all that could make its pairs again.
struct keying_own {
    struct derive_key *key; // NULL: there is no epoch
    struct bundle bundle;
    size_t blob_len;
    uint8_t blob[BUNDLE_BLOB_BYTES_MAX];
    uint8_t signature[KEY_SIGNATURE_BYTES];
    uint8_t *certificate; // owned: the one that the blob names
    size_t certificate_len;
    uint64_t made_ms;
    uint64_t rotate_at_ms;
};

struct keying {
    struct keying_config config;
    char host[NAME_MAX_BYTES + 1];
    struct epoch_store *store;
    uint64_t store_at_ms; // UINT64_MAX: written
    char store_problem[256];
    struct keying_vault *vault;

    const struct key *key; // NULL: no identity yet
    uint8_t *certificate;
    size_t certificate_len;
    struct cert_facts facts;

    struct keying_own own;
    struct epoch_bucket own_bucket;
    bool epoch_wanted;
    bool publish_wanted;
    struct epoch_bucket repeat_bucket;
    uint64_t own_retry_at_ms;
    char own_problem[256];

    bool has_slice;
    uint32_t rekey_seconds;
    size_t peer_count; // by host
    struct keying_peer **peers;
    size_t revoked_count; // ascending
    char **revoked;

    size_t adopted_count; // before there is a slice
    struct sa *adopted;
    size_t leaving_count;
    size_t leaving_capacity;
    struct keying_leaving *leaving;
    uint32_t leaving_by_bits[64]; // how many have these low bits of an own epoch

    uint64_t wake_ms;
    bool is_entered;
    struct keying_counters counters;
};

static inline void keying_enter(struct keying *keying)
{
    assert(!keying->is_entered);
    keying->is_entered = true;
}

static inline void keying_leave(struct keying *keying)
{
    keying->is_entered = false;
}

static inline uint64_t keying_now(const struct keying *keying)
{
    return clock_boot_ms(keying->config.clock);
}

static inline uint64_t keying_unix(const struct keying *keying)
{
    return clock_unix_ms(keying->config.clock) / 1000;
}

static inline void keying_wake(struct keying *keying, uint64_t at_ms)
{
    if (at_ms < keying->wake_ms)
        keying->wake_ms = at_ms;
}

static inline void keying_changed(struct keying *keying, const struct keying_peer *peer)
{
    keying->config.actions->changed(keying->config.context, peer->host);
}

// Of epochs: one in this time.
uint64_t keying_rate_ms(const struct keying *keying);
uint64_t keying_linger_ms(const struct keying *keying);

// ---- keying_slice.c

struct keying_peer *keying_find(const struct keying *keying, const char *host); // NULL: no peer
void keying_readdress(struct keying *keying);                                   // own addresses may have changed

// ---- keying_leaving.c: SAs that are to be removed at some time

// Takes the SA over, or removes it at once when there's no memory.
void keying_leaving_add(struct keying *keying, const struct sa *sa, uint64_t at_ms);
void keying_leaving_hurry(struct keying *keying, const char *peer); // all of this peer's: now
void keying_leaving_tick(struct keying *keying, uint64_t now_ms);

// ---- keying_own.c: the own epoch

void keying_own_want(struct keying *keying); // as soon as rate and pairs under way allow
void keying_own_tick(struct keying *keying, uint64_t now_ms);
void keying_own_publish(struct keying *keying); // the present one, if there is one
void keying_own_forget(struct keying *keying);  // wipes
void keying_own_hasten(struct keying *keying);  // the life of epochs became shorter

// ---- keying_peer.c: one peer

MUST_USE enum err keying_peer_new(struct keying *keying, const char *host, struct keying_peer **ret_peer);
void keying_peer_free(struct keying *keying, struct keying_peer *peer); // forgets; touches no SA
// Removes all its SAs and burns its pairs.
void keying_peer_cut(struct keying *keying, struct keying_peer *peer);
void keying_peer_trouble(struct keying *keying, struct keying_peer *peer, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void keying_peer_refuse(struct keying *keying, struct keying_peer *peer, const char *sentence);
void keying_peer_sa(const struct keying_peer *peer, const struct pair *pair, size_t path, bool inbound,
                    struct sa *ret_sa);
// Low bits of the own epoch in an SA's number.
unsigned keying_sa_bits(const struct sa *sa);
// Bit n: an SA with these low bits of an own epoch is in the kernel.
uint64_t keying_peer_bits(const struct keying_peer *peer);
// Some SA with this peer has one of these numbers already.
bool keying_peer_spi_is_taken(const struct keying *keying, const struct keying_peer *peer, uint32_t inbound,
                              uint32_t outbound);
// The pair is no more: its SAs go at their times, its secrets now. It can't be made again (epoch_seen.paired_with).
void keying_peer_burn(struct keying *keying, struct keying_peer *peer, size_t index, uint64_t inbound_at_ms,
                      uint64_t outbound_at_ms);
void keying_peer_retire_outbound(struct keying *keying, struct keying_peer *peer, struct pair *pair, uint64_t at_ms);
void keying_peer_drop_adopted(struct keying *keying, struct keying_peer *peer, bool inbound, uint64_t at_ms);
size_t keying_peer_index(const struct keying_peer *peer, const struct pair *pair); // pair_count: not there
size_t keying_peer_first_live(const struct keying_peer *peer);                     // what is older only receives

// ---- keying_make.c: the pair of the present epochs

// The pairs of addresses: the first of each family at each end.
void keying_make_paths(const struct keying *keying, const struct keying_peer *peer, struct derive_path *ret_paths,
                       size_t *ret_count);
// Makes it, if both bundles are there and it was never made. `is_published`: the own one is; otherwise keying_make_announce when it is.
void keying_make_pair(struct keying *keying, struct keying_peer *peer, bool is_published);
void keying_make_announce(struct keying *keying, struct keying_peer *peer);
bool keying_make_is_lacking(const struct keying *keying, const struct keying_peer *peer);
bool keying_make_is_under_way(const struct keying *keying, const struct keying_peer *peer);

// ---- keying_step.c: what happens to a pair; each may end it

bool keying_step_install(struct keying *keying, struct keying_peer *peer, struct pair *pair); // true: it is offered now
void keying_step_point(struct keying *keying, struct keying_peer *peer, struct pair *pair);
void keying_step_event(struct keying *keying, struct keying_peer *peer, struct pair *pair, enum pair_event event);
void keying_step_hear(struct keying *keying, struct keying_peer *peer, struct pair *pair, enum derive_word word);
void keying_step_say(struct keying *keying, const struct keying_peer *peer, const struct pair *pair,
                     enum derive_word word);

// ---- keying_watch.c: what time does

void keying_watch_tick(struct keying *keying, struct keying_peer *peer, uint64_t now_ms);
void keying_watch_soon(struct keying *keying, struct keying_peer *peer);  // asks the kernel and tries again in a second
void keying_watch_again(struct keying *keying, struct keying_peer *peer); // repetitions begin anew
void keying_watch_nudge(struct keying *keying, struct keying_peer *peer); // and at once

// ---- keying_bundle.c: bundles of peers

// ERR_EXPIRED, ERR_IDENTITY with a sentence: why a pair with this bundle can't be made.
MUST_USE enum err keying_bundle_fits(const struct keying *keying, const struct keying_peer *peer, struct note *note);

#endif
