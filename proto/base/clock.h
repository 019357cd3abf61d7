// SPDX-License-Identifier: GPL-2.0-or-later
// Time, read in one place so that tests can set it.
#ifndef TWOFOLD_BASE_CLOCK_H
#define TWOFOLD_BASE_CLOCK_H

#include <stdint.h>

// What code that depends on time is given. `boot_ms` never goes back and counts suspended time (CLOCK_BOOTTIME); `unix_ms` is the
// wall clock.
struct clock {
    uint64_t (*boot_ms)(void *context);
    uint64_t (*unix_ms)(void *context);
    void *context;
};

extern const struct clock clock_system;

static inline uint64_t clock_boot_ms(const struct clock *clock)
{
    return clock->boot_ms(clock->context);
}

static inline uint64_t clock_unix_ms(const struct clock *clock)
{
    return clock->unix_ms(clock->context);
}

#endif
