// SPDX-License-Identifier: GPL-2.0-or-later
// The own epoch: made, published, replaced. Its private key lives from here to the next one and is never written down.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/network/keying_inside.h"
#include "proto/base/secret.h"

// Bundles are good for a few epochs: a new one waits for pairs under way, and a peer may get it late.
static uint64_t bundle_life_s(const struct keying *keying)
{
    return 3600 + 4 * (uint64_t)keying->rekey_seconds;
}

uint64_t keying_rate_ms(const struct keying *keying)
{
    uint64_t half_ms = (uint64_t)keying->rekey_seconds * 500;
    return half_ms < KEYING_RATE_MS_MAX ? half_ms : KEYING_RATE_MS_MAX;
}

uint64_t keying_linger_ms(const struct keying *keying)
{
    uint64_t twice_ms = (uint64_t)keying->rekey_seconds * 2000;
    return twice_ms < KEYING_INBOUND_LINGER_MS_MAX ? twice_ms : KEYING_INBOUND_LINGER_MS_MAX;
}

void keying_own_want(struct keying *keying)
{
    keying->epoch_wanted = true;
    keying_wake(keying, keying_now(keying));
}

void keying_own_forget(struct keying *keying)
{
    derive_key_free(keying->own.key);
    free(keying->own.certificate);
    keying->own = (struct keying_own){0};
}

void keying_own_publish(struct keying *keying)
{
    Twofold__V1__Bundle bundle = TWOFOLD__V1__BUNDLE__INIT;
    struct keying_own *own = &keying->own;

    if (!own->key)
        return;
    keying->publish_wanted = false;
    bundle.host = keying->host;
    bundle.blob = (ProtobufCBinaryData){own->blob_len, own->blob};
    bundle.signature = (ProtobufCBinaryData){sizeof(own->signature), own->signature};
    bundle.certificate = (ProtobufCBinaryData){own->certificate_len, own->certificate};
    keying->config.actions->publish(keying->config.context, &bundle);
}

// Every low-bits value of an own epoch that some SA's number holds.
static uint64_t bits_in_use(const struct keying *keying)
{
    uint64_t bits = 0;

    for (size_t i = 0; i < keying->peer_count; i++)
        bits |= keying_peer_bits(keying->peers[i]);
    for (size_t i = 0; i < keying->adopted_count; i++)
        bits |= UINT64_C(1) << keying_sa_bits(&keying->adopted[i]);
    for (unsigned i = 0; i < 64; i++)
        bits |= (uint64_t)(keying->leaving_by_bits[i] > 0) << i;
    return bits;
}

// 90 to 110 % of the life that the slice allows, spread over hosts and epochs, the same for the same ones.
static uint64_t life_ms(const struct keying *keying, uint64_t epoch)
{
    char text[NAME_MAX_BYTES + 32];
    uint8_t digest[DIGEST_BYTES];
    uint64_t whole_ms = (uint64_t)keying->rekey_seconds * 1000;

    int len = snprintf(text, sizeof(text), "%s %llu", keying->host, (unsigned long long)epoch);
    digest_sha384(text, (size_t)len, digest);
    unsigned part = (unsigned)digest[0] << 8 | digest[1];
    return whole_ms * 9 / 10 + whole_ms * part / 5 / 65536;
}

void keying_own_hasten(struct keying *keying)
{
    uint64_t at_ms = keying->own.made_ms + life_ms(keying, keying->own.bundle.epoch);

    if (at_ms < keying->own.rotate_at_ms)
        keying->own.rotate_at_ms = at_ms;
    keying_wake(keying, keying->own.rotate_at_ms);
}

static enum err make_bundle(const struct keying *keying, struct keying_own *own)
{
    uint64_t unix_s = keying_unix(keying);
    struct bundle *bundle = &own->bundle;

    bundle->suite = BUNDLE_SUITE_ECP384_AES256GCM16;
    memcpy(bundle->host, keying->host, sizeof(bundle->host));
    memcpy(bundle->signer_spki_sha384, keying->facts.spki_sha384, DIGEST_BYTES);
    bundle->slot = keying->facts.slot;
    bundle->not_before = unix_s > KEYING_SKEW_SECONDS ? unix_s - KEYING_SKEW_SECONDS : 0;
    bundle->not_after = unix_s + bundle_life_s(keying);
    if (bundle->not_after > keying->facts.not_after)
        bundle->not_after = keying->facts.not_after;
    if (bundle->not_after <= unix_s)
        return ERR_EXPIRED;
    random_bytes(bundle->nonce, sizeof(bundle->nonce));
    enum err err = derive_key_new(&own->key);
    if (err)
        return err;
    derive_key_point(own->key, bundle->point);
    err = bundle_encode(bundle, own->blob, sizeof(own->blob), &own->blob_len);
    if (!err)
        err = key_sign(keying->key, own->blob, own->blob_len, own->signature);
    return err;
}

static enum err make(struct keying *keying, struct keying_own *own)
{
    own->bundle.epoch = epoch_next(epoch_store_own(keying->store), keying_unix(keying), bits_in_use(keying));
    own->certificate = malloc(keying->certificate_len);
    if (!own->certificate)
        return ERR_NOMEM;
    memcpy(own->certificate, keying->certificate, keying->certificate_len);
    own->certificate_len = keying->certificate_len;
    enum err err = make_bundle(keying, own);
    if (err) {
        derive_key_free(own->key);
        free(own->certificate);
    }
    return err;
}

static void write_store(struct keying *keying, uint64_t now_ms)
{
    struct note note = {0};

    keying->store_at_ms = UINT64_MAX;
    keying->store_problem[0] = '\0';
    if (epoch_store_write(keying->store, &note)) {
        snprintf(keying->store_problem, sizeof(keying->store_problem), "%.200s; the epochs are not kept over a restart",
                 note.text);
        keying->store_at_ms = now_ms + KEYING_USAGE_MS;
    }
}

static void fail(struct keying *keying, enum err err, uint64_t now_ms)
{
    snprintf(keying->own_problem, sizeof(keying->own_problem), "no new epoch can be made: %s%s", err_text(err),
             err == ERR_EXPIRED ? " certificate of this host; it must be renewed, or the clock is wrong"
             : err == ERR_NOMEM ? "; the limit of locked memory (LimitMEMLOCK) may be too low"
                                : "");
    keying->own_retry_at_ms = now_ms + KEYING_OWN_RETRY_MS;
    keying_wake(keying, keying->own_retry_at_ms);
    // A key that can't be replaced in time goes all the same.
    if (keying->own.key && keying_unix(keying) > keying->own.bundle.not_after)
        keying_own_forget(keying);
}

static void rotate(struct keying *keying, uint64_t now_ms)
{
    struct keying_own own = {0};

    enum err err = make(keying, &own);
    if (err) {
        fail(keying, err, now_ms);
        return;
    }
    (void)epoch_bucket_take(&keying->own_bucket, now_ms, keying_rate_ms(keying), KEYING_RATE_BURST - 1);
    keying_own_forget(keying);
    own.made_ms = now_ms;
    own.rotate_at_ms = now_ms + life_ms(keying, own.bundle.epoch);
    keying->own = own;
    keying->epoch_wanted = false;
    keying->own_problem[0] = '\0';
    // Before it is published: a clock that goes back must not make it twice.
    epoch_store_set_own(keying->store, keying->own.bundle.epoch);
    write_store(keying, now_ms);
    for (size_t i = 0; i < keying->peer_count; i++)
        keying_make_pair(keying, keying->peers[i], false);
    keying->counters.epochs_published++;
    keying_own_publish(keying);
    for (size_t i = 0; i < keying->peer_count; i++)
        keying_make_announce(keying, keying->peers[i]);
}

// Also when the clock has left the bundle's validity.
static bool is_wanted(struct keying *keying, uint64_t now_ms)
{
    uint64_t unix_s = keying_unix(keying);
    const struct keying_own *own = &keying->own;

    return !own->key || keying->epoch_wanted || now_ms >= own->rotate_at_ms || unix_s < own->bundle.not_before ||
           unix_s > own->bundle.not_after;
}

// When a new epoch may be made at the earliest: rate, and pairs under way.
static uint64_t ready_ms(const struct keying *keying, uint64_t now_ms)
{
    uint64_t ready = epoch_bucket_ready_ms(&keying->own_bucket, now_ms, keying_rate_ms(keying), KEYING_RATE_BURST - 1);
    uint64_t settled_ms = keying->own.made_ms + KEYING_SETTLE_MS;

    if (keying->own_retry_at_ms > ready)
        ready = keying->own_retry_at_ms;
    if (!keying->own.key || settled_ms <= ready)
        return ready;
    for (size_t i = 0; i < keying->peer_count; i++)
        if (keying_make_is_under_way(keying, keying->peers[i]))
            return settled_ms; // earlier when it completes: then it wakes us
    return ready;
}

void keying_own_tick(struct keying *keying, uint64_t now_ms)
{
    if (keying->store_at_ms <= now_ms)
        write_store(keying, now_ms);
    keying_wake(keying, keying->store_at_ms);
    if (!keying->key)
        return;
    if (is_wanted(keying, now_ms)) {
        uint64_t ready = ready_ms(keying, now_ms);
        if (ready <= now_ms)
            rotate(keying, now_ms);
        else
            keying_wake(keying, ready);
    }
    if (keying->own.key && keying->publish_wanted)
        keying_own_publish(keying);
    if (keying->own.key && keying->own.rotate_at_ms > now_ms)
        keying_wake(keying, keying->own.rotate_at_ms);
    // The wall clock may have been set meanwhile.
    keying_wake(keying, now_ms + KEYING_USAGE_MS);
}
