// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/confine_loop.h"

#include <errno.h>
#include <seccomp.h>
#include <string.h>

// ENOSYS, as a kernel without io_uring answers. 0 or a negative errno.
static int refuse_rings(void)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);

    if (!filter)
        return -ENOMEM;
    int result = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
    if (result == 0)
        result = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(io_uring_setup), 0);
    if (result == 0)
        result = seccomp_load(filter);
    seccomp_release(filter);
    return result;
}

enum err confine_loop_init(uv_loop_t *loop, struct note *note)
{
    int result = refuse_rings();

    if (result < 0)
        return note_set(note, ERR_KERNEL, "the seccomp filter of the event loop cannot be set: %s", strerror(-result));
    if ((result = uv_loop_init(loop)) < 0)
        return note_set(note, ERR_NOMEM, "the event loop cannot be made: %s", uv_strerror(result));
    return ERR_OK;
}
