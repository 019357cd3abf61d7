// SPDX-License-Identifier: GPL-2.0-or-later
// Bundles and pair messages between hosts. They pass only between two that the slices in force connect by IPsec; what they say is for
// the agents to verify.
#ifndef TWOFOLD_CONTROLLER_RELAY_H
#define TWOFOLD_CONTROLLER_RELAY_H

#include "controller/fleet.h"

#define PAIR_BODY_BYTES_MAX 1024

// Keeps the host's bundle and passes it to its peers. ERR_PROTOCOL: not the form of a bundle, or one that names another host.
MUST_USE enum err relay_bundle(struct agent *agent, const Twofold__V1__Bundle *bundle, struct note *note);

// Passes it on with the sender's name from its session. To someone who isn't connected, or no peer: dropped, the sender tries again.
// ERR_PROTOCOL: not the form of a pair message.
MUST_USE enum err relay_pair(struct agent *agent, const Twofold__V1__PairMessage *pair, struct note *note);

// Sends the agent the bundles of the peers that its slice in force connects and `before` didn't.
void relay_introduce(struct agent *agent, const struct held *before);

#endif
