// SPDX-License-Identifier: GPL-2.0-or-later
// What a policy must obey as a whole, beyond the form of each value. Internal to policy/.
#ifndef TWOFOLD_POLICY_CHECK_H
#define TWOFOLD_POLICY_CHECK_H

#include "policy/model.h"
#include "proto/base/err.h"
#include "proto/base/note.h"

// Sorts the segments, resolves references, adds every finding. ERR_NOMEM only.
MUST_USE enum err policy_check(struct policy *policy, struct notes *notes);

#endif
