// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/user.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "proto/base/text.h"

#define ID_MAX (UINT32_MAX - 1) // (uid_t)-1 means "none" to the kernel

static enum err parse_numbers(const char *text, struct user *ret_user)
{
    char uid_text[16];
    uint64_t uid, gid;
    size_t len = strcspn(text, ":");

    if (len >= sizeof(uid_text))
        return ERR_MALFORMED;
    memcpy(uid_text, text, len);
    uid_text[len] = '\0';
    enum err err = decimal_parse(uid_text, ID_MAX, &uid);
    if (err)
        return err;
    gid = uid;
    if (text[len] == ':' && (err = decimal_parse(text + len + 1, ID_MAX, &gid)))
        return err;
    *ret_user = (struct user){.uid = (uid_t)uid, .gid = (gid_t)gid};
    return ERR_OK;
}

enum err user_find(const char *text, struct user *ret_user, struct note *note)
{
    struct user user;

    if (parse_numbers(text, &user) != ERR_OK) {
        errno = 0;
        struct passwd *entry = getpwnam(text);
        if (!entry)
            return note_set(note, ERR_NOT_FOUND,
                            "there is no user '%s': make it (systemd-sysusers does, with the file that comes with "
                            "Twofold) or name another by --control-user, --network-user, --https-user",
                            text);
        user = (struct user){.uid = entry->pw_uid, .gid = entry->pw_gid};
    }
    if (user.uid == 0 || user.gid == 0)
        return note_set(note, ERR_INVALID, "user '%s' is root: a role must have a user without rights", text);
    *ret_user = user;
    return ERR_OK;
}

enum err user_find_roles(const char *const names[ROLE_COUNT], struct user ret_users[ROLE_COUNT], struct note *note)
{
    struct user users[ROLE_COUNT];

    for (size_t i = 0; i < ROLE_COUNT; i++) {
        enum err err = user_find(names[i], &users[i], note);
        if (err)
            return err;
        for (size_t j = 0; j < i; j++) {
            if (users[j].uid == users[i].uid)
                return note_set(note, ERR_INVALID,
                                "the %s and %s roles have the same uid %u: the layers are independent only "
                                "under uids of their own",
                                role_name((enum role)j), role_name((enum role)i), (unsigned)users[i].uid);
        }
    }
    memcpy(ret_users, users, sizeof(users));
    return ERR_OK;
}

enum err user_find_group(const char *text, gid_t *ret_gid, struct note *note)
{
    uint64_t number;

    if (decimal_parse(text, ID_MAX, &number) == ERR_OK) {
        *ret_gid = (gid_t)number;
        return ERR_OK;
    }
    struct group *entry = getgrnam(text);
    if (!entry)
        return note_set(note, ERR_NOT_FOUND, "there is no group '%s': make it or name another by --admin-group", text);
    *ret_gid = entry->gr_gid;
    return ERR_OK;
}
