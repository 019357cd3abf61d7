// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/role_args.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "agent/options.h"
#include "proto/base/text.h"

static const char *const NAMES[ROLE_COUNT] = {
    [ROLE_CONTROL] = "control",
    [ROLE_NETWORK] = "network",
    [ROLE_HTTPS] = "https",
};

const char *role_name(enum role role)
{
    return NAMES[role];
}

static enum err add(struct role_args *args, const char *format, ...) __attribute__((format(printf, 2, 3)));

static enum err add(struct role_args *args, const char *format, ...)
{
    va_list list;

    if (args->argc == ROLE_ARGS_MAX)
        return ERR_LIMIT;
    va_start(list, format);
    int len = vsnprintf(args->text + args->used, sizeof(args->text) - args->used, format, list);
    va_end(list);
    if (len < 0 || (size_t)len >= sizeof(args->text) - args->used)
        return ERR_LIMIT;
    args->argv[args->argc++] = args->text + args->used;
    args->argv[args->argc] = NULL;
    args->used += (size_t)len + 1;
    return ERR_OK;
}

// In this order on both sides. An id or descriptor that is not there is "-".
static enum err add_number(struct role_args *args, int64_t value)
{
    return value < 0 ? add(args, "-") : add(args, "%lld", (long long)value);
}

static int64_t gid_or_none(gid_t gid)
{
    return gid == (gid_t)-1 ? -1 : (int64_t)gid;
}

enum err role_args_format(const struct role_start *start, pid_t parent, enum log_level level,
                          struct role_args *ret_args)
{
    struct role_args *args = ret_args;
    enum err err;

    args->argc = 0;
    args->used = 0;
    const int64_t numbers[] = {
        parent,
        start->control_fd,
        start->network_fd,
        start->https_fd,
        start->ready_fd,
        start->control_uid,
        start->https_uid,
        start->outbound_port,
        start->tunnel_port,
        gid_or_none(start->admin_gid),
    };
    if ((err = add(args, "twofold-agent")) || (err = add(args, "role")) ||
        (err = add(args, "%s", role_name(start->role))) || (err = add(args, "%s", options_log_level_name(level))) ||
        (err = add(args, "%s", start->folder)) || (err = add(args, "%s", start->runtime_folder)) ||
        (err = add(args, "%s", start->export_folder ? start->export_folder : "-")))
        return err;
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        if ((err = add_number(args, numbers[i])))
            return err;
    }
    return ERR_OK;
}

enum { NUMBERS = 10, WORDS = 7 };

static enum err parse_numbers(char *const *argv, int64_t ret_numbers[NUMBERS])
{
    for (int i = 0; i < NUMBERS; i++) {
        uint64_t value;

        if (strcmp(argv[i], "-") == 0) {
            ret_numbers[i] = -1;
            continue;
        }
        enum err err = decimal_parse(argv[i], UINT32_MAX, &value);
        if (err)
            return err;
        ret_numbers[i] = (int64_t)value;
    }
    return ERR_OK;
}

enum err role_args_parse(int argc, char *const *argv, struct role_start *ret_start, pid_t *ret_parent,
                         enum log_level *ret_level, struct note *note)
{
    int64_t numbers[NUMBERS];
    size_t role = 0;

    if (argc != WORDS + NUMBERS || parse_numbers(argv + WORDS, numbers) != ERR_OK)
        return note_set(note, ERR_USAGE, "'twofold-agent role' is started by 'twofold-agent run' only");
    while (role < ROLE_COUNT && strcmp(NAMES[role], argv[2]) != 0)
        role++;
    if (role == ROLE_COUNT)
        return note_set(note, ERR_USAGE, "'%s' is not a role", argv[2]);
    enum err err = options_log_level(argv[3], ret_level, note);
    if (err)
        return err;
    *ret_parent = (pid_t)numbers[0];
    *ret_start = (struct role_start){
        .role = (enum role)role,
        .folder = argv[4],
        .runtime_folder = argv[5],
        .export_folder = strcmp(argv[6], "-") == 0 ? NULL : argv[6],
        .control_fd = (int)numbers[1],
        .network_fd = (int)numbers[2],
        .https_fd = (int)numbers[3],
        .ready_fd = (int)numbers[4],
        .control_uid = (uid_t)numbers[5],
        .https_uid = (uid_t)numbers[6],
        .outbound_port = (uint16_t)numbers[7],
        .tunnel_port = (uint16_t)numbers[8],
        .admin_gid = (gid_t)numbers[9],
    };
    return ERR_OK;
}
