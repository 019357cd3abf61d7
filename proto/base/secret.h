// SPDX-License-Identifier: GPL-2.0-or-later
// Memory that holds secrets, and comparisons that leak no time.
#ifndef TWOFOLD_BASE_SECRET_H
#define TWOFOLD_BASE_SECRET_H

#include <stdbool.h>
#include <stddef.h>

#include "proto/base/err.h"

// Not removed by the compiler.
void secret_wipe(void *bytes, size_t len);

// Time depends on `len` only.
bool secret_equal(const void *a, const void *b, size_t len);

// Locked, excluded from core dumps and from children (mlock, MADV_DONTDUMP, MADV_WIPEONFORK); zero. secret_free wipes and unmaps.
MUST_USE enum err secret_alloc(size_t len, void **ret_bytes);
void secret_free(void *bytes, size_t len);

// From the kernel's generator; blocks only before it is seeded, aborts if it does not answer.
void random_bytes(void *bytes, size_t len);

#endif
