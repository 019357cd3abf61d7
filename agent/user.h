// SPDX-License-Identifier: GPL-2.0-or-later
// The users that the roles run as.
#ifndef TWOFOLD_AGENT_USER_H
#define TWOFOLD_AGENT_USER_H

#include <sys/types.h>

#include "agent/role.h"
#include "proto/base/err.h"
#include "proto/base/note.h"

struct user {
    uid_t uid;
    gid_t gid;
};

// A name from the user database with its primary group, or "UID" or "UID:GID" as numbers (GID = UID when it is left out).
// ERR_NOT_FOUND with the remedy, ERR_INVALID for root.
MUST_USE enum err user_find(const char *text, struct user *ret_user, struct note *note);

// The three roles' users; two that are the same give ERR_INVALID: the layers must not share a uid.
MUST_USE enum err user_find_roles(const char *const names[ROLE_COUNT], struct user ret_users[ROLE_COUNT],
                                  struct note *note);

// A group's name or number.
MUST_USE enum err user_find_group(const char *text, gid_t *ret_gid, struct note *note);

#endif
