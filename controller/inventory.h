// SPDX-License-Identifier: GPL-2.0-or-later
// The hosts as the policy compiler wants them, kept in memory beside the store.
#ifndef TWOFOLD_CONTROLLER_INVENTORY_H
#define TWOFOLD_CONTROLLER_INVENTORY_H

#include "controller/store/hosts.h"
#include "policy/policy.h"
#include "proto/base/err.h"

struct hosts; // what owns the memory behind a struct inventory

MUST_USE enum err hosts_new(const char *trust_domain, struct hosts **ret_hosts);
void hosts_free(struct hosts *hosts);

// Adds a host or replaces it by name. On failure nothing changed.
MUST_USE enum err hosts_put(struct hosts *hosts, const struct host_record *host);
void hosts_set_generation(struct hosts *hosts, uint64_t generation);

// Valid until the next change; hosts are sorted by name.
const struct inventory *hosts_inventory(const struct hosts *hosts);
const struct inventory_host *hosts_find(const struct hosts *hosts, const char *name); // NULL: none

#endif
