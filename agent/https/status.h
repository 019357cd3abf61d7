// SPDX-License-Identifier: GPL-2.0-or-later
// What the role says of itself: RoleStatus, with the state of each peer in the HTTPS layer.
#ifndef TWOFOLD_AGENT_HTTPS_STATUS_H
#define TWOFOLD_AGENT_HTTPS_STATUS_H

#include <stddef.h>
#include <stdint.h>

#include "agent/https/https.h"
#include "proto/base/err.h"

// A RoleMessage with the status, encoded; free() it.
MUST_USE enum err status_encode(const struct https *https, uint8_t **ret_bytes, size_t *ret_len);

// Why the last tunnel to this address did not come up; shown until one does.
void status_set_problem(struct https *https, const struct ip *destination, const char *reason);
void status_clear_problem(struct https *https, const struct ip *destination);

#endif
