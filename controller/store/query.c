// SPDX-License-Identifier: GPL-2.0-or-later
#include "controller/store/query.h"

#include <string.h>

// ---- errors

enum err store_error(struct store *store, int code, struct note *note)
{
    // A quota or file size limit that is reached shows as a failed write: SQLite does not keep its errno.
    if ((code & 0xff) == SQLITE_FULL || code == SQLITE_IOERR_WRITE) {
        return note_set(
            note, ERR_FULL,
            "the disk of the controller's state folder is full or takes no more data: nothing was changed; free space "
            "there (or raise the quota) and try again");
    }
    switch (code & 0xff) {
    case SQLITE_NOMEM:
        return note_set(note, ERR_NOMEM, "out of memory");
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return note_set(note, ERR_AGAIN, "another process is writing to the controller's database: try again");
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return note_set(
            note, ERR_CORRUPT,
            "the controller's database is damaged (%s): stop the controller and restore the state folder from a backup",
            sqlite3_errmsg(store->db));
    case SQLITE_READONLY:
    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
    case SQLITE_AUTH:
        return note_set(note, ERR_IO,
                        "the controller's database cannot be written (%s): check owner and mode of the state folder",
                        sqlite3_errmsg(store->db));
    case SQLITE_CONSTRAINT:
        return note_set(note, ERR_EXISTS, "the controller's database refused a change (%s)", sqlite3_errmsg(store->db));
    default: // the library's list grows; whatever it is, nothing was changed
        return note_set(note, ERR_IO, "the controller's database failed: %s", sqlite3_errmsg(store->db));
    }
}

// ---- queries

struct query query_begin(struct store *store, const char *sql, struct note *note)
{
    struct query query = {.store = store, .note = note, .err = ERR_OK};
    int code = sqlite3_prepare_v2(store->db, sql, -1, &query.statement, NULL);
    if (code != SQLITE_OK)
        query.err = store_error(store, code, note);
    return query;
}

static void check(struct query *query, int code)
{
    if (code != SQLITE_OK)
        query->err = store_error(query->store, code, query->note);
}

void query_bind_text(struct query *query, int index, const char *text)
{
    if (query->err == ERR_OK)
        check(query, sqlite3_bind_text(query->statement, index, text, -1, SQLITE_STATIC));
}

void query_bind_blob(struct query *query, int index, const void *bytes, size_t len)
{
    if (query->err == ERR_OK)
        check(query, sqlite3_bind_blob64(query->statement, index, len == 0 ? "" : bytes, len, SQLITE_STATIC));
}

void query_bind_u64(struct query *query, int index, uint64_t number)
{
    if (query->err != ERR_OK)
        return;
    if (number > INT64_MAX) {
        query->err = note_set(query->note, ERR_LIMIT, "a number is too large for the controller's database");
        return;
    }
    check(query, sqlite3_bind_int64(query->statement, index, (sqlite3_int64)number));
}

bool query_row(struct query *query)
{
    if (query->err != ERR_OK)
        return false;
    int code = sqlite3_step(query->statement);
    if (code == SQLITE_ROW)
        return true;
    if (code != SQLITE_DONE)
        query->err = store_error(query->store, code, query->note);
    return false;
}

void query_again(struct query *query)
{
    if (query->err == ERR_OK)
        check(query, sqlite3_reset(query->statement));
}

enum err query_end(struct query *query)
{
    // Outside a transaction this commits, which can fail when everything before it went well.
    int code = sqlite3_finalize(query->statement);
    query->statement = NULL;
    if (query->err == ERR_OK && code != SQLITE_OK)
        query->err = store_error(query->store, code, query->note);
    return query->err;
}

void query_corrupt(struct query *query, const char *what)
{
    if (query->err == ERR_OK)
        query->err =
            note_set(query->note, ERR_CORRUPT,
                     "the controller's database holds %s that cannot be: restore the state folder from a backup", what);
}

void query_text(struct query *query, int column, char *room, size_t room_len)
{
    const unsigned char *text = sqlite3_column_text(query->statement, column);
    size_t len = (size_t)sqlite3_column_bytes(query->statement, column);
    if (text == NULL || len >= room_len || memchr(text, 0, len) != NULL) {
        query_corrupt(query, "a text");
        return;
    }
    memcpy(room, text, len);
    room[len] = '\0';
}

void query_blob(struct query *query, int column, void *room, size_t room_len, size_t *ret_len)
{
    const void *bytes = sqlite3_column_blob(query->statement, column);
    size_t len = (size_t)sqlite3_column_bytes(query->statement, column);
    if (len > room_len) {
        query_corrupt(query, "a byte string");
        return;
    }
    if (len > 0)
        memcpy(room, bytes, len);
    *ret_len = len;
}

void query_blob_exact(struct query *query, int column, void *room, size_t len)
{
    size_t got = 0;
    query_blob(query, column, room, len, &got);
    if (got != len)
        query_corrupt(query, "a byte string");
}

uint64_t query_u64(struct query *query, int column)
{
    sqlite3_int64 number = sqlite3_column_int64(query->statement, column);
    if (number < 0) {
        query_corrupt(query, "a number");
        return 0;
    }
    return (uint64_t)number;
}
