// SPDX-License-Identifier: GPL-2.0-or-later
// One SQL statement from text to result, with an error that sticks: bind and step without checks, then ask query_end once.
// Private to controller/store.
//
//   struct query query = query_begin(store, "SELECT value FROM settings WHERE key = ?1", note);
//   query_bind_text(&query, 1, key);
//   while (query_row(&query))
//       ...
//   return query_end(&query);
#ifndef TWOFOLD_CONTROLLER_STORE_QUERY_H
#define TWOFOLD_CONTROLLER_STORE_QUERY_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "controller/store/store.h"

struct store {
    sqlite3 *db; // extended result codes are on
};

// What a result code of SQLite means to callers, in words for people too.
MUST_USE enum err store_error(struct store *store, int code, struct note *note);

struct query {
    struct store *store;
    sqlite3_stmt *statement;
    struct note *note;
    enum err err; // the first failure; everything behind it does nothing
};

struct query query_begin(struct store *store, const char *sql, struct note *note);
// What is bound must live until query_end or query_again.
void query_bind_text(struct query *query, int index, const char *text);
void query_bind_blob(struct query *query, int index, const void *bytes, size_t len);
void query_bind_u64(struct query *query, int index, uint64_t number); // above INT64_MAX: ERR_LIMIT
bool query_row(struct query *query);
void query_again(struct query *query); // the same statement for another set of values
MUST_USE enum err query_end(struct query *query);

// Columns of the present row. A value that doesn't fit its room is ERR_CORRUPT: nobody but us writes here, and we check first.
void query_text(struct query *query, int column, char *room, size_t room_len);
void query_blob(struct query *query, int column, void *room, size_t room_len, size_t *ret_len);
void query_blob_exact(struct query *query, int column, void *room, size_t len);
uint64_t query_u64(struct query *query, int column);
// Marks the row as something that cannot be.
void query_corrupt(struct query *query, const char *what);

#endif
