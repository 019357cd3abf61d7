// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/network/address_pairs.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { PAIRS_MAX = 1 << 18 };

void address_pairs_free(struct address_pairs *pairs)
{
    free(pairs->items);
    *pairs = (struct address_pairs){0};
}

// The place where the pair is or belongs.
static size_t place(const struct address_pairs *pairs, const struct ip *local, const struct ip *remote, bool *ret_found)
{
    size_t low = 0;
    size_t high = pairs->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = ip_compare(&pairs->items[middle].local, local);
        if (order == 0)
            order = ip_compare(&pairs->items[middle].remote, remote);
        if (order == 0) {
            *ret_found = true;
            return middle;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    *ret_found = false;
    return low;
}

struct address_pair *address_pairs_find(const struct address_pairs *pairs, const struct ip *local,
                                        const struct ip *remote)
{
    bool found;
    size_t index = place(pairs, local, remote, &found);
    return found ? &pairs->items[index] : NULL;
}

enum err address_pairs_put(struct address_pairs *pairs, const struct ip *local, const struct ip *remote, uint32_t reqid,
                           struct address_pair **ret_pair)
{
    bool found;
    size_t index = place(pairs, local, remote, &found);
    if (!found) {
        if (pairs->count == PAIRS_MAX)
            return ERR_LIMIT;
        if (pairs->count == pairs->capacity) {
            size_t capacity = pairs->capacity == 0 ? 16 : pairs->capacity * 2;
            struct address_pair *items = realloc(pairs->items, capacity * sizeof(*items));
            if (items == NULL)
                return ERR_NOMEM;
            pairs->items = items;
            pairs->capacity = capacity;
        }
        memmove(&pairs->items[index + 1], &pairs->items[index], (pairs->count - index) * sizeof(*pairs->items));
        pairs->items[index] = (struct address_pair){.local = *local, .remote = *remote, .reqid = reqid};
        pairs->count++;
    }
    *ret_pair = &pairs->items[index];
    return ERR_OK;
}

void address_pairs_drop(struct address_pairs *pairs, struct address_pair *pair)
{
    size_t index = (size_t)(pair - pairs->items);
    memmove(pair, pair + 1, (pairs->count - index - 1) * sizeof(*pair));
    pairs->count--;
}
