// SPDX-License-Identifier: GPL-2.0-or-later
// What peers send: bundles and words of pairs. Hostile until proven: certificate, identity, revocation, signature, point, time, epoch, rate,
// in this order, and nothing changes before all are good.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/network/keying_inside.h"

static int compare_text(const void *a, const void *b)
{
    return strcmp(a, *(char *const *)b);
}

static bool is_revoked(const struct keying *keying, const char *host)
{
    return keying->revoked_count &&
           bsearch(host, keying->revoked, keying->revoked_count, sizeof(*keying->revoked), compare_text) != NULL;
}

static bool has_address(const struct keying_bundle *bundle, const struct ip *ip)
{
    for (size_t i = 0; i < bundle->address_count; i++)
        if (ip_compare(&bundle->addresses[i], ip) == 0)
            return true;
    return false;
}

enum err keying_bundle_fits(const struct keying *keying, const struct keying_peer *peer, struct note *note)
{
    const struct keying_bundle *bundle = peer->bundle;

    if (keying_unix(keying) > bundle->not_after)
        return note_set(note, ERR_EXPIRED,
                        "the last bundle of %s is too old to make new keys with: its agent is not running, the "
                        "controller does not pass its bundles on, or a clock is wrong",
                        peer->host);
    if (bundle->bundle.slot != peer->slot)
        return note_set(note, ERR_IDENTITY, "the slice gives %s the slot %u, its certificate says %u", peer->host,
                        peer->slot, bundle->bundle.slot);
    for (size_t i = 0; i < peer->address_count; i++) {
        char text[IP_TEXT_BYTES];
        if (has_address(bundle, &peer->addresses[i]))
            continue;
        ip_format(&peer->addresses[i], text);
        return note_set(note, ERR_IDENTITY,
                        "the slice gives %s the address %s, which its certificate does not hold; enrol that host "
                        "again with its addresses",
                        peer->host, text);
    }
    return ERR_OK;
}

// ---- the checks of a bundle, in their order

struct arrival {
    const Twofold__V1__Bundle *message;
    struct bundle bundle;
    struct cert_facts facts;
    uint8_t hash[EPOCH_HASH_BYTES];
};

static enum err check_form(struct arrival *arrival, struct note *note)
{
    const Twofold__V1__Bundle *message = arrival->message;

    if (message->blob.len > BUNDLE_BLOB_BYTES_MAX || message->signature.len != KEY_SIGNATURE_BYTES ||
        message->certificate.len == 0 || message->certificate.len > CERT_DER_BYTES_MAX)
        return note_set(note, ERR_MALFORMED, "a part of a bundle has a length that it cannot have");
    enum err err = bundle_decode(message->blob.data, message->blob.len, &arrival->bundle);
    if (err == ERR_UNSUPPORTED)
        return note_set(
            note, err,
            "a bundle has a version or suite that this agent does not know; both hosts need an agent that does");
    if (err)
        return note_set(note, err, "a bundle is malformed");
    uint8_t digest[DIGEST_BYTES];
    digest_sha384(message->blob.data, message->blob.len, digest);
    memcpy(arrival->hash, digest, sizeof(arrival->hash));
    return ERR_OK;
}

static enum err find_sender(const struct keying *keying, const struct arrival *arrival, struct keying_peer **ret_peer,
                            struct note *note)
{
    const char *host = arrival->bundle.host;

    if (strcmp(host, keying->host) == 0)
        return note_set(note, ERR_IDENTITY, "a bundle of this host itself came back");
    *ret_peer = keying_find(keying, host);
    if (*ret_peer)
        return ERR_OK;
    if (is_revoked(keying, host))
        return note_set(note, ERR_REVOKED, "a bundle is from %s, which is revoked", host);
    return note_set(note, ERR_DENIED, "a bundle is from %s, to which no rule of this host's slice leads by IPsec",
                    host);
}

static enum err check_identity(const struct keying *keying, struct arrival *arrival, struct note *note)
{
    const Twofold__V1__Bundle *message = arrival->message;
    const struct cert_facts *facts = &arrival->facts;
    const struct bundle *bundle = &arrival->bundle;

    enum err err = trust_verify(keying->config.trust, message->certificate.data, message->certificate.len,
                                keying_unix(keying), &arrival->facts, note);
    if (err) {
        note_prefix(note, "a bundle of %s: ", bundle->host);
        return err;
    }
    if (facts->id.kind != SPIFFE_HOST || strcmp(facts->id.name, bundle->host) != 0 ||
        (keying->key && strcmp(facts->id.trust_domain, keying->facts.id.trust_domain) != 0))
        return note_set(note, ERR_IDENTITY, "a bundle of %s is signed under the certificate of somebody else",
                        bundle->host);
    if (memcmp(facts->spki_sha384, bundle->signer_spki_sha384, DIGEST_BYTES) != 0)
        return note_set(note, ERR_IDENTITY, "a bundle of %s names another key than that of its certificate",
                        bundle->host);
    if (keying->key && memcmp(facts->spki_sha384, keying->facts.spki_sha384, DIGEST_BYTES) == 0)
        return note_set(note, ERR_IDENTITY, "a bundle of %s is signed with this host's own key", bundle->host);
    if (facts->slot != bundle->slot)
        return note_set(note, ERR_IDENTITY, "a bundle of %s says slot %u, its certificate says %u", bundle->host,
                        bundle->slot, facts->slot);
    // The sender is a peer, and peers are never revoked; the slice says so in two places.
    if (is_revoked(keying, bundle->host))
        return note_set(note, ERR_REVOKED, "a bundle is from %s, which is revoked", bundle->host);
    return ERR_OK;
}

static enum err check_proof(const struct arrival *arrival, struct note *note)
{
    const Twofold__V1__Bundle *message = arrival->message;

    enum err err = cert_verify_signature(arrival->facts.public_point, message->blob.data, message->blob.len,
                                         message->signature.data);
    if (err)
        return note_set(note, err, "the signature of a bundle of %s is wrong", arrival->bundle.host);
    err = derive_check_point(arrival->bundle.point);
    if (err)
        return note_set(note, err, "a bundle of %s holds no valid public key", arrival->bundle.host);
    return ERR_OK;
}

static enum err check_time(const struct keying *keying, const struct arrival *arrival, struct note *note)
{
    uint64_t unix_s = keying_unix(keying);

    if (unix_s + KEYING_SKEW_SECONDS < arrival->bundle.not_before)
        return note_set(note, ERR_EXPIRED,
                        "a bundle of %s is valid in %" PRIu64 " s only: compare the clocks of both hosts",
                        arrival->bundle.host, arrival->bundle.not_before - unix_s);
    if (unix_s > arrival->bundle.not_after)
        return note_set(note, ERR_EXPIRED,
                        "a bundle of %s expired %" PRIu64 " s ago: it was held back, or the clocks differ",
                        arrival->bundle.host, unix_s - arrival->bundle.not_after);
    return ERR_OK;
}

static enum err check_epoch(struct keying *keying, const struct keying_peer *peer, const struct arrival *arrival,
                            struct note *note)
{
    switch (epoch_judge(peer->seen, arrival->bundle.epoch, arrival->facts.not_before, arrival->hash)) {
    case EPOCH_SAME:
        return ERR_OK; // after a restart, or a time without a rule
    case EPOCH_OLD:
        keying->counters.bundles_stale++;
        return note_set(note, ERR_STALE, "a bundle of %s is older than the last one", peer->host);
    case EPOCH_TWO_FACED:
        return note_set(note, ERR_PROTOCOL, "%s has signed two bundles with one epoch", peer->host);
    case EPOCH_NEW:
        break;
    }
    if (!epoch_bucket_take(&peer->seen->bucket, keying_now(keying), keying_rate_ms(keying), KEYING_RATE_BURST))
        return note_set(note, ERR_LIMIT, "%s makes epochs faster than one in %" PRIu64 " ms", peer->host,
                        keying_rate_ms(keying));
    return ERR_OK;
}

static enum err check(struct keying *keying, struct keying_peer *peer, struct arrival *arrival, struct note *note)
{
    enum err err = check_identity(keying, arrival, note);
    if (!err)
        err = check_proof(arrival, note);
    if (!err)
        err = check_time(keying, arrival, note);
    if (!err)
        err = check_epoch(keying, peer, arrival, note);
    return err;
}

static enum err keep(struct keying *keying, struct keying_peer *peer, const struct arrival *arrival)
{
    const ProtobufCBinaryData *blob = &arrival->message->blob;
    struct keying_bundle *bundle = calloc(1, sizeof(*bundle) + blob->len);

    if (!bundle)
        return ERR_NOMEM;
    bundle->bundle = arrival->bundle;
    bundle->not_after =
        arrival->bundle.not_after < arrival->facts.not_after ? arrival->bundle.not_after : arrival->facts.not_after;
    bundle->address_count = arrival->facts.address_count;
    memcpy(bundle->addresses, arrival->facts.addresses, sizeof(bundle->addresses));
    bundle->blob_len = blob->len;
    memcpy(bundle->blob, blob->data, blob->len);
    if (epoch_judge(peer->seen, bundle->bundle.epoch, arrival->facts.not_before, arrival->hash) == EPOCH_NEW) {
        epoch_accept(peer->seen, bundle->bundle.epoch, arrival->facts.not_before, arrival->hash);
        if (keying->store_at_ms == UINT64_MAX)
            keying->store_at_ms = keying_now(keying) + KEYING_STORE_MS;
        keying_wake(keying, keying->store_at_ms);
    }
    free(peer->bundle);
    peer->bundle = bundle;
    return ERR_OK;
}

static bool is_known(const struct keying_peer *peer, const Twofold__V1__Bundle *message)
{
    return peer->bundle && peer->bundle->blob_len == message->blob.len &&
           memcmp(peer->bundle->blob, message->blob.data, message->blob.len) == 0;
}

static enum err take_in(struct keying *keying, struct arrival *arrival, struct note *note)
{
    struct keying_peer *peer;

    enum err err = check_form(arrival, note);
    if (!err)
        err = find_sender(keying, arrival, &peer, note);
    if (err)
        return err;
    if (is_known(peer, arrival->message)) {
        // It says it again because it has not heard from us.
        if (keying_make_is_under_way(keying, peer) && keying_now(keying) >= peer->nudged_ms + KEYING_RETRY_MS) {
            peer->nudged_ms = keying_now(keying);
            keying_watch_nudge(keying, peer);
        }
        return ERR_OK;
    }
    err = check(keying, peer, arrival, note);
    if (err) {
        if (err != ERR_STALE)
            keying_peer_refuse(keying, peer, note->text);
        return err;
    }
    err = keep(keying, peer, arrival);
    if (err)
        return note_set(note, err, "a bundle of %s cannot be kept: %s", peer->host, err_text(err));
    keying->counters.bundles_accepted++;
    keying_make_pair(keying, peer, true);
    return ERR_OK;
}

enum err keying_on_bundle(struct keying *keying, const Twofold__V1__Bundle *bundle, struct note *note)
{
    struct note own;
    struct arrival *arrival = calloc(1, sizeof(*arrival));

    if (!arrival)
        return note_set(note, ERR_NOMEM, "a bundle cannot be read: out of memory");
    arrival->message = bundle;
    keying_enter(keying);
    enum err err = take_in(keying, arrival, note ? note : &own);
    if (err && err != ERR_STALE)
        keying->counters.bundles_refused++;
    keying_leave(keying);
    free(arrival);
    return err;
}

// ---- words

static struct pair *find_pair(const struct keying_peer *peer, const struct pair_ack *ack)
{
    for (size_t i = 0; i < peer->pair_count; i++)
        if (peer->pairs[i]->local_epoch == ack->receiver_epoch && peer->pairs[i]->peer_epoch == ack->sender_epoch)
            return peer->pairs[i];
    return NULL;
}

static enum err hear(struct keying *keying, const char *from, const uint8_t *body, size_t len, struct note *note)
{
    enum derive_word word;
    struct pair_ack ack;

    struct keying_peer *peer = keying_find(keying, from);
    if (!peer)
        return note_set(note, ERR_DENIED,
                        "an acknowledgement is from a host to which no rule of this host's slice leads by IPsec");
    if (pair_ack_decode(body, len, &ack))
        return note_set(note, ERR_MALFORMED, "an acknowledgement of %s is malformed", peer->host);
    struct pair *pair = find_pair(peer, &ack);
    if (!pair) {
        keying->counters.acks_stale++;
        return note_set(note, ERR_STALE, "an acknowledgement of %s is for epochs that are not in use here", peer->host);
    }
    enum err err = pair_hear(pair, &ack, &word);
    if (err) {
        note_set(note, err,
                 "%s has other keys for this pair of epochs: a bundle was changed on the way, or the slices of the two "
                 "hosts give them different addresses",
                 peer->host);
        keying_peer_refuse(keying, peer, note->text);
        return err;
    }
    keying->counters.acks_accepted++;
    keying_step_hear(keying, peer, pair, word);
    return ERR_OK;
}

enum err keying_on_pair(struct keying *keying, const char *from, const uint8_t *body, size_t len, struct note *note)
{
    keying_enter(keying);
    enum err err = hear(keying, from, body, len, note);
    if (err && err != ERR_STALE)
        keying->counters.acks_refused++;
    keying_leave(keying);
    return err;
}
