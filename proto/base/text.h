// SPDX-License-Identifier: GPL-2.0-or-later
// Bytes as text and back: lower-case hexadecimal, base64url without padding (RFC 4648, section 5); numbers; what may be shown.
#ifndef TWOFOLD_BASE_TEXT_H
#define TWOFOLD_BASE_TEXT_H

#include <stddef.h>
#include <stdint.h>

#include "proto/base/err.h"

// `ret_text` has room for 2 * len + 1 bytes.
void hex_encode(const void *bytes, size_t len, char *ret_text);
// Exactly `len` bytes. ERR_MALFORMED.
MUST_USE enum err hex_decode(const char *text, uint8_t *ret_bytes, size_t len);

// `ret_text` has room for (4 * len + 2) / 3 + 1 bytes.
void base64url_encode(const void *bytes, size_t len, char *ret_text);
// Strict: no padding, no white space, unused bits zero. ERR_MALFORMED, ERR_LIMIT past `room`.
MUST_USE enum err base64url_decode(const char *text, uint8_t *ret_bytes, size_t room, size_t *ret_len);

// How many of the bytes, from the first, are clean text: UTF-8 (RFC 3629: shortest form, no surrogates, at most U+10FFFF) without
// control characters (C0, DEL, C1) but line feed and tab. Text from elsewhere ends up on terminals.
size_t text_clean_len(const void *bytes, size_t len);
// Puts '?' in the place of every byte that is not clean.
void text_make_clean(char *text);

// A whole decimal number, no sign, no space, at most `max`. ERR_MALFORMED, ERR_LIMIT.
MUST_USE enum err decimal_parse(const char *text, uint64_t max, uint64_t *ret_value);

// "1h", "30m", "45s", "7d": whole seconds. ERR_MALFORMED, ERR_LIMIT.
MUST_USE enum err duration_parse(const char *text, uint64_t max_seconds, uint64_t *ret_seconds);

#endif
