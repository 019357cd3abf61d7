// SPDX-License-Identifier: GPL-2.0-or-later
#include "controller/store/hosts.h"

#include "controller/store/query.h"

#define HOST_COLUMNS \
    "name, slot, workload, serial, previous_serial, certificate_expires, revoked_at IS NOT NULL, revoked_reason"

static void read_row(struct query *query, struct host_record *host)
{
    query_text(query, 0, host->name, sizeof(host->name));
    host->slot = (uint32_t)query_u64(query, 1);
    query_text(query, 2, host->workload, sizeof(host->workload));
    query_blob(query, 3, host->serial.bytes, sizeof(host->serial.bytes), &host->serial.len);
    query_blob(query, 4, host->previous_serial.bytes, sizeof(host->previous_serial.bytes), &host->previous_serial.len);
    host->certificate_expires = query_u64(query, 5);
    host->revoked = query_u64(query, 6) != 0;
    query_text(query, 7, host->revoked_reason, sizeof(host->revoked_reason));
}

static enum err read_labels(struct store *store, struct host_record *host, struct note *note)
{
    struct query query = query_begin(store, "SELECT key, value FROM host_labels WHERE host = ?1 ORDER BY key", note);
    query_bind_text(&query, 1, host->name);
    while (query_row(&query)) {
        if (host->label_count == CERT_LABELS_MAX) {
            query_corrupt(&query, "a host");
            break;
        }
        struct cert_label *label = &host->labels[host->label_count++];
        query_text(&query, 0, label->key, sizeof(label->key));
        query_text(&query, 1, label->value, sizeof(label->value));
    }
    return query_end(&query);
}

static enum err read_addresses(struct store *store, struct host_record *host, struct note *note)
{
    struct query query = query_begin(
        store, "SELECT address FROM host_addresses WHERE host = ?1 ORDER BY length(address), address", note);
    query_bind_text(&query, 1, host->name);
    while (query_row(&query)) {
        uint8_t bytes[16];
        size_t len = 0;
        query_blob(&query, 0, bytes, sizeof(bytes), &len);
        if (host->address_count == CERT_ADDRESSES_MAX ||
            ip_from_bytes(bytes, len, &host->addresses[host->address_count]) != ERR_OK) {
            query_corrupt(&query, "a host");
            break;
        }
        host->address_count++;
    }
    return query_end(&query);
}

static enum err read_rest(struct store *store, struct host_record *host, struct note *note)
{
    enum err err = read_labels(store, host, note);
    return err == ERR_OK ? read_addresses(store, host, note) : err;
}

enum err store_host(struct store *store, const char *name, struct host_record *ret_host, struct note *note)
{
    struct host_record host = {0};
    struct query query = query_begin(store, "SELECT " HOST_COLUMNS " FROM hosts WHERE name = ?1", note);
    query_bind_text(&query, 1, name);
    bool found = query_row(&query);
    if (found)
        read_row(&query, &host);
    enum err err = query_end(&query);
    if (err == ERR_OK && !found)
        return note_set(note, ERR_NOT_FOUND, "there is no host %s: `twofold hosts` lists them", name);
    if (err == ERR_OK)
        err = read_rest(store, &host, note);
    if (err == ERR_OK)
        *ret_host = host;
    return err;
}

enum err store_each_host(struct store *store, enum err (*each)(void *context, const struct host_record *host),
                         void *context, struct note *note)
{
    struct query query = query_begin(store, "SELECT " HOST_COLUMNS " FROM hosts ORDER BY name", note);
    while (query_row(&query)) {
        struct host_record host = {0};
        read_row(&query, &host);
        if (query.err == ERR_OK)
            query.err = read_rest(store, &host, note);
        if (query.err == ERR_OK)
            query.err = each(context, &host);
    }
    return query_end(&query);
}

static enum err remove_parts(struct store *store, const char *sql, const char *name, struct note *note)
{
    struct query query = query_begin(store, sql, note);
    query_bind_text(&query, 1, name);
    query_row(&query);
    return query_end(&query);
}

static enum err put_row(struct store *store, const struct host_record *host, struct note *note)
{
    struct query query = query_begin(
        store,
        "INSERT INTO hosts(name, slot, workload, serial, previous_serial, certificate_expires)"
        " VALUES(?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT(name) DO UPDATE SET workload = excluded.workload,"
        " serial = excluded.serial, previous_serial = excluded.previous_serial,"
        " certificate_expires = excluded.certificate_expires WHERE slot = excluded.slot AND revoked_at IS NULL"
        " RETURNING 1",
        note);
    query_bind_text(&query, 1, host->name);
    query_bind_u64(&query, 2, host->slot);
    query_bind_text(&query, 3, host->workload);
    query_bind_blob(&query, 4, host->serial.bytes, host->serial.len);
    query_bind_blob(&query, 5, host->previous_serial.bytes, host->previous_serial.len);
    query_bind_u64(&query, 6, host->certificate_expires);
    bool changed = query_row(&query);
    enum err err = query_end(&query);
    if (err == ERR_OK && !changed)
        return note_set(note, ERR_EXISTS, "host %s is revoked or has another slot", host->name);
    return err;
}

static enum err put_labels(struct store *store, const struct host_record *host, struct note *note)
{
    enum err err = remove_parts(store, "DELETE FROM host_labels WHERE host = ?1", host->name, note);
    if (err != ERR_OK)
        return err;
    struct query query = query_begin(store, "INSERT INTO host_labels(host, key, value) VALUES(?1, ?2, ?3)", note);
    for (size_t i = 0; i < host->label_count; i++) {
        query_bind_text(&query, 1, host->name);
        query_bind_text(&query, 2, host->labels[i].key);
        query_bind_text(&query, 3, host->labels[i].value);
        query_row(&query);
        query_again(&query);
    }
    return query_end(&query);
}

static enum err put_addresses(struct store *store, const struct host_record *host, struct note *note)
{
    enum err err = remove_parts(store, "DELETE FROM host_addresses WHERE host = ?1", host->name, note);
    if (err != ERR_OK)
        return err;
    struct query query = query_begin(store, "INSERT INTO host_addresses(host, address, live) VALUES(?1, ?2, 1)", note);
    for (size_t i = 0; i < host->address_count; i++) {
        query_bind_text(&query, 1, host->name);
        query_bind_blob(&query, 2, host->addresses[i].bytes, host->addresses[i].len);
        query_row(&query);
        query_again(&query);
    }
    return query_end(&query);
}

enum err store_put_host(struct store *store, const struct host_record *host, struct note *note)
{
    enum err err = put_row(store, host, note);
    if (err == ERR_OK)
        err = put_labels(store, host, note);
    if (err == ERR_OK)
        err = put_addresses(store, host, note);
    return err;
}

enum err store_count_live_hosts(struct store *store, uint64_t *ret_count, struct note *note)
{
    struct query query = query_begin(store, "SELECT count(*) FROM hosts WHERE revoked_at IS NULL", note);
    uint64_t count = 0;
    if (query_row(&query))
        count = query_u64(&query, 0);
    enum err err = query_end(&query);
    if (err == ERR_OK)
        *ret_count = count;
    return err;
}

enum err store_free_slot(struct store *store, uint32_t *ret_slot, struct note *note)
{
    struct query query =
        query_begin(store,
                    "SELECT CASE WHEN ifnull(max(slot), 0) < 1048575 THEN ifnull(max(slot), 0) + 1"
                    " WHEN NOT EXISTS(SELECT 1 FROM hosts WHERE slot = 1) THEN 1 ELSE"
                    " (SELECT min(a.slot) + 1 FROM hosts a WHERE a.slot < 1048575"
                    "  AND NOT EXISTS(SELECT 1 FROM hosts b WHERE b.slot = a.slot + 1)) END FROM hosts",
                    note);
    uint64_t slot = 0;
    if (query_row(&query))
        slot = query_u64(&query, 0); // NULL reads as 0
    enum err err = query_end(&query);
    if (err != ERR_OK)
        return err;
    if (slot == 0 || slot > HOST_SLOT_MAX)
        return note_set(note, ERR_LIMIT, "all %u host slots are taken", HOST_SLOT_MAX);
    *ret_slot = (uint32_t)slot;
    return ERR_OK;
}

enum err store_address_holder(struct store *store, const char *name, const struct ip *addresses, size_t count,
                              char ret_holder[NAME_MAX_BYTES + 1], struct ip *ret_address, struct note *note)
{
    struct query query =
        query_begin(store, "SELECT host FROM host_addresses WHERE address = ?1 AND live = 1 AND host <> ?2", note);
    bool found = false;
    for (size_t i = 0; i < count && !found; i++) {
        query_bind_blob(&query, 1, addresses[i].bytes, addresses[i].len);
        query_bind_text(&query, 2, name);
        found = query_row(&query);
        if (found) {
            query_text(&query, 0, ret_holder, NAME_MAX_BYTES + 1);
            *ret_address = addresses[i];
        } else {
            query_again(&query);
        }
    }
    enum err err = query_end(&query);
    return err == ERR_OK && !found ? ERR_NOT_FOUND : err;
}

enum err store_set_serials(struct store *store, const char *name, const struct certificate_serial *serial,
                           const struct certificate_serial *previous, uint64_t expires, struct note *note)
{
    struct query query = query_begin(store,
                                     "UPDATE hosts SET serial = ?2, previous_serial = ?3, certificate_expires = ?4"
                                     " WHERE name = ?1 AND revoked_at IS NULL RETURNING 1",
                                     note);
    query_bind_text(&query, 1, name);
    query_bind_blob(&query, 2, serial->bytes, serial->len);
    query_bind_blob(&query, 3, previous->bytes, previous->len);
    query_bind_u64(&query, 4, expires);
    bool changed = query_row(&query);
    enum err err = query_end(&query);
    if (err == ERR_OK && !changed)
        return note_set(note, ERR_NOT_FOUND, "there is no live host %s", name);
    return err;
}

enum err store_revoke_host(struct store *store, const char *name, uint64_t now, const char *reason, struct note *note)
{
    struct host_record host;
    enum err err = store_host(store, name, &host, note);
    if (err != ERR_OK)
        return err;
    if (host.revoked)
        return note_set(note, ERR_EXISTS, "host %s is revoked already", name);
    struct query query =
        query_begin(store, "UPDATE hosts SET revoked_at = ?2, revoked_reason = ?3 WHERE name = ?1", note);
    query_bind_text(&query, 1, name);
    query_bind_u64(&query, 2, now);
    query_bind_text(&query, 3, reason);
    query_row(&query);
    err = query_end(&query);
    return err == ERR_OK ? remove_parts(store, "UPDATE host_addresses SET live = 0 WHERE host = ?1", name, note) : err;
}
