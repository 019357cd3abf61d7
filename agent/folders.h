// SPDX-License-Identifier: GPL-2.0-or-later
// The state folder: STATE/{control,network,https}, each 0700 and owned by its role's user, and the swap of all three at an enrolment.
//
// An enrolment writes STATE/.enrol/ completely, then renames it to STATE/.enrolled: from there on it is done, and what is left (moving
// the three folders into place) is finished by whoever comes next. A crash before that leaves the old enrolment in force.
#ifndef TWOFOLD_AGENT_FOLDERS_H
#define TWOFOLD_AGENT_FOLDERS_H

#include <stdbool.h>

#include "agent/role.h"
#include "agent/user.h"
#include "proto/base/err.h"
#include "proto/base/note.h"

// Makes STATE (0755) when it is not there, takes its lock until the descriptor is closed or the process ends, and finishes an
// enrolment that was cut short. ERR_EXISTS: another agent runs with this state.
MUST_USE enum err folders_open(const char *state, int *ret_lock_fd, struct note *note);

bool folders_is_enrolled(const char *state);

// Each role's user can walk to STATE, which is there. ERR_INVALID with the folder that is in the way.
MUST_USE enum err folders_reach(const char *state, const struct user users[ROLE_COUNT], struct note *note);

// The host is enrolled, and each role can walk to its folder, which belongs to its user with mode 0700. ERR_NOT_FOUND, ERR_INVALID,
// with the remedy.
MUST_USE enum err folders_check(const char *state, const struct user users[ROLE_COUNT], struct note *note);

// The role's folder: STATE/<role>. ERR_INVALID when the path is too long.
MUST_USE enum err folders_folder(const char *state, enum role role, char *room, size_t room_len, struct note *note);

// Empty role folders to write a new enrolment into; `ret_staging` is given to folders_folder in place of STATE.
MUST_USE enum err folders_stage(const char *state, char *ret_staging, size_t room_len, struct note *note);

// Gives what was staged to its users and puts it in force, whole or not at all.
MUST_USE enum err folders_install(const char *state, const struct user users[ROLE_COUNT], struct note *note);

// Forgets what was staged.
void folders_unstage(const char *state);

#endif
