// SPDX-License-Identifier: GPL-2.0-or-later
// The file: "Twofold-epochs-v1\0", own epoch, count, then for each host its name, epoch, incarnation, floor and hash; SHA-384 of
// all that at the end.
#include "agent/network/epoch.h"

#include <stdlib.h>
#include <string.h>

#include "proto/base/buf.h"
#include "proto/base/digest.h"
#include "proto/base/file.h"

static const char file_label[] = "Twofold-epochs-v1";

uint64_t epoch_next(uint64_t last, uint64_t unix_s, uint64_t in_use)
{
    uint64_t least = (last > unix_s << 20 ? last : unix_s << 20) + 1;
    uint64_t low = (last + 1) & 63;

    for (unsigned i = 0; i < 63 && in_use >> low & 1; i++)
        low = (low + 1) & 63;
    if (in_use >> low & 1)
        low = (last + 1) & 63;
    return least + ((low - least) & 63);
}

bool epoch_bucket_take(struct epoch_bucket *bucket, uint64_t now_ms, uint64_t interval_ms, unsigned burst)
{
    if (epoch_bucket_ready_ms(bucket, now_ms, interval_ms, burst) > now_ms)
        return false;
    bucket->full_at_ms = (bucket->full_at_ms > now_ms ? bucket->full_at_ms : now_ms) + interval_ms;
    return true;
}

uint64_t epoch_bucket_ready_ms(const struct epoch_bucket *bucket, uint64_t now_ms, uint64_t interval_ms, unsigned burst)
{
    uint64_t allowed = now_ms + (burst - 1) * interval_ms;
    return bucket->full_at_ms <= allowed ? now_ms : now_ms + (bucket->full_at_ms - allowed);
}

enum epoch_verdict epoch_judge(const struct epoch_seen *seen, uint64_t epoch, uint64_t incarnation,
                               const uint8_t hash[EPOCH_HASH_BYTES])
{
    if (!seen || seen->epoch == 0)
        return EPOCH_NEW;
    if (incarnation < seen->floor)
        return EPOCH_OLD;
    if (epoch == seen->epoch && memcmp(hash, seen->hash, EPOCH_HASH_BYTES) == 0)
        return EPOCH_SAME;
    // A host that lost its state begins again, but only with a certificate that was issued since.
    if (epoch > seen->epoch || incarnation > seen->incarnation)
        return EPOCH_NEW;
    return epoch == seen->epoch ? EPOCH_TWO_FACED : EPOCH_OLD;
}

void epoch_accept(struct epoch_seen *seen, uint64_t epoch, uint64_t incarnation, const uint8_t hash[EPOCH_HASH_BYTES])
{
    // From here on what was signed before that certificate counts no more: its epochs may be higher.
    if (epoch <= seen->epoch)
        seen->floor = incarnation;
    seen->epoch = epoch;
    seen->incarnation = incarnation;
    memcpy(seen->hash, hash, EPOCH_HASH_BYTES);
    seen->paired_with = 0;
}

// ---- the store: hosts by name

struct epoch_store {
    char *path;
    uint64_t own;
    struct epoch_seen **hosts;
    size_t count;
    size_t capacity;
};

static size_t place_of(const struct epoch_store *store, const char *host, bool *ret_there)
{
    size_t low = 0, high = store->count;

    *ret_there = false;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(host, store->hosts[middle]->host);
        if (order == 0) {
            *ret_there = true;
            return middle;
        }
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

static void forget(struct epoch_store *store, size_t at)
{
    free(store->hosts[at]);
    store->count--;
    memmove(&store->hosts[at], &store->hosts[at + 1], (store->count - at) * sizeof(*store->hosts));
}

// The one heard of longest ago, by its own clock, that is no peer.
static bool forget_one(struct epoch_store *store)
{
    size_t oldest = store->count;

    for (size_t i = 0; i < store->count; i++)
        if (!store->hosts[i]->is_peer &&
            (oldest == store->count || store->hosts[i]->epoch < store->hosts[oldest]->epoch))
            oldest = i;
    if (oldest == store->count)
        return false;
    forget(store, oldest);
    return true;
}

static enum err grow(struct epoch_store *store)
{
    if (store->count < store->capacity)
        return ERR_OK;
    size_t capacity = store->capacity ? 2 * store->capacity : 64;
    struct epoch_seen **hosts = realloc(store->hosts, capacity * sizeof(*hosts));
    if (!hosts)
        return ERR_NOMEM;
    store->hosts = hosts;
    store->capacity = capacity;
    return ERR_OK;
}

struct epoch_seen *epoch_store_find(struct epoch_store *store, const char *host)
{
    bool there;
    size_t at = place_of(store, host, &there);
    return there ? store->hosts[at] : NULL;
}

enum err epoch_store_get(struct epoch_store *store, const char *host, struct epoch_seen **ret_seen)
{
    bool there;
    size_t at = place_of(store, host, &there);

    if (there) {
        *ret_seen = store->hosts[at];
        return ERR_OK;
    }
    if (store->count == EPOCH_HOSTS_MAX && !forget_one(store))
        return ERR_LIMIT;
    enum err err = grow(store);
    if (err)
        return err;
    struct epoch_seen *seen = calloc(1, sizeof(*seen));
    if (!seen)
        return ERR_NOMEM;
    memcpy(seen->host, host, strnlen(host, NAME_MAX_BYTES));
    at = place_of(store, host, &there);
    memmove(&store->hosts[at + 1], &store->hosts[at], (store->count - at) * sizeof(*store->hosts));
    store->hosts[at] = seen;
    store->count++;
    *ret_seen = seen;
    return ERR_OK;
}

uint64_t epoch_store_own(const struct epoch_store *store)
{
    return store->own;
}

void epoch_store_set_own(struct epoch_store *store, uint64_t epoch)
{
    store->own = epoch;
}

void epoch_store_free(struct epoch_store *store)
{
    if (!store)
        return;
    for (size_t i = 0; i < store->count; i++)
        free(store->hosts[i]);
    free(store->hosts);
    free(store->path);
    free(store);
}

// ---- its file

static enum err append_host(struct buf *buf, const struct epoch_seen *seen)
{
    size_t len = strlen(seen->host);

    enum err err = buf_append_u8(buf, (uint8_t)len);
    if (!err)
        err = buf_append(buf, seen->host, len);
    if (!err)
        err = buf_append_u64(buf, seen->epoch);
    if (!err)
        err = buf_append_u64(buf, seen->incarnation);
    if (!err)
        err = buf_append_u64(buf, seen->floor);
    if (!err)
        err = buf_append(buf, seen->hash, sizeof(seen->hash));
    return err;
}

static enum err encode(const struct epoch_store *store, struct buf *buf)
{
    uint8_t digest[DIGEST_BYTES];
    uint32_t count = 0;

    for (size_t i = 0; i < store->count; i++)
        count += store->hosts[i]->epoch != 0;
    enum err err = buf_append(buf, file_label, sizeof(file_label));
    if (!err)
        err = buf_append_u64(buf, store->own);
    if (!err)
        err = buf_append_u32(buf, count);
    for (size_t i = 0; !err && i < store->count; i++)
        if (store->hosts[i]->epoch != 0)
            err = append_host(buf, store->hosts[i]);
    if (err)
        return err;
    digest_sha384(buf_bytes(buf), buf->len, digest);
    return buf_append(buf, digest, sizeof(digest));
}

enum err epoch_store_write(const struct epoch_store *store, struct note *note)
{
    struct buf buf;

    buf_init(&buf, EPOCH_FILE_BYTES_MAX);
    enum err err = encode(store, &buf);
    if (err)
        note_set(note, err, "%s: the epochs cannot be written: %s", store->path, err_text(err));
    else
        err = file_write(store->path, buf_bytes(&buf), buf.len, 0600, note);
    buf_free(&buf);
    return err;
}

static enum err take_host(struct cursor *cursor, struct epoch_store *store)
{
    const uint8_t *name, *hash;
    char host[NAME_MAX_BYTES + 1] = "";
    uint8_t len;
    uint64_t epoch, incarnation, floor;
    bool there;

    if (cursor_u8(cursor, &len) || len > NAME_MAX_BYTES || cursor_bytes(cursor, len, &name) ||
        cursor_u64(cursor, &epoch) || cursor_u64(cursor, &incarnation) || cursor_u64(cursor, &floor) ||
        cursor_bytes(cursor, EPOCH_HASH_BYTES, &hash))
        return ERR_CORRUPT;
    memcpy(host, name, len);
    if (strlen(host) != len || !name_is_valid(host) || epoch == 0)
        return ERR_CORRUPT;
    // In ascending order, so nothing comes twice.
    if (place_of(store, host, &there) != store->count || there)
        return ERR_CORRUPT;
    struct epoch_seen *seen;
    enum err err = epoch_store_get(store, host, &seen);
    if (err)
        return err;
    seen->epoch = epoch;
    seen->incarnation = incarnation;
    seen->floor = floor;
    memcpy(seen->hash, hash, sizeof(seen->hash));
    return ERR_OK;
}

static enum err decode(struct cursor *cursor, struct epoch_store *store)
{
    const uint8_t *label;
    uint32_t count;

    if (cursor_bytes(cursor, sizeof(file_label), &label) || memcmp(label, file_label, sizeof(file_label)) != 0 ||
        cursor_u64(cursor, &store->own) || cursor_u32(cursor, &count) || count > EPOCH_HOSTS_MAX)
        return ERR_CORRUPT;
    enum err err = ERR_OK;
    for (uint32_t i = 0; !err && i < count; i++)
        err = take_host(cursor, store);
    return !err && cursor->left ? ERR_CORRUPT : err;
}

enum err epoch_store_decode(const uint8_t *bytes, size_t len, struct epoch_store **ret_store)
{
    uint8_t digest[DIGEST_BYTES];

    if (len < DIGEST_BYTES)
        return ERR_CORRUPT;
    digest_sha384(bytes, len - DIGEST_BYTES, digest);
    if (memcmp(digest, bytes + len - DIGEST_BYTES, DIGEST_BYTES) != 0)
        return ERR_CORRUPT;
    struct epoch_store *store = calloc(1, sizeof(*store));
    if (!store)
        return ERR_NOMEM;
    struct cursor cursor = {bytes, len - DIGEST_BYTES};
    enum err err = decode(&cursor, store);
    if (err) {
        epoch_store_free(store);
        return err;
    }
    *ret_store = store;
    return ERR_OK;
}

static enum err read_store(const char *path, struct epoch_store **ret_store, struct note *note)
{
    uint8_t *bytes;
    size_t len;

    enum err err = file_read(path, EPOCH_FILE_BYTES_MAX, &bytes, &len, note);
    if (err == ERR_NOT_FOUND) {
        *ret_store = calloc(1, sizeof(**ret_store));
        return *ret_store ? ERR_OK : ERR_NOMEM;
    }
    if (err)
        return err;
    err = epoch_store_decode(bytes, len, ret_store);
    free(bytes);
    if (err == ERR_CORRUPT)
        return note_set(
            note, err,
            "%s: the file of epochs is damaged; remove it: this host then begins with an epoch from its clock, "
            "and peers accept it if that is higher than the last one",
            path);
    return err;
}

enum err epoch_store_new(const char *path, struct epoch_store **ret_store, struct note *note)
{
    struct epoch_store *store;

    enum err err = read_store(path, &store, note);
    if (err)
        return err;
    store->path = strdup(path);
    if (!store->path) {
        epoch_store_free(store);
        return ERR_NOMEM;
    }
    *ret_store = store;
    return ERR_OK;
}
