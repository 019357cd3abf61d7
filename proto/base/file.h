// SPDX-License-Identifier: GPL-2.0-or-later
// Whole files: bounded reads and writes that survive a crash.
#ifndef TWOFOLD_BASE_FILE_H
#define TWOFOLD_BASE_FILE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "proto/base/err.h"
#include "proto/base/note.h"

// The whole file, with a zero byte behind it that is not counted; free() it. A path of "-" is standard input. ERR_LIMIT past
// `limit_bytes`, ERR_NOT_FOUND, ERR_IO; the note names the path and the cause.
MUST_USE enum err file_read(const char *path, size_t limit_bytes, uint8_t **ret_bytes, size_t *ret_len,
                            struct note *note);

// Replaces the file as a whole: a temporary beside it, fsync, rename, fsync of the folder. The old content stays on failure.
MUST_USE enum err file_write(const char *path, const void *bytes, size_t len, mode_t mode, struct note *note);

// Makes a folder (and none above it) with this mode and owner, or checks that the one there has them. uid or gid -1: as it is.
MUST_USE enum err file_make_folder(const char *path, mode_t mode, uid_t uid, gid_t gid, struct note *note);

#endif
