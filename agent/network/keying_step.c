// SPDX-License-Identifier: GPL-2.0-or-later
// The steps of a pair with a peer (docs/keying.md, "Life of a pair"): inbound SAs, words (pair.h), outbound SAs and policies that point at
// them, words or packets; then everything older goes.
#include <stdlib.h>
#include <string.h>

#include "agent/network/keying_inside.h"
#include "proto/base/secret.h"

void keying_step_say(struct keying *keying, const struct keying_peer *peer, const struct pair *pair,
                     enum derive_word word)
{
    uint8_t body[PAIR_ACK_BYTES];

    pair_say(pair, word, body);
    keying->config.actions->send_pair(keying->config.context, peer->host, body, sizeof(body));
}

// Both ends use it: everything older goes.
static void finish(struct keying *keying, struct keying_peer *peer, const struct pair *pair)
{
    uint64_t now_ms = keying_now(keying);

    while (peer->pairs[0] != pair)
        keying_peer_burn(keying, peer, 0, now_ms + keying_linger_ms(keying), now_ms + KEYING_OUTBOUND_LINGER_MS);
    keying_peer_drop_adopted(keying, peer, true, now_ms + keying_linger_ms(keying));
    free(peer->adopted);
    peer->adopted = NULL;
    peer->trouble[0] = peer->refusal[0] = '\0';
    peer->is_worn = false;
    if (peer->pair_count == 1)
        peer->retry_at_ms = UINT64_MAX;
    keying_watch_soon(keying, peer); // there is room again
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
    keying_watch_soon(keying, peer);
    return false;
}

// ERR_EXISTS: an SA that isn't ours has this number. Such a pair must not be used.
static enum err install(struct keying *keying, struct keying_peer *peer, struct pair *pair, size_t path, bool inbound)
{
    const struct keying_actions *actions = keying->config.actions;
    bool *installed = inbound ? &pair->inbound_installed[path] : &pair->outbound_installed[path];
    bool *tried = inbound ? &pair->inbound_tried[path] : &pair->outbound_tried[path];
    enum err err = ERR_OK;
    struct sa sa;

    if (*installed)
        return ERR_OK;
    keying_peer_sa(peer, pair, path, inbound, &sa);
    // The first try may have left it there. Nothing was sent on it: it was not offered, and no policy points at it.
    if (*tried)
        err = actions->remove(keying->config.context, &sa);
    if (!err || err == ERR_NOT_FOUND) {
        err = actions->install(keying->config.context, &sa);
        *tried = err && err != ERR_EXISTS;
    }
    secret_wipe(&sa, sizeof(sa));
    if (err)
        return err;
    *installed = true;
    secret_wipe(inbound ? pair->secrets->inbound[path] : pair->secrets->outbound[path], SA_KEY_BYTES);
    return ERR_OK;
}

static void give_up(struct keying *keying, struct keying_peer *peer, struct pair *pair)
{
    uint64_t now_ms = keying_now(keying);

    keying->counters.kernel_errors++;
    keying_peer_trouble(keying, peer,
                        "the kernel already holds an SA with the number of a new one for %s; a new epoch is made",
                        peer->host);
    keying_peer_burn(keying, peer, keying_peer_index(peer, pair), now_ms, now_ms);
    keying_own_want(keying);
}

// True when the pair is offered now.
bool keying_step_install(struct keying *keying, struct keying_peer *peer, struct pair *pair)
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
    pair->state = pair_next(pair->leads, pair->state, PAIR_INSTALLED);
    keying_watch_soon(keying, peer);
    return true;
}

void keying_step_point(struct keying *keying, struct keying_peer *peer, struct pair *pair)
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
        keying_peer_retire_outbound(keying, peer, peer->pairs[i], now_ms + KEYING_OUTBOUND_LINGER_MS);
    keying_peer_drop_adopted(keying, peer, false, now_ms + KEYING_OUTBOUND_LINGER_MS);
    peer->in_force = pair;
    pair->switched_ms = now_ms;
    pair->state = pair_next(pair->leads, pair->state, PAIR_POINTED);
    peer->usage_is_unknown = false;
    peer->usage_at_ms = now_ms + KEYING_USAGE_MS;
    keying_wake(keying, peer->usage_at_ms);
    keying_step_say(keying, peer, pair, DERIVE_DONE);
    peer->answered_ms[DERIVE_DONE] = now_ms;
    keying_watch_soon(keying, peer);
    keying_watch_again(keying, peer);
    if (pair->state == PAIR_COMPLETE)
        finish(keying, peer, pair);
    keying_changed(keying, peer);
}

void keying_step_event(struct keying *keying, struct keying_peer *peer, struct pair *pair, enum pair_event event)
{
    enum pair_state before = pair->state;

    pair->state = pair_next(pair->leads, before, event);
    if (pair->state == before)
        return;
    if (pair->state == PAIR_READY) {
        keying_step_point(keying, peer, pair);
    } else if (pair->state == PAIR_COMPLETE) {
        finish(keying, peer, pair);
        keying_changed(keying, peer);
    }
}

// The end that follows answers; the other one asks again, so what is lost comes again.
static void answer(struct keying *keying, struct keying_peer *peer, const struct pair *pair, enum derive_word word)
{
    uint64_t now_ms = keying_now(keying);
    bool is_due = word == DERIVE_ACK ? pair->state == PAIR_ANSWERED : pair->state == PAIR_COMPLETE;

    if (pair->leads || !is_due || now_ms < peer->answered_ms[word] + KEYING_ANSWER_MS)
        return;
    peer->answered_ms[word] = now_ms;
    keying_step_say(keying, peer, pair, word);
}

void keying_step_hear(struct keying *keying, struct keying_peer *peer, struct pair *pair, enum derive_word word)
{
    bool was_complete = pair->state == PAIR_COMPLETE;

    if (keying_peer_index(peer, pair) < keying_peer_first_live(peer))
        return; // a newer one is in use
    keying_step_event(keying, peer, pair, word == DERIVE_ACK ? PAIR_ACK : PAIR_DONE);
    if (word == DERIVE_ACK || was_complete)
        answer(keying, peer, pair, word);
}
