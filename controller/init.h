// SPDX-License-Identifier: GPL-2.0-or-later
// Making a state folder, and administrators' credentials out of it: what the commands `init` and `admin` do.
#ifndef TWOFOLD_CONTROLLER_INIT_H
#define TWOFOLD_CONTROLLER_INIT_H

#include <stdint.h>

#include "controller/config.h"
#include "proto/base/clock.h"

#define ADMIN_DAYS_DEFAULT 365u
#define ADMIN_DAYS_MAX     3650u
#define FIRST_ADMIN        "admin"

// The state folder (0700) with two CAs, the store with an empty policy, which denies all, as generation 1, and the first administrator's
// credentials in its folder admin/. Refuses a folder that holds anything; takes away what it made when it fails.
MUST_USE enum err init_state(const char *state, const struct config *config, uint32_t admin_days,
                             const struct clock *clock, struct note *note);

// Credentials for a further administrator in the folder `out`: admin.key, admin.pem, network-ca.pem, controller. ERR_EXISTS.
MUST_USE enum err init_admin(const char *state, const char *name, const char *out, uint32_t days,
                             const struct clock *clock, struct note *note);

// From now on the administrator's certificate is good for nothing. ERR_NOT_FOUND.
MUST_USE enum err init_remove_admin(const char *state, const char *name, const struct clock *clock, struct note *note);

#endif
