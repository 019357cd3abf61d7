// SPDX-License-Identifier: GPL-2.0-or-later
// Administrators: the certificate serial that each name may use. A name that isn't here has no rights, whatever certificate it shows.
#ifndef TWOFOLD_CONTROLLER_STORE_ADMINS_H
#define TWOFOLD_CONTROLLER_STORE_ADMINS_H

#include <stdbool.h>
#include <stdint.h>

#include "controller/store/store.h"

MUST_USE enum err store_add_admin(struct store *store, const char *name, const uint8_t *serial, size_t serial_len,
                                  uint64_t expires,
                                  struct note *note);                                           // ERR_EXISTS
MUST_USE enum err store_remove_admin(struct store *store, const char *name, struct note *note); // ERR_NOT_FOUND
MUST_USE enum err store_admin_is_known(struct store *store, const char *name, const uint8_t *serial, size_t serial_len,
                                       bool *ret_known, struct note *note);
MUST_USE enum err store_each_admin(struct store *store, void (*each)(void *context, const char *name, uint64_t expires),
                                   void *context, struct note *note);

#endif
