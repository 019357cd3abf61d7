// SPDX-License-Identifier: GPL-2.0-or-later
// What time does to a peer: repetitions, questions to the kernel, limits.
#include "agent/network/keying_inside.h"

void keying_watch_again(struct keying *keying, struct keying_peer *peer)
{
    peer->retry_count = 0;
    peer->retry_at_ms = keying_now(keying) + KEYING_RETRY_MS;
    keying_wake(keying, peer->retry_at_ms);
}

void keying_watch_nudge(struct keying *keying, struct keying_peer *peer)
{
    peer->retry_count = 0;
    peer->retry_at_ms = keying_now(keying);
    keying_wake(keying, peer->retry_at_ms);
}

void keying_watch_soon(struct keying *keying, struct keying_peer *peer)
{
    uint64_t at_ms = keying_now(keying) + KEYING_POLL_MS;

    if (at_ms < peer->poll_at_ms)
        peer->poll_at_ms = at_ms;
    keying_wake(keying, peer->poll_at_ms);
}

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
        keying_peer_burn(keying, peer, i, now_ms, now_ms);
        keying_changed(keying, peer);
    }
    if (peer->adopted_count && now_ms >= peer->adopted_ms + KEYING_LIFE_MS) {
        keying_peer_drop_adopted(keying, peer, true, now_ms);
        keying_peer_drop_adopted(keying, peer, false, now_ms);
        keying_changed(keying, peer);
    }
}

// On every path: a peer whose kernel refused half of a switch, or that died in it, sends on the old SA of the other path.
static bool inbound_is_used(struct keying *keying, const struct keying_peer *peer, const struct pair *pair)
{
    struct sa sa;
    bool used = true;

    for (size_t i = 0; used && i < peer->path_count; i++) {
        keying_peer_sa(peer, pair, i, true, &sa);
        used = keying->config.actions->inbound_used(keying->config.context, &sa);
    }
    return used;
}

// Goes on where the kernel refused, and looks for packets of new SAs. A step can take pairs away: one step a turn.
static void look(struct keying *keying, struct keying_peer *peer, uint64_t now_ms)
{
    bool is_waiting = false;

    peer->poll_at_ms = UINT64_MAX;
    for (size_t i = keying_peer_first_live(peer); i < peer->pair_count; i++) {
        struct pair *pair = peer->pairs[i];
        if (pair->state == PAIR_COMPLETE)
            continue;
        is_waiting = true;
        if (pair->state == PAIR_NEW) {
            keying_step_install(keying, peer, pair);
            break;
        }
        if (pair->state == PAIR_READY) {
            keying_step_point(keying, peer, pair);
            break;
        }
        if (inbound_is_used(keying, peer, pair)) {
            keying_step_event(keying, peer, pair, PAIR_DONE);
            break;
        }
    }
    if (keying_make_is_lacking(keying, peer)) {
        is_waiting = true;
        keying_make_pair(keying, peer, true);
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
        peer->usage_is_unknown = true;
        return false;
    }
    return packets >= KEYING_SOFT_PACKETS || bytes >= KEYING_SOFT_BYTES;
}

static void look_at_usage(struct keying *keying, struct keying_peer *peer, uint64_t now_ms)
{
    bool worn = false;
    struct sa sa;

    peer->usage_at_ms = now_ms + KEYING_USAGE_MS;
    peer->usage_is_unknown = false;
    if (peer->is_worn)
        return;
    for (size_t i = 0; peer->in_force && i < peer->path_count; i++) {
        keying_peer_sa(peer, peer->in_force, i, false, &sa);
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

    for (size_t i = keying_peer_first_live(peer); i < peer->pair_count; i++) {
        const struct pair *pair = peer->pairs[i];
        is_waiting = is_waiting || pair->state != PAIR_COMPLETE;
        if (pair->leads && (pair->state == PAIR_OFFERED || pair->state == PAIR_SWITCHED))
            keying_step_say(keying, peer, pair, pair->state == PAIR_OFFERED ? DERIVE_ACK : DERIVE_DONE);
    }
    if (!is_waiting) {
        peer->retry_at_ms = UINT64_MAX;
        return;
    }
    const struct pair *newest = peer->pair_count ? peer->pairs[peer->pair_count - 1] : NULL;
    if ((!newest || newest->state == PAIR_OFFERED) && !keying->publish_wanted)
        keying->publish_wanted =
            epoch_bucket_take(&keying->repeat_bucket, now_ms, KEYING_REPUBLISH_MS, KEYING_REPUBLISH_BURST);
    if (count < 5)
        wait_ms = (uint64_t)KEYING_RETRY_MS << count;
    peer->retry_at_ms = now_ms + wait_ms;
}

void keying_watch_tick(struct keying *keying, struct keying_peer *peer, uint64_t now_ms)
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
