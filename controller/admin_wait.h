// SPDX-License-Identifier: GPL-2.0-or-later
// Answering an administrator when the agents have answered.
#ifndef TWOFOLD_CONTROLLER_ADMIN_WAIT_H
#define TWOFOLD_CONTROLLER_ADMIN_WAIT_H

#include "admin.pb-c.h"
#include "controller/rpc.h"

struct outcome {
    uint64_t generation;
    uint32_t elapsed_ms;
    Twofold__V1__HostResult **results;
    size_t result_count;
};

// Calls `answer` once: at once with wait_ms 0, otherwise when every agent that is connected now has answered the generation or the
// time is over. When the caller leaves before, never. `started_ms`: boot time of the receipt.
void admin_wait(struct call *call, uint64_t generation, uint64_t started_ms, uint32_t wait_ms,
                void (*answer)(struct call *call, const struct outcome *outcome));

#endif
