// SPDX-License-Identifier: GPL-2.0-or-later
// The difference between the policies that are wanted and our own that the kernel holds, as an ordered list of steps. Pure: the same
// input twice gives no step. In any prefix of the list nothing passes that neither the old nor the new policies let pass:
//
//   1  the floor and other blocks: added, changed
//   2  what lets traffic pass outside IPsec and is no longer wanted: removed
//   3  protecting policies: added, changed; in and fwd before out (a peer's ESP must find its policy before ours goes out)
//   4  what lets traffic pass outside IPsec: added, changed; in before out
//   5  protecting policies: removed; out before in
//   6  the floor: removed (only when Twofold is cleared away)
#ifndef TWOFOLD_AGENT_NETWORK_XFRM_PLAN_H
#define TWOFOLD_AGENT_NETWORK_XFRM_PLAN_H

#include <stddef.h>

#include "agent/network/xfrm/spd.h"
#include "proto/base/err.h"

enum plan_kind { PLAN_ADD, PLAN_UPDATE, PLAN_REMOVE };

struct plan_step {
    enum plan_kind kind;
    struct spd_policy before; // UPDATE, REMOVE
    struct spd_policy after;  // ADD, UPDATE
};

struct plan {
    struct plan_step *steps;
    size_t count;
};

// Both lists may be in any order; ERR_INVALID when one selector is wanted twice. ERR_NOMEM. Free with plan_free.
MUST_USE enum err plan_make(const struct spd_policy *wanted, size_t wanted_count, const struct spd_policy *have,
                            size_t have_count, struct plan *ret_plan);
void plan_free(struct plan *plan);

// The step that takes a done one back.
struct plan_step plan_inverse(const struct plan_step *step);

#endif
