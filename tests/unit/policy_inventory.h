// SPDX-License-Identifier: GPL-2.0-or-later
// The inventory that the policy tests share, and golden files beside it.
#ifndef TWOFOLD_TESTS_UNIT_POLICY_INVENTORY_H
#define TWOFOLD_TESTS_UNIT_POLICY_INVENTORY_H

#include "policy/policy.h"

// web1 web2 api1 db1 db2 cache1 branch1 lone; `old` is revoked, `soon` has no address yet. In no order.
extern const struct inventory policy_inventory;

// A policy that must be good.
struct policy *policy_good(const char *text);

// The file's text; free().
char *golden_read(const char *path);

// Compares with the golden file; with UPDATE_GOLDEN in the environment it is written instead.
void golden_compare(const char *path, const char *text);

// Calls `run` for each file of tests/unit/golden/policy that has a neighbour with this ending: run("…/web.yaml", "…/web.slices").
void golden_each(const char *ending, void (*run)(const char *policy_path, const char *golden_path));

#endif
