// SPDX-License-Identifier: GPL-2.0-or-later
// Starts a role: fork and exec of this very program as `role NAME`, with everything taken away that the role doesn't need.
#ifndef TWOFOLD_AGENT_SPAWN_H
#define TWOFOLD_AGENT_SPAWN_H

#include <sys/types.h>

#include "agent/role.h"
#include "agent/user.h"
#include "proto/base/err.h"
#include "proto/base/log.h"
#include "proto/base/note.h"

// The child has: uid and gid of `user`, `start->admin_gid` as only supplementary group (control) or none, CAP_NET_ADMIN (network) or no
// capability, an empty bounding set, no_new_privs, no core dumps, a session of its own, standard input from /dev/null, the descriptors that `start`
// names and no others, and an environment of its own making. A role that cannot be confined like this ends with status 126.
MUST_USE enum err spawn_role(const struct role_start *start, const struct user *user, enum log_level level,
                             pid_t *ret_pid, struct note *note);

// The first thing in a role's process: it dies with its supervisor `parent`. ERR_CLOSED when that has ended already.
MUST_USE enum err spawn_settle(pid_t parent);

#endif
