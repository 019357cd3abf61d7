// SPDX-License-Identifier: GPL-2.0-or-later
// The controller's own server certificate: made anew at each start and at half of its life, with a key that is never stored.
#ifndef TWOFOLD_CONTROLLER_IDENTITY_H
#define TWOFOLD_CONTROLLER_IDENTITY_H

#include "controller/ca.h"
#include "controller/config.h"
#include "proto/base/clock.h"
#include "proto/link/tls.h"

// A server context with spiffe://td/controller/NAME and, for clients that look at names, all addresses that it listens on and all
// DNS names. Client certificates of the network CA are optional: each method says what it needs. tls_context_drop it.
MUST_USE enum err identity_context(const struct ca *ca, const struct config *config, const struct trust *trust,
                                   const struct clock *clock, struct tls_context **ret_context, struct note *note);

#endif
