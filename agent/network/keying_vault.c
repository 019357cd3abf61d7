// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/network/keying_vault.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/secret.h"

#define BLOCK_BYTES 4096

struct slot {
    struct derive_secrets secrets; // first: a slot's address is that of its secrets
    bool taken;
};

#define SLOTS (BLOCK_BYTES / sizeof(struct slot))

struct block {
    struct slot *slots; // in locked memory
    size_t taken;
};

struct keying_vault {
    struct block *blocks;
    size_t count;
    size_t capacity;
};

enum err keying_vault_new(struct keying_vault **ret_vault)
{
    *ret_vault = calloc(1, sizeof(**ret_vault));
    return *ret_vault ? ERR_OK : ERR_NOMEM;
}

void keying_vault_free(struct keying_vault *vault)
{
    if (!vault)
        return;
    for (size_t i = 0; i < vault->count; i++)
        secret_free(vault->blocks[i].slots, BLOCK_BYTES);
    free(vault->blocks);
    free(vault);
}

static enum err add_block(struct keying_vault *vault)
{
    void *slots;

    if (vault->count == vault->capacity) {
        size_t capacity = vault->capacity ? 2 * vault->capacity : 16;
        struct block *blocks = realloc(vault->blocks, capacity * sizeof(*blocks));
        if (!blocks)
            return ERR_NOMEM;
        vault->blocks = blocks;
        vault->capacity = capacity;
    }
    enum err err = secret_alloc(BLOCK_BYTES, &slots);
    if (err)
        return err;
    vault->blocks[vault->count++] = (struct block){.slots = slots};
    return ERR_OK;
}

enum err keying_vault_take(struct keying_vault *vault, struct derive_secrets **ret_secrets)
{
    struct block *block = NULL;

    // The newest blocks first: that is where room is.
    for (size_t i = vault->count; !block && i > 0; i--)
        if (vault->blocks[i - 1].taken < SLOTS)
            block = &vault->blocks[i - 1];
    if (!block) {
        enum err err = add_block(vault);
        if (err)
            return err;
        block = &vault->blocks[vault->count - 1];
    }
    struct slot *slot = block->slots;
    while (slot->taken)
        slot++;
    slot->taken = true;
    block->taken++;
    *ret_secrets = &slot->secrets;
    return ERR_OK;
}

void keying_vault_give_back(struct keying_vault *vault, struct derive_secrets *secrets)
{
    struct slot *slot = (struct slot *)secrets;
    size_t i = 0;

    if (!secrets)
        return;
    while (i < vault->count && !(slot >= vault->blocks[i].slots && slot < vault->blocks[i].slots + SLOTS))
        i++;
    assert(i < vault->count && slot->taken);
    struct block *block = &vault->blocks[i];
    secret_wipe(slot, sizeof(*slot));
    if (--block->taken > 0)
        return;
    secret_free(block->slots, BLOCK_BYTES);
    *block = vault->blocks[--vault->count];
}
