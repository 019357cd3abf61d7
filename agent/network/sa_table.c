// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/network/sa_table.h"

#include <stdlib.h>
#include <string.h>

enum { SAS_MAX = 1 << 20 };

void sa_table_free(struct sa_table *table)
{
    free(table->items);
    *table = (struct sa_table){0};
}

static size_t place(const struct sa_table *table, const struct ip *destination, uint32_t spi, bool *ret_found)
{
    size_t low = 0;
    size_t high = table->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct sad_entry *entry = &table->items[middle];
        int order = ip_compare(&entry->destination, destination);
        if (order == 0)
            order = (entry->spi > spi) - (entry->spi < spi);
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

struct sad_entry *sa_table_find(const struct sa_table *table, const struct ip *destination, uint32_t spi)
{
    bool found;
    size_t index = place(table, destination, spi, &found);
    return found ? &table->items[index] : NULL;
}

enum err sa_table_put(struct sa_table *table, const struct sad_entry *entry)
{
    bool found;
    size_t index = place(table, &entry->destination, entry->spi, &found);
    if (!found) {
        if (table->count == SAS_MAX)
            return ERR_LIMIT;
        if (table->count == table->capacity) {
            size_t capacity = table->capacity == 0 ? 32 : table->capacity * 2;
            struct sad_entry *items = realloc(table->items, capacity * sizeof(*items));
            if (items == NULL)
                return ERR_NOMEM;
            table->items = items;
            table->capacity = capacity;
        }
        memmove(&table->items[index + 1], &table->items[index], (table->count - index) * sizeof(*table->items));
        table->count++;
    }
    table->items[index] = *entry;
    return ERR_OK;
}

void sa_table_drop(struct sa_table *table, const struct ip *destination, uint32_t spi)
{
    bool found;
    size_t index = place(table, destination, spi, &found);
    if (!found)
        return;
    memmove(&table->items[index], &table->items[index + 1], (table->count - index - 1) * sizeof(*table->items));
    table->count--;
}
