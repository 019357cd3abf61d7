// SPDX-License-Identifier: GPL-2.0-or-later
// What comes in from the command line: options, users, and the arguments between supervisor and role.
#include <criterion/criterion.h>
#include <string.h>

#include "agent/backoff.h"
#include "agent/options.h"
#include "agent/role_args.h"
#include "agent/user.h"

#define PARSE(...)                                                                                \
    options_parse((int)(sizeof((const char *[]){"twofold-agent", __VA_ARGS__}) / sizeof(char *)), \
                  (char **)(const char *[]){(char *)"twofold-agent", __VA_ARGS__}, &options, &note)

static struct options options;
static struct note note;

TestSuite(agent_options);

Test(agent_options, run_with_its_presets)
{
    cr_assert_eq(PARSE("run"), ERR_OK);
    cr_expect_eq(options.command, COMMAND_RUN);
    cr_expect_str_eq(options.state, "/var/lib/twofold");
    cr_expect_str_eq(options.runtime, "/run/twofold");
    cr_expect_str_eq(options.network_user, "twofold-network");
    cr_expect_null(options.export_secrets);
    cr_expect_null(options.admin_group);
}

Test(agent_options, both_ways_to_give_a_value)
{
    cr_assert_eq(PARSE("enrol", "--controller=192.0.2.10:7443", "--token-file", "-", "--state", "/s"), ERR_OK);
    cr_expect_str_eq(options.controller, "192.0.2.10:7443");
    cr_expect_str_eq(options.token_file, "-");
    cr_expect_str_eq(options.state, "/s");
}

Test(agent_options, help_and_version)
{
    cr_assert_eq(PARSE("--help"), ERR_OK);
    cr_expect_eq(options.command, COMMAND_HELP);
    cr_assert_eq(PARSE("enrol", "--help"), ERR_OK);
    cr_expect_eq(options.command, COMMAND_HELP);
    cr_assert_eq(PARSE("--version"), ERR_OK);
    cr_expect_eq(options.command, COMMAND_VERSION);
}

#define REFUSED(word, ...)                                   \
    do {                                                     \
        note = (struct note){0};                             \
        cr_expect_eq(PARSE(__VA_ARGS__), ERR_USAGE);         \
        cr_expect(strstr(note.text, word), "%s", note.text); \
    } while (0)

Test(agent_options, refused)
{
    char *nothing[] = {(char *)"twofold-agent"};

    cr_expect_eq(options_parse(1, nothing, &options, &note), ERR_USAGE);
    REFUSED("not a command", "fly");
    REFUSED("not an option", "run", "--fast");
    REFUSED("not an option", "run", "--stat", "/s");
    REFUSED("not an option", "run", "now");
    REFUSED("has no option", "run", "--token-file", "x");
    REFUSED("has no option", "clear", "--runtime", "/s");
    REFUSED("needs a value", "run", "--state");
    REFUSED("needs a value", "run", "--state=");
    REFUSED("given twice", "run", "--state", "/a", "--state", "/b");
    REFUSED("needs --controller", "enrol", "--token-file", "x");
    REFUSED("needs --token-file", "enrol", "--controller", "192.0.2.1:1");
}

Test(agent_options, log_levels)
{
    enum log_level level;

    for (enum log_level want = LOG_LEVEL_ERROR; want <= LOG_LEVEL_DEBUG; want++) {
        cr_assert_eq(options_log_level(options_log_level_name(want), &level, &note), ERR_OK);
        cr_expect_eq(level, want);
    }
    cr_expect_eq(options_log_level("loud", &level, &note), ERR_USAGE);
}

// ---- users

Test(agent_options, users_by_number)
{
    struct user user;

    cr_assert_eq(user_find("991", &user, &note), ERR_OK);
    cr_expect(user.uid == 991 && user.gid == 991);
    cr_assert_eq(user_find("991:992", &user, &note), ERR_OK);
    cr_expect(user.uid == 991 && user.gid == 992);
}

Test(agent_options, users_by_name)
{
    struct user user;

    cr_assert_eq(user_find("nobody", &user, &note), ERR_OK);
    cr_expect_neq(user.uid, 0);
    cr_expect_eq(user_find("nobody-of-this-name", &user, &note), ERR_NOT_FOUND);
    cr_expect(strstr(note.text, "nobody-of-this-name"));
}

Test(agent_options, users_that_a_role_must_not_have)
{
    struct user user;

    cr_expect_eq(user_find("root", &user, &note), ERR_INVALID);
    cr_expect_eq(user_find("0", &user, &note), ERR_INVALID);
    cr_expect_eq(user_find("5:0", &user, &note), ERR_INVALID);
    cr_expect_eq(user_find("4294967295", &user, &note), ERR_NOT_FOUND);
    cr_expect_eq(user_find("5:", &user, &note), ERR_NOT_FOUND);
    cr_expect_eq(user_find("5:x", &user, &note), ERR_NOT_FOUND);
}

Test(agent_options, roles_must_not_share_a_user)
{
    const char *const good[ROLE_COUNT] = {"991", "992", "993"};
    const char *const bad[ROLE_COUNT] = {"991", "992", "992:5"};
    struct user users[ROLE_COUNT];

    cr_expect_eq(user_find_roles(good, users, &note), ERR_OK);
    cr_expect_eq(users[ROLE_HTTPS].uid, 993);
    cr_expect_eq(user_find_roles(bad, users, &note), ERR_INVALID);
    cr_expect(strstr(note.text, "network and https"), "%s", note.text);
}

Test(agent_options, groups)
{
    gid_t gid;

    cr_assert_eq(user_find_group("77", &gid, &note), ERR_OK);
    cr_expect_eq(gid, 77);
    cr_assert_eq(user_find_group("daemon", &gid, &note), ERR_OK);
    cr_expect_eq(user_find_group("no-such-group", &gid, &note), ERR_NOT_FOUND);
}

// ---- role arguments

Test(agent_options, role_arguments_there_and_back)
{
    const struct role_start start = {
        .role = ROLE_NETWORK,
        .folder = "/var/lib/two fold/network",
        .runtime_folder = "/run/twofold",
        .export_folder = NULL,
        .control_fd = 5,
        .network_fd = -1,
        .https_fd = 7,
        .https_uid = 992,
        .outbound_port = 15001,
        .tunnel_port = 15008,
        .admin_gid = (gid_t)-1,
        .ready_fd = -1,
        .control_uid = 4294967294u,
    };
    struct role_args args;
    struct role_start back;
    enum log_level level;
    pid_t parent;

    cr_assert_eq(role_args_format(&start, 4711, LOG_LEVEL_DEBUG, &args), ERR_OK);
    cr_assert_eq(role_args_parse(args.argc, args.argv, &back, &parent, &level, &note), ERR_OK, "%s", note.text);
    cr_expect_eq(back.role, ROLE_NETWORK);
    cr_expect_str_eq(back.folder, start.folder);
    cr_expect_str_eq(back.runtime_folder, start.runtime_folder);
    cr_expect_null(back.export_folder);
    cr_expect(back.control_fd == 5 && back.network_fd == -1 && back.https_fd == 7 && back.ready_fd == -1);
    cr_expect(back.https_uid == 992 && back.control_uid == 4294967294u);
    cr_expect(back.outbound_port == 15001 && back.tunnel_port == 15008);
    cr_expect_eq(back.admin_gid, (gid_t)-1);
    cr_expect_eq(level, LOG_LEVEL_DEBUG);
    cr_expect_eq(parent, 4711);
    // None may be missing, none may be other than a number.
    cr_expect_eq(role_args_parse(args.argc - 1, args.argv, &back, &parent, &level, &note), ERR_USAGE);
    args.argv[args.argc - 1] = (char *)"x";
    cr_expect_eq(role_args_parse(args.argc, args.argv, &back, &parent, &level, &note), ERR_USAGE);
}

Test(agent_options, role_arguments_that_are_too_long)
{
    struct role_args args;
    char path[4000];
    struct role_start start = {.role = ROLE_HTTPS, .folder = path, .runtime_folder = "/run/twofold"};

    memset(path, 'a', sizeof(path));
    path[sizeof(path) - 1] = '\0';
    cr_expect_eq(role_args_format(&start, 1, LOG_LEVEL_INFO, &args), ERR_LIMIT);
}

// ---- waits

Test(agent_options, backoff_doubles_within_its_bounds)
{
    struct backoff backoff;
    uint64_t step = 200;

    backoff_init(&backoff, 200, 10000);
    for (int i = 0; i < 20; i++) {
        uint64_t wait = backoff_next_ms(&backoff);

        cr_expect(wait >= step / 2 && wait <= step, "%d", (int)wait);
        step = step * 2 > 10000 ? 10000 : step * 2;
    }
    backoff_reset(&backoff);
    cr_expect_leq(backoff_next_ms(&backoff), 200);
    cr_expect_eq(random_between(7, 7), 7);
}
