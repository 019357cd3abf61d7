// SPDX-License-Identifier: GPL-2.0-or-later
// Memory that is given back all at once: what a policy text becomes lives and dies together.
#ifndef TWOFOLD_POLICY_ARENA_H
#define TWOFOLD_POLICY_ARENA_H

#include <stddef.h>

struct arena_chunk;

// All zero is an empty arena.
struct arena {
    struct arena_chunk *chunks;
    size_t used; // of the first chunk
    size_t room;
};

// Zeroed and aligned for any type; NULL when there is no memory. `count` 0 gives a valid pointer.
void *arena_alloc(struct arena *arena, size_t count, size_t size);

// A copy with a zero byte behind it.
char *arena_text(struct arena *arena, const char *text, size_t len);

void arena_free(struct arena *arena);

#endif
