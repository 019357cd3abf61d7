// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/https/queue.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "agent/https/limits.h"

struct chunk {
    struct chunk *next;
    size_t start;
    size_t end;
    uint8_t bytes[HTTPS_CHUNK_BYTES];
};

void chunk_store_init(struct chunk_store *store, uint64_t limit_bytes)
{
    *store = (struct chunk_store){.limit_bytes = limit_bytes};
}

void chunk_store_free(struct chunk_store *store)
{
    assert(store->bytes == 0);
    while (store->spare) {
        struct chunk *chunk = store->spare;
        store->spare = chunk->next;
        free(chunk);
    }
    store->spare_count = 0;
}

static struct chunk *take_chunk(struct chunk_store *store)
{
    struct chunk *chunk = store->spare;
    if (chunk) {
        store->spare = chunk->next;
        store->spare_count--;
    } else {
        chunk = malloc(sizeof(*chunk));
    }
    if (chunk) {
        chunk->next = NULL;
        chunk->start = 0;
        chunk->end = 0;
    }
    return chunk;
}

static void give_chunk(struct chunk_store *store, struct chunk *chunk)
{
    if (store->spare_count >= HTTPS_CHUNKS_SPARE) {
        free(chunk);
        return;
    }
    chunk->next = store->spare;
    store->spare = chunk;
    store->spare_count++;
}

void queue_init(struct queue *queue, struct chunk_store *store)
{
    *queue = (struct queue){.store = store};
}

void queue_clear(struct queue *queue)
{
    queue_drop(queue, queue->bytes);
}

// Links enough empty chunks behind the last one for `len` bytes.
static enum err grow(struct queue *queue, size_t len, struct chunk **ret_chunks)
{
    size_t room = queue->last ? HTTPS_CHUNK_BYTES - queue->last->end : 0;
    struct chunk *chunks = NULL;
    while (room < len) {
        struct chunk *chunk = take_chunk(queue->store);
        if (!chunk) {
            break;
        }
        chunk->next = chunks;
        chunks = chunk;
        room += HTTPS_CHUNK_BYTES;
    }
    if (room >= len) {
        *ret_chunks = chunks;
        return ERR_OK;
    }
    while (chunks) {
        struct chunk *next = chunks->next;
        give_chunk(queue->store, chunks);
        chunks = next;
    }
    return ERR_NOMEM;
}

enum err queue_append(struct queue *queue, const uint8_t *bytes, size_t len)
{
    if (len > queue->store->limit_bytes - queue->store->bytes) {
        return ERR_LIMIT;
    }
    struct chunk *fresh = NULL;
    enum err err = grow(queue, len, &fresh);
    if (err) {
        return err;
    }
    queue->bytes += len;
    queue->store->bytes += len;
    while (len > 0) {
        struct chunk *last = queue->last;
        if (!last || last->end == HTTPS_CHUNK_BYTES) {
            last = fresh;
            fresh = fresh->next;
            last->next = NULL;
            if (queue->last) {
                queue->last->next = last;
            } else {
                queue->first = last;
            }
            queue->last = last;
        }
        size_t part = HTTPS_CHUNK_BYTES - last->end < len ? HTTPS_CHUNK_BYTES - last->end : len;
        memcpy(last->bytes + last->end, bytes, part);
        last->end += part;
        bytes += part;
        len -= part;
    }
    return ERR_OK;
}

size_t queue_peek(const struct queue *queue, uv_buf_t *ret_bufs, size_t room)
{
    size_t count = 0;
    for (struct chunk *chunk = queue->first; chunk && count < room; chunk = chunk->next) {
        ret_bufs[count++] = uv_buf_init((char *)chunk->bytes + chunk->start, (unsigned)(chunk->end - chunk->start));
    }
    return count;
}

void queue_drop(struct queue *queue, size_t len)
{
    assert(len <= queue->bytes);
    queue->bytes -= len;
    queue->store->bytes -= len;
    while (len > 0) {
        struct chunk *first = queue->first;
        size_t part = first->end - first->start < len ? first->end - first->start : len;
        first->start += part;
        len -= part;
        if (first->start == first->end) {
            queue->first = first->next;
            if (!queue->first) {
                queue->last = NULL;
            }
            give_chunk(queue->store, first);
        }
    }
}
