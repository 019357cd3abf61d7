// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/backoff.h"

#include "proto/base/secret.h"

void backoff_init(struct backoff *backoff, uint64_t min_ms, uint64_t max_ms)
{
    *backoff = (struct backoff){.min_ms = min_ms, .max_ms = max_ms, .next_ms = min_ms};
}

uint64_t backoff_next_ms(struct backoff *backoff)
{
    uint64_t step = backoff->next_ms;

    backoff->next_ms = step > backoff->max_ms / 2 ? backoff->max_ms : 2 * step;
    return random_between(step / 2, step);
}

void backoff_reset(struct backoff *backoff)
{
    backoff->next_ms = backoff->min_ms;
}

uint64_t random_between(uint64_t low, uint64_t high)
{
    uint64_t value;

    random_bytes(&value, sizeof(value));
    return high - low == UINT64_MAX ? value : low + value % (high - low + 1);
}
