// SPDX-License-Identifier: GPL-2.0-or-later
// Every policy that was ever in force, under the generation in which it came.
#ifndef TWOFOLD_CONTROLLER_STORE_POLICIES_H
#define TWOFOLD_CONTROLLER_STORE_POLICIES_H

#include <stdint.h>

#include "controller/store/store.h"
#include "proto/base/spiffe.h"

struct policy_record {
    uint64_t generation;
    char *text; // free() it
    char applied_by[SPIFFE_TEXT_BYTES];
    uint64_t applied_at; // unix seconds
};

MUST_USE enum err store_add_policy(struct store *store, uint64_t generation, const char *text, const char *by,
                                   uint64_t now, struct note *note);

// The one in force in that generation (the newest whose generation is not above it). ERR_NOT_FOUND.
MUST_USE enum err store_policy(struct store *store, uint64_t generation, struct policy_record *ret_policy,
                               struct note *note);

#endif
