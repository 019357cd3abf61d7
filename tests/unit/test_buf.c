// SPDX-License-Identifier: GPL-2.0-or-later
#include <criterion/criterion.h>
#include <string.h>

#include "proto/base/buf.h"

Test(buf, keeps_its_bound)
{
    struct buf buf;
    buf_init(&buf, 8);
    cr_assert_eq(buf_append(&buf, "12345", 5), ERR_OK);
    cr_assert_eq(buf_append(&buf, "6789", 4), ERR_LIMIT);
    cr_assert_eq(buf.len, 5);
    cr_assert_eq(buf_append(&buf, "678", 3), ERR_OK);
    cr_assert_eq(memcmp(buf_bytes(&buf), "12345678", 8), 0);
    buf_consume(&buf, 6);
    cr_assert_eq(buf_append(&buf, "abcdef", 6), ERR_OK);
    cr_assert_eq(memcmp(buf_bytes(&buf), "78abcdef", 8), 0);
    buf_free(&buf);
    cr_assert_eq(buf.limit, 8);
}

Test(buf, content_survives_growth_and_consumption)
{
    struct buf buf;
    buf_init(&buf, 1 << 20);
    uint8_t next_in = 0, next_out = 0;
    for (unsigned round = 0; round < 2000; round++) {
        for (unsigned i = 0; i < round % 97; i++)
            cr_assert_eq(buf_append_u8(&buf, next_in++), ERR_OK);
        for (unsigned i = 0; i < round % 89 && buf.len; i++) {
            cr_assert_eq(*buf_bytes(&buf), next_out++);
            buf_consume(&buf, 1);
        }
    }
    while (buf.len) {
        cr_assert_eq(*buf_bytes(&buf), next_out++);
        buf_consume(&buf, 1);
    }
    cr_assert_eq(next_in, next_out);
    buf_shrink(&buf);
    cr_assert_null(buf.data);
}

Test(buf, numbers_are_in_network_order)
{
    struct buf buf;
    buf_init(&buf, 64);
    cr_assert_eq(buf_append_u16(&buf, 0x0102), ERR_OK);
    cr_assert_eq(buf_append_u32(&buf, 0x03040506), ERR_OK);
    cr_assert_eq(buf_append_u64(&buf, 0x0708090a0b0c0d0eULL), ERR_OK);
    cr_assert_eq(buf_append_text(&buf, "%s-%d", "x", 7), ERR_OK);
    cr_assert_eq(buf.len, 17);
    cr_assert_eq(memcmp(buf_bytes(&buf), "\1\2\3\4\5\6\7\10\11\12\13\14\15\16x-7", 17), 0);
    struct cursor cursor = {buf_bytes(&buf), 14};
    uint16_t a;
    uint32_t b;
    uint64_t c;
    uint8_t d;
    cr_assert_eq(cursor_u16(&cursor, &a), ERR_OK);
    cr_assert_eq(cursor_u32(&cursor, &b), ERR_OK);
    cr_assert_eq(cursor_u64(&cursor, &c), ERR_OK);
    cr_assert_eq(a, 0x0102);
    cr_assert_eq(b, 0x03040506);
    cr_assert_eq(c, 0x0708090a0b0c0d0eULL);
    cr_assert_eq(cursor_u8(&cursor, &d), ERR_MALFORMED);
    buf_free_secret(&buf);
}

Test(cursor, stays_when_too_little_is_left)
{
    struct cursor cursor = {(const uint8_t *)"abc", 3};
    const uint8_t *bytes;
    uint32_t number;
    cr_assert_eq(cursor_u32(&cursor, &number), ERR_MALFORMED);
    cr_assert_eq(cursor.left, 3);
    cr_assert_eq(cursor_bytes(&cursor, 4, &bytes), ERR_MALFORMED);
    cr_assert_eq(cursor_bytes(&cursor, SIZE_MAX, &bytes), ERR_MALFORMED);
    cr_assert_eq(cursor_bytes(&cursor, 3, &bytes), ERR_OK);
    cr_assert_eq(cursor.left, 0);
}
