// SPDX-License-Identifier: GPL-2.0-or-later
// The audit log: rows that are only ever added, each with the SHA-384 of the row and of the hash before it. A changed, removed
// or inserted row breaks the chain; a shortened one no longer fits the head that is kept beside it.
#ifndef TWOFOLD_CONTROLLER_STORE_AUDIT_H
#define TWOFOLD_CONTROLLER_STORE_AUDIT_H

#include <stdbool.h>
#include <stdint.h>

#include "controller/store/store.h"
#include "proto/base/digest.h"
#include "proto/base/spiffe.h"

#define AUDIT_ACTION_BYTES  64
#define AUDIT_OBJECT_BYTES  256
#define AUDIT_OUTCOME_BYTES 512

struct audit_row {
    uint64_t number; // from 1
    uint64_t time_ms;
    char actor[SPIFFE_TEXT_BYTES];
    char action[AUDIT_ACTION_BYTES];
    char object[AUDIT_OBJECT_BYTES];
    char outcome[AUDIT_OUTCOME_BYTES];
    uint8_t hash[DIGEST_BYTES];
};

// Adds a row; number and hash are set here. Inside a transaction: with the change that it tells of, or none of both.
MUST_USE enum err store_add_audit(struct store *store, struct audit_row *row, struct note *note);

// Rows behind `after`, at most `limit`, in order.
MUST_USE enum err store_each_audit(struct store *store, uint64_t after, uint32_t limit,
                                   enum err (*each)(void *context, const struct audit_row *row), void *context,
                                   struct note *note);

// Walks the whole chain. A broken one is no error of this call.
MUST_USE enum err store_audit_intact(struct store *store, bool *ret_intact, struct note *note);

#endif
