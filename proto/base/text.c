// SPDX-License-Identifier: GPL-2.0-or-later
#include "proto/base/text.h"

#include <string.h>

static const char hex_digits[] = "0123456789abcdef";
static const char base64url_digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

void hex_encode(const void *bytes, size_t len, char *ret_text)
{
    const uint8_t *in = bytes;

    for (size_t i = 0; i < len; i++) {
        *ret_text++ = hex_digits[in[i] >> 4];
        *ret_text++ = hex_digits[in[i] & 15];
    }
    *ret_text = '\0';
}

// The value of a digit in an alphabet of `count`, or `count` when it is none.
static unsigned digit_value(const char *digits, unsigned count, char c)
{
    const char *at = c ? memchr(digits, c, count) : NULL;
    return at ? (unsigned)(at - digits) : count;
}

enum err hex_decode(const char *text, uint8_t *ret_bytes, size_t len)
{
    if (strnlen(text, 2 * len + 1) != 2 * len)
        return ERR_MALFORMED;
    for (size_t i = 0; i < 2 * len; i++) {
        if (digit_value(hex_digits, 16, text[i]) == 16)
            return ERR_MALFORMED;
    }
    for (size_t i = 0; i < len; i++)
        ret_bytes[i] =
            (uint8_t)(digit_value(hex_digits, 16, text[2 * i]) << 4 | digit_value(hex_digits, 16, text[2 * i + 1]));
    return ERR_OK;
}

void base64url_encode(const void *bytes, size_t len, char *ret_text)
{
    const uint8_t *in = bytes;
    uint32_t bits = 0;
    unsigned held = 0;

    for (size_t i = 0; i < len; i++) {
        bits = bits << 8 | in[i];
        for (held += 8; held >= 6; held -= 6)
            *ret_text++ = base64url_digits[bits >> (held - 6) & 63];
    }
    if (held)
        *ret_text++ = base64url_digits[bits << (6 - held) & 63];
    *ret_text = '\0';
}

enum err base64url_decode(const char *text, uint8_t *ret_bytes, size_t room, size_t *ret_len)
{
    uint32_t bits = 0;
    unsigned held = 0;
    size_t len = 0;

    if (strlen(text) % 4 == 1)
        return ERR_MALFORMED;
    for (; *text; text++) {
        unsigned value = digit_value(base64url_digits, 64, *text);
        if (value == 64)
            return ERR_MALFORMED;
        bits = bits << 6 | value;
        held += 6;
        if (held < 8)
            continue;
        held -= 8;
        if (len == room)
            return ERR_LIMIT;
        ret_bytes[len++] = (uint8_t)(bits >> held);
    }
    if (bits & ((1u << held) - 1))
        return ERR_MALFORMED;
    *ret_len = len;
    return ERR_OK;
}

// The length of the clean character at the beginning, or 0.
static size_t clean_character(const uint8_t *at, size_t len)
{
    static const uint32_t smallest[] = {0, 0xa0, 0x800, 0x10000}; // below 0xa0 is C1
    uint8_t lead = at[0];

    if (lead < 0x80)
        return (lead >= 0x20 && lead != 0x7f) || lead == '\n' || lead == '\t';
    unsigned more = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : 1;
    if (lead < 0xc2 || lead > 0xf4 || len <= more)
        return 0;
    uint32_t point = lead & (0x3fu >> more);
    for (unsigned i = 1; i <= more; i++) {
        if ((at[i] & 0xc0) != 0x80)
            return 0;
        point = point << 6 | (at[i] & 0x3f);
    }
    if (point < smallest[more] || point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff))
        return 0;
    return more + 1;
}

size_t text_clean_len(const void *bytes, size_t len)
{
    const uint8_t *at = bytes;
    size_t done = 0;

    while (done < len) {
        size_t step = clean_character(at + done, len - done);
        if (step == 0)
            break;
        done += step;
    }
    return done;
}

void text_make_clean(char *text)
{
    size_t len = strlen(text);

    for (size_t done = text_clean_len(text, len); done < len; done += text_clean_len(text + done, len - done))
        text[done] = '?';
}

// Digits up to `*text`'s first other byte.
static enum err number(const char **text, uint64_t max, uint64_t *ret_value)
{
    uint64_t value = 0;
    const char *at = *text;

    for (; *at >= '0' && *at <= '9'; at++) {
        unsigned digit = (unsigned)(*at - '0');
        if (value > (UINT64_MAX - digit) / 10)
            return ERR_LIMIT;
        value = value * 10 + digit;
    }
    if (at == *text)
        return ERR_MALFORMED;
    if (value > max)
        return ERR_LIMIT;
    *text = at;
    *ret_value = value;
    return ERR_OK;
}

enum err decimal_parse(const char *text, uint64_t max, uint64_t *ret_value)
{
    uint64_t value;
    enum err err = number(&text, max, &value);
    if (err)
        return err;
    if (*text)
        return ERR_MALFORMED;
    *ret_value = value;
    return ERR_OK;
}

enum err duration_parse(const char *text, uint64_t max_seconds, uint64_t *ret_seconds)
{
    static const struct {
        char unit;
        uint32_t seconds;
    } units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}};
    uint64_t value;
    enum err err = number(&text, UINT32_MAX, &value);
    if (err)
        return err;
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        if (text[0] != units[i].unit || text[1])
            continue;
        if (value * units[i].seconds > max_seconds)
            return ERR_LIMIT;
        *ret_seconds = value * units[i].seconds;
        return ERR_OK;
    }
    return ERR_MALFORMED;
}
