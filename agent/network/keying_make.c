// SPDX-License-Identifier: GPL-2.0-or-later
// Making the pair of the present epochs: when it may be, and from what.
#include <stdlib.h>
#include <string.h>

#include "agent/network/keying_inside.h"

void keying_make_paths(const struct keying *keying, const struct keying_peer *peer, struct derive_path *ret_paths,
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

// Room for one more. What neither end uses gives way to the new one. The others are kept, since the peer may send on them; but when there
// are so many, the oldest that isn't in use here has waited long enough.
static bool make_room(struct keying *keying, struct keying_peer *peer, uint64_t now_ms)
{
    for (size_t i = peer->pair_count; i-- > 0;)
        if (pair_is_unused(peer->pairs[i]))
            keying_peer_burn(keying, peer, i, now_ms, now_ms);
    for (size_t i = 0; peer->pair_count == KEYING_PAIRS_MAX && i < peer->pair_count; i++)
        if (peer->pairs[i] != peer->in_force && now_ms >= peer->pairs[i]->made_ms + KEYING_ABANDON_MS)
            keying_peer_burn(keying, peer, i, now_ms, now_ms);
    return peer->pair_count < KEYING_PAIRS_MAX;
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

bool keying_make_is_lacking(const struct keying *keying, const struct keying_peer *peer)
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
        keying_peer_refuse(keying, peer, note.text);
        return false;
    }
    if (keying_peer_spi_is_taken(keying, peer, derive_spi(remote->slot, local->epoch, remote->epoch),
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

void keying_make_pair(struct keying *keying, struct keying_peer *peer, bool is_published)
{
    uint64_t now_ms = keying_now(keying);
    struct pair *pair;

    if (!keying_make_is_lacking(keying, peer))
        return;
    keying_watch_soon(keying, peer);
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
    keying_watch_again(keying, peer);
    if (keying_step_install(keying, peer, pair) && pair->leads && is_published)
        keying_step_say(keying, peer, pair, DERIVE_ACK);
    keying_changed(keying, peer);
}

void keying_make_announce(struct keying *keying, struct keying_peer *peer)
{
    const struct pair *newest = peer->pair_count ? peer->pairs[peer->pair_count - 1] : NULL;

    if (newest && newest->leads && newest->state == PAIR_OFFERED)
        keying_step_say(keying, peer, newest, DERIVE_ACK);
}

bool keying_make_is_under_way(const struct keying *keying, const struct keying_peer *peer)
{
    if (!peer->pair_count)
        return false;
    const struct pair *newest = peer->pairs[peer->pair_count - 1];
    return newest->local_epoch == keying->own.bundle.epoch && newest->state != PAIR_COMPLETE;
}
