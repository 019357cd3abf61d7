// SPDX-License-Identifier: GPL-2.0-or-later
// A growing byte buffer with a bound: appending past `limit` fails and leaves it unchanged.
#ifndef TWOFOLD_BASE_BUF_H
#define TWOFOLD_BASE_BUF_H

#include <stddef.h>
#include <stdint.h>

#include "proto/base/err.h"

// `data[start .. start+len)` is the content. Read the fields; change them only through the functions.
struct buf {
    uint8_t *data;
    size_t start;
    size_t len;
    size_t capacity;
    size_t limit;
};

void buf_init(struct buf *buf, size_t limit_bytes);

// Releases the memory and keeps the limit; the buffer can be used again.
void buf_free(struct buf *buf);

// Wipes the content first.
void buf_free_secret(struct buf *buf);

static inline const uint8_t *buf_bytes(const struct buf *buf)
{
    return buf->data + buf->start;
}

// ERR_LIMIT past the bound, ERR_NOMEM.
MUST_USE enum err buf_append(struct buf *buf, const void *bytes, size_t len);
MUST_USE enum err buf_append_u8(struct buf *buf, uint8_t value);
MUST_USE enum err buf_append_u16(struct buf *buf, uint16_t value); // network order
MUST_USE enum err buf_append_u32(struct buf *buf, uint32_t value);
MUST_USE enum err buf_append_u64(struct buf *buf, uint64_t value);
MUST_USE enum err buf_append_text(struct buf *buf, const char *format, ...) __attribute__((format(printf, 2, 3)));

// Room for `len` more bytes at the end, to be written and then confirmed with buf_commit.
MUST_USE enum err buf_reserve(struct buf *buf, size_t len, uint8_t **ret_room);
void buf_commit(struct buf *buf, size_t len);

// Drops the first `len` bytes.
void buf_consume(struct buf *buf, size_t len);

// Gives memory back when far more is held than used.
void buf_shrink(struct buf *buf);

// A cursor over bytes that somebody else owns, for decoders: each read checks what is left.
struct cursor {
    const uint8_t *bytes;
    size_t left;
};

// ERR_MALFORMED when too few bytes are left; the cursor then stays.
MUST_USE enum err cursor_u8(struct cursor *cursor, uint8_t *ret_value);
MUST_USE enum err cursor_u16(struct cursor *cursor, uint16_t *ret_value);
MUST_USE enum err cursor_u32(struct cursor *cursor, uint32_t *ret_value);
MUST_USE enum err cursor_u64(struct cursor *cursor, uint64_t *ret_value);
MUST_USE enum err cursor_bytes(struct cursor *cursor, size_t len, const uint8_t **ret_bytes);

#endif
