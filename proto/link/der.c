// SPDX-License-Identifier: GPL-2.0-or-later
#include "proto/link/der.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define UTC_TIME_END 2524608000 // 2050-01-01: from then on GeneralizedTime

enum err der_read_any(struct cursor *in, uint8_t *ret_tag, struct cursor *ret_content, struct cursor *ret_whole)
{
    struct cursor at = *in;
    uint8_t tag, first;

    if (cursor_u8(&at, &tag) || cursor_u8(&at, &first) || (tag & 0x1f) == 0x1f)
        return ERR_MALFORMED;
    size_t len = first;
    if (first & 0x80) {
        unsigned count = first & 0x7f;
        if (count == 0 || count > 3)
            return ERR_MALFORMED;
        len = 0;
        for (unsigned i = 0; i < count; i++) {
            uint8_t byte;
            if (cursor_u8(&at, &byte) || (i == 0 && byte == 0))
                return ERR_MALFORMED;
            len = len << 8 | byte;
        }
        if (len < 0x80)
            return ERR_MALFORMED;
    }
    const uint8_t *content;
    if (cursor_bytes(&at, len, &content))
        return ERR_MALFORMED;
    *ret_tag = tag;
    *ret_content = (struct cursor){content, len};
    if (ret_whole)
        *ret_whole = (struct cursor){in->bytes, (size_t)(at.bytes - in->bytes)};
    *in = at;
    return ERR_OK;
}

enum err der_read(struct cursor *in, uint8_t tag, struct cursor *ret_content)
{
    struct cursor at = *in, content;
    uint8_t found;

    if (der_read_any(&at, &found, &content, NULL) || found != tag)
        return ERR_MALFORMED;
    *in = at;
    *ret_content = content;
    return ERR_OK;
}

bool der_next_is(const struct cursor *in, uint8_t tag)
{
    return in->left > 0 && in->bytes[0] == tag;
}

enum err der_read_oid(struct cursor *in, struct cursor *ret_oid)
{
    struct cursor at = *in, oid;

    if (der_read(&at, DER_OID, &oid) || oid.left == 0 || (oid.bytes[oid.left - 1] & 0x80))
        return ERR_MALFORMED;
    *in = at;
    *ret_oid = oid;
    return ERR_OK;
}

enum err der_read_boolean(struct cursor *in, bool *ret_value)
{
    struct cursor at = *in, content;

    if (der_read(&at, DER_BOOLEAN, &content) || content.left != 1 ||
        (content.bytes[0] != 0x00 && content.bytes[0] != 0xff))
        return ERR_MALFORMED;
    *in = at;
    *ret_value = content.bytes[0] != 0;
    return ERR_OK;
}

enum err der_read_unsigned(struct cursor *in, struct cursor *ret_bytes)
{
    struct cursor at = *in, value;

    if (der_read(&at, DER_INTEGER, &value) || value.left == 0 || (value.bytes[0] & 0x80))
        return ERR_MALFORMED;
    if (value.bytes[0] == 0 && value.left > 1) {
        if (!(value.bytes[1] & 0x80))
            return ERR_MALFORMED;
        value.bytes++;
        value.left--;
    }
    *in = at;
    *ret_bytes = value;
    return ERR_OK;
}

enum err der_read_u32(struct cursor *in, uint32_t *ret_value)
{
    struct cursor at = *in, bytes;

    if (der_read_unsigned(&at, &bytes) || bytes.left > 4)
        return ERR_MALFORMED;
    uint32_t value = 0;
    for (size_t i = 0; i < bytes.left; i++)
        value = value << 8 | bytes.bytes[i];
    *in = at;
    *ret_value = value;
    return ERR_OK;
}

enum err der_read_bits(struct cursor *in, struct cursor *ret_bytes)
{
    struct cursor at = *in, bits;
    uint8_t unused;

    if (der_read(&at, DER_BIT_STRING, &bits) || cursor_u8(&bits, &unused) || unused != 0)
        return ERR_MALFORMED;
    *in = at;
    *ret_bytes = bits;
    return ERR_OK;
}

static bool two_digits(const uint8_t *text, int low, int high, int *ret_value)
{
    if (text[0] < '0' || text[0] > '9' || text[1] < '0' || text[1] > '9')
        return false;
    *ret_value = (text[0] - '0') * 10 + text[1] - '0';
    return *ret_value >= low && *ret_value <= high;
}

enum err der_read_time(struct cursor *in, uint64_t *ret_unix)
{
    struct cursor at = *in, text;
    uint8_t tag;
    int century = 0, year, month, day, hour, minute, second;

    if (der_read_any(&at, &tag, &text, NULL))
        return ERR_MALFORMED;
    const uint8_t *digits = text.bytes;
    if (tag == DER_GENERALIZED_TIME && text.left == 15) {
        if (!two_digits(digits, 20, 99, &century)) // nothing before 2050 is written so
            return ERR_MALFORMED;
        digits += 2;
    } else if (tag != DER_UTC_TIME || text.left != 13) {
        return ERR_MALFORMED;
    }
    if (!two_digits(digits, 0, 99, &year) || !two_digits(digits + 2, 1, 12, &month) ||
        !two_digits(digits + 4, 1, 31, &day) || !two_digits(digits + 6, 0, 23, &hour) ||
        !two_digits(digits + 8, 0, 59, &minute) || !two_digits(digits + 10, 0, 59, &second) || digits[12] != 'Z')
        return ERR_MALFORMED;
    if (tag == DER_UTC_TIME)
        century = year < 50 ? 20 : 19;
    if (century == 19 && year < 70)
        return ERR_MALFORMED;
    struct tm tm = {.tm_year = century * 100 + year - 1900,
                    .tm_mon = month - 1,
                    .tm_mday = day,
                    .tm_hour = hour,
                    .tm_min = minute,
                    .tm_sec = second};
    time_t unix_s = timegm(&tm);
    if (tm.tm_mday != day || (tag == DER_GENERALIZED_TIME && unix_s < UTC_TIME_END))
        return ERR_MALFORMED;
    *in = at;
    *ret_unix = (uint64_t)unix_s;
    return ERR_OK;
}

bool der_equal(const struct cursor *value, const void *bytes, size_t len)
{
    return value->left == len && (len == 0 || memcmp(value->bytes, bytes, len) == 0);
}

static bool has_room(struct der_out *out, size_t len)
{
    if (sizeof(out->bytes) - out->len < len)
        out->full = true;
    return !out->full;
}

static void put_header(struct der_out *out, uint8_t tag, size_t len)
{
    uint8_t header[5] = {tag};
    size_t used = 1;

    if (len < 0x80) {
        header[used++] = (uint8_t)len;
    } else if (len < 0x100) {
        header[used++] = 0x81;
        header[used++] = (uint8_t)len;
    } else {
        header[used++] = 0x82;
        header[used++] = (uint8_t)(len >> 8);
        header[used++] = (uint8_t)len;
    }
    der_put_raw(out, header, used);
}

void der_put_raw(struct der_out *out, const void *elements, size_t len)
{
    if (len == 0 || !has_room(out, len))
        return;
    memcpy(out->bytes + out->len, elements, len);
    out->len += len;
}

void der_put(struct der_out *out, uint8_t tag, const void *content, size_t len)
{
    if (!has_room(out, len))
        return;
    put_header(out, tag, len);
    der_put_raw(out, content, len);
}

// The mark is where the content begins; its length is put before it when it is known.
size_t der_open(struct der_out *out, uint8_t tag)
{
    der_put_raw(out, &tag, 1);
    return out->len;
}

void der_close(struct der_out *out, size_t mark)
{
    size_t len = out->len - mark;
    size_t header = len < 0x80 ? 1 : len < 0x100 ? 2 : 3;

    if (out->full || !has_room(out, header))
        return;
    uint8_t tag = out->bytes[mark - 1];
    memmove(out->bytes + mark + header, out->bytes + mark, len);
    out->len = mark - 1;
    put_header(out, tag, len);
    out->len += len;
}

void der_put_boolean(struct der_out *out, bool value)
{
    der_put(out, DER_BOOLEAN, value ? "\xff" : "\x00", 1);
}

void der_put_unsigned(struct der_out *out, const uint8_t *bytes, size_t len)
{
    while (len > 0 && bytes[0] == 0) {
        bytes++;
        len--;
    }
    size_t sign = len == 0 || (bytes[0] & 0x80) ? 1 : 0;
    if (!has_room(out, len + 8))
        return;
    put_header(out, DER_INTEGER, len + sign);
    der_put_raw(out, "\x00", sign);
    der_put_raw(out, bytes, len);
}

void der_put_u32(struct der_out *out, uint32_t value)
{
    uint8_t bytes[4] = {(uint8_t)(value >> 24), (uint8_t)(value >> 16), (uint8_t)(value >> 8), (uint8_t)value};
    der_put_unsigned(out, bytes, sizeof(bytes));
}

void der_put_bits(struct der_out *out, const uint8_t *bytes, size_t len)
{
    size_t mark = der_open(out, DER_BIT_STRING);
    der_put_raw(out, "\x00", 1);
    der_put_raw(out, bytes, len);
    der_close(out, mark);
}

void der_put_time(struct der_out *out, uint64_t unix_s)
{
    char text[32];
    struct tm tm;
    time_t time = (time_t)unix_s;

    if (!gmtime_r(&time, &tm) || tm.tm_year + 1900 > 9999) {
        out->full = true;
        return;
    }
    strftime(text, sizeof(text), "%Y%m%d%H%M%SZ", &tm);
    if (unix_s >= UTC_TIME_END)
        der_put(out, DER_GENERALIZED_TIME, text, strlen(text));
    else
        der_put(out, DER_UTC_TIME, text + 2, strlen(text) - 2); // the century goes
}

enum err der_take(const struct der_out *out, uint8_t **ret_der, size_t *ret_len)
{
    if (out->full)
        return ERR_LIMIT;
    uint8_t *der = malloc(out->len ? out->len : 1);
    if (!der)
        return ERR_NOMEM;
    memcpy(der, out->bytes, out->len);
    *ret_der = der;
    *ret_len = out->len;
    return ERR_OK;
}
