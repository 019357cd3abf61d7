// SPDX-License-Identifier: GPL-2.0-or-later
#include <criterion/criterion.h>
#include <string.h>

#include "proto/base/text.h"

Test(text, hex)
{
    char text[7];
    uint8_t bytes[3];
    hex_encode("\x00\xab\xff", 3, text);
    cr_assert_str_eq(text, "00abff");
    cr_assert_eq(hex_decode(text, bytes, 3), ERR_OK);
    cr_assert_eq(memcmp(bytes, "\x00\xab\xff", 3), 0);
    cr_assert_eq(hex_decode("00ABff", bytes, 3), ERR_MALFORMED);
    cr_assert_eq(hex_decode("00ab", bytes, 3), ERR_MALFORMED);
    cr_assert_eq(hex_decode("00abff00", bytes, 3), ERR_MALFORMED);
}

// RFC 4648, section 10, without padding.
Test(text, base64url_vectors)
{
    static const char *const rows[][2] = {
        {"", ""},           {"f", "Zg"},          {"fo", "Zm8"},          {"foo", "Zm9v"},
        {"foob", "Zm9vYg"}, {"fooba", "Zm9vYmE"}, {"foobar", "Zm9vYmFy"}, {"\xff\xfe", "__4"}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char text[16];
        uint8_t bytes[16];
        size_t len = 99;
        base64url_encode(rows[i][0], strlen(rows[i][0]), text);
        cr_assert_str_eq(text, rows[i][1]);
        cr_assert_eq(base64url_decode(text, bytes, sizeof(bytes), &len), ERR_OK);
        cr_assert_eq(len, strlen(rows[i][0]));
        cr_assert_eq(memcmp(bytes, rows[i][0], len), 0);
    }
}

Test(text, base64url_is_strict)
{
    static const char *const texts[] = {"A", "Zg==", "Zm+v", "Zm/v", "Zm 9", "Zh", "Zm9", "AAAAA"};
    uint8_t bytes[16];
    size_t len;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        cr_assert_eq(base64url_decode(texts[i], bytes, sizeof(bytes), &len), ERR_MALFORMED, "%s", texts[i]);
    cr_assert_eq(base64url_decode("Zm9vYmFy", bytes, 5, &len), ERR_LIMIT);
}

Test(text, decimals)
{
    uint64_t value;
    cr_assert_eq(decimal_parse("0", 10, &value), ERR_OK);
    cr_assert_eq(value, 0);
    cr_assert_eq(decimal_parse("18446744073709551615", UINT64_MAX, &value), ERR_OK);
    cr_assert_eq(value, UINT64_MAX);
    cr_assert_eq(decimal_parse("18446744073709551616", UINT64_MAX, &value), ERR_LIMIT);
    cr_assert_eq(decimal_parse("11", 10, &value), ERR_LIMIT);
    cr_assert_eq(decimal_parse("", 10, &value), ERR_MALFORMED);
    cr_assert_eq(decimal_parse("+1", 10, &value), ERR_MALFORMED);
    cr_assert_eq(decimal_parse("1x", 10, &value), ERR_MALFORMED);
}

Test(text, durations)
{
    uint64_t seconds;
    cr_assert_eq(duration_parse("90s", 3600, &seconds), ERR_OK);
    cr_assert_eq(seconds, 90);
    cr_assert_eq(duration_parse("2m", 3600, &seconds), ERR_OK);
    cr_assert_eq(seconds, 120);
    cr_assert_eq(duration_parse("1h", 3600, &seconds), ERR_OK);
    cr_assert_eq(seconds, 3600);
    cr_assert_eq(duration_parse("1d", 3600, &seconds), ERR_LIMIT);
    cr_assert_eq(duration_parse("5", 3600, &seconds), ERR_MALFORMED);
    cr_assert_eq(duration_parse("h", 3600, &seconds), ERR_MALFORMED);
    cr_assert_eq(duration_parse("5ms", 3600, &seconds), ERR_MALFORMED);
}
