// SPDX-License-Identifier: GPL-2.0-or-later
// The commands `twofold-agent floor` and `twofold-agent clear`: what the kernel holds without a running agent. As root.
#ifndef TWOFOLD_AGENT_NETWORK_CLEAR_H
#define TWOFOLD_AGENT_NETWORK_CLEAR_H

#include "proto/base/err.h"
#include "proto/base/note.h"

// At boot, before the network is up: everything is refused but the host's traffic with itself, neighbour discovery and DHCP, by nftables
// and by the SPD. What a running or earlier agent has put in place stays as it is.
MUST_USE enum err network_floor(struct note *note);

// Removes every kernel object of Twofold: policies and SAs in our ranges, then the nftables table. Foreign ones stay. The host is then as
// open as its other rules leave it.
MUST_USE enum err network_clear(struct note *note);

#endif
