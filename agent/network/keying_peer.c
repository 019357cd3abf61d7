// SPDX-License-Identifier: GPL-2.0-or-later
// One peer: what is kept of it, and how its SAs go.
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

void keying_peer_refuse(struct keying *keying, struct keying_peer *peer, const char *sentence)
{
    bool is_new = strcmp(sentence, peer->refusal) != 0;

    snprintf(peer->refusal, sizeof(peer->refusal), "%.255s", sentence);
    peer->refused_ms = keying_now(keying);
    if (is_new)
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
bool keying_peer_spi_is_taken(const struct keying *keying, const struct keying_peer *peer, uint32_t inbound,
                              uint32_t outbound)
{
    for (size_t i = 0; i < peer->pair_count; i++)
        if (peer->pairs[i]->inbound_spi == inbound || peer->pairs[i]->outbound_spi == outbound)
            return true;
    for (size_t i = 0; i < peer->adopted_count; i++)
        if (peer->adopted[i].spi == (peer->adopted[i].inbound ? inbound : outbound))
            return true;
    if (!keying->leaving_by_bits[keying->own.bundle.epoch & 63])
        return false;
    for (size_t i = 0; i < keying->leaving_count; i++)
        if (keying->leaving[i].sa.spi == (keying->leaving[i].sa.inbound ? inbound : outbound))
            return true;
    return false;
}

static void leave(struct keying *keying, struct keying_peer *peer, const struct pair *pair, bool inbound,
                  uint64_t at_ms)
{
    const bool *installed = inbound ? pair->inbound_installed : pair->outbound_installed;
    const bool *tried = inbound ? pair->inbound_tried : pair->outbound_tried;
    struct sa sa;

    for (size_t i = 0; i < peer->path_count; i++) {
        if (!installed[i] && !tried[i])
            continue;
        keying_peer_sa(peer, pair, i, inbound, &sa);
        secret_wipe(sa.key, sizeof(sa.key));
        keying_leaving_add(keying, &sa, at_ms);
    }
}

void keying_peer_retire_outbound(struct keying *keying, struct keying_peer *peer, struct pair *pair, uint64_t at_ms)
{
    leave(keying, peer, pair, false, at_ms);
    memset(pair->outbound_installed, 0, sizeof(pair->outbound_installed));
    memset(pair->outbound_tried, 0, sizeof(pair->outbound_tried));
}

// The pair is no more: its SAs go at their times, its secrets now. It can't be made again (epoch_seen.paired_with).
void keying_peer_burn(struct keying *keying, struct keying_peer *peer, size_t index, uint64_t inbound_at_ms,
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

void keying_peer_drop_adopted(struct keying *keying, struct keying_peer *peer, bool inbound, uint64_t at_ms)
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
        keying_peer_burn(keying, peer, 0, now_ms, now_ms);
    keying_peer_drop_adopted(keying, peer, true, now_ms);
    keying_peer_drop_adopted(keying, peer, false, now_ms);
    keying_leaving_hurry(keying, peer->host);
}

size_t keying_peer_index(const struct keying_peer *peer, const struct pair *pair)
{
    size_t i = 0;
    while (i < peer->pair_count && peer->pairs[i] != pair)
        i++;
    return i;
}

// Below this index nothing is wanted any more but to receive.
size_t keying_peer_first_live(const struct keying_peer *peer)
{
    return peer->in_force ? keying_peer_index(peer, peer->in_force) : 0;
}
