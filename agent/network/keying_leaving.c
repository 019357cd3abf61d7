// SPDX-License-Identifier: GPL-2.0-or-later
#include <stdlib.h>
#include <string.h>

#include "agent/network/keying_inside.h"

// True when the SA is gone.
static bool remove_sa(struct keying *keying, const struct sa *sa)
{
    enum err err = keying->config.actions->remove(keying->config.context, sa);

    if (err == ERR_OK || err == ERR_NOT_FOUND)
        return true;
    keying->counters.kernel_errors++;
    return false;
}

void keying_leaving_add(struct keying *keying, const struct sa *sa, uint64_t at_ms)
{
    if (keying->leaving_count == keying->leaving_capacity) {
        size_t capacity = keying->leaving_capacity ? 2 * keying->leaving_capacity : 64;
        struct keying_leaving *leaving = realloc(keying->leaving, capacity * sizeof(*leaving));
        if (!leaving) {
            (void)remove_sa(keying, sa);
            return;
        }
        keying->leaving = leaving;
        keying->leaving_capacity = capacity;
    }
    keying->leaving[keying->leaving_count++] = (struct keying_leaving){.sa = *sa, .at_ms = at_ms};
    keying->leaving_by_bits[keying_sa_bits(sa)]++;
    keying_wake(keying, at_ms);
}

void keying_leaving_hurry(struct keying *keying, const char *peer)
{
    uint64_t now_ms = keying_now(keying);

    for (size_t i = 0; i < keying->leaving_count; i++)
        if (strcmp(keying->leaving[i].sa.peer, peer) == 0)
            keying->leaving[i].at_ms = now_ms;
    keying_leaving_tick(keying, now_ms);
}

void keying_leaving_tick(struct keying *keying, uint64_t now_ms)
{
    size_t i = 0;

    while (i < keying->leaving_count) {
        struct keying_leaving *leaving = &keying->leaving[i];
        if (leaving->at_ms <= now_ms && remove_sa(keying, &leaving->sa)) {
            keying->leaving_by_bits[keying_sa_bits(&leaving->sa)]--;
            *leaving = keying->leaving[--keying->leaving_count];
            continue;
        }
        if (leaving->at_ms <= now_ms)
            leaving->at_ms = now_ms + KEYING_POLL_MS;
        keying_wake(keying, leaving->at_ms);
        i++;
    }
}
