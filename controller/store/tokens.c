// SPDX-License-Identifier: GPL-2.0-or-later
#include "controller/store/tokens.h"

#include "controller/store/query.h"

static enum err add_row(struct store *store, const struct token_record *token, struct note *note)
{
    struct query query = query_begin(
        store, "INSERT INTO tokens(id, secret_sha384, host, workload, expires) VALUES(?1, ?2, ?3, ?4, ?5)", note);
    query_bind_blob(&query, 1, token->id, sizeof(token->id));
    query_bind_blob(&query, 2, token->secret_sha384, sizeof(token->secret_sha384));
    query_bind_text(&query, 3, token->host);
    query_bind_text(&query, 4, token->workload);
    query_bind_u64(&query, 5, token->expires);
    query_row(&query);
    return query_end(&query);
}

static enum err add_labels(struct store *store, const struct token_record *token, struct note *note)
{
    struct query query = query_begin(store, "INSERT INTO token_labels(token, key, value) VALUES(?1, ?2, ?3)", note);
    for (size_t i = 0; i < token->label_count; i++) {
        query_bind_blob(&query, 1, token->id, sizeof(token->id));
        query_bind_text(&query, 2, token->labels[i].key);
        query_bind_text(&query, 3, token->labels[i].value);
        query_row(&query);
        query_again(&query);
    }
    return query_end(&query);
}

static enum err add_addresses(struct store *store, const struct token_record *token, struct note *note)
{
    struct query query = query_begin(store, "INSERT INTO token_addresses(token, address) VALUES(?1, ?2)", note);
    for (size_t i = 0; i < token->address_count; i++) {
        query_bind_blob(&query, 1, token->id, sizeof(token->id));
        query_bind_blob(&query, 2, token->addresses[i].bytes, token->addresses[i].len);
        query_row(&query);
        query_again(&query);
    }
    return query_end(&query);
}

static enum err forget_old(struct store *store, uint64_t now, struct note *note)
{
    struct query query = query_begin(store, "DELETE FROM tokens WHERE expires < ?1", note);
    query_bind_u64(&query, 1, now > TOKEN_KEEP_SECONDS ? now - TOKEN_KEEP_SECONDS : 0);
    query_row(&query);
    return query_end(&query);
}

enum err store_add_token(struct store *store, const struct token_record *token, uint64_t now, struct note *note)
{
    enum err err = forget_old(store, now, note);
    if (err == ERR_OK)
        err = add_row(store, token, note);
    if (err == ERR_OK)
        err = add_labels(store, token, note);
    if (err == ERR_OK)
        err = add_addresses(store, token, note);
    return err;
}

static enum err read_labels(struct store *store, struct token_record *token, struct note *note)
{
    struct query query = query_begin(store, "SELECT key, value FROM token_labels WHERE token = ?1 ORDER BY key", note);
    query_bind_blob(&query, 1, token->id, sizeof(token->id));
    while (query_row(&query)) {
        if (token->label_count == CERT_LABELS_MAX) {
            query_corrupt(&query, "a token");
            break;
        }
        struct cert_label *label = &token->labels[token->label_count++];
        query_text(&query, 0, label->key, sizeof(label->key));
        query_text(&query, 1, label->value, sizeof(label->value));
    }
    return query_end(&query);
}

static enum err read_addresses(struct store *store, struct token_record *token, struct note *note)
{
    struct query query = query_begin(
        store, "SELECT address FROM token_addresses WHERE token = ?1 ORDER BY length(address), address", note);
    query_bind_blob(&query, 1, token->id, sizeof(token->id));
    while (query_row(&query)) {
        uint8_t bytes[16];
        size_t len = 0;
        query_blob(&query, 0, bytes, sizeof(bytes), &len);
        if (token->address_count == CERT_ADDRESSES_MAX ||
            ip_from_bytes(bytes, len, &token->addresses[token->address_count]) != ERR_OK) {
            query_corrupt(&query, "a token");
            break;
        }
        token->address_count++;
    }
    return query_end(&query);
}

enum err store_token(struct store *store, const uint8_t id[TOKEN_ID_BYTES], struct token_record *ret_token,
                     struct note *note)
{
    struct token_record token = {0};
    struct query query = query_begin(
        store, "SELECT id, secret_sha384, host, workload, expires, ifnull(used_at, 0) FROM tokens WHERE id = ?1", note);
    query_bind_blob(&query, 1, id, TOKEN_ID_BYTES);
    bool found = query_row(&query);
    if (found) {
        query_blob_exact(&query, 0, token.id, sizeof(token.id));
        query_blob_exact(&query, 1, token.secret_sha384, sizeof(token.secret_sha384));
        query_text(&query, 2, token.host, sizeof(token.host));
        query_text(&query, 3, token.workload, sizeof(token.workload));
        token.expires = query_u64(&query, 4);
        token.used_at = query_u64(&query, 5);
    }
    enum err err = query_end(&query);
    if (err == ERR_OK && !found)
        return note_set(note, ERR_NOT_FOUND, "there is no such join token");
    if (err == ERR_OK)
        err = read_labels(store, &token, note);
    if (err == ERR_OK)
        err = read_addresses(store, &token, note);
    if (err == ERR_OK)
        *ret_token = token;
    return err;
}

enum err store_use_token(struct store *store, const uint8_t id[TOKEN_ID_BYTES], uint64_t now, struct note *note)
{
    struct query query =
        query_begin(store, "UPDATE tokens SET used_at = ?2 WHERE id = ?1 AND used_at IS NULL RETURNING 1", note);
    query_bind_blob(&query, 1, id, TOKEN_ID_BYTES);
    query_bind_u64(&query, 2, now);
    bool changed = query_row(&query);
    enum err err = query_end(&query);
    if (err == ERR_OK && !changed)
        return note_set(note, ERR_EXISTS, "the join token was used already");
    return err;
}
