// SPDX-License-Identifier: GPL-2.0-or-later
#include "policy/arena.h"

#include <stdalign.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK_BYTES 16384

struct arena_chunk {
    struct arena_chunk *next;
    alignas(max_align_t) unsigned char bytes[];
};

static void *arena_take(struct arena *arena, size_t len)
{
    if (!arena->chunks || arena->room - arena->used < len) {
        size_t room = len > CHUNK_BYTES ? len : CHUNK_BYTES;
        struct arena_chunk *chunk = calloc(1, sizeof(*chunk) + room);
        if (!chunk)
            return NULL;
        chunk->next = arena->chunks;
        arena->chunks = chunk;
        arena->used = 0;
        arena->room = room;
    }
    void *taken = arena->chunks->bytes + arena->used;
    arena->used += len;
    return taken;
}

void *arena_alloc(struct arena *arena, size_t count, size_t size)
{
    size_t len;
    if (__builtin_mul_overflow(count, size, &len) || len > SIZE_MAX / 2)
        return NULL;
    len = (len + alignof(max_align_t) - 1) & ~(alignof(max_align_t) - 1);
    return arena_take(arena, len);
}

char *arena_text(struct arena *arena, const char *text, size_t len)
{
    char *copy = arena_alloc(arena, len + 1, 1);
    if (copy)
        memcpy(copy, text, len);
    return copy;
}

void arena_free(struct arena *arena)
{
    while (arena->chunks) {
        struct arena_chunk *next = arena->chunks->next;
        free(arena->chunks);
        arena->chunks = next;
    }
    *arena = (struct arena){0};
}
