// SPDX-License-Identifier: GPL-2.0-or-later
// How one slice comes into force in both roles and on disk, whole or not at all. Sans-I/O: slices, answers and time go in; what is to be done
// goes out through `struct apply_actions`.
#ifndef TWOFOLD_AGENT_CONTROL_APPLY_H
#define TWOFOLD_AGENT_CONTROL_APPLY_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/base/clock.h"
#include "proto/base/digest.h"
#include "proto/base/err.h"
#include "proto/base/note.h"
#include "role.pb-c.h"
#include "slice.pb-c.h"

enum apply_role { APPLY_NETWORK, APPLY_HTTPS };

#define APPLY_ROLES 2

enum apply_limit { APPLY_PREPARE_MS = 20000, APPLY_COMMIT_MS = 20000 };

// How one apply ended. Pointers live during the call only.
struct apply_outcome {
    bool applied; // false: the slice that was in force before still is
    bool broken;  // the roles cannot be trusted to agree: end, so that all roles start afresh from the stored slice
    const char *reason;  // of a failure, for people
    uint64_t generation; // that was asked for
    uint64_t elapsed_ms;
};

struct apply_actions {
    // To one role, in order. An error counts as a refusal.
    enum err (*send)(void *context, enum apply_role role, const Twofold__V1__RoleMessage *message);
    // Writes the slice beside the stored one / puts it in its place.
    enum err (*stage)(void *context, const Twofold__V1__Slice *slice, struct note *note);
    enum err (*publish)(void *context, struct note *note);
    // Each change of state, for the log.
    void (*moved)(void *context, const char *old, const char *event, const char *new);
    // Last of each apply; a new one may be started from inside.
    void (*finished)(void *context, const struct apply_outcome *outcome);
};

struct apply;
MUST_USE enum err apply_new(const struct clock *clock, const struct apply_actions *actions, void *context,
                            struct apply **ret_apply);
void apply_free(struct apply *apply); // NULL is fine; no action is called

bool apply_is_busy(const struct apply *apply);

// Takes over `slice`, which slice_check has passed; it is freed when it does not come into force. `stored`: it comes from the disk and need not go
// there. ERR_AGAIN while another one is under way, and the slice stays the caller's.
MUST_USE enum err apply_start(struct apply *apply, Twofold__V1__Slice *slice, bool stored);

// A role's answer. One that nobody waits for (late, or of another generation) is ignored.
void apply_on_answer(struct apply *apply, enum apply_role role, const Twofold__V1__RoleAnswer *answer);

void apply_on_role_gone(struct apply *apply, enum apply_role role);

// Time passes: call at the time that apply_deadline names (boot milliseconds; UINT64_MAX: never).
void apply_tick(struct apply *apply);
uint64_t apply_deadline(const struct apply *apply);

// What is in force in both roles; NULL: nothing yet. Its digest is zero then.
const Twofold__V1__Slice *apply_current(const struct apply *apply);
const uint8_t *apply_current_digest(const struct apply *apply);
// Unix milliseconds at which it came into force in this process; 0: nothing yet.
uint64_t apply_current_since_ms(const struct apply *apply);

#endif
