// SPDX-License-Identifier: GPL-2.0-or-later
// DER (X.690, chapter 10) as far as certificates need it. Reading is strict: one encoding for each value, nothing left over.
#ifndef TWOFOLD_LINK_DER_H
#define TWOFOLD_LINK_DER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/base/buf.h"
#include "proto/base/err.h"

enum der_tag {
    DER_BOOLEAN = 0x01,
    DER_INTEGER = 0x02,
    DER_BIT_STRING = 0x03,
    DER_OCTET_STRING = 0x04,
    DER_NULL = 0x05,
    DER_OID = 0x06,
    DER_UTF8 = 0x0c,
    DER_UTC_TIME = 0x17,
    DER_GENERALIZED_TIME = 0x18,
    DER_SEQUENCE = 0x30,
    DER_SET = 0x31,
};
#define DER_CONTEXT(number)     (0x80 | (number)) // primitive, context-specific
#define DER_CONTEXT_SET(number) (0xa0 | (number)) // constructed, context-specific

// ---- reading: each takes its element off the cursor, and leaves it where it was on failure (ERR_MALFORMED)

// The next element, whatever its tag. `ret_whole` (may be NULL) covers tag and length too.
MUST_USE enum err der_read_any(struct cursor *in, uint8_t *ret_tag, struct cursor *ret_content,
                               struct cursor *ret_whole);
MUST_USE enum err der_read(struct cursor *in, uint8_t tag, struct cursor *ret_content);
bool der_next_is(const struct cursor *in, uint8_t tag);
MUST_USE enum err der_read_oid(struct cursor *in, struct cursor *ret_oid);
MUST_USE enum err der_read_boolean(struct cursor *in, bool *ret_value);
// Not negative, minimal; `ret_bytes` without the sign byte.
MUST_USE enum err der_read_unsigned(struct cursor *in, struct cursor *ret_bytes);
MUST_USE enum err der_read_u32(struct cursor *in, uint32_t *ret_value);
// No unused bits.
MUST_USE enum err der_read_bits(struct cursor *in, struct cursor *ret_bytes);
// UTCTime or GeneralizedTime in the form of RFC 5280, 4.1.2.5: seconds since 1970.
MUST_USE enum err der_read_time(struct cursor *in, uint64_t *ret_unix);

bool der_equal(const struct cursor *value, const void *bytes, size_t len);

// ---- writing: into a room of fixed size; what does not fit sets `full`, to be looked at once at the end

#define DER_OUT_BYTES 16384

struct der_out {
    uint8_t bytes[DER_OUT_BYTES];
    size_t len;
    bool full;
};

// Opens a constructed element; der_close puts its length in.
size_t der_open(struct der_out *out, uint8_t tag);
void der_close(struct der_out *out, size_t mark);
void der_put(struct der_out *out, uint8_t tag, const void *content, size_t len);
void der_put_raw(struct der_out *out, const void *elements, size_t len); // encoded already
void der_put_boolean(struct der_out *out, bool value);
void der_put_unsigned(struct der_out *out, const uint8_t *bytes, size_t len);
void der_put_u32(struct der_out *out, uint32_t value);
void der_put_bits(struct der_out *out, const uint8_t *bytes, size_t len);
void der_put_time(struct der_out *out, uint64_t unix_s);
// A copy; free() it. ERR_LIMIT when it was full.
MUST_USE enum err der_take(const struct der_out *out, uint8_t **ret_der, size_t *ret_len);

#endif
