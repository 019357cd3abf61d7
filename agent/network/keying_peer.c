// SPDX-License-Identifier: GPL-2.0-or-later
// One peer. Order of events of a pair (docs/keying.md, "Life of a pair"):
//   made when both present bundles are there -> inbound SAs -> "ack" to the peer -> the peer's "ack", "done" or a packet -> outbound SAs,
//   policies point at them -> "done" to the peer -> the peer's "done" or a packet -> everything older goes.
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/network/keying_inside.h"
#include "proto/base/secret.h"

enum err keying_peer_new(struct keying *keying, const char *host, struct keying_peer **ret_peer)
{
    struct keying_peer *peer = calloc(1, sizeof(*peer));

    if (!peer)
        return ERR_NOMEM;
    enum err err = epoch_store_get(keying->store, host, &peer->seen);
    if (err) {
        free(peer);
        return err;
    }
    memcpy(peer->host, peer->seen->host, sizeof(peer->host));
    peer->since_ms = keying_now(keying);
    peer->poll_at_ms = peer->usage_at_ms = peer->retry_at_ms = UINT64_MAX;
    *ret_peer = peer;
    return ERR_OK;
}

static void pair_free(struct keying *keying, struct pair *pair)
{
    keying_vault_give_back(keying->vault, pair->secrets);
    secret_wipe(pair, sizeof(*pair));
    free(pair);
}

void keying_peer_free(struct keying *keying, struct keying_peer *peer)
{
    if (!peer)
        return;
    for (size_t i = 0; i < peer->pair_count; i++)
        pair_free(keying, peer->pairs[i]);
    free(peer->bundle);
    free(peer->adopted);
    free(peer);
}

void keying_peer_trouble(struct keying *keying, struct keying_peer *peer, const char *format, ...)
{
    char text[sizeof(peer->trouble)];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    if (strcmp(text, peer->trouble) == 0)
        return;
    memcpy(peer->trouble, text, sizeof(text));
    keying_changed(keying, peer);
}

// ---- SAs

unsigned keying_sa_bits(const struct sa *sa)
{
    return sa->inbound ? sa->spi >> 6 & 63 : sa->spi & 63;
}

void keying_peer_sa(const struct keying_peer *peer, const struct pair *pair, size_t path, bool inbound,
                    struct sa *ret_sa)
{
    const struct derive_path *ends = &peer->paths[path];
    struct sa sa = {
        .inbound = inbound,
        .source = inbound ? ends->peer : ends->local,
        .destination = inbound ? ends->local : ends->peer,
        .spi = inbound ? pair->inbound_spi : pair->outbound_spi,
        .reqid = REQID_BASE + peer->slot,
        .local_epoch = pair->local_epoch,
        .peer_epoch = pair->peer_epoch,
    };

    memcpy(sa.peer, peer->host, sizeof(sa.peer));
    memcpy(sa.key, inbound ? pair->secrets->inbound[path] : pair->secrets->outbound[path], sizeof(sa.key));
    *ret_sa = sa;
    secret_wipe(sa.key, sizeof(sa.key));
}

uint64_t keying_peer_bits(const struct keying_peer *peer)
{
    uint64_t bits = 0;

    for (size_t i = 0; i < peer->pair_count; i++)
        bits |= UINT64_C(1) << (peer->pairs[i]->local_epoch & 63);
    for (size_t i = 0; i < peer->adopted_count; i++)
        bits |= UINT64_C(1) << keying_sa_bits(&peer->adopted[i]);
    return bits;
}

// Some SA with this peer has the same number already.
static bool spi_is_taken(const struct keying *keying, const struct keying_peer *peer, uint32_t inbound,
                         uint32_t outbound)
{
    for (size_t i = 0; i < peer->pair_count; i++)
        if (peer->pairs[i]->inbound_spi == inbound || peer->pairs[i]->outbound_spi == outbound)
            return true;
    for (size_t i = 0; i < peer->adopted_count; i++)
        if (peer->adopted[i].spi == (peer->adopted[i].inbound ? inbound : outbound))
            return true;
    for (size_t i = 0; i < keying->leaving_count; i++)
        if (keying->leaving[i].sa.spi == (keying->leaving[i].sa.inbound ? inbound : outbound))
            return true;
    return false;
}

static void leave(struct keying *keying, struct keying_peer *peer, const struct pair *pair, bool inbound,
                  uint64_t at_ms)
{
    const bool *installed = inbound ? pair->inbound_installed : pair->outbound_installed;
    struct sa sa;

    for (size_t i = 0; i < peer->path_count; i++) {
        if (!installed[i])
            continue;
        keying_peer_sa(peer, pair, i, inbound, &sa);
        if (!keying->config.keep_keys)
            secret_wipe(sa.key, sizeof(sa.key));
        keying_leaving_add(keying, &sa, at_ms);
        secret_wipe(&sa, sizeof(sa));
    }
}

static void retire_outbound(struct keying *keying, struct keying_peer *peer, struct pair *pair, uint64_t at_ms)
{
    leave(keying, peer, pair, false, at_ms);
    memset(pair->outbound_installed, 0, sizeof(pair->outbound_installed));
}

// The pair is no more: its SAs go at their times, its secrets now. It can't be made again (epoch_seen.paired_with).
static void burn(struct keying *keying, struct keying_peer *peer, size_t index, uint64_t inbound_at_ms,
                 uint64_t outbound_at_ms)
{
    struct pair *pair = peer->pairs[index];

    leave(keying, peer, pair, true, inbound_at_ms);
    leave(keying, peer, pair, false, outbound_at_ms);
    if (peer->in_force == pair)
        peer->in_force = NULL;
    pair_free(keying, pair);
    peer->pair_count--;
    memmove(&peer->pairs[index], &peer->pairs[index + 1], (peer->pair_count - index) * sizeof(*peer->pairs));
    keying->counters.pairs_burned++;
}

static void drop_adopted(struct keying *keying, struct keying_peer *peer, bool inbound, uint64_t at_ms)
{
    size_t kept = 0;

    for (size_t i = 0; i < peer->adopted_count; i++) {
        if (peer->adopted[i].inbound == inbound)
            keying_leaving_add(keying, &peer->adopted[i], at_ms);
        else
            peer->adopted[kept++] = peer->adopted[i];
    }
    peer->adopted_count = kept;
}

void keying_peer_cut(struct keying *keying, struct keying_peer *peer)
{
    uint64_t now_ms = keying_now(keying);

    while (peer->pair_count)
        burn(keying, peer, 0, now_ms, now_ms);
    drop_adopted(keying, peer, true, now_ms);
    drop_adopted(keying, peer, false, now_ms);
    keying_leaving_hurry(keying, peer->host);
}

// ---- what is said

static void say(struct keying *keying, const struct keying_peer *peer, const struct pair *pair, enum derive_word word)
{
    uint8_t body[PAIR_ACK_BYTES];

    pair_say(pair, word, body);
    keying->config.actions->send_pair(keying->config.context, peer->host, body, sizeof(body));
}

static void retry_from_now(struct keying *keying, struct keying_peer *peer)
{
    peer->retry_count = 0;
    peer->retry_at_ms = keying_now(keying) + KEYING_RETRY_MS;
    keying_wake(keying, peer->retry_at_ms);
}

void keying_peer_nudge(struct keying *keying, struct keying_peer *peer)
{
    peer->retry_count = 0;
    peer->retry_at_ms = keying_now(keying);
    keying_wake(keying, peer->retry_at_ms);
}

// ---- the steps of a pair

static void poll_soon(struct keying *keying, struct keying_peer *peer)
{
    uint64_t at_ms = keying_now(keying) + KEYING_POLL_MS;

    if (at_ms < peer->poll_at_ms)
        peer->poll_at_ms = at_ms;
    keying_wake(keying, peer->poll_at_ms);
}

static size_t index_of(const struct keying_peer *peer, const struct pair *pair)
{
    size_t i = 0;
    while (i < peer->pair_count && peer->pairs[i] != pair)
        i++;
    return i;
}

// Below this index nothing is wanted any more but to receive.
static size_t first_live(const struct keying_peer *peer)
{
    return peer->in_force ? index_of(peer, peer->in_force) : 0;
}

// Both ends use it: everything older goes.
static void finish(struct keying *keying, struct keying_peer *peer, const struct pair *pair)
{
    uint64_t now_ms = keying_now(keying);

    while (peer->pairs[0] != pair)
        burn(keying, peer, 0, now_ms + keying_linger_ms(keying), now_ms + KEYING_OUTBOUND_LINGER_MS);
    drop_adopted(keying, peer, true, now_ms + keying_linger_ms(keying));
    free(peer->adopted);
    peer->adopted = NULL;
    peer->trouble[0] = '\0';
    peer->is_worn = false;
    if (peer->pair_count == 1)
        peer->retry_at_ms = UINT64_MAX;
    poll_soon(keying, peer); // there is room again
    keying->counters.rekeys_done++;
    keying_wake(keying, now_ms); // a new epoch may have waited for this
}

static bool kernel_took(struct keying *keying, struct keying_peer *peer, enum err err, const char *what)
{
    if (!err)
        return true;
    keying->counters.kernel_errors++;
    keying_peer_trouble(keying, peer, "%s for %s: %s; it is tried again each second, the SAs in use stay", what,
                        peer->host, err_text(err));
    poll_soon(keying, peer);
    return false;
}

// ERR_EXISTS: an SA that isn't ours has this number. Such a pair must not be used.
static enum err install(struct keying *keying, struct keying_peer *peer, struct pair *pair, size_t path, bool inbound)
{
    bool *installed = inbound ? &pair->inbound_installed[path] : &pair->outbound_installed[path];
    bool *tried = inbound ? &pair->inbound_tried[path] : &pair->outbound_tried[path];
    struct sa sa;

    if (*installed)
        return ERR_OK;
    keying_peer_sa(peer, pair, path, inbound, &sa);
    enum err err = keying->config.actions->install(keying->config.context, &sa);
    secret_wipe(&sa, sizeof(sa));
    // The answer to the first try was lost. Nothing was sent on it yet: no policy points at it.
    if (err == ERR_EXISTS && *tried)
        err = ERR_OK;
    if (!err && !keying->config.keep_keys)
        secret_wipe(inbound ? pair->secrets->inbound[path] : pair->secrets->outbound[path], SA_KEY_BYTES);
    *installed = *installed || !err;
    *tried = true;
    return err;
}

static void give_up(struct keying *keying, struct keying_peer *peer, struct pair *pair)
{
    uint64_t now_ms = keying_now(keying);

    keying->counters.kernel_errors++;
    keying_peer_trouble(keying, peer,
                        "the kernel already holds an SA with the number of a new one for %s; a new epoch is made",
                        peer->host);
    burn(keying, peer, index_of(peer, pair), now_ms, now_ms);
    keying_own_want(keying);
}

// True when the pair is offered now.
static bool install_inbound(struct keying *keying, struct keying_peer *peer, struct pair *pair)
{
    for (size_t i = 0; i < peer->path_count; i++) {
        enum err err = install(keying, peer, pair, i, true);
        if (err == ERR_EXISTS) {
            give_up(keying, peer, pair);
            return false;
        }
        if (!kernel_took(keying, peer, err, "the kernel refused an inbound SA"))
            return false;
    }
    pair->state = pair_next(pair->state, PAIR_INSTALLED);
    poll_soon(keying, peer);
    return true;
}

static void point(struct keying *keying, struct keying_peer *peer, struct pair *pair)
{
    uint64_t now_ms = keying_now(keying);
    struct sa sa;

    for (size_t i = 0; i < peer->path_count; i++) {
        enum err err = install(keying, peer, pair, i, false);
        // The inbound SAs stay: the peer may use them. The next pair has another number.
        if (err == ERR_EXISTS)
            keying_own_want(keying);
        if (!kernel_took(keying, peer, err, "the kernel refused an outbound SA"))
            return;
    }
    for (size_t i = 0; i < peer->path_count; i++) {
        keying_peer_sa(peer, pair, i, false, &sa);
        enum err err = keying->config.actions->switch_outbound(keying->config.context, &sa);
        secret_wipe(&sa, sizeof(sa));
        if (!kernel_took(keying, peer, err, "the kernel did not point an outbound policy at the new SA"))
            return;
    }
    for (size_t i = 0; peer->pairs[i] != pair; i++)
        retire_outbound(keying, peer, peer->pairs[i], now_ms + KEYING_OUTBOUND_LINGER_MS);
    drop_adopted(keying, peer, false, now_ms + KEYING_OUTBOUND_LINGER_MS);
    peer->in_force = pair;
    pair->switched_ms = now_ms;
    pair->state = pair_next(pair->state, PAIR_POINTED);
    peer->usage_at_ms = now_ms + KEYING_USAGE_MS;
    keying_wake(keying, peer->usage_at_ms);
    say(keying, peer, pair, DERIVE_DONE);
    peer->answered_ms = now_ms;
    poll_soon(keying, peer);
    retry_from_now(keying, peer);
    if (pair->state == PAIR_COMPLETE)
        finish(keying, peer, pair);
    keying_changed(keying, peer);
}

static void on_event(struct keying *keying, struct keying_peer *peer, struct pair *pair, enum pair_event event)
{
    enum pair_state before = pair->state;

    pair->state = pair_next(before, event);
    if (pair->state == before)
        return;
    if (pair->state == PAIR_READY || pair->state == PAIR_CALLED) {
        point(keying, peer, pair);
    } else if (pair->state == PAIR_COMPLETE) {
        finish(keying, peer, pair);
        keying_changed(keying, peer);
    }
}

void keying_peer_hear(struct keying *keying, struct keying_peer *peer, struct pair *pair, enum derive_word word)
{
    uint64_t now_ms = keying_now(keying);

    if (index_of(peer, pair) < first_live(peer))
        return; // a newer one is in use
    bool was_switched = pair_is_switched(pair);
    on_event(keying, peer, pair, word == DERIVE_ACK ? PAIR_PEER_READY : PAIR_PEER_SWITCHED);
    // It asks because it has not heard that we use the pair.
    if (was_switched && word == DERIVE_ACK && now_ms >= peer->answered_ms + KEYING_ANSWER_MS) {
        peer->answered_ms = now_ms;
        say(keying, peer, pair, DERIVE_DONE);
    }
}

// ---- making a pair

void keying_peer_paths(const struct keying *keying, const struct keying_peer *peer, struct derive_path *ret_paths,
                       size_t *ret_count)
{
    static const uint8_t lengths[] = {4, 16};

    *ret_count = 0;
    for (size_t f = 0; f < 2; f++) {
        const struct ip *local = NULL, *remote = NULL;
        for (size_t i = 0; i < keying->facts.address_count; i++) {
            const struct ip *ip = &keying->facts.addresses[i];
            if (ip->len == lengths[f] && (!local || ip_compare(ip, local) < 0))
                local = ip;
        }
        for (size_t i = 0; i < peer->address_count; i++) {
            const struct ip *ip = &peer->addresses[i];
            if (ip->len == lengths[f] && (!remote || ip_compare(ip, remote) < 0))
                remote = ip;
        }
        if (local && remote)
            ret_paths[(*ret_count)++] = (struct derive_path){.local = *local, .peer = *remote};
    }
}

// Room for one more. Each of these may be the one that the peer sends on, so only one that was never used, long after it was offered,
// gives way.
static bool make_room(struct keying *keying, struct keying_peer *peer, uint64_t now_ms)
{
    if (peer->pair_count < KEYING_PAIRS_MAX)
        return true;
    for (size_t i = 0; i < peer->pair_count; i++) {
        struct pair *pair = peer->pairs[i];
        if (pair == peer->in_force || now_ms < pair->made_ms + KEYING_ABANDON_MS)
            continue;
        burn(keying, peer, i, now_ms, now_ms);
        return true;
    }
    return false;
}

static enum err make_pair(struct keying *keying, struct keying_peer *peer, struct pair **ret_pair)
{
    struct derive_input input = {
        .local = {keying->own.blob, keying->own.blob_len, &keying->own.bundle},
        .peer = {peer->bundle->blob, peer->bundle->blob_len, &peer->bundle->bundle},
        .path_count = peer->path_count,
    };
    struct derive_secrets *secrets;

    memcpy(input.paths, peer->paths, sizeof(input.paths));
    struct pair *pair = calloc(1, sizeof(*pair));
    if (!pair)
        return ERR_NOMEM;
    enum err err = keying_vault_take(keying->vault, &secrets);
    if (!err) {
        err = pair_make(keying->own.key, &input, secrets, pair);
        if (err)
            keying_vault_give_back(keying->vault, secrets);
    }
    if (err) {
        free(pair);
        return err;
    }
    *ret_pair = pair;
    return ERR_OK;
}

bool keying_peer_lacks_pair(const struct keying *keying, const struct keying_peer *peer)
{
    if (!keying->own.key || !peer->bundle || !peer->path_count)
        return false;
    for (size_t i = 0; i < peer->pair_count; i++)
        if (peer->pairs[i]->local_epoch == keying->own.bundle.epoch &&
            peer->pairs[i]->peer_epoch == peer->bundle->bundle.epoch)
            return false;
    return true;
}

static bool may_pair(struct keying *keying, struct keying_peer *peer, uint64_t now_ms)
{
    const struct bundle *local = &keying->own.bundle, *remote = &peer->bundle->bundle;
    struct note note;

    // Burned. Another epoch is needed, no matter whose.
    if (peer->seen->paired_with == local->epoch) {
        keying_own_want(keying);
        return false;
    }
    if (keying_bundle_fits(keying, peer, &note)) {
        keying_peer_trouble(keying, peer, "%.250s", note.text);
        return false;
    }
    if (spi_is_taken(keying, peer, derive_spi(remote->slot, local->epoch, remote->epoch),
                     derive_spi(local->slot, remote->epoch, local->epoch))) {
        keying_own_want(keying);
        return false;
    }
    return make_room(keying, peer, now_ms);
}

static void cannot_derive(struct keying *keying, struct keying_peer *peer, enum err err)
{
    keying_peer_trouble(keying, peer, "no keys can be derived for %s: %s%s", peer->host, err_text(err),
                        err == ERR_NOMEM ? "; the limit of locked memory (LimitMEMLOCK) may be too low" : "");
    if (err == ERR_NOMEM)
        return;
    // It will not be better the next time: another bundle is needed.
    free(peer->bundle);
    peer->bundle = NULL;
}

void keying_peer_pair(struct keying *keying, struct keying_peer *peer, bool answer)
{
    uint64_t now_ms = keying_now(keying);
    struct pair *pair;

    if (!keying_peer_lacks_pair(keying, peer))
        return;
    poll_soon(keying, peer);
    if (!may_pair(keying, peer, now_ms))
        return;
    enum err err = make_pair(keying, peer, &pair);
    if (err) {
        cannot_derive(keying, peer, err);
        return;
    }
    peer->seen->paired_with = keying->own.bundle.epoch;
    pair->made_ms = now_ms;
    peer->pairs[peer->pair_count++] = pair;
    retry_from_now(keying, peer);
    if (install_inbound(keying, peer, pair) && answer)
        say(keying, peer, pair, DERIVE_ACK);
    keying_changed(keying, peer);
}

bool keying_peer_is_under_way(const struct keying *keying, const struct keying_peer *peer)
{
    if (!peer->pair_count)
        return false;
    const struct pair *newest = peer->pairs[peer->pair_count - 1];
    return newest->local_epoch == keying->own.bundle.epoch && newest->state != PAIR_COMPLETE;
}

// ---- what time does

// Drops what has reached its age, in use or not.
static void age(struct keying *keying, struct keying_peer *peer, uint64_t now_ms)
{
    size_t i = 0;

    while (i < peer->pair_count) {
        if (now_ms < peer->pairs[i]->made_ms + KEYING_LIFE_MS) {
            i++;
            continue;
        }
        keying_peer_trouble(keying, peer,
                            "the keys shared with %s reached the age of %d hours without a new agreement and are gone; "
                            "see why bundles do not pass: the controller, the peer's agent, clocks, certificates",
                            peer->host, KEYING_LIFE_MS / 3600000);
        burn(keying, peer, i, now_ms, now_ms);
        keying_changed(keying, peer);
    }
    if (peer->adopted_count && now_ms >= peer->adopted_ms + KEYING_LIFE_MS) {
        drop_adopted(keying, peer, true, now_ms);
        drop_adopted(keying, peer, false, now_ms);
        keying_changed(keying, peer);
    }
}

static bool inbound_is_used(struct keying *keying, const struct keying_peer *peer, const struct pair *pair)
{
    struct sa sa;
    bool used = false;

    for (size_t i = 0; !used && i < peer->path_count; i++) {
        keying_peer_sa(peer, pair, i, true, &sa);
        secret_wipe(sa.key, sizeof(sa.key));
        used = keying->config.actions->inbound_used(keying->config.context, &sa);
    }
    return used;
}

// Goes on where the kernel refused, and looks for packets of new SAs. A step can take pairs away: one step a turn.
static void look(struct keying *keying, struct keying_peer *peer, uint64_t now_ms)
{
    bool is_waiting = false;

    peer->poll_at_ms = UINT64_MAX;
    for (size_t i = first_live(peer); i < peer->pair_count; i++) {
        struct pair *pair = peer->pairs[i];
        if (pair->state == PAIR_COMPLETE)
            continue;
        is_waiting = true;
        if (pair->state == PAIR_NEW) {
            install_inbound(keying, peer, pair);
            break;
        }
        if (pair->state == PAIR_CALLED || (pair->state == PAIR_READY && !inbound_is_used(keying, peer, pair))) {
            point(keying, peer, pair);
            break;
        }
        if (inbound_is_used(keying, peer, pair)) {
            on_event(keying, peer, pair, PAIR_PEER_SWITCHED);
            break;
        }
    }
    if (keying_peer_lacks_pair(keying, peer)) {
        is_waiting = true;
        keying_peer_pair(keying, peer, true);
    }
    if (is_waiting && peer->poll_at_ms > now_ms + KEYING_POLL_MS)
        peer->poll_at_ms = now_ms + KEYING_POLL_MS;
}

// How much an outbound SA has sent; true past a soft limit.
static bool is_worn(struct keying *keying, struct keying_peer *peer, const struct sa *sa)
{
    uint64_t packets = 0, bytes = 0;

    enum err err = keying->config.actions->usage(keying->config.context, sa, &packets, &bytes);
    if (err) {
        keying->counters.kernel_errors++;
        keying_peer_trouble(keying, peer,
                            "the kernel does not say how much an SA for %s has sent: %s; it is asked again", peer->host,
                            err_text(err));
        return false;
    }
    return packets >= KEYING_SOFT_PACKETS || bytes >= KEYING_SOFT_BYTES;
}

static void look_at_usage(struct keying *keying, struct keying_peer *peer, uint64_t now_ms)
{
    bool worn = false;
    struct sa sa;

    peer->usage_at_ms = now_ms + KEYING_USAGE_MS;
    if (peer->is_worn)
        return;
    for (size_t i = 0; peer->in_force && i < peer->path_count; i++) {
        keying_peer_sa(peer, peer->in_force, i, false, &sa);
        secret_wipe(sa.key, sizeof(sa.key));
        worn = is_worn(keying, peer, &sa) || worn;
    }
    for (size_t i = 0; !peer->in_force && i < peer->adopted_count; i++)
        if (!peer->adopted[i].inbound)
            worn = is_worn(keying, peer, &peer->adopted[i]) || worn;
    if (!worn)
        return;
    peer->is_worn = true;
    keying_own_want(keying);
}

static void repeat(struct keying *keying, struct keying_peer *peer, uint64_t now_ms)
{
    unsigned count = peer->retry_count++;
    uint64_t wait_ms = KEYING_RETRY_MS_MAX;
    bool is_waiting = !peer->pair_count; // never heard of it: perhaps it has not heard of us

    for (size_t i = first_live(peer); i < peer->pair_count; i++) {
        struct pair *pair = peer->pairs[i];
        if (pair->state != PAIR_OFFERED && pair->state != PAIR_SWITCHED) {
            is_waiting = is_waiting || pair->state != PAIR_COMPLETE;
            continue;
        }
        is_waiting = true;
        say(keying, peer, pair, DERIVE_ACK);
    }
    if (!is_waiting) {
        peer->retry_at_ms = UINT64_MAX;
        return;
    }
    const struct pair *newest = peer->pair_count ? peer->pairs[peer->pair_count - 1] : NULL;
    if ((!newest || newest->state == PAIR_OFFERED) &&
        (count < KEYING_RETRY_PUBLISH || count % KEYING_RETRY_SPARSE == 0))
        keying->publish_wanted = true;
    if (count < 5)
        wait_ms = (uint64_t)KEYING_RETRY_MS << count;
    peer->retry_at_ms = now_ms + wait_ms;
}

void keying_peer_tick(struct keying *keying, struct keying_peer *peer, uint64_t now_ms)
{
    age(keying, peer, now_ms);
    if (peer->poll_at_ms <= now_ms)
        look(keying, peer, now_ms);
    if (peer->usage_at_ms <= now_ms)
        look_at_usage(keying, peer, now_ms);
    if (peer->retry_at_ms <= now_ms)
        repeat(keying, peer, now_ms);
    keying_wake(keying, peer->poll_at_ms);
    keying_wake(keying, peer->usage_at_ms);
    keying_wake(keying, peer->retry_at_ms);
}
