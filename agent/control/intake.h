// SPDX-License-Identifier: GPL-2.0-or-later
// Deltas from the controller, one after the other: patched, checked, applied, answered. While one is being applied the newest of those that arrive
// waits; an older one that waited is answered as superseded. Sans-I/O.
#ifndef TWOFOLD_AGENT_CONTROL_INTAKE_H
#define TWOFOLD_AGENT_CONTROL_INTAKE_H

#include <stdbool.h>
#include <stdint.h>

#include "agent/control/apply.h"
#include "control.pb-c.h"
#include "proto/base/clock.h"
#include "proto/base/err.h"
#include "proto/base/note.h"

struct intake_config {
    const struct clock *clock;
    const char *trust_domain; // outlive
    const char *host;
    void *context; // of the callbacks
    enum err (*send)(void *context, enum apply_role role, const Twofold__V1__RoleMessage *message);
    enum err (*stage)(void *context, const Twofold__V1__Slice *slice, struct note *note);
    enum err (*publish)(void *context, struct note *note);
    // A last check before the roles see it (independence). ERR_OK or a refusal with its sentence.
    enum err (*admit)(void *context, const Twofold__V1__Slice *slice, struct note *note);
    // The answer to the controller.
    void (*answer)(void *context, const Twofold__V1__SliceResult *result);
    // A slice is in force, or (false) was refused and nothing has changed. After `answer`.
    void (*settled)(void *context, bool applied, const char *reason);
    // The roles may disagree: end. After `answer`.
    void (*broken)(void *context, const char *reason);
};

struct intake;
MUST_USE enum err intake_new(const struct intake_config *config, struct intake **ret_intake);
void intake_free(struct intake *intake); // NULL is fine

// At the start: the slice from the disk, which is taken over. `settled` follows, maybe from inside.
void intake_start_stored(struct intake *intake, Twofold__V1__Slice *slice, uint64_t applied_at);

// Answered by `answer`, once, unless the session ends before.
void intake_on_delta(struct intake *intake, const Twofold__V1__SliceDelta *delta);

// The session ended: what waits is dropped, and nothing that it asked for is answered on the next one.
void intake_on_session_lost(struct intake *intake);

void intake_on_answer(struct intake *intake, enum apply_role role, const Twofold__V1__RoleAnswer *answer);
void intake_on_role_gone(struct intake *intake, enum apply_role role);
void intake_tick(struct intake *intake);
uint64_t intake_deadline(const struct intake *intake);

bool intake_is_busy(const struct intake *intake);
const Twofold__V1__Slice *intake_slice(const struct intake *intake); // in force; NULL: none
const uint8_t *intake_digest(const struct intake *intake);           // all zero: none
uint64_t intake_applied_at(const struct intake *intake);             // unix seconds; 0: none

#endif
