// SPDX-License-Identifier: GPL-2.0-or-later
// Order, digest and look-ups of slices, and deltas between them. The checks are in test_slice_check.c.
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "proto/wire/message.h"
#include "proto/wire/slice.h"
#include "tests/unit/slice_fixture.h"

#define ROUNDS 300

static void expect_same(const Twofold__V1__Slice *a, const Twofold__V1__Slice *b)
{
    uint8_t x[DIGEST_BYTES], y[DIGEST_BYTES];
    cr_assert_eq(slice_digest(a, x), ERR_OK);
    cr_assert_eq(slice_digest(b, y), ERR_OK);
    cr_assert_eq(memcmp(x, y, sizeof(x)), 0);
}

static void expect_good(const Twofold__V1__Slice *slice)
{
    struct note note = {0};
    cr_assert_eq(slice_check(slice, &note), ERR_OK, "%s", note.text);
}

Test(slice, digest_is_that_of_the_encoding)
{
    Twofold__V1__Slice *slice = fixture_slice();
    uint8_t digest[DIGEST_BYTES], again[DIGEST_BYTES], *bytes;
    size_t len;
    cr_assert_eq(message_encode(&slice->base, &bytes, &len), ERR_OK);
    digest_sha384(bytes, len, digest);
    cr_assert_eq(slice_digest(slice, again), ERR_OK);
    cr_assert_eq(memcmp(digest, again, sizeof(digest)), 0);
    free(bytes);
    slice->settings->generation++;
    cr_assert_eq(slice_digest(slice, again), ERR_OK);
    cr_assert_neq(memcmp(digest, again, sizeof(digest)), 0);
    message_free(slice);
}

Test(slice, sort_makes_one_form_of_every_order)
{
    for (uint64_t seed = 0; seed < ROUNDS; seed++) {
        struct dice dice = {seed};
        ProtobufCMessage *other;
        Twofold__V1__Slice *slice = fixture_random_slice(&dice);
        expect_good(slice);
        cr_assert_eq(message_copy(&slice->base, &other), ERR_OK);
        fixture_shuffle((Twofold__V1__Slice *)other, &dice);
        slice_sort((Twofold__V1__Slice *)other);
        expect_good((Twofold__V1__Slice *)other);
        expect_same(slice, (Twofold__V1__Slice *)other);
        message_free(other);
        message_free(slice);
    }
}

Test(slice, finds_every_peer_and_no_other)
{
    struct dice dice = {1};
    Twofold__V1__Slice *slice = fixture_random_slice(&dice);
    for (size_t i = 0; i < slice->n_peers; i++)
        cr_assert_eq(slice_peer(slice, slice->peers[i]->host), slice->peers[i]);
    cr_assert_null(slice_peer(slice, "a"));
    cr_assert_null(slice_peer(slice, "host"));
    cr_assert_null(slice_peer(slice, "z"));
    cr_assert_null(slice_peer(slice, ""));
    message_free(slice);
    Twofold__V1__Slice empty = TWOFOLD__V1__SLICE__INIT;
    cr_assert_null(slice_peer(&empty, "api"));
    cr_assert_null(slice_rule(&empty, OUT, "api", TCP, 1));
}

Test(slice, finds_the_rule_with_most_layers)
{
    Twofold__V1__Slice *slice = fixture_slice();
    expect_good(slice);
    cr_assert_str_eq(slice_rule(slice, OUT, "api", TCP, 8080)->name, "web-to-api");
    cr_assert_str_eq(slice_rule(slice, OUT, "api", TCP, 9000)->name, "web-to-api");
    cr_assert_str_eq(slice_rule(slice, OUT, "api", TCP, 9010)->name, "web-to-api");
    // web-to-api-metrics has this port too, with one layer.
    cr_assert_str_eq(slice_rule(slice, OUT, "api", TCP, 9005)->name, "web-to-api");
    cr_assert_str_eq(slice_rule(slice, IN, "cache", UDP, 7946)->name, "gossip");
    cr_assert_null(slice_rule(slice, OUT, "api", TCP, 8999));
    cr_assert_null(slice_rule(slice, OUT, "api", TCP, 9011));
    cr_assert_null(slice_rule(slice, OUT, "api", UDP, 8080));
    cr_assert_null(slice_rule(slice, IN, "api", TCP, 8080));
    cr_assert_null(slice_rule(slice, OUT, "cache", TCP, 8080));
    cr_assert_null(slice_rule(slice, OUT, "intruder", TCP, 8080));
    // The same with the weaker rule first by name, and with equal layers the first by name.
    fixture_set(&slice->rules[3]->name, "all-metrics");
    slice_sort(slice);
    expect_good(slice);
    cr_assert_str_eq(slice_rule(slice, OUT, "api", TCP, 9005)->name, "web-to-api");
    slice->rules[0]->ipsec = true;
    cr_assert_str_eq(slice_rule(slice, OUT, "api", TCP, 9005)->name, "all-metrics");
    message_free(slice);
}

// ---- deltas

static Twofold__V1__SliceDelta *diff(const Twofold__V1__Slice *from, const Twofold__V1__Slice *to)
{
    Twofold__V1__SliceDelta *delta;
    cr_assert_eq(slice_diff(from, to, 9, &delta), ERR_OK);
    cr_assert_eq(delta->nonce, 9);
    return delta;
}

static Twofold__V1__SliceDelta *over_the_wire(Twofold__V1__SliceDelta *delta)
{
    ProtobufCMessage *received;
    uint8_t *bytes;
    size_t len;
    cr_assert_eq(message_encode(&delta->base, &bytes, &len), ERR_OK);
    cr_assert_eq(message_decode(&twofold__v1__slice_delta__descriptor, bytes, len, &received), ERR_OK);
    free(bytes);
    message_free(delta);
    return (Twofold__V1__SliceDelta *)received;
}

static void expect_patched(const Twofold__V1__Slice *from, const Twofold__V1__Slice *to)
{
    struct note note = {0};
    Twofold__V1__Slice *made;
    Twofold__V1__SliceDelta *delta = over_the_wire(diff(from, to));
    cr_assert_eq(slice_patch(from, delta, &made, &note), ERR_OK, "%s", note.text);
    expect_same(made, to);
    message_free(made);
    message_free(delta);
}

Test(slice_delta, patch_of_diff_is_the_target)
{
    for (uint64_t seed = 0; seed < ROUNDS; seed++) {
        struct dice dice = {seed + 1000};
        uint8_t before[DIGEST_BYTES], after[DIGEST_BYTES];
        Twofold__V1__Slice *from = fixture_random_slice(&dice);
        Twofold__V1__Slice *to = fixture_random_slice(&dice);
        cr_assert_eq(slice_digest(from, before), ERR_OK);
        expect_patched(from, to);
        expect_patched(NULL, to);
        expect_patched(from, from);
        cr_assert_eq(slice_digest(from, after), ERR_OK);
        cr_assert_eq(memcmp(before, after, sizeof(before)), 0, "`from` was touched");
        message_free(from);
        message_free(to);
    }
}

Test(slice_delta, says_only_what_changed)
{
    Twofold__V1__Slice *from = fixture_slice(), *to = fixture_slice();
    Twofold__V1__SliceDelta *delta = diff(from, to);
    cr_assert_eq(delta->n_peers + delta->n_peers_removed + delta->n_rules + delta->n_rules_removed + delta->n_pinholes +
                     delta->n_pinholes_removed,
                 0);
    cr_assert_eq(delta->n_revoked, 2);
    message_free(delta);

    to->peers[1]->slot = 99;
    fixture_set(&to->rules[1]->name, "renamed");
    slice_sort(to);
    message_free(to->pinholes[1]);
    to->n_pinholes--;
    delta = diff(from, to);
    cr_assert_eq(delta->n_peers, 1);
    cr_assert_str_eq(delta->peers[0]->host, "cache");
    cr_assert_eq(delta->n_peers_removed, 0);
    cr_assert_eq(delta->n_rules, 1);
    cr_assert_str_eq(delta->rules[0]->name, "renamed");
    cr_assert_eq(delta->n_rules_removed, 1);
    cr_assert_str_eq(delta->rules_removed[0]->name, "gossip");
    cr_assert_eq(delta->rules_removed[0]->direction, OUT);
    cr_assert_eq(delta->n_pinholes, 0);
    cr_assert_eq(delta->n_pinholes_removed, 1);
    cr_assert_str_eq(delta->pinholes_removed[0]->name, "ssh");
    message_free(delta);
    expect_patched(from, to);
    message_free(from);
    message_free(to);
}

Test(slice_delta, from_nothing_replaces_the_whole)
{
    struct dice dice = {5};
    Twofold__V1__Slice *old = fixture_random_slice(&dice), *to = fixture_slice(), *made;
    Twofold__V1__SliceDelta *delta = diff(NULL, to);
    cr_assert_eq(delta->from.len, 0);
    cr_assert_eq(slice_patch(old, delta, &made, NULL), ERR_OK);
    expect_same(made, to);
    message_free(made);
    message_free(delta);
    message_free(old);
    message_free(to);
}

Test(slice_delta, another_base_is_stale)
{
    struct dice dice = {6};
    struct note note = {0};
    Twofold__V1__Slice *from = fixture_slice(), *to = fixture_random_slice(&dice), *other = fixture_random_slice(&dice);
    Twofold__V1__Slice *made = NULL;
    Twofold__V1__SliceDelta *delta = diff(from, to);
    cr_assert_eq(slice_patch(other, delta, &made, &note), ERR_STALE);
    cr_assert(strstr(note.text, "does not start from"));
    cr_assert_eq(slice_patch(NULL, delta, &made, &note), ERR_STALE);
    cr_assert(strstr(note.text, "none is in force"));
    delta->from.len--; // a digest cut short
    cr_assert_eq(slice_patch(from, delta, &made, &note), ERR_STALE);
    delta->from.len++;
    cr_assert_null(made);
    message_free(delta);
    message_free(from);
    message_free(to);
    message_free(other);
}

typedef void tamper_fn(Twofold__V1__SliceDelta *delta);

static void other_digest(Twofold__V1__SliceDelta *delta)
{
    delta->digest.data[0] ^= 1;
}
static void short_digest(Twofold__V1__SliceDelta *delta)
{
    delta->digest.len--;
}
static void other_generation(Twofold__V1__SliceDelta *delta)
{
    delta->settings->generation++;
}
static void no_settings(Twofold__V1__SliceDelta *delta)
{
    message_free(delta->settings);
    delta->settings = NULL;
}
static void one_peer_less(Twofold__V1__SliceDelta *delta)
{
    message_free(delta->peers[--delta->n_peers]);
}
static void other_peer_slot(Twofold__V1__SliceDelta *delta)
{
    delta->peers[0]->slot ^= 0x10000;
}
static void one_rule_less(Twofold__V1__SliceDelta *delta)
{
    message_free(delta->rules[--delta->n_rules]);
}
static void weaker_rule(Twofold__V1__SliceDelta *delta)
{
    delta->rules[0]->ipsec = !delta->rules[0]->ipsec;
    delta->rules[0]->https = true;
}
static void peers_out_of_order(Twofold__V1__SliceDelta *delta)
{
    Twofold__V1__Peer *peer = delta->peers[0];
    delta->peers[0] = delta->peers[1];
    delta->peers[1] = peer;
}
static void peer_twice(Twofold__V1__SliceDelta *delta)
{
    ProtobufCMessage *copy;
    cr_assert_eq(message_copy(&delta->peers[0]->base, &copy), ERR_OK);
    fixture_push(&delta->peers, &delta->n_peers, copy);
}
static void removal_not_said(Twofold__V1__SliceDelta *delta)
{
    free(delta->peers_removed[--delta->n_peers_removed]);
}
static void removal_of_none(Twofold__V1__SliceDelta *delta)
{
    fixture_push_text(&delta->peers_removed, &delta->n_peers_removed, "zz");
}
static void rule_removal_twice(Twofold__V1__SliceDelta *delta)
{
    ProtobufCMessage *copy;
    cr_assert_eq(message_copy(&delta->rules_removed[0]->base, &copy), ERR_OK);
    fixture_push(&delta->rules_removed, &delta->n_rules_removed, copy);
}
static void pinhole_removal_of_none(Twofold__V1__SliceDelta *delta)
{
    Twofold__V1__RuleKey *key = malloc(sizeof(*key));
    twofold__v1__rule_key__init(key);
    fixture_set(&key->name, "zz");
    key->direction = IN;
    fixture_push(&delta->pinholes_removed, &delta->n_pinholes_removed, key);
}
static void revocation_left_out(Twofold__V1__SliceDelta *delta)
{
    free(delta->revoked[--delta->n_revoked]);
}
static void revoked_peer(Twofold__V1__SliceDelta *delta)
{
    free(delta->revoked[0]);
    delta->revoked[0] = strdup(delta->peers[0]->host);
}

// Each is refused with a sentence, and leaves nothing behind.
Test(slice_delta, tampering_is_refused)
{
    static tamper_fn *const tampers[] = {
        other_digest,        short_digest,
        other_generation,    no_settings,
        one_peer_less,       other_peer_slot,
        one_rule_less,       weaker_rule,
        peers_out_of_order,  peer_twice,
        removal_not_said,    removal_of_none,
        rule_removal_twice,  pinhole_removal_of_none,
        revocation_left_out, revoked_peer,
    };
    struct dice dice = {7};
    Twofold__V1__Slice *from = fixture_slice(), *to = fixture_random_slice(&dice);
    for (size_t i = 0; i < sizeof(tampers) / sizeof(tampers[0]); i++) {
        struct note note = {0};
        Twofold__V1__Slice *made = NULL;
        Twofold__V1__SliceDelta *delta = diff(from, to);
        tampers[i](delta);
        cr_expect_eq(slice_patch(from, delta, &made, &note), ERR_MALFORMED, "case %zu: %s", i, note.text);
        cr_expect_neq(note.text[0], '\0', "case %zu", i);
        cr_expect_null(made);
        message_free(delta);
    }
    message_free(from);
    message_free(to);
}

Test(slice_delta, unknown_fields_are_refused)
{
    struct dice dice = {8};
    struct note note = {0};
    Twofold__V1__Slice *to = fixture_random_slice(&dice), *made;
    Twofold__V1__SliceDelta *delta = diff(NULL, to);
    fixture_add_unknown(&delta->base);
    delta = over_the_wire(delta);
    cr_assert_eq(slice_patch(NULL, delta, &made, &note), ERR_UNSUPPORTED);
    cr_assert(strstr(note.text, "field 100 of a SliceDelta"), "%s", note.text);
    message_free(delta);
    delta = diff(NULL, to);
    fixture_add_unknown(&delta->rules[0]->ports[0]->base);
    delta = over_the_wire(delta);
    cr_assert_eq(slice_patch(NULL, delta, &made, &note), ERR_UNSUPPORTED);
    cr_assert(strstr(note.text, "field 100 of a PortRange"), "%s", note.text);
    message_free(delta);
    message_free(to);
}

// Any flipped bit: refused, or the outcome is the same slice (the nonce, say, is not part of it).
Test(slice_delta, a_flipped_bit_never_gives_another_slice)
{
    struct dice dice = {9};
    Twofold__V1__Slice *from = fixture_slice(), *to = fixture_random_slice(&dice);
    Twofold__V1__SliceDelta *delta = diff(from, to);
    uint8_t *bytes;
    size_t len;
    cr_assert_eq(message_encode(&delta->base, &bytes, &len), ERR_OK);
    message_free(delta);
    for (unsigned round = 0; round < 4000; round++) {
        ProtobufCMessage *received;
        Twofold__V1__Slice *made;
        size_t at = dice_roll(&dice, len);
        uint8_t bit = (uint8_t)(1u << dice_roll(&dice, 8));
        bytes[at] ^= bit;
        if (message_decode(&twofold__v1__slice_delta__descriptor, bytes, len, &received) == ERR_OK) {
            if (slice_patch(from, (Twofold__V1__SliceDelta *)received, &made, NULL) == ERR_OK) {
                expect_same(made, to);
                message_free(made);
            }
            message_free(received);
        }
        bytes[at] ^= bit;
    }
    free(bytes);
    message_free(from);
    message_free(to);
}
