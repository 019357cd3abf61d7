// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/unit/keying_one.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/network/pair.h"

static void expect_ok(enum err err)
{
    if (err) {
        fprintf(stderr, "unexpected error %s\n", err_name(err));
        abort();
    }
}

static uint64_t boot_ms(void *context)
{
    return ((struct one *)context)->boot_ms;
}

static uint64_t unix_ms(void *context)
{
    return ((struct one *)context)->unix_s * 1000;
}

static enum err do_install(void *context, const struct sa *sa)
{
    struct one *one = context;
    if (one->install_err)
        return one->install_err;
    one->installs++;
    one->last_install = *sa;
    return ERR_OK;
}

static enum err do_switch(void *context, const struct sa *sa)
{
    struct one *one = context;
    (void)sa;
    if (one->switch_err)
        return one->switch_err;
    one->switches++;
    return ERR_OK;
}

static enum err do_remove(void *context, const struct sa *sa)
{
    (void)sa;
    ((struct one *)context)->removes++;
    return ERR_OK;
}

static bool do_used(void *context, const struct sa *sa)
{
    (void)context;
    (void)sa;
    return false;
}

static enum err do_usage(void *context, const struct sa *sa, uint64_t *ret_packets, uint64_t *ret_bytes)
{
    (void)sa;
    *ret_packets = *ret_bytes = 1;
    return ((struct one *)context)->usage_err;
}

static void do_publish(void *context, const Twofold__V1__Bundle *bundle)
{
    struct one *one = context;
    one->publishes++;
    expect_ok(bundle_decode(bundle->blob.data, bundle->blob.len, &one->published));
    free(one->published_blob);
    one->published_blob = malloc(bundle->blob.len);
    memcpy(one->published_blob, bundle->blob.data, bundle->blob.len);
    one->published_len = bundle->blob.len;
}

static void do_send_pair(void *context, const char *peer, const uint8_t *body, size_t len)
{
    struct one *one = context;
    (void)peer;
    one->words++;
    memcpy(one->word, body, len);
    one->word_len = len;
}

static void do_changed(void *context, const char *peer)
{
    (void)peer;
    ((struct one *)context)->changes++;
}

static const struct keying_actions actions = {
    .install = do_install,
    .switch_outbound = do_switch,
    .remove = do_remove,
    .inbound_used = do_used,
    .usage = do_usage,
    .publish = do_publish,
    .send_pair = do_send_pair,
    .changed = do_changed,
};

static struct ip ip(const char *text)
{
    struct ip ip;
    expect_ok(ip_parse(text, &ip));
    return ip;
}

void one_init(struct one *one)
{
    struct cert_facts *facts = calloc(1, sizeof(*facts));
    struct note note;

    memset(one, 0, sizeof(*one));
    pki_init(&one->pki);
    pki_facts("spiffe://example.org/host/alpha", facts);
    facts->slot = 1;
    facts->addresses[facts->address_count++] = ip("192.0.2.1");
    pki_leaf(&one->pki, facts, &one->leaf);
    free(facts);
    one->clock = (struct clock){boot_ms, unix_ms, one};
    one->boot_ms = 100000;
    one->unix_s = ONE_NOW;
    strcpy(one->path, "/tmp/twofold-keying-one.XXXXXX");
    int fd = mkstemp(one->path);
    if (fd < 0)
        abort();
    close(fd);
    unlink(one->path);
    struct keying_config config = {&one->clock, one->path, "alpha", one->pki.trust, &actions, one};
    expect_ok(keying_new(&config, &one->keying, &note));
    expect_ok(keying_set_identity(one->keying, one->leaf.key, one->leaf.der, one->leaf.len, &note));
    expect_ok(one_slice(one, "bravo", 2, "192.0.2.2", NULL, &note));
    keying_publish_again(one->keying);
}

void one_free(struct one *one)
{
    keying_free(one->keying);
    unlink(one->path);
    free(one->published_blob);
    pki_leaf_free(&one->leaf);
    pki_free(&one->pki);
}

enum err one_slice(struct one *one, const char *peer_name, uint32_t slot, const char *address, const char *revoked,
                   struct note *note)
{
    Twofold__V1__Slice slice = TWOFOLD__V1__SLICE__INIT;
    Twofold__V1__Settings settings = TWOFOLD__V1__SETTINGS__INIT;
    Twofold__V1__Rule rule = TWOFOLD__V1__RULE__INIT, *rules[1] = {&rule};
    Twofold__V1__Peer peer = TWOFOLD__V1__PEER__INIT, *peers[1] = {&peer};
    struct ip at = ip(address);
    ProtobufCBinaryData addresses[1] = {{at.len, at.bytes}};
    char *names[1] = {(char *)peer_name}, *gone[1] = {(char *)revoked};

    settings.generation = 1;
    settings.trust_domain = (char *)"example.org";
    settings.host = (char *)"alpha";
    settings.rekey_seconds = 600;
    slice.settings = &settings;
    peer.host = (char *)peer_name;
    peer.slot = slot;
    peer.n_addresses = 1;
    peer.addresses = addresses;
    slice.n_peers = peer_name ? 1 : 0;
    slice.peers = peers;
    rule.name = (char *)"all";
    rule.direction = TWOFOLD__V1__DIRECTION__DIRECTION_OUT;
    rule.n_peers = 1;
    rule.peers = names;
    rule.ipsec = true;
    slice.n_rules = peer_name ? 1 : 0;
    slice.rules = rules;
    slice.n_revoked = revoked ? 1 : 0;
    slice.revoked = gone;
    enum err err = keying_check(one->keying, &slice, note);
    return err ? err : keying_set_slice(one->keying, &slice, note);
}

void one_peer_init(struct one *one, struct one_peer *peer)
{
    memset(peer, 0, sizeof(*peer));
    pki_facts("spiffe://example.org/host/bravo", &peer->facts);
    peer->facts.slot = 2;
    peer->facts.addresses[peer->facts.address_count++] = ip("192.0.2.2");
    pki_leaf(&one->pki, &peer->facts, &peer->leaf);
    expect_ok(derive_key_new(&peer->key));
    peer->bundle = (struct bundle){
        .suite = BUNDLE_SUITE_ECP384_AES256GCM16,
        .host = "bravo",
        .epoch = 1000,
        .slot = 2,
        .nonce = {1, 2, 3},
        .not_before = ONE_NOW - 300,
        .not_after = ONE_NOW + 7200,
    };
    expect_ok(key_spki_sha384(peer->leaf.key, peer->bundle.signer_spki_sha384));
    derive_key_point(peer->key, peer->bundle.point);
    one_peer_sign(peer);
}

void one_peer_certify(struct one *one, struct one_peer *peer, const char *uri)
{
    expect_ok(spiffe_parse(uri, &peer->facts.id));
    pki_leaf_free(&peer->leaf);
    pki_leaf(&one->pki, &peer->facts, &peer->leaf);
    expect_ok(key_spki_sha384(peer->leaf.key, peer->bundle.signer_spki_sha384));
}

void one_peer_sign(struct one_peer *peer)
{
    expect_ok(bundle_encode(&peer->bundle, peer->blob, sizeof(peer->blob), &peer->blob_len));
    expect_ok(key_sign(peer->leaf.key, peer->blob, peer->blob_len, peer->signature));
}

void one_peer_free(struct one_peer *peer)
{
    derive_key_free(peer->key);
    pki_leaf_free(&peer->leaf);
}

enum err one_hear_bundle(struct one *one, const struct one_peer *peer, struct note *note)
{
    Twofold__V1__Bundle bundle = TWOFOLD__V1__BUNDLE__INIT;

    bundle.host = (char *)peer->bundle.host;
    bundle.blob = (ProtobufCBinaryData){peer->blob_len, (uint8_t *)peer->blob};
    bundle.signature = (ProtobufCBinaryData){sizeof(peer->signature), (uint8_t *)peer->signature};
    bundle.certificate = (ProtobufCBinaryData){peer->leaf.len, peer->leaf.der};
    return keying_on_bundle(one->keying, &bundle, note);
}

void one_peer_word(struct one *one, const struct one_peer *peer, enum derive_word word,
                   uint8_t ret_body[PAIR_ACK_BYTES])
{
    struct derive_input input = {
        .local = {peer->blob, peer->blob_len, &peer->bundle},
        .peer = {one->published_blob, one->published_len, &one->published},
        .path_count = 1,
        .paths = {{ip("192.0.2.2"), ip("192.0.2.1")}},
    };
    struct derive_secrets secrets;
    struct pair pair;

    expect_ok(pair_make(peer->key, &input, &secrets, &pair));
    pair_say(&pair, word, ret_body);
}

void one_wait(struct one *one, uint64_t ms)
{
    for (uint64_t passed = 0; passed < ms; passed += 1000) {
        one->boot_ms += 1000;
        one->unix_s++;
        keying_tick(one->keying);
    }
}
