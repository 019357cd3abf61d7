// SPDX-License-Identifier: GPL-2.0-or-later
// Waiting until the agents that are connected have answered a generation: for `twofold policy apply` and `revoke`.
#ifndef TWOFOLD_CONTROLLER_ROLLOUT_H
#define TWOFOLD_CONTROLLER_ROLLOUT_H

#include <stdbool.h>
#include <stdint.h>

#include "controller/fleet.h"

#define ROLLOUT_WAIT_MS_MAX 600000
#define ROLLOUTS_MAX        64

struct rollout_host {
    char host[NAME_MAX_BYTES + 1];
    bool answered;
    bool settled; // answered, or gone
    bool applied;
    char reason[AGENT_PROBLEM_BYTES]; // when it was not applied
    uint64_t elapsed_ms;
};

struct rollout {
    struct rollout *next;
    uint64_t generation;
    uint64_t started_ms; // boot
    uint64_t wait_ms;
    struct rollout_host *hosts;
    size_t host_count;
    uint64_t elapsed_ms; // to the last answer; to the end of the wait when one is missing
    void (*on_done)(void *context, struct rollout *rollout); // once, from fleet_work or fleet_tick; freed behind it
    void *context;
};

// Waits for those connected now. ERR_LIMIT: too many wait already.
MUST_USE enum err rollout_start(struct fleet *fleet, uint64_t generation, uint64_t started_ms, uint64_t wait_ms,
                                void (*on_done)(void *context, struct rollout *rollout), void *context,
                                struct rollout **ret_rollout);
void rollout_cancel(struct fleet *fleet, struct rollout *rollout); // no on_done
void rollouts_check(struct fleet *fleet);

#endif
