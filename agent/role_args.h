// SPDX-License-Identifier: GPL-2.0-or-later
// How the supervisor tells a role its struct role_start: as the arguments of `twofold-agent role NAME …`. Internal, not for people.
#ifndef TWOFOLD_AGENT_ROLE_ARGS_H
#define TWOFOLD_AGENT_ROLE_ARGS_H

#include <sys/types.h>

#include "agent/role.h"
#include "proto/base/err.h"
#include "proto/base/log.h"
#include "proto/base/note.h"

#define ROLE_ARGS_MAX   32
#define ROLE_ARGS_BYTES 2048

struct role_args {
    char *argv[ROLE_ARGS_MAX + 1]; // ends with NULL; points into `text`
    int argc;
    char text[ROLE_ARGS_BYTES];
    size_t used;
};

// `parent` is the supervisor's pid. ERR_LIMIT when paths are too long.
MUST_USE enum err role_args_format(const struct role_start *start, pid_t parent, enum log_level level,
                                   struct role_args *ret_args);

// The strings of ret_start point into argv. ERR_USAGE.
MUST_USE enum err role_args_parse(int argc, char *const *argv, struct role_start *ret_start, pid_t *ret_parent,
                                  enum log_level *ret_level, struct note *note);

#endif
