// SPDX-License-Identifier: GPL-2.0-or-later
// Prints the rate of this machine's time stamp counter in kHz. QEMU's emulation hands the counter through to the guest, whose own calibration
// (against emulated timers) goes wrong by any factor when the machine is busy: the guest's clock then runs too fast.
#include <stdint.h>
#include <stdio.h>
#include <time.h>
#include <x86intrin.h>

struct reading {
    uint64_t ticks;
    uint64_t ns;
};

// The reading of the counter that took the least time is the one that nobody interrupted.
static struct reading read_both(void)
{
    struct reading best = {0};
    uint64_t least = UINT64_MAX;

    for (int i = 0; i < 100; i++) {
        struct timespec now;
        uint64_t before = __rdtsc();
        clock_gettime(CLOCK_MONOTONIC_RAW, &now);
        uint64_t after = __rdtsc();
        if (after - before < least) {
            least = after - before;
            best = (struct reading){before + least / 2, (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec};
        }
    }
    return best;
}

int main(void)
{
    struct timespec wait = {.tv_nsec = 200000000};
    struct reading first = read_both();
    nanosleep(&wait, NULL);
    struct reading last = read_both();
    printf("%llu\n", (unsigned long long)((last.ticks - first.ticks) * 1000000u / (last.ns - first.ns)));
    return 0;
}
