// SPDX-License-Identifier: GPL-2.0-or-later
// Refused flows as `twofold flows` shows them: the last 1,000, one entry for all packets with the same addresses, protocol, service and
// reason, whatever their source port.
#ifndef TWOFOLD_AGENT_NETWORK_DROPS_H
#define TWOFOLD_AGENT_NETWORK_DROPS_H

#include <stddef.h>
#include <stdint.h>

#include "agent/network/nflog.h"
#include "proto/base/err.h"
#include "role.pb-c.h"
#include "slice.pb-c.h"

#define DROPS_MAX 1000

struct drops;
MUST_USE enum err drops_new(struct drops **ret_drops);
void drops_free(struct drops *drops);

// `slice` (NULL: none) is what is in force now; `now_ms` unix. When full, the entry that was seen longest ago makes room.
void drops_add(struct drops *drops, const Twofold__V1__Slice *slice, uint16_t tunnel_port,
               const struct nflog_event *event, uint64_t now_ms);

size_t drops_count(const struct drops *drops);

// The latest `limit` (0: all), latest first, appended to the message, which owns them (message_free's layout). ERR_NOMEM.
MUST_USE enum err drops_fill(const struct drops *drops, uint32_t limit, Twofold__V1__Flows *flows);

#endif
