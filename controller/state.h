// SPDX-License-Identifier: GPL-2.0-or-later
// The state folder, opened: store, settings, CAs.
#ifndef TWOFOLD_CONTROLLER_STATE_H
#define TWOFOLD_CONTROLLER_STATE_H

#include <limits.h>

#include "controller/ca.h"
#include "controller/config.h"
#include "controller/store/store.h"
#include "proto/base/clock.h"

#define STATE_DATABASE "controller.db"

struct state {
    struct store *store;
    struct config config;
    struct ca *ca;
    int lock_fd; // of state_lock; -1: not taken
};

// ERR_NOT_FOUND without an init before. Nothing is written when it fails.
MUST_USE enum err state_open(const char *folder, const struct clock *clock, struct state *ret_state, struct note *note);
void state_close(struct state *state);

// For the daemon: only one runs over a state folder. ERR_EXISTS. Held until state_close.
MUST_USE enum err state_lock(const char *folder, struct state *state, struct note *note);

// "FOLDER/NAME"; ERR_LIMIT when it is too long.
MUST_USE enum err state_path(const char *folder, const char *name, char ret_path[PATH_MAX], struct note *note);

#endif
