// SPDX-License-Identifier: GPL-2.0-or-later
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/secret.h"
#include "proto/wire/bundle.h"

// Where the fields are for the host "web" (docs/wire.md).
enum offset {
    AT_SUITE = 18,
    AT_HOST_LEN = 20,
    AT_HOST = 21,
    AT_SIGNER = 24,
    AT_EPOCH = AT_SIGNER + 48,
    AT_SLOT = AT_EPOCH + 8,
    AT_POINT = AT_SLOT + 4,
    AT_NONCE = AT_POINT + 97,
    AT_NOT_BEFORE = AT_NONCE + 32,
    AT_NOT_AFTER = AT_NOT_BEFORE + 8,
    BLOB_BYTES = AT_NOT_AFTER + 8,
};

static struct bundle sample(void)
{
    struct bundle bundle = {
        .suite = BUNDLE_SUITE_ECP384_AES256GCM16,
        .host = "web",
        .epoch = 0x0102030405060708,
        .slot = 0x0a0b0c,
        .not_before = 1000,
        .not_after = 5000,
    };
    memset(bundle.signer_spki_sha384, 0x11, sizeof(bundle.signer_spki_sha384));
    memset(bundle.point, 0x22, sizeof(bundle.point));
    bundle.point[0] = 4;
    memset(bundle.nonce, 0x33, sizeof(bundle.nonce));
    return bundle;
}

static size_t encode(const struct bundle *bundle, uint8_t room[BUNDLE_BLOB_BYTES_MAX])
{
    size_t len = 0;
    cr_assert_eq(bundle_encode(bundle, room, BUNDLE_BLOB_BYTES_MAX, &len), ERR_OK);
    return len;
}

// From a heap copy of exactly this length, so that a sanitizer sees every byte read past its end.
static enum err decode(const uint8_t *blob, size_t len)
{
    struct bundle bundle, untouched;
    memset(&bundle, 0x5a, sizeof(bundle));
    untouched = bundle;
    uint8_t *copy = malloc(len ? len : 1);
    memcpy(copy, blob, len);
    enum err err = bundle_decode(copy, len, &bundle);
    free(copy);
    cr_expect_eq(err == ERR_OK, memcmp(&bundle, &untouched, sizeof(bundle)) != 0);
    return err;
}

Test(bundle, layout_is_as_documented)
{
    uint8_t blob[BUNDLE_BLOB_BYTES_MAX];
    struct bundle bundle = sample();
    cr_assert_eq(encode(&bundle, blob), BLOB_BYTES);
    cr_assert_eq(memcmp(blob, "Twofold-bundle-v1\0\0\1\3web", AT_SIGNER), 0);
    cr_assert_eq(blob[AT_SIGNER], 0x11);
    cr_assert_eq(blob[AT_EPOCH - 1], 0x11);
    cr_assert_eq(memcmp(blob + AT_EPOCH, "\1\2\3\4\5\6\7\x8", 8), 0);
    cr_assert_eq(memcmp(blob + AT_SLOT, "\0\x0a\x0b\x0c", 4), 0);
    cr_assert_eq(blob[AT_POINT], 4);
    cr_assert_eq(blob[AT_NONCE], 0x33);
    cr_assert_eq(memcmp(blob + AT_NOT_BEFORE, "\0\0\0\0\0\0\3\xe8\0\0\0\0\0\0\x13\x88", 16), 0);
}

Test(bundle, round_trip)
{
    uint8_t blob[BUNDLE_BLOB_BYTES_MAX], again[BUNDLE_BLOB_BYTES_MAX];
    struct bundle bundle = sample(), decoded;
    for (size_t host_len = 1; host_len <= NAME_MAX_BYTES; host_len++) {
        memset(bundle.host, 0, sizeof(bundle.host));
        memset(bundle.host, 'a', host_len);
        random_bytes(bundle.nonce, sizeof(bundle.nonce));
        random_bytes(&bundle.epoch, sizeof(bundle.epoch));
        bundle.epoch |= 1;
        size_t len = encode(&bundle, blob);
        cr_assert_eq(bundle_decode(blob, len, &decoded), ERR_OK);
        cr_assert_eq(memcmp(&bundle, &decoded, sizeof(bundle)), 0);
        cr_assert_eq(encode(&decoded, again), len);
        cr_assert_eq(memcmp(blob, again, len), 0);
    }
}

Test(bundle, every_other_length_is_refused)
{
    uint8_t blob[BUNDLE_BLOB_BYTES_MAX] = {0};
    struct bundle bundle = sample();
    size_t len = encode(&bundle, blob);
    for (size_t cut = 0; cut < len; cut++)
        cr_expect_eq(decode(blob, cut), ERR_MALFORMED);
    cr_expect_eq(decode(blob, len), ERR_OK);
    cr_expect_eq(decode(blob, len + 1), ERR_MALFORMED);
    cr_expect_eq(decode(blob, sizeof(blob)), ERR_MALFORMED);
}

struct change {
    size_t at;
    const char *bytes;
    size_t len;
    enum err err;
};

Test(bundle, each_field_is_checked)
{
    static const struct change changes[] = {
        {0, "t", 1, ERR_UNSUPPORTED},                              // another label
        {16, "2", 1, ERR_UNSUPPORTED},                             // another version
        {17, "x", 1, ERR_UNSUPPORTED},                             // its end
        {AT_SUITE, "\0\0", 2, ERR_UNSUPPORTED},                    // no suite
        {AT_SUITE, "\0\2", 2, ERR_UNSUPPORTED},                    // another suite
        {AT_SUITE, "\1\1", 2, ERR_UNSUPPORTED},                    // its high byte
        {AT_HOST_LEN, "\0", 1, ERR_MALFORMED},                     // no host
        {AT_HOST_LEN, "\2", 1, ERR_MALFORMED},                     // what follows shifts
        {AT_HOST_LEN, "\x40", 1, ERR_MALFORMED},                   // longer than a name
        {AT_HOST_LEN, "\xff", 1, ERR_MALFORMED},                   //
        {AT_HOST, "WEB", 3, ERR_MALFORMED},                        // no name
        {AT_HOST, "w\0b", 3, ERR_MALFORMED},                       // a zero byte in it
        {AT_EPOCH, "\0\0\0\0\0\0\0\0", 8, ERR_MALFORMED},          //
        {AT_SLOT, "\0\0\0\0", 4, ERR_MALFORMED},                   //
        {AT_SLOT, "\0\x10\0\0", 4, ERR_MALFORMED},                 // 2^20
        {AT_SLOT, "\xff\xff\xff\xff", 4, ERR_MALFORMED},           //
        {AT_POINT, "\2", 1, ERR_MALFORMED},                        // a compressed point
        {AT_POINT, "\0", 1, ERR_MALFORMED},                        // infinity
        {AT_NOT_BEFORE, "\0\0\0\0\0\0\x13\x88", 8, ERR_MALFORMED}, // ends as it begins
        {AT_NOT_BEFORE, "\xff\xff\xff\xff\xff\xff\xff\xff", 8, ERR_MALFORMED},
    };
    struct bundle bundle = sample();
    for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
        uint8_t blob[BUNDLE_BLOB_BYTES_MAX];
        size_t len = encode(&bundle, blob);
        memcpy(blob + changes[i].at, changes[i].bytes, changes[i].len);
        cr_expect_eq(decode(blob, len), changes[i].err, "change %zu", i);
    }
}

Test(bundle, what_would_be_refused_is_not_encoded)
{
    uint8_t room[BUNDLE_BLOB_BYTES_MAX];
    struct bundle good = sample(), bad;
    size_t len = 77;
    bad = good, bad.suite = 2;
    cr_expect_eq(bundle_encode(&bad, room, sizeof(room), &len), ERR_UNSUPPORTED);
    bad = good, bad.host[0] = '\0';
    cr_expect_eq(bundle_encode(&bad, room, sizeof(room), &len), ERR_MALFORMED);
    bad = good, memset(bad.host, 'a', sizeof(bad.host)); // without an end
    cr_expect_eq(bundle_encode(&bad, room, sizeof(room), &len), ERR_MALFORMED);
    bad = good, bad.epoch = 0;
    cr_expect_eq(bundle_encode(&bad, room, sizeof(room), &len), ERR_MALFORMED);
    bad = good, bad.slot = 0;
    cr_expect_eq(bundle_encode(&bad, room, sizeof(room), &len), ERR_MALFORMED);
    bad = good, bad.slot = 1u << 20;
    cr_expect_eq(bundle_encode(&bad, room, sizeof(room), &len), ERR_MALFORMED);
    bad = good, bad.point[0] = 3;
    cr_expect_eq(bundle_encode(&bad, room, sizeof(room), &len), ERR_MALFORMED);
    bad = good, bad.not_after = bad.not_before;
    cr_expect_eq(bundle_encode(&bad, room, sizeof(room), &len), ERR_MALFORMED);
    cr_expect_eq(bundle_encode(&good, room, BLOB_BYTES - 1, &len), ERR_LIMIT);
    cr_expect_eq(len, 77);
    cr_expect_eq(bundle_encode(&good, room, BLOB_BYTES, &len), ERR_OK);
    cr_expect_eq(len, BLOB_BYTES);
}

Test(pair_ack, layout_and_round_trip)
{
    uint8_t bytes[PAIR_ACK_BYTES + 1] = {0};
    struct pair_ack ack = {.sender_epoch = 0x0102030405060708, .receiver_epoch = 0x1112131415161718}, decoded;
    memset(ack.mac, 0x44, sizeof(ack.mac));
    pair_ack_encode(&ack, bytes);
    cr_assert_eq(memcmp(bytes, "Twofold-ack-v1\0\1\2\3\4\5\6\7\x8\x11\x12\x13\x14\x15\x16\x17\x18\x44", 32), 0);
    cr_assert_eq(bytes[PAIR_ACK_BYTES - 1], 0x44);
    cr_assert_eq(bytes[PAIR_ACK_BYTES], 0);
    cr_assert_eq(pair_ack_decode(bytes, PAIR_ACK_BYTES, &decoded), ERR_OK);
    cr_assert_eq(memcmp(&ack, &decoded, sizeof(ack)), 0);
}

Test(pair_ack, another_length_or_version_is_refused)
{
    uint8_t bytes[PAIR_ACK_BYTES + 1] = {0};
    struct pair_ack ack = {.sender_epoch = 1, .receiver_epoch = 2}, decoded = {0};
    pair_ack_encode(&ack, bytes);
    for (size_t len = 0; len <= sizeof(bytes); len++)
        cr_expect_eq(pair_ack_decode(bytes, len, &decoded), len == PAIR_ACK_BYTES ? ERR_OK : ERR_MALFORMED);
    for (size_t at = 0; at < sizeof("Twofold-ack-v1"); at++) {
        bytes[at] ^= 0x20;
        cr_expect_eq(pair_ack_decode(bytes, PAIR_ACK_BYTES, &decoded), ERR_UNSUPPORTED);
        bytes[at] ^= 0x20;
    }
    cr_expect_eq(decoded.receiver_epoch, 2);
}
