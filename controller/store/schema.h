// SPDX-License-Identifier: GPL-2.0-or-later
// The schema of the store as a list of migrations. Private to controller/store.
#ifndef TWOFOLD_CONTROLLER_STORE_SCHEMA_H
#define TWOFOLD_CONTROLLER_STORE_SCHEMA_H

#include <stddef.h>

#define SCHEMA_APPLICATION_ID 0x54464c44 // "TFLD"

// schema_migrations[n] brings a database of user_version n to n + 1.
extern const char *const schema_migrations[];
extern const size_t schema_version;

#endif
