// SPDX-License-Identifier: GPL-2.0-or-later
// The SAs that we know to be in the kernel, sorted by (destination, SPI): what a dump is compared with.
#ifndef TWOFOLD_AGENT_NETWORK_SA_TABLE_H
#define TWOFOLD_AGENT_NETWORK_SA_TABLE_H

#include <stdbool.h>
#include <stddef.h>

#include "agent/network/xfrm/sad.h"
#include "proto/base/err.h"

// A plain value; zero is empty.
struct sa_table {
    struct sad_entry *items;
    size_t count;
    size_t capacity;
};

void sa_table_free(struct sa_table *table);
struct sad_entry *sa_table_find(const struct sa_table *table, const struct ip *destination, uint32_t spi); // NULL: none
// Adds, or replaces the one that is there. ERR_NOMEM, ERR_LIMIT.
MUST_USE enum err sa_table_put(struct sa_table *table, const struct sad_entry *entry);
void sa_table_drop(struct sa_table *table, const struct ip *destination, uint32_t spi); // fine when there is none

#endif
