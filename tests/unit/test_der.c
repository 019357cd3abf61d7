// SPDX-License-Identifier: GPL-2.0-or-later
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "proto/link/der.h"

#define BYTES(...) ((struct cursor){(const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__})})

static struct der_out out;

static void clear(void)
{
    memset(&out, 0, sizeof(out));
}

TestSuite(der, .init = clear);

static enum err read_any(struct cursor in)
{
    struct cursor content;
    uint8_t tag;
    return der_read_any(&in, &tag, &content, NULL);
}

Test(der, lengths_have_one_form)
{
    cr_expect_eq(read_any(BYTES(0x04, 0x01, 0xaa)), ERR_OK);
    cr_expect_eq(read_any(BYTES(0x04, 0x00)), ERR_OK);
    cr_expect_eq(read_any(BYTES(0x04, 0x81, 0x01, 0xaa)), ERR_MALFORMED); // would fit the short form
    cr_expect_eq(read_any(BYTES(0x04, 0x82, 0x00, 0x80)), ERR_MALFORMED); // leading zero
    cr_expect_eq(read_any(BYTES(0x30, 0x80, 0x00, 0x00)), ERR_MALFORMED); // indefinite
    cr_expect_eq(read_any(BYTES(0x04, 0x84, 0x01, 0x00, 0x00, 0x00)), ERR_MALFORMED);
    cr_expect_eq(read_any(BYTES(0x04, 0x02, 0xaa)), ERR_MALFORMED); // cut
    cr_expect_eq(read_any(BYTES(0x04)), ERR_MALFORMED);
    cr_expect_eq(read_any(BYTES(0x1f, 0x81, 0x00, 0x00)), ERR_MALFORMED); // tags beyond 30
    cr_expect_eq(read_any((struct cursor){NULL, 0}), ERR_MALFORMED);
}

Test(der, a_failed_read_leaves_the_cursor)
{
    struct cursor in = BYTES(0x02, 0x01, 0x05), content;
    const uint8_t *before = in.bytes;

    cr_expect_eq(der_read(&in, DER_OCTET_STRING, &content), ERR_MALFORMED);
    cr_expect_eq(in.bytes, before);
    cr_expect_eq(in.left, 3);
}

static enum err read_u32(struct cursor in, uint32_t *ret_value)
{
    return der_read_u32(&in, ret_value);
}

Test(der, integers_are_minimal_and_not_negative)
{
    uint32_t value = 0;

    cr_expect_eq(read_u32(BYTES(0x02, 0x01, 0x00), &value), ERR_OK);
    cr_expect_eq(value, 0);
    cr_expect_eq(read_u32(BYTES(0x02, 0x05, 0x00, 0xff, 0xff, 0xff, 0xff), &value), ERR_OK);
    cr_expect_eq(value, UINT32_MAX);
    cr_expect_eq(read_u32(BYTES(0x02, 0x01, 0x80), &value), ERR_MALFORMED);
    cr_expect_eq(read_u32(BYTES(0x02, 0x02, 0x00, 0x7f), &value), ERR_MALFORMED);
    cr_expect_eq(read_u32(BYTES(0x02, 0x00), &value), ERR_MALFORMED);
    cr_expect_eq(read_u32(BYTES(0x02, 0x05, 0x01, 0x00, 0x00, 0x00, 0x00), &value), ERR_MALFORMED);
    cr_expect_eq(value, UINT32_MAX);
}

Test(der, booleans_and_bits_are_strict)
{
    struct cursor in, bits;
    bool value;

    in = BYTES(0x01, 0x01, 0xff);
    cr_expect(der_read_boolean(&in, &value) == ERR_OK && value);
    in = BYTES(0x01, 0x01, 0x01);
    cr_expect_eq(der_read_boolean(&in, &value), ERR_MALFORMED);
    in = BYTES(0x03, 0x02, 0x00, 0xaa);
    cr_expect_eq(der_read_bits(&in, &bits), ERR_OK);
    in = BYTES(0x03, 0x02, 0x01, 0xaa);
    cr_expect_eq(der_read_bits(&in, &bits), ERR_MALFORMED);
    in = BYTES(0x03, 0x00);
    cr_expect_eq(der_read_bits(&in, &bits), ERR_MALFORMED);
    in = BYTES(0x06, 0x01, 0x80);
    cr_expect_eq(der_read_oid(&in, &bits), ERR_MALFORMED); // ends within an arc
}

static enum err read_time(uint8_t tag, const char *text, uint64_t *ret_unix)
{
    uint8_t bytes[32] = {tag, (uint8_t)strlen(text)};
    memcpy(bytes + 2, text, strlen(text));
    struct cursor in = {bytes, 2 + strlen(text)};
    return der_read_time(&in, ret_unix);
}

Test(der, times)
{
    uint64_t when = 0;

    cr_expect_eq(read_time(DER_UTC_TIME, "700101000000Z", &when), ERR_OK);
    cr_expect_eq(when, 0);
    cr_expect_eq(read_time(DER_UTC_TIME, "491231235959Z", &when), ERR_OK);
    cr_expect_eq(when, 2524607999);
    cr_expect_eq(read_time(DER_GENERALIZED_TIME, "20500101000000Z", &when), ERR_OK);
    cr_expect_eq(when, 2524608000);
    cr_expect_eq(read_time(DER_GENERALIZED_TIME, "20491231235959Z", &when), ERR_MALFORMED); // must be UTCTime
    cr_expect_eq(read_time(DER_UTC_TIME, "690101000000Z", &when), ERR_MALFORMED);           // before 1970
    cr_expect_eq(read_time(DER_UTC_TIME, "260230000000Z", &when), ERR_MALFORMED);           // no such day
    cr_expect_eq(read_time(DER_UTC_TIME, "261301000000Z", &when), ERR_MALFORMED);
    cr_expect_eq(read_time(DER_UTC_TIME, "2601010000Z", &when), ERR_MALFORMED);
    cr_expect_eq(read_time(DER_UTC_TIME, "260101000000+", &when), ERR_MALFORMED);
    cr_expect_eq(read_time(DER_UTC_TIME, "2601010000a0Z", &when), ERR_MALFORMED);
    cr_expect_eq(when, 2524608000);
}

Test(der, what_is_written_is_read)
{
    static const size_t sizes[] = {0, 1, 127, 128, 255, 256, 5000};
    static const uint64_t whens[] = {0, 1780000000, 2524607999, 2524608000, 4102444800};
    static uint8_t bytes[5000];

    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        clear();
        size_t outer = der_open(&out, DER_SEQUENCE);
        der_put(&out, DER_OCTET_STRING, bytes, sizes[i]);
        der_put_u32(&out, (uint32_t)sizes[i] << 7);
        der_put_bits(&out, bytes, sizes[i]);
        der_close(&out, outer);
        cr_assert_not(out.full);
        struct cursor in = {out.bytes, out.len}, content, value;
        uint32_t number;
        cr_assert_eq(der_read(&in, DER_SEQUENCE, &content), ERR_OK);
        cr_expect_eq(in.left, 0);
        cr_assert_eq(der_read(&content, DER_OCTET_STRING, &value), ERR_OK);
        cr_expect_eq(value.left, sizes[i]);
        cr_assert_eq(der_read_u32(&content, &number), ERR_OK);
        cr_expect_eq(number, sizes[i] << 7);
        cr_assert_eq(der_read_bits(&content, &value), ERR_OK);
        cr_expect_eq(value.left, sizes[i]);
        cr_expect_eq(content.left, 0);
    }
    for (size_t i = 0; i < sizeof(whens) / sizeof(whens[0]); i++) {
        clear();
        der_put_time(&out, whens[i]);
        struct cursor in = {out.bytes, out.len};
        uint64_t when;
        cr_assert_eq(der_read_time(&in, &when), ERR_OK);
        cr_expect_eq(when, whens[i]);
    }
}

Test(der, a_full_room_is_noticed_at_the_end)
{
    static uint8_t bytes[DER_OUT_BYTES];
    uint8_t *der;
    size_t len;

    size_t outer = der_open(&out, DER_SEQUENCE);
    der_put(&out, DER_OCTET_STRING, bytes, sizeof(bytes) - 3);
    der_put_u32(&out, 1);
    der_close(&out, outer);
    cr_expect(out.full);
    cr_expect_eq(der_take(&out, &der, &len), ERR_LIMIT);
}
