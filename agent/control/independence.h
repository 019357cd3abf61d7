// SPDX-License-Identifier: GPL-2.0-or-later
// Are the two layers independent on this host? From what the two roles report of themselves. Pure.
#ifndef TWOFOLD_AGENT_CONTROL_INDEPENDENCE_H
#define TWOFOLD_AGENT_CONTROL_INDEPENDENCE_H

#include <stdbool.h>

#include "proto/base/note.h"
#include "role.pb-c.h"

// Adds a sentence for each thing that the layers share: cipher code, key, CA, uid, process. NULL (a role has not reported yet) is one too.
// True when nothing is shared.
bool independence_check(const Twofold__V1__RoleStatus *network, const Twofold__V1__RoleStatus *https,
                        struct notes *notes);

#endif
