// SPDX-License-Identifier: GPL-2.0-or-later
// What goes into the audit log: who did what to what, with which outcome. Each row is logged too, with its hash, so that a copy of
// the chain lies outside the database.
#ifndef TWOFOLD_CONTROLLER_AUDIT_H
#define TWOFOLD_CONTROLLER_AUDIT_H

#include "controller/store/store.h"
#include "proto/base/clock.h"
#include "proto/base/err.h"
#include "proto/base/note.h"

struct audit_event {
    const char *actor;  // SPIFFE ID; of someone unknown the address; of the local command "uid 0"
    const char *action; // "policy.apply"
    const char *object;
    const char *outcome; // "ok" or the reason
};

// Inside the transaction of the change.
MUST_USE enum err audit_write(struct store *store, const struct clock *clock, const struct audit_event *event,
                              struct note *note);

// In a transaction of its own, for what was refused or failed. When even that fails it is logged, loudly.
void audit_refused(struct store *store, const struct clock *clock, const struct audit_event *event);

#endif
