// SPDX-License-Identifier: GPL-2.0-or-later
// Carries a plan out in the kernel: in batches, in order, undone when a step fails.
#ifndef TWOFOLD_AGENT_NETWORK_XFRM_APPLY_H
#define TWOFOLD_AGENT_NETWORK_XFRM_APPLY_H

#include "agent/network/xfrm/netlink.h"
#include "agent/network/xfrm/plan.h"
#include "proto/base/err.h"
#include "proto/base/note.h"

// All steps, or none: on failure those that were done are taken back in reverse order and the note says which step failed and why.
// A policy that is already gone counts as removed. ERR_AGAIN: answers of the kernel were lost, nothing is undone; dump, plan again.
// ERR_EXISTS: a foreign policy holds the selector.
MUST_USE enum err apply_plan(struct netlink *netlink, const struct plan *plan, struct note *note);

// Takes a plan back that apply_plan has carried out. Goes on past failures and returns the first.
MUST_USE enum err apply_undo(struct netlink *netlink, const struct plan *plan, struct note *note);

#endif
