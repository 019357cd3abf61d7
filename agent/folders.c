// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/folders.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/base/file.h"

#define STAGING ".enrol"
#define STAGED  ".enrolled"

static enum err fail(struct note *note, const char *doing, const char *path)
{
    int error = errno;
    return note_set(note, err_from_errno(error), "%s: cannot %s: %s", path, doing, strerror(error));
}

static enum err join(char *room, size_t room_len, const char *folder, const char *name, struct note *note)
{
    int len = snprintf(room, room_len, "%s/%s", folder, name);

    if (len < 0 || (size_t)len >= room_len)
        return note_set(note, ERR_INVALID, "%s: the path is too long", folder);
    return ERR_OK;
}

enum err folders_folder(const char *state, enum role role, char *room, size_t room_len, struct note *note)
{
    return join(room, room_len, state, role_name(role), note);
}

static enum err sync_folder(const char *path, struct note *note)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

    if (fd < 0)
        return fail(note, "open the folder", path);
    enum err err = fsync(fd) < 0 ? fail(note, "sync the folder", path) : ERR_OK;
    close(fd);
    return err;
}

// Calls back for each entry of a folder but "." and ".."; names are relative to `folder_fd`.
static enum err each_entry(const char *path, enum err (*each)(int folder_fd, const char *name, void *context),
                           void *context, struct note *note)
{
    enum err err = ERR_OK;
    struct dirent *entry;

    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return fail(note, "open the folder", path);
    DIR *folder = fdopendir(fd);
    if (!folder) {
        err = fail(note, "read the folder", path);
        close(fd);
        return err;
    }
    while (!err && (entry = readdir(folder))) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            err = each(dirfd(folder), entry->d_name, context);
    }
    closedir(folder);
    if (err)
        note_set(note, err, "%s: cannot change what is in this folder: %s", path, strerror(errno));
    return err;
}

static enum err remove_entry(int folder_fd, const char *name, void *context)
{
    (void)context;
    return unlinkat(folder_fd, name, 0) < 0 ? err_from_errno(errno) : ERR_OK;
}

// Role folders hold files only; a folder in one stops the removal, and links are never followed.
static enum err remove_folder(const char *path, struct note *note)
{
    if (access(path, F_OK) < 0 && errno == ENOENT)
        return ERR_OK;
    enum err err = each_entry(path, remove_entry, NULL, note);
    if (!err && rmdir(path) < 0)
        err = fail(note, "remove the folder", path);
    return err;
}

static enum err remove_role_folders(const char *parent, struct note *note)
{
    char path[PATH_MAX];
    enum err err = ERR_OK;

    if (access(parent, F_OK) < 0 && errno == ENOENT)
        return ERR_OK;
    for (enum role role = 0; !err && role < ROLE_COUNT; role++) {
        err = folders_folder(parent, role, path, sizeof(path), note);
        if (!err)
            err = remove_folder(path, note);
    }
    if (!err && rmdir(parent) < 0)
        err = fail(note, "remove the folder", parent);
    return err;
}

static enum err move_role_folder(const char *staged, const char *state, enum role role, struct note *note)
{
    char from[PATH_MAX];
    char to[PATH_MAX];
    enum err err;

    if ((err = folders_folder(staged, role, from, sizeof(from), note)) ||
        (err = folders_folder(state, role, to, sizeof(to), note)))
        return err;
    if (access(from, F_OK) < 0)
        return errno == ENOENT ? ERR_OK : fail(note, "look at the folder", from); // moved already
    if ((err = remove_folder(to, note)))
        return err;
    return rename(from, to) < 0 ? fail(note, "put the new folder in place", to) : ERR_OK;
}

// Every step can be done twice: a crash in between is finished by the next call.
static enum err finish_install(const char *state, struct note *note)
{
    char staged[PATH_MAX];

    enum err err = join(staged, sizeof(staged), state, STAGED, note);
    if (err)
        return err;
    if (access(staged, F_OK) < 0)
        return errno == ENOENT ? ERR_OK : fail(note, "look at the folder", staged);
    for (enum role role = 0; !err && role < ROLE_COUNT; role++)
        err = move_role_folder(staged, state, role, note);
    if (!err && rmdir(staged) < 0)
        err = fail(note, "remove the folder", staged);
    return err ? err : sync_folder(state, note);
}

static enum err take_lock(const char *state, int *ret_fd, struct note *note)
{
    char path[PATH_MAX];

    enum err err = join(path, sizeof(path), state, "lock", note);
    if (err)
        return err;
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return fail(note, "open the lock", path);
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        err = errno == EWOULDBLOCK
                  ? note_set(note, ERR_EXISTS, "%s is in use by a twofold-agent that runs: stop it first", state)
                  : fail(note, "take the lock", path);
        close(fd);
        return err;
    }
    *ret_fd = fd;
    return ERR_OK;
}

enum err folders_open(const char *state, int *ret_lock_fd, struct note *note)
{
    struct stat stat;
    int fd;

    if (mkdir(state, 0755) < 0 && errno != EEXIST)
        return fail(note, "make the folder", state);
    if (lstat(state, &stat) < 0)
        return fail(note, "look at the folder", state);
    if (!S_ISDIR(stat.st_mode) || stat.st_uid != geteuid() || (stat.st_mode & 022))
        return note_set(note, ERR_INVALID, "%s must be a folder of root's that nobody else can write to", state);
    enum err err = take_lock(state, &fd, note);
    if (err)
        return err;
    err = finish_install(state, note);
    if (err) {
        close(fd);
        return err;
    }
    *ret_lock_fd = fd;
    return ERR_OK;
}

bool folders_is_enrolled(const char *state)
{
    char path[PATH_MAX];

    return (join(path, sizeof(path), state, "control/agent.pem", NULL) == ERR_OK && access(path, F_OK) == 0) ||
           (join(path, sizeof(path), state, STAGED, NULL) == ERR_OK && access(path, F_OK) == 0);
}

static bool lets_through(const struct stat *folder, const struct user *user)
{
    if (folder->st_uid == user->uid)
        return folder->st_mode & S_IXUSR;
    return folder->st_mode & (folder->st_gid == user->gid ? S_IXGRP : S_IXOTH);
}

enum err folders_reach(const char *state, const struct user users[ROLE_COUNT], struct note *note)
{
    char path[PATH_MAX];
    struct stat stat;

    if (!realpath(state, path))
        return fail(note, "look at the folder", state);
    for (;;) {
        if (lstat(path, &stat) < 0)
            return fail(note, "look at the folder", path);
        for (enum role role = 0; role < ROLE_COUNT; role++) {
            if (!lets_through(&stat, &users[role]))
                return note_set(
                    note, ERR_INVALID,
                    "%s (mode %04o) does not let uid %u, the %s role's, through to %s: allow it (chmod o+x), or "
                    "keep the state elsewhere (--state)",
                    path, (unsigned)stat.st_mode & 07777, (unsigned)users[role].uid, role_name(role), state);
        }
        if (strcmp(path, "/") == 0)
            return ERR_OK;
        char *slash = strrchr(path, '/');
        slash[slash == path] = 0;
    }
}

enum err folders_check(const char *state, const struct user users[ROLE_COUNT], struct note *note)
{
    char path[PATH_MAX];
    struct stat stat;

    if (!folders_is_enrolled(state))
        return note_set(note, ERR_NOT_FOUND,
                        "this host is not enrolled (%s holds no certificates): have a join token made with 'twofold "
                        "token create' and run 'twofold-agent enrol'",
                        state);
    enum err err = folders_reach(state, users, note);
    if (err)
        return err;
    for (enum role role = 0; role < ROLE_COUNT; role++) {
        err = folders_folder(state, role, path, sizeof(path), note);
        if (err)
            return err;
        if (lstat(path, &stat) < 0)
            return fail(note, "look at the folder", path);
        if (!S_ISDIR(stat.st_mode) || (stat.st_mode & 07777) != 0700 || stat.st_uid != users[role].uid)
            return note_set(note, ERR_INVALID,
                            "%s must be a folder of mode 0700 that belongs to uid %u, the %s role's: name the user of "
                            "the enrolment (--%s-user) or change the owner of the folder and of the files in it",
                            path, (unsigned)users[role].uid, role_name(role), role_name(role));
    }
    return ERR_OK;
}

enum err folders_stage(const char *state, char *ret_staging, size_t room_len, struct note *note)
{
    char path[PATH_MAX];
    enum err err;

    if ((err = join(ret_staging, room_len, state, STAGING, note)) || (err = remove_role_folders(ret_staging, note)))
        return err;
    if (mkdir(ret_staging, 0700) < 0)
        return fail(note, "make the folder", ret_staging);
    for (enum role role = 0; role < ROLE_COUNT; role++) {
        if ((err = folders_folder(ret_staging, role, path, sizeof(path), note)))
            return err;
        if (mkdir(path, 0700) < 0)
            return fail(note, "make the folder", path);
    }
    return ERR_OK;
}

static enum err give_entry(int folder_fd, const char *name, void *context)
{
    const struct user *user = context;

    return fchownat(folder_fd, name, user->uid, user->gid, AT_SYMLINK_NOFOLLOW) < 0 ? err_from_errno(errno) : ERR_OK;
}

static enum err give_folder(const char *path, const struct user *user, struct note *note)
{
    struct user owner = *user;

    enum err err = each_entry(path, give_entry, &owner, note);
    if (!err && lchown(path, user->uid, user->gid) < 0)
        err = fail(note, "change the owner", path);
    return err ? err : sync_folder(path, note);
}

enum err folders_install(const char *state, const struct user users[ROLE_COUNT], struct note *note)
{
    char staging[PATH_MAX];
    char staged[PATH_MAX];
    char path[PATH_MAX];
    enum err err;

    if ((err = join(staging, sizeof(staging), state, STAGING, note)) ||
        (err = join(staged, sizeof(staged), state, STAGED, note)))
        return err;
    for (enum role role = 0; role < ROLE_COUNT; role++) {
        if ((err = folders_folder(staging, role, path, sizeof(path), note)) ||
            (err = give_folder(path, &users[role], note)))
            return err;
    }
    if ((err = sync_folder(staging, note)))
        return err;
    if (rename(staging, staged) < 0)
        return fail(note, "put the enrolment in force", staged);
    if ((err = sync_folder(state, note)))
        return err;
    return finish_install(state, note);
}

void folders_unstage(const char *state)
{
    char staging[PATH_MAX];

    // What cannot be removed now is removed before the next enrolment.
    if (join(staging, sizeof(staging), state, STAGING, NULL) == ERR_OK && remove_role_folders(staging, NULL) != ERR_OK)
        return;
}
