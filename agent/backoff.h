// SPDX-License-Identifier: GPL-2.0-or-later
// Waiting times between attempts: doubling from `min_ms` to `max_ms`, each drawn from its upper half, so that a thousand hosts that lost the
// same controller do not come back in step.
#ifndef TWOFOLD_AGENT_BACKOFF_H
#define TWOFOLD_AGENT_BACKOFF_H

#include <stdint.h>

struct backoff {
    uint64_t min_ms;
    uint64_t max_ms;
    uint64_t next_ms; // before the draw
};

void backoff_init(struct backoff *backoff, uint64_t min_ms, uint64_t max_ms);

// The wait before the next attempt: within [x/2, x] of the present step x, which then doubles.
uint64_t backoff_next_ms(struct backoff *backoff);

// After a success.
void backoff_reset(struct backoff *backoff);

// Evenly drawn from [low, high].
uint64_t random_between(uint64_t low, uint64_t high);

#endif
