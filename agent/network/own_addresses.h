// SPDX-License-Identifier: GPL-2.0-or-later
// The host's own IPv6 addresses, as its interfaces have them now.
#ifndef TWOFOLD_AGENT_NETWORK_OWN_ADDRESSES_H
#define TWOFOLD_AGENT_NETWORK_OWN_ADDRESSES_H

#include <stddef.h>

#include "proto/base/err.h"
#include "proto/base/ip.h"

#define OWN_ADDRESSES_MAX 256

// Ascending, without duplicates and without ::1; those beyond the limit are left out.
MUST_USE enum err own_addresses6(struct ip ret_addresses[OWN_ADDRESSES_MAX], size_t *ret_count);

#endif
