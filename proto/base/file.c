// SPDX-License-Identifier: GPL-2.0-or-later
#include "proto/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/base/secret.h"

static enum err fail(struct note *note, const char *doing, const char *path)
{
    int error = errno;
    return note_set(note, err_from_errno(error), "%s: cannot %s: %s", path, doing, strerror(error));
}

// Reads to the end or until one byte past the limit.
static enum err read_all(int fd, const char *path, size_t limit_bytes, uint8_t **ret_bytes, size_t *ret_len,
                         struct note *note)
{
    uint8_t *bytes = NULL;
    size_t len = 0;
    size_t capacity = 0;
    enum err err;

    for (;;) {
        if (len == capacity) {
            capacity = capacity ? 2 * capacity : 4096;
            if (capacity > limit_bytes + 1)
                capacity = limit_bytes + 1;
            // One more for the zero byte behind.
            uint8_t *more = realloc(bytes, capacity + 1);
            if (!more) {
                err = note_set(note, ERR_NOMEM, "%s: out of memory", path);
                goto err_free;
            }
            bytes = more;
        }
        ssize_t got = read(fd, bytes + len, capacity - len);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            err = fail(note, "read", path);
            goto err_free;
        }
        if (got == 0)
            break;
        len += (size_t)got;
        if (len > limit_bytes) {
            err = note_set(note, ERR_LIMIT, "%s: larger than the %zu bytes that are read of such a file", path,
                           limit_bytes);
            goto err_free;
        }
    }
    bytes[len] = '\0';
    *ret_bytes = bytes;
    *ret_len = len;
    return ERR_OK;

err_free:
    if (bytes)
        secret_wipe(bytes, len);
    free(bytes);
    return err;
}

enum err file_read(const char *path, size_t limit_bytes, uint8_t **ret_bytes, size_t *ret_len, struct note *note)
{
    if (strcmp(path, "-") == 0)
        return read_all(STDIN_FILENO, "standard input", limit_bytes, ret_bytes, ret_len, note);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return fail(note, "open", path);
    enum err err = read_all(fd, path, limit_bytes, ret_bytes, ret_len, note);
    close(fd);
    return err;
}

static bool write_all(int fd, const uint8_t *bytes, size_t len)
{
    while (len) {
        ssize_t wrote = write(fd, bytes, len);
        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote < 0)
            return false;
        bytes += wrote;
        len -= (size_t)wrote;
    }
    return true;
}

// So that the rename itself survives a crash.
static enum err sync_folder_of(const char *path, struct note *note)
{
    char folder[PATH_MAX];
    const char *slash = strrchr(path, '/');
    int len = slash ? (int)(slash - path) : 1;

    snprintf(folder, sizeof(folder), "%.*s", len ? len : 1, slash ? path : ".");
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return fail(note, "open", folder);
    enum err err = fsync(fd) < 0 ? fail(note, "sync", folder) : ERR_OK;
    close(fd);
    return err;
}

enum err file_write(const char *path, const void *bytes, size_t len, mode_t mode, struct note *note)
{
    char temporary[PATH_MAX];
    enum err err;

    if (snprintf(temporary, sizeof(temporary), "%s.XXXXXX", path) >= (int)sizeof(temporary))
        return note_set(note, ERR_INVALID, "%s: the path is too long", path);
    int fd = mkostemp(temporary, O_CLOEXEC);
    if (fd < 0)
        return fail(note, "make a temporary file beside", path);
    if (fchmod(fd, mode) < 0 || !write_all(fd, bytes, len) || fsync(fd) < 0) {
        err = fail(note, "write", path);
        close(fd);
        goto err_unlink;
    }
    // Delayed write errors (quota, network file systems) come out here.
    if (close(fd) < 0 || rename(temporary, path) < 0) {
        err = fail(note, "write", path);
        goto err_unlink;
    }
    return sync_folder_of(path, note);

err_unlink:
    unlink(temporary);
    return err;
}

enum err file_make_folder(const char *path, mode_t mode, uid_t uid, gid_t gid, struct note *note)
{
    struct stat stat;

    bool is_new = mkdir(path, mode) == 0;
    if (!is_new && errno != EEXIST)
        return fail(note, "make the folder", path);
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return fail(note, "open the folder", path);
    enum err err = ERR_OK;
    if (is_new && (fchown(fd, uid, gid) < 0 || fchmod(fd, mode) < 0))
        err = fail(note, "set owner and mode of", path);
    else if (fstat(fd, &stat) < 0)
        err = fail(note, "look at", path);
    else if ((stat.st_mode & 07777) != mode)
        err = note_set(note, ERR_DENIED, "%s: its mode is %04o and must be %04o: chmod %04o %s", path,
                       stat.st_mode & 07777, mode, mode, path);
    else if ((uid != (uid_t)-1 && stat.st_uid != uid) || (gid != (gid_t)-1 && stat.st_gid != gid))
        err = note_set(note, ERR_DENIED, "%s: it belongs to %u:%u and must belong to %u:%u: chown %u:%u %s", path,
                       stat.st_uid, stat.st_gid, uid, gid, uid, gid, path);
    close(fd);
    return err;
}
