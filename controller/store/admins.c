// SPDX-License-Identifier: GPL-2.0-or-later
#include "controller/store/admins.h"

#include "controller/store/query.h"
#include "proto/base/spiffe.h"

enum err store_add_admin(struct store *store, const char *name, const uint8_t *serial, size_t serial_len,
                         uint64_t expires, struct note *note)
{
    struct query query = query_begin(
        store, "INSERT INTO admins(name, serial, expires) VALUES(?1, ?2, ?3) ON CONFLICT DO NOTHING RETURNING 1", note);
    query_bind_text(&query, 1, name);
    query_bind_blob(&query, 2, serial, serial_len);
    query_bind_u64(&query, 3, expires);
    bool added = query_row(&query);
    enum err err = query_end(&query);
    if (err == ERR_OK && !added)
        return note_set(note, ERR_EXISTS,
                        "there is an administrator %s already: remove that one first, or take another name", name);
    return err;
}

enum err store_remove_admin(struct store *store, const char *name, struct note *note)
{
    struct query query = query_begin(store, "DELETE FROM admins WHERE name = ?1 RETURNING 1", note);
    query_bind_text(&query, 1, name);
    bool removed = query_row(&query);
    enum err err = query_end(&query);
    if (err == ERR_OK && !removed)
        return note_set(note, ERR_NOT_FOUND, "there is no administrator %s", name);
    return err;
}

enum err store_admin_is_known(struct store *store, const char *name, const uint8_t *serial, size_t serial_len,
                              bool *ret_known, struct note *note)
{
    struct query query = query_begin(store, "SELECT 1 FROM admins WHERE name = ?1 AND serial = ?2", note);
    query_bind_text(&query, 1, name);
    query_bind_blob(&query, 2, serial, serial_len);
    bool known = query_row(&query);
    enum err err = query_end(&query);
    if (err == ERR_OK)
        *ret_known = known;
    return err;
}

enum err store_each_admin(struct store *store, void (*each)(void *context, const char *name, uint64_t expires),
                          void *context, struct note *note)
{
    struct query query = query_begin(store, "SELECT name, expires FROM admins ORDER BY name", note);
    while (query_row(&query)) {
        char name[NAME_MAX_BYTES + 1] = "";
        query_text(&query, 0, name, sizeof(name));
        uint64_t expires = query_u64(&query, 1);
        if (query.err == ERR_OK)
            each(context, name, expires);
    }
    return query_end(&query);
}
