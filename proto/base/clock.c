// SPDX-License-Identifier: GPL-2.0-or-later
#include "proto/base/clock.h"

#include <time.h>

static uint64_t read_ms(clockid_t id)
{
    struct timespec now;

    clock_gettime(id, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static uint64_t system_boot_ms(void *context)
{
    (void)context;
    return read_ms(CLOCK_BOOTTIME);
}

static uint64_t system_unix_ms(void *context)
{
    (void)context;
    return read_ms(CLOCK_REALTIME);
}

const struct clock clock_system = {.boot_ms = system_boot_ms, .unix_ms = system_unix_ms};
