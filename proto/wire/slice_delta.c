// SPDX-License-Identifier: GPL-2.0-or-later
// Deltas between slices. Peers, rules and pinholes are resources with a key each; a merge of two sorted lists finds what is new,
// changed or gone, and another applies it. A short table of operations per kind keeps one merge for all three.
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "proto/wire/message.h"
#include "proto/wire/slice.h"
#include "proto/wire/slice_order.h"

// A list of resources and, beside it, the keys of those removed, as messages or texts.
struct list {
    ProtobufCMessage **items;
    size_t count;
};

typedef int compare_fn(const void *a, const void *b);

static bool is_same(const ProtobufCMessage *a, const ProtobufCMessage *b)
{
    size_t len = protobuf_c_message_get_packed_size(a);
    if (len != protobuf_c_message_get_packed_size(b))
        return false;
    uint8_t *bytes = malloc(2 * len + 1);
    // Taken for a change when memory is short: a delta that says too much is still right.
    if (!bytes)
        return false;
    protobuf_c_message_pack(a, bytes);
    protobuf_c_message_pack(b, bytes + len);
    bool same = memcmp(bytes, bytes + len, len) == 0;
    free(bytes);
    return same;
}

static enum err push_copy(struct list *list, const ProtobufCMessage *item)
{
    return message_copy(item, &list->items[list->count]) == ERR_OK ? (list->count++, ERR_OK) : ERR_NOMEM;
}

static void list_free(struct list *list)
{
    for (size_t i = 0; i < list->count; i++)
        message_free(list->items[i]);
    free(list->items);
    *list = (struct list){0};
}

static enum err list_new(size_t capacity, struct list *ret_list)
{
    *ret_list = (struct list){.items = calloc(capacity ? capacity : 1, sizeof(ProtobufCMessage *))};
    return ret_list->items ? ERR_OK : ERR_NOMEM;
}

// What of `to` is not the same in `from`, and what of `from` is not in `to`.
static enum err diff_list(struct list from, struct list to, compare_fn *compare, struct list *ret_changed,
                          struct list *ret_gone)
{
    struct list changed, gone = {0};
    size_t i = 0, k = 0;

    enum err err = list_new(to.count, &changed);
    if (!err)
        err = list_new(from.count, &gone);
    while (!err && (i < from.count || k < to.count)) {
        int order = i == from.count ? 1 : k == to.count ? -1 : compare(&from.items[i], &to.items[k]);
        if (order < 0) {
            err = push_copy(&gone, from.items[i++]);
        } else if (order > 0) {
            err = push_copy(&changed, to.items[k++]);
        } else {
            if (!is_same(from.items[i], to.items[k]))
                err = push_copy(&changed, to.items[k]);
            i++, k++;
        }
    }
    if (err) {
        list_free(&changed);
        list_free(&gone);
        return err;
    }
    *ret_changed = changed;
    *ret_gone = gone;
    return ERR_OK;
}

// What a delta does to one list. All are sorted by `compare`.
struct edit {
    struct list changed;
    size_t gone_count;
    bool (*is_gone)(const ProtobufCMessage *item, const Twofold__V1__SliceDelta *delta);
    compare_fn *compare;
};

// `from` with what changed put in or in place, less those that are gone. ERR_MALFORMED when something is gone that was not there.
static enum err patch_list(struct list from, const struct edit *edit, const Twofold__V1__SliceDelta *delta,
                           struct list *ret_to)
{
    const struct list *changed = &edit->changed;
    struct list to;
    size_t i = 0, k = 0, gone = 0;

    enum err err = list_new(from.count + changed->count, &to);
    while (!err && (i < from.count || k < changed->count)) {
        int order = i == from.count ? 1 : k == changed->count ? -1 : edit->compare(&from.items[i], &changed->items[k]);
        if (order < 0) {
            const ProtobufCMessage *item = from.items[i++];
            if (edit->is_gone(item, delta))
                gone++;
            else
                err = push_copy(&to, item);
        } else {
            if (order == 0)
                i++;
            err = push_copy(&to, changed->items[k++]);
        }
    }
    if (!err && gone != edit->gone_count)
        err = ERR_MALFORMED;
    if (err) {
        list_free(&to);
        return err;
    }
    *ret_to = to;
    return ERR_OK;
}

#define LIST(owner, field) ((struct list){(ProtobufCMessage **)(owner)->field, (owner)->n_##field})

#define TAKE_LIST(owner, field, list)          \
    do {                                       \
        (owner)->field = (void *)(list).items; \
        (owner)->n_##field = (list).count;     \
    } while (0)

static enum err copy_texts(char **texts, size_t count, char ***ret_texts)
{
    char **copies = calloc(count ? count : 1, sizeof(char *));
    if (!copies)
        return ERR_NOMEM;
    for (size_t i = 0; i < count; i++) {
        copies[i] = strdup(texts[i]);
        if (!copies[i]) {
            while (i--)
                free(copies[i]);
            free(copies);
            return ERR_NOMEM;
        }
    }
    *ret_texts = copies;
    return ERR_OK;
}

static enum err set_bytes(ProtobufCBinaryData *ret_data, const uint8_t *bytes, size_t len)
{
    ret_data->data = malloc(len);
    if (!ret_data->data)
        return ERR_NOMEM;
    memcpy(ret_data->data, bytes, len);
    ret_data->len = len;
    return ERR_OK;
}

static enum err peer_keys(struct list gone, Twofold__V1__SliceDelta *delta)
{
    delta->peers_removed = calloc(gone.count ? gone.count : 1, sizeof(char *));
    if (!delta->peers_removed)
        return ERR_NOMEM;
    for (size_t i = 0; i < gone.count; i++) {
        char *host = strdup(((Twofold__V1__Peer *)gone.items[i])->host);
        if (!host)
            return ERR_NOMEM;
        delta->peers_removed[delta->n_peers_removed++] = host;
    }
    return ERR_OK;
}

static enum err push_key(Twofold__V1__RuleKey **keys, size_t *count, const char *name, Twofold__V1__Direction direction)
{
    Twofold__V1__RuleKey *key = malloc(sizeof(*key));
    if (!key)
        return ERR_NOMEM;
    twofold__v1__rule_key__init(key);
    key->direction = direction;
    key->name = strdup(name);
    if (!key->name) {
        free(key);
        return ERR_NOMEM;
    }
    keys[(*count)++] = key;
    return ERR_OK;
}

static enum err rule_keys(struct list gone, Twofold__V1__SliceDelta *delta)
{
    delta->rules_removed = calloc(gone.count ? gone.count : 1, sizeof(delta->rules_removed[0]));
    enum err err = delta->rules_removed ? ERR_OK : ERR_NOMEM;
    for (size_t i = 0; !err && i < gone.count; i++) {
        const Twofold__V1__Rule *rule = (const Twofold__V1__Rule *)gone.items[i];
        err = push_key(delta->rules_removed, &delta->n_rules_removed, rule->name, rule->direction);
    }
    return err;
}

static enum err pinhole_keys(struct list gone, Twofold__V1__SliceDelta *delta)
{
    delta->pinholes_removed = calloc(gone.count ? gone.count : 1, sizeof(delta->pinholes_removed[0]));
    enum err err = delta->pinholes_removed ? ERR_OK : ERR_NOMEM;
    for (size_t i = 0; !err && i < gone.count; i++) {
        const Twofold__V1__Pinhole *pinhole = (const Twofold__V1__Pinhole *)gone.items[i];
        err = push_key(delta->pinholes_removed, &delta->n_pinholes_removed, pinhole->name, pinhole->direction);
    }
    return err;
}

static enum err diff_heads(const Twofold__V1__Slice *from, const Twofold__V1__Slice *to, Twofold__V1__SliceDelta *delta)
{
    uint8_t digest[DIGEST_BYTES];
    ProtobufCMessage *settings;

    if (from) {
        enum err err = slice_digest(from, digest);
        if (!err)
            err = set_bytes(&delta->from, digest, sizeof(digest));
        if (err)
            return err;
    }
    enum err err = slice_digest(to, digest);
    if (!err)
        err = set_bytes(&delta->digest, digest, sizeof(digest));
    if (!err)
        err = message_copy(&to->settings->base, &settings);
    if (err)
        return err;
    delta->settings = (Twofold__V1__Settings *)settings;
    err = copy_texts(to->revoked, to->n_revoked, &delta->revoked);
    if (!err)
        delta->n_revoked = to->n_revoked;
    return err;
}

static const Twofold__V1__Slice empty_slice = TWOFOLD__V1__SLICE__INIT;

enum err slice_diff(const Twofold__V1__Slice *from, const Twofold__V1__Slice *to, uint64_t nonce,
                    Twofold__V1__SliceDelta **ret_delta)
{
    const Twofold__V1__Slice *old = from ? from : &empty_slice;
    struct list changed, gone;

    Twofold__V1__SliceDelta *delta = malloc(sizeof(*delta));
    if (!delta)
        return ERR_NOMEM;
    twofold__v1__slice_delta__init(delta);
    delta->nonce = nonce;
    enum err err = diff_heads(from, to, delta);
    if (!err)
        err = diff_list(LIST(old, peers), LIST(to, peers), slice_compare_peers, &changed, &gone);
    if (!err) {
        TAKE_LIST(delta, peers, changed);
        err = peer_keys(gone, delta);
        list_free(&gone);
    }
    if (!err)
        err = diff_list(LIST(old, rules), LIST(to, rules), slice_compare_rules, &changed, &gone);
    if (!err) {
        TAKE_LIST(delta, rules, changed);
        err = rule_keys(gone, delta);
        list_free(&gone);
    }
    if (!err)
        err = diff_list(LIST(old, pinholes), LIST(to, pinholes), slice_compare_pinholes, &changed, &gone);
    if (!err) {
        TAKE_LIST(delta, pinholes, changed);
        err = pinhole_keys(gone, delta);
        list_free(&gone);
    }
    if (err) {
        message_free(delta);
        return err;
    }
    *ret_delta = delta;
    return ERR_OK;
}

static bool peer_is_gone(const ProtobufCMessage *item, const Twofold__V1__SliceDelta *delta)
{
    const char *host = ((const Twofold__V1__Peer *)item)->host;
    return slice_has_text(delta->peers_removed, delta->n_peers_removed, host);
}

static int compare_rule_keys(const void *a, const void *b)
{
    const Twofold__V1__RuleKey *x = *(Twofold__V1__RuleKey *const *)a;
    const Twofold__V1__RuleKey *y = *(Twofold__V1__RuleKey *const *)b;
    return slice_compare_keys(x->name, x->direction, y->name, y->direction);
}

static bool key_is_among(char *name, Twofold__V1__Direction direction, Twofold__V1__RuleKey **keys, size_t count)
{
    Twofold__V1__RuleKey key = TWOFOLD__V1__RULE_KEY__INIT;
    const Twofold__V1__RuleKey *wanted = &key;

    key.name = name;
    key.direction = direction;
    return count && bsearch(&wanted, keys, count, sizeof(keys[0]), compare_rule_keys);
}

static bool rule_is_gone(const ProtobufCMessage *item, const Twofold__V1__SliceDelta *delta)
{
    const Twofold__V1__Rule *rule = (const Twofold__V1__Rule *)item;
    return key_is_among(rule->name, rule->direction, delta->rules_removed, delta->n_rules_removed);
}

static bool pinhole_is_gone(const ProtobufCMessage *item, const Twofold__V1__SliceDelta *delta)
{
    const Twofold__V1__Pinhole *pinhole = (const Twofold__V1__Pinhole *)item;
    return key_is_among(pinhole->name, pinhole->direction, delta->pinholes_removed, delta->n_pinholes_removed);
}

static enum err patch_lists(const Twofold__V1__Slice *old, const Twofold__V1__SliceDelta *delta,
                            Twofold__V1__Slice *slice)
{
    struct list to;
    ProtobufCMessage *settings;

    if (!delta->settings)
        return ERR_MALFORMED;
    enum err err = message_copy(&delta->settings->base, &settings);
    if (err)
        return err;
    slice->settings = (Twofold__V1__Settings *)settings;
    err = copy_texts(delta->revoked, delta->n_revoked, &slice->revoked);
    if (err)
        return err;
    slice->n_revoked = delta->n_revoked;
    const struct edit peers = {LIST(delta, peers), delta->n_peers_removed, peer_is_gone, slice_compare_peers};
    err = patch_list(LIST(old, peers), &peers, delta, &to);
    if (err)
        return err;
    TAKE_LIST(slice, peers, to);
    const struct edit rules = {LIST(delta, rules), delta->n_rules_removed, rule_is_gone, slice_compare_rules};
    err = patch_list(LIST(old, rules), &rules, delta, &to);
    if (err)
        return err;
    TAKE_LIST(slice, rules, to);
    const struct edit pinholes = {LIST(delta, pinholes), delta->n_pinholes_removed, pinhole_is_gone,
                                  slice_compare_pinholes};
    err = patch_list(LIST(old, pinholes), &pinholes, delta, &to);
    if (err)
        return err;
    TAKE_LIST(slice, pinholes, to);
    return ERR_OK;
}

static enum err check_base(const Twofold__V1__Slice *from, const Twofold__V1__SliceDelta *delta, struct note *note)
{
    uint8_t digest[DIGEST_BYTES];

    if (!from)
        return delta->from.len == 0 ? ERR_OK
                                    : note_set(note, ERR_STALE, "the delta starts from a slice, but none is in force");
    if (delta->from.len == 0)
        return ERR_OK;
    enum err err = slice_digest(from, digest);
    if (err)
        return err;
    if (delta->from.len != sizeof(digest) || memcmp(delta->from.data, digest, sizeof(digest)) != 0)
        return note_set(note, ERR_STALE, "the delta does not start from the slice in force");
    return ERR_OK;
}

enum err slice_patch(const Twofold__V1__Slice *from, const Twofold__V1__SliceDelta *delta,
                     Twofold__V1__Slice **ret_slice, struct note *note)
{
    uint8_t digest[DIGEST_BYTES];

    enum err err = message_check_known(&delta->base, note);
    if (!err)
        err = check_base(from, delta, note);
    if (err)
        return err;
    Twofold__V1__Slice *slice = malloc(sizeof(*slice));
    if (!slice)
        return note_set(note, ERR_NOMEM, "out of memory");
    twofold__v1__slice__init(slice);
    // A delta from nothing replaces the whole.
    err = patch_lists(from && delta->from.len ? from : &empty_slice, delta, slice);
    if (err)
        (void)note_set(note, err, "the delta cannot be applied: %s", err_text(err));
    if (!err)
        err = slice_check(slice, note);
    if (!err)
        err = slice_digest(slice, digest);
    if (!err && (delta->digest.len != sizeof(digest) || memcmp(delta->digest.data, digest, sizeof(digest)) != 0))
        err = note_set(note, ERR_MALFORMED, "the delta's outcome has another digest than the delta says");
    if (err) {
        message_free(slice);
        return err;
    }
    *ret_slice = slice;
    return ERR_OK;
}
