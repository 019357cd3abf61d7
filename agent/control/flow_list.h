// SPDX-License-Identifier: GPL-2.0-or-later
// What `twofold flows` is told: the flows of both roles as one list. Pure.
#ifndef TWOFOLD_AGENT_CONTROL_FLOW_LIST_H
#define TWOFOLD_AGENT_CONTROL_FLOW_LIST_H

#include <stddef.h>
#include <stdint.h>

#include "proto/base/err.h"
#include "role.pb-c.h"

// Both roles' flows, the oldest first; with a limit (0: none) the newest that many, live ones before ended ones. Encoded LocalResponse; free().
MUST_USE enum err flow_list_merge(const Twofold__V1__Flows *network, const Twofold__V1__Flows *https, uint32_t limit,
                                  uint8_t **ret_bytes, size_t *ret_len);

#endif
