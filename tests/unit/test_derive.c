// SPDX-License-Identifier: GPL-2.0-or-later
#include <criterion/criterion.h>
#include <string.h>

#include "agent/network/derive.h"
#include "agent/network/pair.h"
#include "tests/unit/vectors/keying_vectors.h"

struct two {
    struct derive_key *low_key;
    struct derive_key *high_key;
    struct bundle low;
    struct bundle high;
    struct derive_path v4; // as the low end sees it
    struct derive_path v6;
};

static struct ip ip(const char *text)
{
    struct ip ip;
    cr_assert_eq(ip_parse(text, &ip), ERR_OK);
    return ip;
}

static void two_init(struct two *two)
{
    cr_assert_eq(derive_key_import(vector_low_scalar, &two->low_key), ERR_OK);
    cr_assert_eq(derive_key_import(vector_high_scalar, &two->high_key), ERR_OK);
    cr_assert_eq(bundle_decode(vector_low_blob, sizeof(vector_low_blob), &two->low), ERR_OK);
    cr_assert_eq(bundle_decode(vector_high_blob, sizeof(vector_high_blob), &two->high), ERR_OK);
    two->v4 = (struct derive_path){ip("192.0.2.10"), ip("192.0.2.20")};
    two->v6 = (struct derive_path){ip("2001:db8::10"), ip("2001:db8::20")};
}

static void two_free(struct two *two)
{
    derive_key_free(two->low_key);
    derive_key_free(two->high_key);
}

static struct derive_path swapped(struct derive_path path)
{
    return (struct derive_path){.local = path.peer, .peer = path.local};
}

static struct derive_input as_low(const struct two *two)
{
    return (struct derive_input){
        .local = {vector_low_blob, sizeof(vector_low_blob), &two->low},
        .peer = {vector_high_blob, sizeof(vector_high_blob), &two->high},
        .path_count = 2,
        .paths = {two->v4, two->v6},
    };
}

static struct derive_input as_high(const struct two *two)
{
    return (struct derive_input){
        .local = {vector_high_blob, sizeof(vector_high_blob), &two->high},
        .peer = {vector_low_blob, sizeof(vector_low_blob), &two->low},
        .path_count = 2,
        .paths = {swapped(two->v4), swapped(two->v6)},
    };
}

#define EXPECT(bytes, vector)                                                                              \
    do {                                                                                                   \
        cr_assert_eq(sizeof(bytes), sizeof(vector));                                                       \
        cr_expect_eq(memcmp((bytes), (vector), sizeof(vector)), 0, "%s differs from %s", #bytes, #vector); \
    } while (0)

Test(derive, points_are_those_of_the_vectors)
{
    struct two two;
    uint8_t point[BUNDLE_POINT_BYTES];

    two_init(&two);
    derive_key_point(two.low_key, point);
    EXPECT(point, two.low.point);
    derive_key_point(two.high_key, point);
    EXPECT(point, two.high.point);
    two_free(&two);
}

Test(derive, both_ends_get_the_vectors_keys)
{
    struct two two;
    struct derive_secrets low, high;

    two_init(&two);
    struct derive_input low_input = as_low(&two), high_input = as_high(&two);
    cr_assert_eq(derive_secrets(two.low_key, &low_input, &low), ERR_OK);
    cr_assert_eq(derive_secrets(two.high_key, &high_input, &high), ERR_OK);
    EXPECT(low.transcript, vector_transcript);
    EXPECT(high.transcript, vector_transcript);
    EXPECT(low.outbound[0], vector_low_to_high_v4);
    EXPECT(low.outbound[1], vector_low_to_high_v6);
    EXPECT(low.inbound[0], vector_high_to_low_v4);
    EXPECT(low.inbound[1], vector_high_to_low_v6);
    EXPECT(high.inbound[0], vector_low_to_high_v4);
    EXPECT(high.inbound[1], vector_low_to_high_v6);
    EXPECT(high.outbound[0], vector_high_to_low_v4);
    EXPECT(high.outbound[1], vector_high_to_low_v6);
    two_free(&two);
}

Test(derive, words_are_the_vectors)
{
    struct two two;
    struct derive_secrets low, high;
    uint8_t mac[DIGEST_BYTES];

    two_init(&two);
    struct derive_input low_input = as_low(&two), high_input = as_high(&two);
    cr_assert_eq(derive_secrets(two.low_key, &low_input, &low), ERR_OK);
    cr_assert_eq(derive_secrets(two.high_key, &high_input, &high), ERR_OK);
    derive_confirm(&low, &low_input, DERIVE_ACK, true, mac);
    EXPECT(mac, vector_low_to_high_ack);
    derive_confirm(&high, &high_input, DERIVE_ACK, false, mac);
    EXPECT(mac, vector_low_to_high_ack);
    derive_confirm(&low, &low_input, DERIVE_DONE, true, mac);
    EXPECT(mac, vector_low_to_high_done);
    derive_confirm(&high, &high_input, DERIVE_ACK, true, mac);
    EXPECT(mac, vector_high_to_low_ack);
    derive_confirm(&high, &high_input, DERIVE_DONE, true, mac);
    EXPECT(mac, vector_high_to_low_done);
    derive_confirm(&low, &low_input, DERIVE_DONE, false, mac);
    EXPECT(mac, vector_high_to_low_done);
    two_free(&two);
}

Test(derive, numbers_of_sas_are_the_vectors)
{
    struct two two;

    two_init(&two);
    cr_expect_eq(derive_spi(two.low.slot, two.high.epoch, two.low.epoch), VECTOR_LOW_TO_HIGH_SPI);
    cr_expect_eq(derive_spi(two.high.slot, two.low.epoch, two.high.epoch), VECTOR_HIGH_TO_LOW_SPI);
    cr_expect_geq(derive_spi(1, 64, 64), 256);
    two_free(&two);
}

// Each part of what goes in changes every key.
Test(derive, everything_counts)
{
    struct two two;
    struct derive_secrets before, after;

    two_init(&two);
    struct derive_input input = as_low(&two);
    cr_assert_eq(derive_secrets(two.low_key, &input, &before), ERR_OK);

    input.paths[0].peer = ip("192.0.2.21");
    cr_assert_eq(derive_secrets(two.low_key, &input, &after), ERR_OK);
    cr_expect_neq(memcmp(before.outbound[0], after.outbound[0], SA_KEY_BYTES), 0, "the destination does not count");
    cr_expect_neq(memcmp(before.inbound[0], after.inbound[0], SA_KEY_BYTES), 0, "the source does not count");

    input = as_low(&two);
    uint8_t blob[sizeof(vector_high_blob)];
    memcpy(blob, vector_high_blob, sizeof(blob));
    blob[sizeof(blob) - 1] ^= 1; // the last second of its validity
    input.peer.blob = blob;
    cr_assert_eq(derive_secrets(two.low_key, &input, &after), ERR_OK);
    cr_expect_neq(memcmp(before.outbound[0], after.outbound[0], SA_KEY_BYTES), 0, "the blob does not count");

    input = as_low(&two);
    struct bundle later = two.high;
    later.epoch++;
    input.peer.bundle = &later;
    cr_assert_eq(derive_secrets(two.low_key, &input, &after), ERR_OK);
    cr_expect_neq(memcmp(before.outbound[0], after.outbound[0], SA_KEY_BYTES), 0, "the SPI does not count");

    for (size_t i = 0; i < 2; i++)
        for (size_t j = 0; j < 2; j++)
            cr_expect_neq(memcmp(before.outbound[i], before.inbound[j], SA_KEY_BYTES), 0,
                          "both directions have one key");
    cr_expect_neq(memcmp(before.outbound[0], before.outbound[1], SA_KEY_BYTES), 0, "both families have one key");
    two_free(&two);
}

Test(derive, a_host_does_not_pair_with_itself)
{
    struct two two;
    struct derive_secrets secrets;

    two_init(&two);
    struct derive_input input = as_low(&two);
    struct bundle other;

    input.peer = input.local;
    cr_expect_eq(derive_secrets(two.low_key, &input, &secrets), ERR_IDENTITY);

    input = as_low(&two);
    input.peer.bundle = &other;
    other = two.high;
    memcpy(other.point, two.low.point, sizeof(other.point));
    cr_expect_eq(derive_secrets(two.low_key, &input, &secrets), ERR_IDENTITY, "own point");
    other = two.high;
    memcpy(other.nonce, two.low.nonce, sizeof(other.nonce));
    cr_expect_eq(derive_secrets(two.low_key, &input, &secrets), ERR_IDENTITY, "own nonce");
    other = two.high;
    other.slot = two.low.slot;
    cr_expect_eq(derive_secrets(two.low_key, &input, &secrets), ERR_IDENTITY, "own slot");
    two_free(&two);
}

Test(derive, bad_points_are_refused)
{
    struct two two;
    uint8_t point[BUNDLE_POINT_BYTES];

    two_init(&two);
    cr_expect_eq(derive_check_point(two.low.point), ERR_OK);
    memcpy(point, two.low.point, sizeof(point));
    point[96] ^= 1;
    cr_expect_eq(derive_check_point(point), ERR_CRYPTO, "not on the curve");
    memset(point + 1, 0, 96);
    cr_expect_eq(derive_check_point(point), ERR_CRYPTO, "zero");
    memcpy(point, two.low.point, sizeof(point));
    point[0] = 2;
    cr_expect_eq(derive_check_point(point), ERR_CRYPTO, "compressed");
    point[0] = 0;
    cr_expect_eq(derive_check_point(point), ERR_CRYPTO, "infinity");
    memset(point + 1, 0xff, 96);
    point[0] = 4;
    cr_expect_eq(derive_check_point(point), ERR_CRYPTO, "coordinates beyond the field");
    two_free(&two);
}

Test(derive, the_prime_is_no_coordinate)
{

    static const uint8_t prime[48] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                                      0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                                      0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe, 0xff, 0xff, 0xff, 0xff,
                                      0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff};
    uint8_t point[BUNDLE_POINT_BYTES] = {4};

    memcpy(point + 1, prime, sizeof(prime));
    memcpy(point + 49, prime, sizeof(prime));
    cr_expect_eq(derive_check_point(point), ERR_CRYPTO);
}

Test(derive, scalars_out_of_range_are_refused)
{
    uint8_t scalar[DERIVE_SCALAR_BYTES] = {0};
    struct derive_key *key;

    cr_expect_eq(derive_key_import(scalar, &key), ERR_INVALID, "zero");
    memset(scalar, 0xff, sizeof(scalar));
    cr_expect_eq(derive_key_import(scalar, &key), ERR_INVALID, "beyond the order");
}

// ---- pair.h

Test(pair, the_leading_end_switches_first)
{
    enum pair_state low = PAIR_NEW, high = PAIR_NEW;

    cr_expect_eq(pair_next(true, low, PAIR_ACK), PAIR_NEW, "nothing before the inbound SAs are there");
    cr_expect_eq(pair_next(false, high, PAIR_DONE), PAIR_NEW);
    low = pair_next(true, low, PAIR_INSTALLED);
    high = pair_next(false, high, PAIR_INSTALLED);
    cr_expect_eq(pair_next(true, low, PAIR_DONE), PAIR_OFFERED, "the end that follows cannot be done first");
    cr_expect_eq(pair_next(false, high, PAIR_DONE), PAIR_OFFERED);
    cr_expect_eq(high = pair_next(false, high, PAIR_ACK), PAIR_ANSWERED);
    cr_expect_eq(low = pair_next(true, low, PAIR_ACK), PAIR_READY);
    cr_expect_eq(low = pair_next(true, low, PAIR_POINTED), PAIR_SWITCHED);
    cr_expect_eq(high = pair_next(false, high, PAIR_DONE), PAIR_READY);
    cr_expect_eq(high = pair_next(false, high, PAIR_POINTED), PAIR_COMPLETE);
    cr_expect_eq(low = pair_next(true, low, PAIR_DONE), PAIR_COMPLETE);
    for (enum pair_event event = PAIR_INSTALLED; event <= PAIR_POINTED; event++) {
        cr_expect_eq(pair_next(true, low, event), PAIR_COMPLETE);
        cr_expect_eq(pair_next(false, high, event), PAIR_COMPLETE);
    }
}

Test(pair, words_of_others_are_refused)
{
    struct two two;
    struct derive_secrets low_secrets, high_secrets;
    struct pair low, high;
    struct pair_ack ack;
    uint8_t body[PAIR_ACK_BYTES];
    enum derive_word word;

    two_init(&two);
    struct derive_input low_input = as_low(&two), high_input = as_high(&two);
    cr_assert_eq(pair_make(two.low_key, &low_input, &low_secrets, &low), ERR_OK);
    cr_assert_eq(pair_make(two.high_key, &high_input, &high_secrets, &high), ERR_OK);
    cr_expect(low.leads);
    cr_expect_not(high.leads);
    cr_expect_eq(low.outbound_spi, high.inbound_spi);
    cr_expect_eq(low.inbound_spi, high.outbound_spi);

    pair_say(&low, DERIVE_ACK, body);
    cr_assert_eq(pair_ack_decode(body, sizeof(body), &ack), ERR_OK);
    cr_expect_eq(ack.sender_epoch, two.low.epoch);
    cr_expect_eq(ack.receiver_epoch, two.high.epoch);
    cr_expect_eq(pair_hear(&high, &ack, &word), ERR_OK);
    cr_expect_eq(word, DERIVE_ACK);
    cr_expect_eq(pair_hear(&low, &ack, &word), ERR_CRYPTO, "its own word came back");
    ack.mac[47] ^= 1;
    cr_expect_eq(pair_hear(&high, &ack, &word), ERR_CRYPTO);

    pair_say(&high, DERIVE_DONE, body);
    cr_assert_eq(pair_ack_decode(body, sizeof(body), &ack), ERR_OK);
    cr_expect_eq(pair_hear(&low, &ack, &word), ERR_OK);
    cr_expect_eq(word, DERIVE_DONE);
    two_free(&two);
}
