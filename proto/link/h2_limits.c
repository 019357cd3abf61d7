// SPDX-License-Identifier: GPL-2.0-or-later
#include "proto/link/h2_internal.h"

static const struct {
    uint32_t burst;
    uint32_t per_second;
    const char *text;
} limits[] = {
#define H2_LIMIT_ROW(name, burst, per_second, text) {burst, per_second, text},
    H2_LIMIT_LIST(H2_LIMIT_ROW)
#undef H2_LIMIT_ROW
};

bool h2_allow(struct h2_allowance *allowance, enum h2_limit limit, uint64_t now_ms)
{
    uint64_t regained = (now_ms - allowance->since_ms) * limits[limit].per_second;

    allowance->since_ms = now_ms;
    allowance->used_thousandths = allowance->used_thousandths > regained ? allowance->used_thousandths - regained : 0;
    if (allowance->used_thousandths + 1000 > limits[limit].burst * 1000ull)
        return false;
    allowance->used_thousandths += 1000;
    return true;
}

const char *h2_limit_text(enum h2_limit limit)
{
    return limits[limit].text;
}
