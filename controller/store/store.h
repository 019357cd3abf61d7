// SPDX-License-Identifier: GPL-2.0-or-later
// The controller's store: one SQLite database (WAL, synchronous=FULL). What it says is on disk when a commit returned; anything
// less leaves the old state in force. tokens.h, hosts.h, policies.h, audit.h and admins.h say what is in it.
//
// ERR_FULL means that the disk is full and nothing changed; ERR_CORRUPT that the database is damaged. Notes are for people.
#ifndef TWOFOLD_CONTROLLER_STORE_STORE_H
#define TWOFOLD_CONTROLLER_STORE_STORE_H

#include <stddef.h>
#include <stdint.h>

#include "proto/base/err.h"
#include "proto/base/note.h"

struct store;

// Makes a new database, mode 0600. ERR_EXISTS.
MUST_USE enum err store_create(const char *path, struct store **ret_store, struct note *note);

// Opens the one that is there, checks it whole (quick_check) and brings its schema up to date. Writes nothing to a database that
// it refuses: ERR_NOT_FOUND, ERR_CORRUPT, ERR_UNSUPPORTED (made by a newer version or another program).
MUST_USE enum err store_open(const char *path, struct store **ret_store, struct note *note);
void store_close(struct store *store);

// One transaction at a time. Writers of other processes are waited for, at most five seconds: ERR_AGAIN. A commit that fails has
// rolled back; store_rollback without a transaction does nothing.
MUST_USE enum err store_begin(struct store *store, struct note *note);
MUST_USE enum err store_commit(struct store *store, struct note *note);
void store_rollback(struct store *store);

// Settings of the controller. ERR_NOT_FOUND, ERR_LIMIT when `room` is too small.
MUST_USE enum err store_setting(struct store *store, const char *key, char *room, size_t room_len, struct note *note);
MUST_USE enum err store_set_setting(struct store *store, const char *key, const char *value, struct note *note);

// The generation only goes up: each change of policy, hosts or revocations takes the next one, in the same transaction.
MUST_USE enum err store_generation(struct store *store, uint64_t *ret_generation, struct note *note);
MUST_USE enum err store_next_generation(struct store *store, uint64_t *ret_generation, struct note *note);
// Makes the present generation at least `generation`.
MUST_USE enum err store_raise_generation(struct store *store, uint64_t generation, struct note *note);

#endif
