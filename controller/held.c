// SPDX-License-Identifier: GPL-2.0-or-later
#include "controller/held.h"

#include <stdlib.h>
#include <string.h>

#include "proto/wire/message.h"
#include "proto/wire/slice.h"

// The place of a peer, or n_peers.
static size_t peer_place(const Twofold__V1__Slice *slice, const char *host)
{
    size_t low = 0, high = slice->n_peers;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(slice->peers[middle]->host, host);
        if (order == 0)
            return middle;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return slice->n_peers;
}

static void mark_connected(struct held *held)
{
    const Twofold__V1__Slice *slice = held->slice;
    for (size_t i = 0; i < slice->n_rules; i++) {
        const Twofold__V1__Rule *rule = slice->rules[i];
        for (size_t j = 0; rule->ipsec && j < rule->n_peers; j++) {
            size_t place = peer_place(slice, rule->peers[j]);
            if (place < slice->n_peers)
                held->ipsec[place] = true;
        }
    }
}

enum err held_set(struct held *held, Twofold__V1__Slice *slice)
{
    struct held fresh = {.slice = slice};
    enum err err = slice_digest(slice, fresh.digest);
    if (err == ERR_OK) {
        fresh.ipsec = calloc(slice->n_peers + 1, sizeof(*fresh.ipsec));
        if (fresh.ipsec == NULL)
            err = ERR_NOMEM;
    }
    if (err != ERR_OK) {
        held_drop(&fresh);
        return err;
    }
    mark_connected(&fresh);
    held_move(held, &fresh);
    return ERR_OK;
}

void held_drop(struct held *held)
{
    message_free(held->slice);
    free(held->ipsec);
    *held = (struct held){0};
}

void held_move(struct held *to, struct held *from)
{
    held_drop(to);
    *to = *from;
    *from = (struct held){0};
}

bool held_connects(const struct held *held, const char *host)
{
    if (held->slice == NULL)
        return false;
    size_t place = peer_place(held->slice, host);
    return place < held->slice->n_peers && held->ipsec[place];
}
