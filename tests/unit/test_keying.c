// SPDX-License-Identifier: GPL-2.0-or-later
// One host's keying against crafted input: what is refused, and what each refusal leaves as it was.
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/network/keying_inside.h"
#include "tests/unit/keying_one.h"

static struct one one;
static struct one_peer bravo;
static struct note note;

static void set_up(void)
{
    one_init(&one);
    one_peer_init(&one, &bravo);
}

static void tear_down(void)
{
    one_peer_free(&bravo);
    one_free(&one);
}

TestSuite(keying, .init = set_up, .fini = tear_down);

static struct keying_peer_state state_of(const char *peer)
{
    struct keying_peer_state state;
    cr_assert_eq(keying_peer_state(one.keying, peer, &state), ERR_OK);
    return state;
}

static void expect_refused(enum err expected, const char *word)
{
    unsigned installs = one.installs;
    uint64_t refused = keying_counters(one.keying)->bundles_refused, stale = keying_counters(one.keying)->bundles_stale;

    note.text[0] = '\0';
    enum err err = one_hear_bundle(&one, &bravo, &note);
    cr_assert_eq(err, expected, "%s instead of %s: %s", err_name(err), err_name(expected), note.text);
    cr_assert_not_null(strstr(note.text, word), "%s", note.text);
    cr_assert_eq(one.installs, installs);
    cr_assert_eq(keying_counters(one.keying)->bundles_refused, refused + (err != ERR_STALE));
    cr_assert_eq(keying_counters(one.keying)->bundles_stale, stale + (err == ERR_STALE));
    cr_assert_not(state_of("bravo").up);
}

static void complete(void)
{
    uint8_t body[PAIR_ACK_BYTES];

    one_peer_word(&one, &bravo, DERIVE_ACK, body);
    cr_assert_eq(keying_on_pair(one.keying, "bravo", body, sizeof(body), &note), ERR_OK, "%s", note.text);
    one_peer_word(&one, &bravo, DERIVE_DONE, body);
    cr_assert_eq(keying_on_pair(one.keying, "bravo", body, sizeof(body), &note), ERR_OK, "%s", note.text);
}

// ---- the good way

Test(keying, a_bundle_and_two_words_make_a_pair)
{
    cr_assert_eq(one.publishes, 1);
    cr_assert_eq(one_hear_bundle(&one, &bravo, &note), ERR_OK, "%s", note.text);
    cr_expect_eq(one.installs, 1);
    cr_expect(one.last_install.inbound);
    cr_expect_eq(one.last_install.spi, derive_spi(2, one.published.epoch, 1000));
    cr_expect_eq(one.last_install.reqid, REQID_BASE + 2);
    cr_expect_eq(one.words, 1);
    cr_expect_not(state_of("bravo").up);
    complete();
    cr_expect_eq(one.installs, 2);
    cr_expect_eq(one.switches, 1);
    struct keying_peer_state state = state_of("bravo");
    cr_expect(state.up);
    cr_expect_eq(state.local_epoch, one.published.epoch);
    cr_expect_eq(state.peer_epoch, 1000);
    cr_expect_eq(state.inbound_spi, derive_spi(2, one.published.epoch, 1000));
    cr_expect_eq(state.outbound_spi, derive_spi(1, 1000, one.published.epoch));
    cr_expect_str_eq(state.problem, "");
}

Test(keying, the_same_bundle_again_is_nothing_new)
{
    cr_assert_eq(one_hear_bundle(&one, &bravo, &note), ERR_OK);
    cr_assert_eq(one_hear_bundle(&one, &bravo, &note), ERR_OK);
    complete();
    for (unsigned i = 0; i < 100; i++)
        cr_assert_eq(one_hear_bundle(&one, &bravo, &note), ERR_OK);
    cr_expect_eq(one.installs, 2);
    cr_expect_eq(keying_counters(one.keying)->bundles_accepted, 1);
}

Test(keying, the_certificate_of_before_is_used_until_there_is_a_new_one)
{
    cr_expect_eq(one.published.slot, 1);
    cr_expect_str_eq(one.published.host, "alpha");
    cr_expect_leq(one.published.not_before, ONE_NOW);
    cr_expect_gt(one.published.not_after, ONE_NOW + 3600);
    uint64_t epoch = one.published.epoch;
    cr_assert_eq(keying_set_identity(one.keying, one.leaf.key, one.leaf.der, one.leaf.len, &note), ERR_OK);
    one_wait(&one, 2000);
    cr_expect_gt(one.published.epoch, epoch, "a renewed certificate means a new epoch");
}

// ---- bundles, in the order of the checks

Test(keying, malformed_bundles)
{
    bravo.blob_len--;
    expect_refused(ERR_MALFORMED, "malformed");
    bravo.blob_len++;
    bravo.blob[0] ^= 1;
    expect_refused(ERR_UNSUPPORTED, "version");
    bravo.blob[0] ^= 1;
    bravo.leaf.len = CERT_DER_BYTES_MAX + 1;
    expect_refused(ERR_MALFORMED, "length");
}

Test(keying, bundles_of_nobody)
{
    strcpy(bravo.bundle.host, "zulu");
    one_peer_sign(&bravo);
    expect_refused(ERR_DENIED, "no rule");
    strcpy(bravo.bundle.host, "alpha");
    one_peer_sign(&bravo);
    expect_refused(ERR_IDENTITY, "this host itself");
}

Test(keying, bundles_of_the_revoked)
{
    cr_assert_eq(one_slice(&one, "charlie", 3, "192.0.2.3", "bravo", &note), ERR_OK, "%s", note.text);
    cr_expect_eq(one_hear_bundle(&one, &bravo, &note), ERR_REVOKED, "%s", note.text);
}

Test(keying, certificates_of_another_ca)
{
    struct pki other;
    struct one false_one = {0};

    pki_init(&other);
    false_one.pki = other;
    one_peer_certify(&false_one, &bravo, "spiffe://example.org/host/bravo");
    one_peer_sign(&bravo);
    expect_refused(ERR_IDENTITY, "CA");
    pki_free(&other);
}

Test(keying, certificates_for_something_else)
{
    one_peer_certify(&one, &bravo, "spiffe://example.org/host/charlie");
    one_peer_sign(&bravo);
    expect_refused(ERR_IDENTITY, "somebody else");
    one_peer_certify(&one, &bravo, "spiffe://example.org/agent/bravo");
    one_peer_sign(&bravo);
    expect_refused(ERR_IDENTITY, "somebody else");
    one_peer_certify(&one, &bravo, "spiffe://example.net/host/bravo");
    one_peer_sign(&bravo);
    expect_refused(ERR_IDENTITY, "somebody else");
}

Test(keying, certificates_out_of_their_time)
{
    bravo.facts.not_after = ONE_NOW - 1;
    one_peer_certify(&one, &bravo, "spiffe://example.org/host/bravo");
    one_peer_sign(&bravo);
    expect_refused(ERR_EXPIRED, "expired");
}

Test(keying, another_key_than_the_certificates)
{
    bravo.bundle.signer_spki_sha384[0] ^= 1;
    one_peer_sign(&bravo);
    expect_refused(ERR_IDENTITY, "another key");
}

Test(keying, another_slot_than_the_certificates)
{
    bravo.bundle.slot = 3;
    one_peer_sign(&bravo);
    expect_refused(ERR_IDENTITY, "slot");
}

Test(keying, wrong_signatures)
{
    bravo.signature[95] ^= 1;
    expect_refused(ERR_CRYPTO, "signature");
    one_peer_sign(&bravo);
    bravo.blob[bravo.blob_len - 1] ^= 1;
    expect_refused(ERR_CRYPTO, "signature");
}

Test(keying, points_that_are_none)
{
    bravo.bundle.point[96] ^= 1;
    one_peer_sign(&bravo);
    expect_refused(ERR_CRYPTO, "public key");
}

Test(keying, bundles_out_of_their_time)
{
    bravo.bundle.not_before = ONE_NOW + KEYING_SKEW_SECONDS + 1;
    one_peer_sign(&bravo);
    expect_refused(ERR_EXPIRED, "clocks");
    bravo.bundle.not_before = ONE_NOW - 100;
    bravo.bundle.not_after = ONE_NOW - 1;
    one_peer_sign(&bravo);
    expect_refused(ERR_EXPIRED, "clocks");
}

Test(keying, a_clock_a_little_ahead_is_no_matter)
{
    bravo.bundle.not_before = ONE_NOW + KEYING_SKEW_SECONDS;
    one_peer_sign(&bravo);
    cr_expect_eq(one_hear_bundle(&one, &bravo, &note), ERR_OK, "%s", note.text);
}

Test(keying, old_epochs_and_second_faces)
{
    cr_assert_eq(one_hear_bundle(&one, &bravo, &note), ERR_OK);
    bravo.bundle.epoch = 999;
    one_peer_sign(&bravo);
    expect_refused(ERR_STALE, "older");
    bravo.bundle.epoch = 1000;
    bravo.bundle.nonce[0] ^= 1;
    one_peer_sign(&bravo);
    expect_refused(ERR_PROTOCOL, "two bundles");
}

Test(keying, epochs_too_fast)
{
    for (unsigned i = 0; i < KEYING_RATE_BURST; i++) {
        cr_assert_eq(one_hear_bundle(&one, &bravo, &note), ERR_OK, "%s", note.text);
        bravo.bundle.epoch++;
        one_peer_sign(&bravo);
    }
    unsigned installs = one.installs;
    cr_expect_eq(one_hear_bundle(&one, &bravo, &note), ERR_LIMIT);
    cr_expect_eq(one.installs, installs);
    one_wait(&one, KEYING_RATE_MS_MAX);
    cr_expect_eq(one_hear_bundle(&one, &bravo, &note), ERR_OK, "it counts again when it comes later: %s", note.text);
}

Test(keying, a_peer_that_lost_its_state_comes_back_with_a_newer_certificate)
{
    cr_assert_eq(one_hear_bundle(&one, &bravo, &note), ERR_OK);
    complete();
    bravo.bundle.epoch = 7;
    one_peer_sign(&bravo);
    cr_assert_eq(one_hear_bundle(&one, &bravo, &note), ERR_STALE);
    bravo.facts.not_before += 1;
    one_peer_certify(&one, &bravo, "spiffe://example.org/host/bravo");
    one_peer_sign(&bravo);
    cr_assert_eq(one_hear_bundle(&one, &bravo, &note), ERR_OK, "%s", note.text);
    cr_expect(state_of("bravo").up, "the old pair stays until the new one is complete");
    complete();
    cr_expect_eq(state_of("bravo").peer_epoch, 7);
}

Test(keying, a_point_or_nonce_of_ours_is_a_reflection)
{
    memcpy(bravo.bundle.nonce, one.published.nonce, sizeof(bravo.bundle.nonce));
    one_peer_sign(&bravo);
    cr_expect_eq(one_hear_bundle(&one, &bravo, &note), ERR_OK, "well formed and signed");
    cr_expect_eq(one.installs, 0);
    cr_expect_not_null(strstr(state_of("bravo").problem, "no keys can be derived"), "%s", state_of("bravo").problem);
}

// ---- words

Test(keying, words_that_are_refused)
{
    uint8_t body[PAIR_ACK_BYTES];

    cr_assert_eq(one_hear_bundle(&one, &bravo, &note), ERR_OK);
    one_peer_word(&one, &bravo, DERIVE_ACK, body);
    cr_expect_eq(keying_on_pair(one.keying, "bravo", body, sizeof(body) - 1, &note), ERR_MALFORMED);
    cr_expect_eq(keying_on_pair(one.keying, "zulu", body, sizeof(body), &note), ERR_DENIED);
    body[sizeof(body) - 1] ^= 1;
    cr_expect_eq(keying_on_pair(one.keying, "bravo", body, sizeof(body), &note), ERR_CRYPTO);
    cr_expect_not_null(strstr(state_of("bravo").problem, "other keys"), "%s", state_of("bravo").problem);
    body[sizeof(body) - 1] ^= 1;
    body[20] ^= 1; // an epoch
    cr_expect_eq(keying_on_pair(one.keying, "bravo", body, sizeof(body), &note), ERR_STALE);
    cr_expect_eq(keying_counters(one.keying)->acks_refused, 3);
    cr_expect_eq(keying_counters(one.keying)->acks_stale, 1);
    cr_expect_eq(one.switches, 0);
}

Test(keying, its_own_word_does_not_count)
{
    cr_assert_eq(one_hear_bundle(&one, &bravo, &note), ERR_OK);
    cr_assert_eq(one.word_len, PAIR_ACK_BYTES);
    cr_expect_eq(keying_on_pair(one.keying, "bravo", one.word, one.word_len, &note), ERR_STALE);
    cr_expect_eq(one.switches, 0);
}

Test(keying, done_before_ack_is_nothing)
{
    uint8_t body[PAIR_ACK_BYTES];

    cr_assert_eq(one_hear_bundle(&one, &bravo, &note), ERR_OK);
    one_peer_word(&one, &bravo, DERIVE_DONE, body);
    cr_expect_eq(keying_on_pair(one.keying, "bravo", body, sizeof(body), &note), ERR_OK);
    cr_expect_eq(one.switches, 0);
}

Test(keying, repeated_words_are_not_answered_without_end)
{
    uint8_t body[PAIR_ACK_BYTES];

    cr_assert_eq(one_hear_bundle(&one, &bravo, &note), ERR_OK);
    complete();
    unsigned words = one.words;
    one_peer_word(&one, &bravo, DERIVE_DONE, body);
    for (unsigned i = 0; i < 1000; i++)
        cr_assert_eq(keying_on_pair(one.keying, "bravo", body, sizeof(body), &note), ERR_OK);
    cr_expect_leq(one.words, words + 1);
}

// ---- slices

Test(keying, slices_that_do_not_fit_the_certificates)
{
    cr_assert_eq(one_hear_bundle(&one, &bravo, &note), ERR_OK);
    complete();
    cr_expect_eq(one_slice(&one, "bravo", 2, "192.0.2.99", NULL, &note), ERR_IDENTITY);
    cr_expect_not_null(strstr(note.text, "192.0.2.99"), "%s", note.text);
    cr_expect_eq(one_slice(&one, "bravo", 3, "192.0.2.2", NULL, &note), ERR_IDENTITY);
    cr_expect_not_null(strstr(note.text, "slot"), "%s", note.text);
    cr_expect(state_of("bravo").up, "the old slice is in force");
}

Test(keying, an_address_outside_the_certificate_makes_no_pair)
{
    cr_assert_eq(one_slice(&one, "bravo", 2, "192.0.2.99", NULL, &note), ERR_OK, "nothing is known of it yet");
    cr_expect_eq(one_hear_bundle(&one, &bravo, &note), ERR_OK);
    cr_expect_eq(one.installs, 0);
    cr_expect_not_null(strstr(state_of("bravo").problem, "192.0.2.99"), "%s", state_of("bravo").problem);
}

Test(keying, a_slice_for_another_host)
{
    Twofold__V1__Slice slice = TWOFOLD__V1__SLICE__INIT;
    Twofold__V1__Settings settings = TWOFOLD__V1__SETTINGS__INIT;

    cr_expect_eq(keying_set_slice(one.keying, &slice, &note), ERR_MALFORMED);
    slice.settings = &settings;
    settings.host = (char *)"zulu";
    settings.trust_domain = (char *)"example.org";
    settings.rekey_seconds = 60;
    cr_expect_eq(keying_set_slice(one.keying, &slice, &note), ERR_IDENTITY);
    settings.host = (char *)"alpha";
    settings.trust_domain = (char *)"example.net";
    cr_expect_eq(keying_set_slice(one.keying, &slice, &note), ERR_IDENTITY);
    settings.trust_domain = (char *)"example.org";
    settings.rekey_seconds = 1;
    cr_expect_eq(keying_set_slice(one.keying, &slice, &note), ERR_MALFORMED);
}

Test(keying, a_peer_that_is_gone_loses_its_sas_at_once)
{
    cr_assert_eq(one_hear_bundle(&one, &bravo, &note), ERR_OK);
    complete();
    cr_assert_eq(one_slice(&one, "charlie", 3, "192.0.2.3", "bravo", &note), ERR_OK, "%s", note.text);
    cr_expect_eq(one.removes, 2);
    cr_expect_eq(keying_counters(one.keying)->pairs_burned, 1);
}

Test(keying, the_same_slice_again_changes_nothing)
{
    cr_assert_eq(one_hear_bundle(&one, &bravo, &note), ERR_OK);
    complete();
    unsigned installs = one.installs, publishes = one.publishes;
    cr_assert_eq(one_slice(&one, "bravo", 2, "192.0.2.2", NULL, &note), ERR_OK);
    one_wait(&one, 5000);
    cr_expect_eq(one.installs, installs);
    cr_expect_eq(one.removes, 0);
    cr_expect_eq(one.publishes, publishes);
    cr_expect(state_of("bravo").up);
}

// ---- the identity

Test(keying, identities_that_do_not_fit)
{
    struct pki_leaf other;
    struct cert_facts *facts = calloc(1, sizeof(*facts));

    pki_facts("spiffe://example.org/host/alpha", facts);
    facts->slot = 1;
    pki_leaf(&one.pki, facts, &other);
    cr_expect_eq(keying_set_identity(one.keying, one.leaf.key, other.der, other.len, &note), ERR_IDENTITY,
                 "another key");
    cr_expect_eq(keying_set_identity(one.keying, bravo.leaf.key, bravo.leaf.der, bravo.leaf.len, &note), ERR_IDENTITY,
                 "another host");
    cr_expect_neq(keying_set_identity(one.keying, one.leaf.key, one.leaf.der, one.leaf.len - 1, &note), ERR_OK);
    pki_leaf_free(&other);
    free(facts);
}

// ---- a kernel that refuses

Test(keying, what_the_kernel_refuses_is_told_and_tried_again)
{
    one.install_err = ERR_KERNEL;
    cr_assert_eq(one_hear_bundle(&one, &bravo, &note), ERR_OK);
    cr_expect_eq(one.words, 0, "nothing is offered that is not there");
    cr_expect_not_null(strstr(state_of("bravo").problem, "refused an inbound SA"), "%s", state_of("bravo").problem);
    cr_expect_gt(keying_counters(one.keying)->kernel_errors, 0);
    one.install_err = ERR_OK;
    one_wait(&one, 3000);
    cr_expect_eq(one.installs, 1);
    cr_expect_gt(one.words, 0);
    one.switch_err = ERR_KERNEL;
    complete();
    cr_expect_not(state_of("bravo").up);
    one.switch_err = ERR_OK;
    one_wait(&one, 3000);
    cr_expect(state_of("bravo").up);
    complete();
    one_wait(&one, 1000);
    cr_expect_str_eq(state_of("bravo").problem, "");
    one.usage_err = ERR_KERNEL;
    one_wait(&one, 12000);
    cr_expect_not_null(strstr(state_of("bravo").problem, "how much"), "%s", state_of("bravo").problem);
    one.usage_err = ERR_OK;
    one_wait(&one, 12000);
    cr_expect_str_eq(state_of("bravo").problem, "");
}

Test(keying, a_number_that_is_taken_means_another_epoch)
{
    uint64_t epoch = one.published.epoch;

    one.install_err = ERR_EXISTS;
    cr_assert_eq(one_hear_bundle(&one, &bravo, &note), ERR_OK);
    one.install_err = ERR_OK;
    one_wait(&one, 40000);
    cr_expect_gt(one.published.epoch, epoch);
    complete();
    cr_expect(state_of("bravo").up);
    cr_expect_eq(state_of("bravo").local_epoch, one.published.epoch);
}

// ---- what is kept

Test(keying, epochs_survive_a_restart_and_a_clock_that_went_back)
{
    uint64_t epoch = one.published.epoch;
    struct keying_config config = one.keying->config;

    cr_assert_eq(one_hear_bundle(&one, &bravo, &note), ERR_OK);
    keying_free(one.keying);
    one.unix_s -= 600;
    cr_assert_eq(keying_new(&config, &one.keying, &note), ERR_OK, "%s", note.text);
    cr_assert_eq(keying_set_identity(one.keying, one.leaf.key, one.leaf.der, one.leaf.len, &note), ERR_OK);
    cr_assert_eq(one_slice(&one, "bravo", 2, "192.0.2.2", NULL, &note), ERR_OK);
    keying_publish_again(one.keying);
    cr_expect_gt(one.published.epoch, epoch);
    cr_expect_eq(one.published.epoch & 63, (epoch + 1) & 63);
    bravo.bundle.epoch = 999;
    bravo.bundle.not_before -= 1000;
    one_peer_sign(&bravo);
    expect_refused(ERR_STALE, "older");
}

Test(keying, a_file_that_cannot_be_written_is_told_and_stops_nothing)
{
    struct keying_config config = one.keying->config;

    keying_free(one.keying);
    config.state_path = "/nonexistent/epochs";
    cr_assert_eq(keying_new(&config, &one.keying, &note), ERR_OK, "%s", note.text);
    cr_assert_eq(keying_set_identity(one.keying, one.leaf.key, one.leaf.der, one.leaf.len, &note), ERR_OK);
    cr_assert_eq(one_slice(&one, "bravo", 2, "192.0.2.2", NULL, &note), ERR_OK);
    keying_publish_again(one.keying);
    cr_assert_eq(one_hear_bundle(&one, &bravo, &note), ERR_OK);
    complete();
    cr_expect(state_of("bravo").up);
    cr_expect_not_null(strstr(state_of("bravo").problem, "not kept over a restart"), "%s", state_of("bravo").problem);
}
