// SPDX-License-Identifier: GPL-2.0-or-later
#include "controller/inventory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Each host's texts, addresses and labels lie in one block, which `blocks` owns; `items` and `blocks` run in parallel.
struct hosts {
    struct inventory inventory;
    char trust_domain[256];
    struct inventory_host *items;
    void **blocks;
    size_t count;
    size_t capacity;
};

enum err hosts_new(const char *trust_domain, struct hosts **ret_hosts)
{
    struct hosts *hosts = calloc(1, sizeof(*hosts));
    if (hosts == NULL)
        return ERR_NOMEM;
    snprintf(hosts->trust_domain, sizeof(hosts->trust_domain), "%s", trust_domain);
    hosts->inventory.trust_domain = hosts->trust_domain;
    *ret_hosts = hosts;
    return ERR_OK;
}

void hosts_free(struct hosts *hosts)
{
    if (hosts == NULL)
        return;
    for (size_t i = 0; i < hosts->count; i++)
        free(hosts->blocks[i]);
    free(hosts->items);
    free(hosts->blocks);
    free(hosts);
}

// The place of the name, or where it belongs.
static size_t place_of(const struct hosts *hosts, const char *name)
{
    size_t low = 0, high = hosts->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(hosts->items[middle].name, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static enum err reserve(struct hosts *hosts)
{
    if (hosts->count < hosts->capacity)
        return ERR_OK;
    size_t capacity = hosts->capacity == 0 ? 64 : hosts->capacity * 2;
    struct inventory_host *items = reallocarray(hosts->items, capacity, sizeof(*items));
    if (items == NULL)
        return ERR_NOMEM;
    hosts->items = items;
    void **blocks = reallocarray(hosts->blocks, capacity, sizeof(*blocks));
    if (blocks == NULL)
        return ERR_NOMEM;
    hosts->blocks = blocks;
    hosts->capacity = capacity;
    return ERR_OK;
}

static char *place_text(char **cursor, const char *text)
{
    char *start = *cursor;
    *cursor = stpcpy(start, text) + 1;
    return start;
}

// The addresses of a revoked host are free for others.
static size_t live_addresses(const struct host_record *host)
{
    return host->revoked ? 0 : host->address_count;
}

static size_t block_bytes(const struct host_record *host)
{
    size_t bytes = host->label_count * sizeof(struct inventory_label) + live_addresses(host) * sizeof(struct ip) +
                   strlen(host->name) + 1 + strlen(host->workload) + 1;
    for (size_t i = 0; i < host->label_count; i++)
        bytes += strlen(host->labels[i].key) + 1 + strlen(host->labels[i].value) + 1;
    return bytes;
}

static enum err make_item(const struct host_record *host, struct inventory_host *ret_item, void **ret_block)
{
    void *block = malloc(block_bytes(host));
    if (block == NULL)
        return ERR_NOMEM;
    struct inventory_label *labels = block;
    struct ip *addresses = (struct ip *)(labels + host->label_count);
    size_t address_count = live_addresses(host);
    char *cursor = (char *)(addresses + address_count);
    if (address_count > 0)
        memcpy(addresses, host->addresses, address_count * sizeof(*addresses));
    for (size_t i = 0; i < host->label_count; i++) {
        labels[i].key = place_text(&cursor, host->labels[i].key);
        labels[i].value = place_text(&cursor, host->labels[i].value);
    }
    *ret_item = (struct inventory_host){
        .name = place_text(&cursor, host->name),
        .addresses = addresses,
        .address_count = address_count,
        .labels = labels,
        .label_count = host->label_count,
        .slot = host->slot,
        .workload = place_text(&cursor, host->workload),
        .revoked = host->revoked,
    };
    *ret_block = block;
    return ERR_OK;
}

enum err hosts_put(struct hosts *hosts, const struct host_record *host)
{
    enum err err = reserve(hosts);
    if (err != ERR_OK)
        return err;
    struct inventory_host item;
    void *block = NULL;
    err = make_item(host, &item, &block);
    if (err != ERR_OK)
        return err;
    size_t place = place_of(hosts, host->name);
    if (place < hosts->count && strcmp(hosts->items[place].name, host->name) == 0) {
        free(hosts->blocks[place]);
    } else {
        memmove(hosts->items + place + 1, hosts->items + place, (hosts->count - place) * sizeof(*hosts->items));
        memmove(hosts->blocks + place + 1, hosts->blocks + place, (hosts->count - place) * sizeof(*hosts->blocks));
        hosts->count++;
    }
    hosts->items[place] = item;
    hosts->blocks[place] = block;
    hosts->inventory.hosts = hosts->items;
    hosts->inventory.host_count = hosts->count;
    return ERR_OK;
}

void hosts_set_generation(struct hosts *hosts, uint64_t generation)
{
    hosts->inventory.generation = generation;
}

const struct inventory *hosts_inventory(const struct hosts *hosts)
{
    return &hosts->inventory;
}

const struct inventory_host *hosts_find(const struct hosts *hosts, const char *name)
{
    size_t place = place_of(hosts, name);
    return place < hosts->count && strcmp(hosts->items[place].name, name) == 0 ? &hosts->items[place] : NULL;
}
