// SPDX-License-Identifier: GPL-2.0-or-later
// The https role with limits other than the default ones, for tests. https_main (agent/role.h) is this with the defaults.
#ifndef TWOFOLD_AGENT_HTTPS_ROLE_H
#define TWOFOLD_AGENT_HTTPS_ROLE_H

#include "agent/https/limits.h"
#include "agent/role.h"

int https_run(const struct role_start *start, const struct https_limits *limits);

#endif
