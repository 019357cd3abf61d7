// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/control/slice_store.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proto/base/buf.h"
#include "proto/base/digest.h"
#include "proto/base/file.h"
#include "proto/wire/message.h"
#include "proto/wire/slice.h"

static const char MAGIC[] = "Twofold-slice-v1"; // with its zero byte

enum { MAGIC_BYTES = sizeof(MAGIC), HEADER_BYTES = MAGIC_BYTES + 8 + DIGEST_BYTES };

static enum err file_digest(uint64_t applied_at, const uint8_t *slice, size_t len, uint8_t ret_digest[DIGEST_BYTES])
{
    struct digest_pieces *pieces;
    uint8_t time[8];

    enum err err = digest_pieces_new(&pieces);
    if (err)
        return err;
    for (int i = 0; i < 8; i++)
        time[i] = (uint8_t)(applied_at >> (56 - 8 * i));
    digest_pieces_add(pieces, MAGIC, MAGIC_BYTES);
    digest_pieces_add(pieces, time, sizeof(time));
    digest_pieces_add(pieces, slice, len);
    digest_pieces_finish(pieces, ret_digest);
    return ERR_OK;
}

static enum err check_owner(const Twofold__V1__Slice *slice, const char *trust_domain, const char *host,
                            struct note *note)
{
    if (strcmp(slice->settings->host, host) != 0 || strcmp(slice->settings->trust_domain, trust_domain) != 0)
        return note_set(note, ERR_IDENTITY, "it is the slice of host '%s' in %s, this host is '%s' in %s",
                        slice->settings->host, slice->settings->trust_domain, host, trust_domain);
    return ERR_OK;
}

static enum err decode_slice(const uint8_t *bytes, size_t len, const char *trust_domain, const char *host,
                             Twofold__V1__Slice **ret_slice, struct note *note)
{
    ProtobufCMessage *message;

    if (message_decode(&twofold__v1__slice__descriptor, bytes, len, &message) != ERR_OK)
        return note_set(note, ERR_CORRUPT, "it cannot be decoded");
    Twofold__V1__Slice *slice = (Twofold__V1__Slice *)message;
    enum err err = slice_check(slice, note);
    if (err) {
        note_prefix(note, "it does not pass its check: ");
        err = ERR_CORRUPT;
    } else {
        err = check_owner(slice, trust_domain, host, note);
    }
    if (err) {
        message_free(message);
        return err;
    }
    *ret_slice = slice;
    return ERR_OK;
}

enum err slice_store_decode(const uint8_t *bytes, size_t len, const char *trust_domain, const char *host,
                            struct stored_slice *ret_stored, struct note *note)
{
    struct cursor cursor = {bytes, len};
    const uint8_t *magic, *stored_digest;
    uint8_t digest[DIGEST_BYTES];
    uint64_t applied_at;
    Twofold__V1__Slice *slice = NULL;

    if (cursor_bytes(&cursor, MAGIC_BYTES, &magic) || memcmp(magic, MAGIC, MAGIC_BYTES) != 0 ||
        cursor_u64(&cursor, &applied_at) || cursor_bytes(&cursor, DIGEST_BYTES, &stored_digest))
        return note_set(note, ERR_CORRUPT, "it does not begin like a stored slice");
    enum err err = file_digest(applied_at, cursor.bytes, cursor.left, digest);
    if (err)
        return note_set(note, err, "%s", err_text(err));
    if (memcmp(digest, stored_digest, DIGEST_BYTES) != 0)
        return note_set(note, ERR_CORRUPT, "its digest does not match its content");
    err = decode_slice(cursor.bytes, cursor.left, trust_domain, host, &slice, note);
    if (!err)
        *ret_stored = (struct stored_slice){.slice = slice, .applied_at = applied_at};
    return err;
}

enum err slice_store_encode(const Twofold__V1__Slice *slice, uint64_t applied_at, uint8_t **ret_bytes, size_t *ret_len)
{
    uint8_t digest[DIGEST_BYTES];
    uint8_t *encoded;
    size_t encoded_len;
    struct buf buf;

    enum err err = message_encode(&slice->base, &encoded, &encoded_len);
    if (err)
        return err;
    buf_init(&buf, SLICE_STORE_BYTES_MAX);
    if ((err = file_digest(applied_at, encoded, encoded_len, digest)) || (err = buf_append(&buf, MAGIC, MAGIC_BYTES)) ||
        (err = buf_append_u64(&buf, applied_at)) || (err = buf_append(&buf, digest, sizeof(digest))) ||
        (err = buf_append(&buf, encoded, encoded_len))) {
        buf_free(&buf);
        free(encoded);
        return err;
    }
    free(encoded);
    uint8_t *bytes = malloc(buf.len);
    if (bytes) {
        memcpy(bytes, buf_bytes(&buf), buf.len);
        *ret_bytes = bytes;
        *ret_len = buf.len;
    }
    buf_free(&buf);
    return bytes ? ERR_OK : ERR_NOMEM;
}

static enum err path_format(char path[PATH_MAX], const char *folder, const char *name, struct note *note)
{
    if (snprintf(path, PATH_MAX, "%s/%s", folder, name) >= PATH_MAX)
        return note_set(note, ERR_INVALID, "%s: the path is too long", folder);
    return ERR_OK;
}

enum err slice_store_load(const char *folder, const char *trust_domain, const char *host,
                          struct stored_slice *ret_stored, struct note *note)
{
    char path[PATH_MAX];
    uint8_t *bytes;
    size_t len;

    enum err err = path_format(path, folder, "slice.pb", note);
    if (err || (err = file_read(path, SLICE_STORE_BYTES_MAX, &bytes, &len, note)))
        return err;
    err = slice_store_decode(bytes, len, trust_domain, host, ret_stored, note);
    free(bytes);
    if (err)
        note_prefix(note, "%s: the stored slice is not used: ", path);
    return err;
}

enum err slice_store_stage(const char *folder, const Twofold__V1__Slice *slice, uint64_t applied_at, struct note *note)
{
    char path[PATH_MAX];
    uint8_t *bytes;
    size_t len;

    enum err err = path_format(path, folder, "slice-next.pb", note);
    if (err)
        return err;
    err = slice_store_encode(slice, applied_at, &bytes, &len);
    if (err)
        return note_set(note, err, "cannot encode the slice: %s", err_text(err));
    err = file_write(path, bytes, len, 0600, note);
    free(bytes);
    return err;
}

enum err slice_store_publish(const char *folder, struct note *note)
{
    char from[PATH_MAX];
    char to[PATH_MAX];
    enum err err;

    if ((err = path_format(from, folder, "slice-next.pb", note)) || (err = path_format(to, folder, "slice.pb", note)))
        return err;
    if (rename(from, to) < 0)
        return note_set(note, err_from_errno(errno), "%s: cannot replace it: %s", to, strerror(errno));
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) < 0)
        err = note_set(note, err_from_errno(errno), "%s: cannot sync the folder: %s", folder, strerror(errno));
    if (fd >= 0)
        close(fd);
    return err;
}
