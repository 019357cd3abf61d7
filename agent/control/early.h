// SPDX-License-Identifier: GPL-2.0-or-later
// Peers' bundles on their way from the controller to the network role. A bundle may come before the slice that names its host: those are kept,
// the newest of each host, and handed on once the slice is in force.
#ifndef TWOFOLD_AGENT_CONTROL_EARLY_H
#define TWOFOLD_AGENT_CONTROL_EARLY_H

#include <stddef.h>

#include "control.pb-c.h"
#include "proto/base/err.h"
#include "slice.pb-c.h"

#define EARLY_KEPT_MAX 4096 // hosts; beyond that the oldest is dropped: its bundle comes again with its next epoch

struct early;
MUST_USE enum err early_new(struct early **ret_early);
void early_free(struct early *early); // NULL is fine

// Keeps a copy until early_release. ERR_NOMEM, ERR_MALFORMED (no valid host name).
MUST_USE enum err early_keep(struct early *early, const Twofold__V1__Bundle *bundle);

// Hands on what is kept of the slice's peers and forgets it.
void early_release(struct early *early, const Twofold__V1__Slice *slice,
                   void (*hand_on)(void *context, const Twofold__V1__Bundle *bundle), void *context);

size_t early_count(const struct early *early);

#endif
