// SPDX-License-Identifier: GPL-2.0-or-later
#include "controller/store/policies.h"

#include <stdlib.h>
#include <string.h>

#include "controller/store/query.h"

enum err store_add_policy(struct store *store, uint64_t generation, const char *text, const char *by, uint64_t now,
                          struct note *note)
{
    struct query query = query_begin(
        store, "INSERT INTO policies(generation, text, applied_by, applied_at) VALUES(?1, ?2, ?3, ?4)", note);
    query_bind_u64(&query, 1, generation);
    query_bind_text(&query, 2, text);
    query_bind_text(&query, 3, by);
    query_bind_u64(&query, 4, now);
    query_row(&query);
    return query_end(&query);
}

enum err store_policy(struct store *store, uint64_t generation, struct policy_record *ret_policy, struct note *note)
{
    struct policy_record policy = {0};
    struct query query =
        query_begin(store,
                    "SELECT generation, text, applied_by, applied_at FROM policies WHERE generation <= ?1"
                    " ORDER BY generation DESC LIMIT 1",
                    note);
    query_bind_u64(&query, 1, generation > INT64_MAX ? INT64_MAX : generation);
    bool found = query_row(&query);
    if (found) {
        policy.generation = query_u64(&query, 0);
        size_t room = (size_t)sqlite3_column_bytes(query.statement, 1) + 1;
        policy.text = malloc(room);
        if (policy.text == NULL)
            query.err = note_set(note, ERR_NOMEM, "out of memory");
        else
            query_text(&query, 1, policy.text, room);
        query_text(&query, 2, policy.applied_by, sizeof(policy.applied_by));
        policy.applied_at = query_u64(&query, 3);
    }
    enum err err = query_end(&query);
    if (err == ERR_OK && !found)
        return note_set(note, ERR_NOT_FOUND, "there was no policy in generation %llu", (unsigned long long)generation);
    if (err != ERR_OK) {
        free(policy.text);
        return err;
    }
    *ret_policy = policy;
    return ERR_OK;
}
