// SPDX-License-Identifier: GPL-2.0-or-later
#include "controller/store/audit.h"

#include <string.h>

#include "controller/store/query.h"

static void add_u64(struct digest_pieces *pieces, uint64_t value)
{
    uint8_t bytes[8];
    for (int i = 0; i < 8; i++)
        bytes[i] = (uint8_t)(value >> (56 - 8 * i));
    digest_pieces_add(pieces, bytes, sizeof(bytes));
}

static enum err hash_row(const uint8_t before[DIGEST_BYTES], const struct audit_row *row,
                         uint8_t ret_hash[DIGEST_BYTES])
{
    static const char label[] = "twofold-audit-v1";
    struct digest_pieces *pieces = NULL;
    enum err err = digest_pieces_new(&pieces);
    if (err != ERR_OK)
        return err;
    digest_pieces_add(pieces, label, sizeof(label) - 1);
    digest_pieces_add(pieces, before, DIGEST_BYTES);
    add_u64(pieces, row->number);
    add_u64(pieces, row->time_ms);
    digest_pieces_add(pieces, row->actor, strlen(row->actor));
    digest_pieces_add(pieces, row->action, strlen(row->action));
    digest_pieces_add(pieces, row->object, strlen(row->object));
    digest_pieces_add(pieces, row->outcome, strlen(row->outcome));
    digest_pieces_finish(pieces, ret_hash);
    return ERR_OK;
}

static enum err read_head(struct store *store, uint64_t *ret_number, uint8_t ret_hash[DIGEST_BYTES], struct note *note)
{
    struct query query = query_begin(store, "SELECT number, hash FROM audit_head", note);
    if (query_row(&query)) {
        *ret_number = query_u64(&query, 0);
        query_blob_exact(&query, 1, ret_hash, DIGEST_BYTES);
    } else {
        query_corrupt(&query, "an audit log without a head");
    }
    return query_end(&query);
}

static enum err write_head(struct store *store, const struct audit_row *row, struct note *note)
{
    struct query query = query_begin(store, "UPDATE audit_head SET number = ?1, hash = ?2", note);
    query_bind_u64(&query, 1, row->number);
    query_bind_blob(&query, 2, row->hash, DIGEST_BYTES);
    query_row(&query);
    return query_end(&query);
}

enum err store_add_audit(struct store *store, struct audit_row *row, struct note *note)
{
    uint8_t before[DIGEST_BYTES];
    uint64_t last = 0;
    enum err err = read_head(store, &last, before, note);
    if (err != ERR_OK)
        return err;
    row->number = last + 1;
    err = hash_row(before, row, row->hash);
    if (err != ERR_OK)
        return note_set(note, err, "the audit log failed: %s", err_text(err));
    struct query query = query_begin(store,
                                     "INSERT INTO audit(number, time_ms, actor, action, object, outcome, hash)"
                                     " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                                     note);
    query_bind_u64(&query, 1, row->number);
    query_bind_u64(&query, 2, row->time_ms);
    query_bind_text(&query, 3, row->actor);
    query_bind_text(&query, 4, row->action);
    query_bind_text(&query, 5, row->object);
    query_bind_text(&query, 6, row->outcome);
    query_bind_blob(&query, 7, row->hash, DIGEST_BYTES);
    query_row(&query);
    err = query_end(&query);
    return err == ERR_OK ? write_head(store, row, note) : err;
}

enum err store_each_audit(struct store *store, uint64_t after, uint32_t limit,
                          enum err (*each)(void *context, const struct audit_row *row), void *context,
                          struct note *note)
{
    struct query query = query_begin(store,
                                     "SELECT number, time_ms, actor, action, object, outcome, hash FROM audit"
                                     " WHERE number > ?1 ORDER BY number LIMIT ?2",
                                     note);
    query_bind_u64(&query, 1, after > INT64_MAX ? INT64_MAX : after);
    query_bind_u64(&query, 2, limit);
    while (query_row(&query)) {
        struct audit_row row = {0};
        row.number = query_u64(&query, 0);
        row.time_ms = query_u64(&query, 1);
        query_text(&query, 2, row.actor, sizeof(row.actor));
        query_text(&query, 3, row.action, sizeof(row.action));
        query_text(&query, 4, row.object, sizeof(row.object));
        query_text(&query, 5, row.outcome, sizeof(row.outcome));
        query_blob_exact(&query, 6, row.hash, DIGEST_BYTES);
        if (query.err == ERR_OK)
            query.err = each(context, &row);
    }
    return query_end(&query);
}

struct walk {
    uint8_t hash[DIGEST_BYTES];
    uint64_t number;
    bool intact;
};

static enum err check_row(void *context, const struct audit_row *row)
{
    struct walk *walk = context;
    uint8_t hash[DIGEST_BYTES];
    enum err err = hash_row(walk->hash, row, hash);
    if (err != ERR_OK)
        return err;
    if (row->number != walk->number + 1 || memcmp(hash, row->hash, DIGEST_BYTES) != 0)
        walk->intact = false;
    memcpy(walk->hash, row->hash, DIGEST_BYTES);
    walk->number = row->number;
    return ERR_OK;
}

enum err store_audit_intact(struct store *store, bool *ret_intact, struct note *note)
{
    struct walk walk = {.intact = true};
    enum err err = store_each_audit(store, 0, UINT32_MAX, check_row, &walk, note);
    if (err == ERR_CORRUPT) { // a row that no longer has the form of one
        *ret_intact = false;
        return ERR_OK;
    }
    uint64_t number = 0;
    uint8_t hash[DIGEST_BYTES];
    if (err == ERR_OK)
        err = read_head(store, &number, hash, note);
    if (err != ERR_OK)
        return err;
    *ret_intact = walk.intact && walk.number == number && memcmp(walk.hash, hash, DIGEST_BYTES) == 0;
    return ERR_OK;
}
