// SPDX-License-Identifier: GPL-2.0-or-later
#include "proto/base/buf.h"

#include <endian.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/secret.h"

#define CAPACITY_MIN 256

void buf_init(struct buf *buf, size_t limit_bytes)
{
    *buf = (struct buf){.limit = limit_bytes};
}

void buf_free(struct buf *buf)
{
    free(buf->data);
    buf_init(buf, buf->limit);
}

void buf_free_secret(struct buf *buf)
{
    if (buf->data)
        secret_wipe(buf->data, buf->capacity);
    buf_free(buf);
}

enum err buf_reserve(struct buf *buf, size_t len, uint8_t **ret_room)
{
    if (len > buf->limit || buf->len > buf->limit - len)
        return ERR_LIMIT;
    if (buf->capacity - buf->start - buf->len < len) {
        if (buf->start > 0 && buf->capacity - buf->len >= len && buf->len <= buf->start) {
            memmove(buf->data, buf->data + buf->start, buf->len);
            buf->start = 0;
        } else {
            size_t need = buf->len + len;
            size_t capacity = need < CAPACITY_MIN ? CAPACITY_MIN : need + need / 2;
            // A fresh block, not realloc: what lies before `start` is not copied, and secrets are wiped from the old one.
            uint8_t *data = malloc(capacity);
            if (!data)
                return ERR_NOMEM;
            if (buf->len)
                memcpy(data, buf->data + buf->start, buf->len);
            if (buf->data)
                secret_wipe(buf->data + buf->start, buf->len);
            free(buf->data);
            buf->data = data;
            buf->start = 0;
            buf->capacity = capacity;
        }
    }
    *ret_room = buf->data + buf->start + buf->len;
    return ERR_OK;
}

void buf_commit(struct buf *buf, size_t len)
{
    buf->len += len;
}

enum err buf_append(struct buf *buf, const void *bytes, size_t len)
{
    uint8_t *room;

    if (len == 0)
        return ERR_OK;
    enum err err = buf_reserve(buf, len, &room);
    if (err)
        return err;
    memcpy(room, bytes, len);
    buf_commit(buf, len);
    return ERR_OK;
}

enum err buf_append_u8(struct buf *buf, uint8_t value)
{
    return buf_append(buf, &value, sizeof(value));
}

enum err buf_append_u16(struct buf *buf, uint16_t value)
{
    value = htobe16(value);
    return buf_append(buf, &value, sizeof(value));
}

enum err buf_append_u32(struct buf *buf, uint32_t value)
{
    value = htobe32(value);
    return buf_append(buf, &value, sizeof(value));
}

enum err buf_append_u64(struct buf *buf, uint64_t value)
{
    value = htobe64(value);
    return buf_append(buf, &value, sizeof(value));
}

enum err buf_append_text(struct buf *buf, const char *format, ...)
{
    va_list args;
    uint8_t *room;

    va_start(args, format);
    int len = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (len < 0)
        return ERR_NOMEM;
    // One more than counted: vsnprintf writes an end.
    enum err err = buf_reserve(buf, (size_t)len + 1, &room);
    if (err)
        return err;
    va_start(args, format);
    vsnprintf((char *)room, (size_t)len + 1, format, args);
    va_end(args);
    buf_commit(buf, (size_t)len);
    return ERR_OK;
}

void buf_consume(struct buf *buf, size_t len)
{
    buf->start += len;
    buf->len -= len;
    if (buf->len == 0)
        buf->start = 0;
}

void buf_shrink(struct buf *buf)
{
    if (buf->len == 0 && buf->capacity > CAPACITY_MIN)
        buf_free(buf);
}

enum err cursor_bytes(struct cursor *cursor, size_t len, const uint8_t **ret_bytes)
{
    if (cursor->left < len)
        return ERR_MALFORMED;
    *ret_bytes = cursor->bytes;
    cursor->bytes += len;
    cursor->left -= len;
    return ERR_OK;
}

enum err cursor_u8(struct cursor *cursor, uint8_t *ret_value)
{
    const uint8_t *bytes;
    enum err err = cursor_bytes(cursor, 1, &bytes);
    if (!err)
        *ret_value = *bytes;
    return err;
}

enum err cursor_u16(struct cursor *cursor, uint16_t *ret_value)
{
    const uint8_t *bytes;
    enum err err = cursor_bytes(cursor, sizeof(*ret_value), &bytes);
    if (!err) {
        memcpy(ret_value, bytes, sizeof(*ret_value));
        *ret_value = be16toh(*ret_value);
    }
    return err;
}

enum err cursor_u32(struct cursor *cursor, uint32_t *ret_value)
{
    const uint8_t *bytes;
    enum err err = cursor_bytes(cursor, sizeof(*ret_value), &bytes);
    if (!err) {
        memcpy(ret_value, bytes, sizeof(*ret_value));
        *ret_value = be32toh(*ret_value);
    }
    return err;
}

enum err cursor_u64(struct cursor *cursor, uint64_t *ret_value)
{
    const uint8_t *bytes;
    enum err err = cursor_bytes(cursor, sizeof(*ret_value), &bytes);
    if (!err) {
        memcpy(ret_value, bytes, sizeof(*ret_value));
        *ret_value = be64toh(*ret_value);
    }
    return err;
}
