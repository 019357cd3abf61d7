// SPDX-License-Identifier: GPL-2.0-or-later
// The event loop of a role. From version 1.46 on libuv makes an io_uring for each loop, if the kernel lets it, and asks for its
// descriptors through that instead of epoll_ctl. What goes through a ring passes no seccomp filter, so role_confine refuses
// rings, and a loop that has one would no longer see events. Here the loop comes to be without one.
#ifndef TWOFOLD_AGENT_CONFINE_LOOP_H
#define TWOFOLD_AGENT_CONFINE_LOOP_H

#include <uv.h>

#include "proto/base/err.h"
#include "proto/base/note.h"

// uv_loop_init for a process that calls role_confine later. From here on the process can make no io_uring, and it has no_new_privs.
MUST_USE enum err confine_loop_init(uv_loop_t *loop, struct note *note);

#endif
