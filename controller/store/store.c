// SPDX-License-Identifier: GPL-2.0-or-later
#include "controller/store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "controller/store/query.h"
#include "controller/store/schema.h"

#define BUSY_MS 5000

// ---- opening

static enum err run(struct store *store, const char *sql, struct note *note)
{
    int code = sqlite3_exec(store->db, sql, NULL, NULL, NULL);
    return code == SQLITE_OK ? ERR_OK : store_error(store, code, note);
}

static enum err read_number(struct store *store, const char *sql, uint64_t *ret_number, struct note *note)
{
    struct query query = query_begin(store, sql, note);
    uint64_t number = 0;
    if (query_row(&query))
        number = query_u64(&query, 0);
    enum err err = query_end(&query);
    if (err == ERR_OK)
        *ret_number = number;
    return err;
}

static enum err set_up(struct store *store, struct note *note)
{
    return run(store,
               "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;"
               "PRAGMA journal_size_limit = 67108864;",
               note);
}

// Everything that can refuse, before anything is written.
static enum err examine(struct store *store, const char *path, uint64_t *ret_version, struct note *note)
{
    uint64_t application = 0, version = 0;
    enum err err = read_number(store, "PRAGMA application_id", &application, note);
    if (err == ERR_OK)
        err = read_number(store, "PRAGMA user_version", &version, note);
    if (err != ERR_OK)
        return err;
    if (application != SCHEMA_APPLICATION_ID)
        return note_set(note, ERR_UNSUPPORTED,
                        "%s is not a database of twofold-controller: give the right --state folder", path);
    if (version > schema_version) {
        return note_set(
            note, ERR_UNSUPPORTED,
            "%s was made by a newer twofold-controller (schema %llu, this one knows %zu): install that version", path,
            (unsigned long long)version, schema_version);
    }
    char verdict[256] = "";
    struct query query = query_begin(store, "PRAGMA quick_check(1)", note);
    if (query_row(&query))
        query_text(&query, 0, verdict, sizeof(verdict));
    err = query_end(&query);
    if (err != ERR_OK)
        return err;
    for (char *end = strchr(verdict, '\n'); end != NULL; end = strchr(end, '\n'))
        *end = ' ';
    if (strcmp(verdict, "ok") != 0) {
        return note_set(note, ERR_CORRUPT,
                        "%s is damaged (%s): nothing was written to it; restore the state folder from a backup", path,
                        verdict);
    }
    *ret_version = version;
    return ERR_OK;
}

static enum err migrate(struct store *store, uint64_t version, struct note *note)
{
    while (version < schema_version) {
        char mark[64];
        snprintf(mark, sizeof(mark), "PRAGMA user_version = %llu", (unsigned long long)version + 1);
        enum err err = store_begin(store, note);
        if (err == ERR_OK)
            err = run(store, schema_migrations[version], note);
        if (err == ERR_OK)
            err = run(store, mark, note);
        if (err == ERR_OK)
            err = store_commit(store, note);
        if (err != ERR_OK) {
            store_rollback(store);
            return err;
        }
        version++;
    }
    return ERR_OK;
}

static enum err open_database(const char *path, struct store **ret_store, struct note *note)
{
    struct store *store = calloc(1, sizeof(*store));
    if (store == NULL)
        return note_set(note, ERR_NOMEM, "out of memory");
    int code = sqlite3_open_v2(path, &store->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOFOLLOW, NULL);
    if (code != SQLITE_OK) {
        enum err err = store->db == NULL ? note_set(note, ERR_NOMEM, "out of memory") : store_error(store, code, note);
        store_close(store);
        return err;
    }
    sqlite3_extended_result_codes(store->db, 1);
    sqlite3_busy_timeout(store->db, BUSY_MS);
    sqlite3_db_config(store->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(store->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    // Off until the database has been found good: closing a refused one must not write its log back.
    sqlite3_db_config(store->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    *ret_store = store;
    return ERR_OK;
}

enum err store_create(const char *path, struct store **ret_store, struct note *note)
{
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return note_set(note, err_from_errno(errno), "%s cannot be made: %s", path, strerror(errno));
    close(fd);

    struct store *store = NULL;
    enum err err = open_database(path, &store, note);
    if (err != ERR_OK)
        goto err_after_file;
    char mark[64];
    snprintf(mark, sizeof(mark), "PRAGMA application_id = %d", SCHEMA_APPLICATION_ID);
    err = run(store, mark, note);
    if (err == ERR_OK)
        err = set_up(store, note);
    if (err == ERR_OK)
        err = migrate(store, 0, note);
    if (err != ERR_OK)
        goto err_after_open;
    sqlite3_db_config(store->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL);
    *ret_store = store;
    return ERR_OK;

err_after_open:
    store_close(store);
err_after_file:
    unlink(path);
    return err;
}

enum err store_open(const char *path, struct store **ret_store, struct note *note)
{
    if (access(path, F_OK) != 0) {
        return note_set(note, err_from_errno(errno), "%s: %s; %s", path, strerror(errno),
                        errno == ENOENT ? "`twofold-controller init` makes a state folder"
                                        : "run this as the user whom the state folder belongs to");
    }
    struct store *store = NULL;
    enum err err = open_database(path, &store, note);
    if (err != ERR_OK)
        return err;
    uint64_t version = 0;
    err = examine(store, path, &version, note);
    if (err != ERR_OK)
        goto err_after_open;
    sqlite3_db_config(store->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL);
    err = set_up(store, note);
    if (err == ERR_OK)
        err = migrate(store, version, note);
    if (err != ERR_OK)
        goto err_after_open;
    *ret_store = store;
    return ERR_OK;

err_after_open:
    store_close(store);
    return err;
}

void store_close(struct store *store)
{
    if (store == NULL)
        return;
    sqlite3_close(store->db);
    free(store);
}

// ---- transactions

enum err store_begin(struct store *store, struct note *note)
{
    return run(store, "BEGIN IMMEDIATE", note);
}

enum err store_commit(struct store *store, struct note *note)
{
    enum err err = run(store, "COMMIT", note);
    if (err != ERR_OK)
        store_rollback(store);
    return err;
}

void store_rollback(struct store *store)
{
    // SQLite rolls back by itself on some errors (a full disk, for one).
    if (!sqlite3_get_autocommit(store->db))
        sqlite3_exec(store->db, "ROLLBACK", NULL, NULL, NULL);
}

// ---- settings and the generation

enum err store_setting(struct store *store, const char *key, char *room, size_t room_len, struct note *note)
{
    struct query query = query_begin(store, "SELECT value FROM settings WHERE key = ?1", note);
    query_bind_text(&query, 1, key);
    bool found = query_row(&query);
    bool fits = found && (size_t)sqlite3_column_bytes(query.statement, 0) < room_len;
    if (fits)
        query_text(&query, 0, room, room_len);
    enum err err = query_end(&query);
    if (err != ERR_OK)
        return err;
    if (!found)
        return note_set(note, ERR_NOT_FOUND, "the controller's database has no setting %s", key);
    return fits ? ERR_OK : note_set(note, ERR_LIMIT, "the setting %s is too long", key);
}

enum err store_set_setting(struct store *store, const char *key, const char *value, struct note *note)
{
    struct query query = query_begin(store, "INSERT OR REPLACE INTO settings(key, value) VALUES(?1, ?2)", note);
    query_bind_text(&query, 1, key);
    query_bind_text(&query, 2, value);
    query_row(&query);
    return query_end(&query);
}

enum err store_generation(struct store *store, uint64_t *ret_generation, struct note *note)
{
    return read_number(store, "SELECT number FROM generation", ret_generation, note);
}

enum err store_next_generation(struct store *store, uint64_t *ret_generation, struct note *note)
{
    return read_number(store, "UPDATE generation SET number = number + 1 RETURNING number", ret_generation, note);
}

enum err store_raise_generation(struct store *store, uint64_t generation, struct note *note)
{
    struct query query = query_begin(store, "UPDATE generation SET number = ?1 WHERE number < ?1", note);
    query_bind_u64(&query, 1, generation);
    query_row(&query);
    return query_end(&query);
}
