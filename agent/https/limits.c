// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/https/limits.h"

#define LIMIT_VALUE(name, value, meaning)   [HTTPS_LIMIT_##name] = (value),
#define LIMIT_MEANING(name, value, meaning) [HTTPS_LIMIT_##name] = (meaning),

const struct https_limits https_limits_default = {.value = {HTTPS_LIMITS(LIMIT_VALUE)}};

const char *https_limit_meaning(enum https_limit limit)
{
    static const char *const meanings[HTTPS_LIMIT_COUNT] = {HTTPS_LIMITS(LIMIT_MEANING)};
    return meanings[limit];
}
