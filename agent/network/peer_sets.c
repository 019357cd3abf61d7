// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/network/peer_sets.h"

#include <stdlib.h>
#include <string.h>

#include "proto/base/ip.h"
#include "proto/wire/slice.h"

void peer_sets_init(struct peer_sets *sets, const Twofold__V1__Slice *slice)
{
    *sets = (struct peer_sets){.slice = slice};
}

void peer_sets_free(struct peer_sets *sets)
{
    for (size_t i = 0; i < sets->count; i++)
        free(sets->items[i].hosts);
    free(sets->items);
    *sets = (struct peer_sets){0};
}

static bool same_hosts(const struct peer_set *set, char *const *hosts, size_t count)
{
    if (set->count != count)
        return false;
    for (size_t i = 0; i < count; i++) {
        if (strcmp(set->hosts[i], hosts[i]) != 0)
            return false;
    }
    return true;
}

static void note_families(const struct peer_sets *sets, struct peer_set *set)
{
    for (size_t i = 0; i < set->count; i++) {
        const Twofold__V1__Peer *peer = slice_peer(sets->slice, set->hosts[i]);
        for (size_t a = 0; peer != NULL && a < peer->n_addresses; a++)
            set->has[peer->addresses[a].len == 16] = true;
    }
}

enum err peer_sets_add(struct peer_sets *sets, char *const *hosts, size_t count, size_t *ret_index)
{
    for (size_t i = 0; i < sets->count; i++) {
        if (same_hosts(&sets->items[i], hosts, count)) {
            *ret_index = i;
            return ERR_OK;
        }
    }
    struct peer_set *items = realloc(sets->items, (sets->count + 1) * sizeof(*items));
    if (items == NULL)
        return ERR_NOMEM;
    sets->items = items;
    const char **copy = malloc((count + 1) * sizeof(*copy));
    if (copy == NULL)
        return ERR_NOMEM;
    for (size_t i = 0; i < count; i++)
        copy[i] = hosts[i];
    items[sets->count] = (struct peer_set){.hosts = copy, .count = count};
    note_families(sets, &items[sets->count]);
    *ret_index = sets->count++;
    return ERR_OK;
}

enum err peer_sets_select(struct peer_sets *sets, const uint8_t *marks, uint8_t bit, size_t *ret_index)
{
    char **hosts = malloc((sets->slice->n_peers + 1) * sizeof(*hosts));
    if (hosts == NULL)
        return ERR_NOMEM;
    size_t count = 0;
    for (size_t i = 0; i < sets->slice->n_peers; i++) {
        if ((marks[i] & bit) != 0)
            hosts[count++] = sets->slice->peers[i]->host;
    }
    enum err err = peer_sets_add(sets, hosts, count, ret_index);
    free(hosts);
    return err;
}

static enum err write_elements(const struct peer_sets *sets, const struct peer_set *set, size_t bytes, struct buf *text)
{
    const char *separator = "";
    for (size_t i = 0; i < set->count; i++) {
        const Twofold__V1__Peer *peer = slice_peer(sets->slice, set->hosts[i]);
        for (size_t a = 0; peer != NULL && a < peer->n_addresses; a++) {
            if (peer->addresses[a].len != bytes)
                continue;
            struct ip ip;
            enum err err = ip_from_bytes(peer->addresses[a].data, peer->addresses[a].len, &ip);
            if (err != ERR_OK)
                return err;
            char address[IP_TEXT_BYTES];
            ip_format(&ip, address);
            err = buf_append_text(text, "%s%s", separator, address);
            if (err != ERR_OK)
                return err;
            separator = ", ";
        }
    }
    return ERR_OK;
}

enum err peer_sets_write(const struct peer_sets *sets, struct buf *text)
{
    for (size_t i = 0; i < sets->count; i++) {
        for (size_t six = 0; six < 2; six++) {
            if (!sets->items[i].has[six])
                continue;
            enum err err = buf_append_text(text, "    set p%zuv%c { type ipv%c_addr; elements = { ", i, six ? '6' : '4',
                                           six ? '6' : '4');
            if (err == ERR_OK)
                err = write_elements(sets, &sets->items[i], six ? 16 : 4, text);
            if (err == ERR_OK)
                err = buf_append_text(text, " }; }\n");
            if (err != ERR_OK)
                return err;
        }
    }
    return ERR_OK;
}
