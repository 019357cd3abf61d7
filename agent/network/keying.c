// SPDX-License-Identifier: GPL-2.0-or-later
// The whole: what the role calls that isn't a slice (keying_slice.c) or from a peer (keying_bundle.c).
#include "agent/network/keying.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/network/keying_inside.h"

enum err keying_new(const struct keying_config *config, struct keying **ret_keying, struct note *note)
{
    struct keying *keying = calloc(1, sizeof(*keying));

    if (!keying)
        return note_set(note, ERR_NOMEM, "keying cannot start: out of memory");
    keying->config = *config;
    keying->rekey_seconds = KEYING_REKEY_SECONDS;
    keying->store_at_ms = keying->wake_ms = UINT64_MAX;
    enum err err = ERR_INVALID;
    if (!name_is_valid(config->host)) {
        note_set(note, err, "this host's name is not valid");
        goto err_after_alloc;
    }
    memcpy(keying->host, config->host, strlen(config->host) + 1);
    err = keying_vault_new(&keying->vault);
    if (err) {
        note_set(note, err, "keying cannot start: %s", err_text(err));
        goto err_after_alloc;
    }
    err = epoch_store_new(config->state_path, &keying->store, note);
    if (err)
        goto err_after_vault;
    *ret_keying = keying;
    return ERR_OK;

err_after_vault:
    keying_vault_free(keying->vault);
err_after_alloc:
    free(keying);
    return err;
}

void keying_free(struct keying *keying)
{
    struct note note;

    if (!keying)
        return;
    // What was to be written in a moment; a failure was told of when it first came.
    if (keying->store_at_ms != UINT64_MAX && epoch_store_write(keying->store, &note))
        keying->store_at_ms = UINT64_MAX;
    for (size_t i = 0; i < keying->peer_count; i++)
        keying_peer_free(keying, keying->peers[i]);
    for (size_t i = 0; i < keying->revoked_count; i++)
        free(keying->revoked[i]);
    keying_own_forget(keying);
    free(keying->leaving);
    free(keying->adopted);
    free(keying->peers);
    free(keying->revoked);
    free(keying->certificate);
    keying_vault_free(keying->vault);
    epoch_store_free(keying->store);
    free(keying);
}

static enum err read_identity(const struct keying *keying, const struct key *key, const uint8_t *certificate,
                              size_t len, struct cert_facts *facts, struct note *note)
{
    uint8_t spki[DIGEST_BYTES];

    enum err err = cert_parse(certificate, len, facts, note);
    if (err)
        return err;
    if (facts->id.kind != SPIFFE_HOST || strcmp(facts->id.name, keying->host) != 0 || facts->slot == 0)
        return note_set(note, ERR_IDENTITY, "this is not the host certificate of %s: enrol this host again",
                        keying->host);
    err = key_spki_sha384(key, spki);
    if (err)
        return note_set(note, err, "the host key cannot be used: %s", err_text(err));
    if (memcmp(spki, facts->spki_sha384, sizeof(spki)) != 0)
        return note_set(note, ERR_IDENTITY, "the host certificate is not for the host key: enrol this host again");
    return ERR_OK;
}

enum err keying_set_identity(struct keying *keying, const struct key *key, const uint8_t *certificate, size_t len,
                             struct note *note)
{
    struct cert_facts *facts = calloc(1, sizeof(*facts));
    uint8_t *copy = malloc(len ? len : 1);

    enum err err = facts && copy ? read_identity(keying, key, certificate, len, facts, note)
                                 : note_set(note, ERR_NOMEM, "the host certificate cannot be kept: out of memory");
    if (err) {
        free(facts);
        free(copy);
        return err;
    }
    keying_enter(keying);
    memcpy(copy, certificate, len);
    free(keying->certificate);
    keying->certificate = copy;
    keying->certificate_len = len;
    keying->key = key;
    keying->facts = *facts;
    free(facts);
    keying_readdress(keying);
    keying_own_want(keying);
    keying_leave(keying);
    return ERR_OK;
}

void keying_publish_again(struct keying *keying)
{
    keying_enter(keying);
    keying->publish_wanted = true;
    keying_own_tick(keying, keying_now(keying));
    for (size_t i = 0; i < keying->peer_count; i++)
        if (keying->peers[i]->retry_at_ms != UINT64_MAX)
            keying_watch_nudge(keying, keying->peers[i]);
    keying_leave(keying);
}

void keying_tick(struct keying *keying)
{
    uint64_t now_ms = keying_now(keying);

    if (now_ms < keying->wake_ms)
        return;
    keying_enter(keying);
    keying->wake_ms = UINT64_MAX;
    keying_leaving_tick(keying, now_ms);
    for (size_t i = 0; i < keying->peer_count; i++)
        keying_watch_tick(keying, keying->peers[i], now_ms);
    keying_own_tick(keying, now_ms);
    keying_leave(keying);
}

uint64_t keying_deadline(const struct keying *keying)
{
    return keying->wake_ms;
}

// ---- what there is to tell

static void adopted_state(const struct keying_peer *peer, struct keying_peer_state *state)
{
    for (size_t i = peer->adopted_count; i-- > 0;) {
        if (peer->adopted[i].inbound)
            state->inbound_spi = peer->adopted[i].spi;
        else
            state->outbound_spi = peer->adopted[i].spi;
    }
    state->up = state->inbound_spi && state->outbound_spi;
    state->outbound_since_boot_ms = state->outbound_spi ? peer->adopted_ms : 0;
}

static uint64_t waiting_since(const struct keying_peer *peer)
{
    for (size_t i = 0; i < peer->pair_count; i++)
        if (peer->pairs[i]->state != PAIR_COMPLETE)
            return peer->pairs[i]->made_ms;
    return peer->pair_count ? UINT64_MAX : peer->since_ms;
}

static void describe_wait(const struct keying *keying, const struct keying_peer *peer, bool up, char *room,
                          size_t room_len)
{
    uint64_t now_ms = keying_now(keying), since_ms = waiting_since(peer);
    const char *stay = up ? "the keys in use stay" : "no packet passes until then";

    if (since_ms == UINT64_MAX || now_ms < since_ms + KEYING_OVERDUE_MS)
        return;
    uint64_t seconds = (now_ms - since_ms) / 1000;
    if (!peer->bundle)
        snprintf(room, room_len,
                 "no bundle of %s since %" PRIu64 " s: see that its agent runs and that both reach the controller; %s",
                 peer->host, seconds, stay);
    else if (!peer->pair_count)
        snprintf(room, room_len, "a new epoch is needed for %s; it comes within %d s; %s", peer->host,
                 KEYING_RATE_MS_MAX / 1000, stay);
    else
        snprintf(room, room_len,
                 "%s has not acknowledged new keys since %" PRIu64
                 " s: see that its agent runs and that both reach the controller; %s",
                 peer->host, seconds, stay);
}

static void describe(const struct keying *keying, const struct keying_peer *peer, bool up, char *room, size_t room_len)
{
    room[0] = '\0';
    if (peer->trouble[0])
        snprintf(room, room_len, "%s", peer->trouble);
    else if (!keying->key)
        snprintf(room, room_len, "this host has no certificate yet: enrol it");
    else if (!peer->path_count)
        snprintf(room, room_len, "%s and this host have no addresses of the same family", peer->host);
    else if (keying->own_problem[0])
        snprintf(room, room_len, "%s", keying->own_problem);
    else if (peer->refusal[0] &&
             (waiting_since(peer) != UINT64_MAX || keying_now(keying) < peer->refused_ms + KEYING_REFUSAL_MS))
        snprintf(room, room_len, "%s", peer->refusal);
    else
        describe_wait(keying, peer, up, room, room_len);
    if (!room[0] && peer->usage_is_unknown)
        snprintf(room, room_len,
                 "the kernel does not say how much was sent to %s; it is asked again, and the SA ends at the kernel's "
                 "own limit",
                 peer->host);
    if (!room[0] && keying->store_problem[0])
        snprintf(room, room_len, "%s", keying->store_problem);
}

enum err keying_peer_state(const struct keying *keying, const char *peer_name, struct keying_peer_state *ret_state)
{
    const struct keying_peer *peer = keying_find(keying, peer_name);
    struct keying_peer_state state = {0};

    if (!peer)
        return ERR_NOT_FOUND;
    if (peer->in_force) {
        state.up = true;
        state.local_epoch = peer->in_force->local_epoch;
        state.peer_epoch = peer->in_force->peer_epoch;
        state.inbound_spi = peer->in_force->inbound_spi;
        state.outbound_spi = peer->in_force->outbound_spi;
        state.outbound_since_boot_ms = peer->in_force->switched_ms;
    } else {
        adopted_state(peer, &state);
    }
    describe(keying, peer, state.up, state.problem, sizeof(state.problem));
    *ret_state = state;
    return ERR_OK;
}

const struct keying_counters *keying_counters(const struct keying *keying)
{
    return &keying->counters;
}
