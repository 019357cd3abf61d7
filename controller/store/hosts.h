// SPDX-License-Identifier: GPL-2.0-or-later
// Enrolled hosts, live and revoked.
#ifndef TWOFOLD_CONTROLLER_STORE_HOSTS_H
#define TWOFOLD_CONTROLLER_STORE_HOSTS_H

#include <stdbool.h>
#include <stdint.h>

#include "controller/store/store.h"
#include "proto/base/ip.h"
#include "proto/base/spiffe.h"
#include "proto/link/cert.h"

#define HOST_SLOT_MAX     0xfffffu
#define HOST_REASON_BYTES 256

struct certificate_serial {
    uint8_t bytes[20];
    size_t len; // 0: none
};

struct host_record {
    char name[NAME_MAX_BYTES + 1];
    uint32_t slot; // 1..HOST_SLOT_MAX, kept for good
    char workload[SPIFFE_TEXT_BYTES];
    size_t address_count;
    struct ip addresses[CERT_ADDRESSES_MAX]; // ascending as ip_compare has it
    size_t label_count;
    struct cert_label labels[CERT_LABELS_MAX]; // by key
    struct certificate_serial serial;          // of the present agent certificate
    struct certificate_serial previous_serial; // of the one that it was renewed from
    uint64_t certificate_expires;
    bool revoked;
    char revoked_reason[HOST_REASON_BYTES];
};

MUST_USE enum err store_host(struct store *store, const char *name, struct host_record *ret_host,
                             struct note *note); // ERR_NOT_FOUND

// Each host by name; `each` stops the walk by an error, which is returned.
MUST_USE enum err store_each_host(struct store *store, enum err (*each)(void *context, const struct host_record *host),
                                  void *context, struct note *note);

// Adds a host or replaces all of one's facts but its slot, which must be the one it has. Inside a transaction.
MUST_USE enum err store_put_host(struct store *store, const struct host_record *host, struct note *note);

MUST_USE enum err store_count_live_hosts(struct store *store, uint64_t *ret_count, struct note *note);

// The slot for a new host: behind the highest, or the first gap once that is taken. ERR_LIMIT when there is none.
MUST_USE enum err store_free_slot(struct store *store, uint32_t *ret_slot, struct note *note);

// The live host other than `name` that has one of the addresses. ERR_NOT_FOUND: none.
MUST_USE enum err store_address_holder(struct store *store, const char *name, const struct ip *addresses, size_t count,
                                       char ret_holder[NAME_MAX_BYTES + 1], struct ip *ret_address, struct note *note);

// New certificates of the host. Inside a transaction or alone.
MUST_USE enum err store_set_serials(struct store *store, const char *name, const struct certificate_serial *serial,
                                    const struct certificate_serial *previous, uint64_t expires, struct note *note);

// For good: the name and the slot stay taken, the addresses become free. ERR_NOT_FOUND, ERR_EXISTS when it was revoked before. Inside a transaction.
MUST_USE enum err store_revoke_host(struct store *store, const char *name, uint64_t now, const char *reason,
                                    struct note *note);

#endif
