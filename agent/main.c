// SPDX-License-Identifier: GPL-2.0-or-later
// twofold-agent: one program for the supervisor, the roles that it starts, and the commands around them.
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "agent/enrol.h"
#include "agent/folders.h"
#include "agent/network/clear.h"
#include "agent/options.h"
#include "agent/role.h"
#include "agent/role_args.h"
#include "agent/spawn.h"
#include "agent/supervisor.h"
#include "proto/link/tls.h"

#ifdef __SANITIZE_ADDRESS__
// A confined role may not trace itself, which is how leaks are looked for at the end of a process.
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "detect_leaks=0";
}
#endif

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

static int report(enum err err, const struct note *note)
{
    if (!err)
        return EXIT_DONE;
    fprintf(stderr, "twofold-agent: %s\n", note->text[0] ? note->text : err_text(err));
    return err == ERR_USAGE ? EXIT_USAGE : EXIT_FAILED;
}

static int run_role(int argc, char **argv)
{
    static int (*const mains[ROLE_COUNT])(const struct role_start *) = {
        [ROLE_CONTROL] = control_main,
        [ROLE_NETWORK] = network_main,
        [ROLE_HTTPS] = https_main,
    };
    struct role_start start;
    struct note note = {0};
    enum log_level level;
    char name[32];
    pid_t parent;

    enum err err = role_args_parse(argc, argv, &start, &parent, &level, &note);
    if (err)
        return report(err, &note);
    log_set_role(role_name(start.role));
    log_set_level(level);
    if (spawn_settle(parent) != ERR_OK)
        return EXIT_FAILED;
    // The name for people, and no memory for others under the same uid.
    snprintf(name, sizeof(name), "twofold-%s", role_name(start.role));
    if (prctl(PR_SET_NAME, name, 0, 0, 0) < 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
        return EXIT_FAILED;
    signal(SIGPIPE, SIG_IGN);
    tls_library_start();
    return mains[start.role](&start);
}

static enum err need_root(const char *command, struct note *note)
{
    if (geteuid() == 0)
        return ERR_OK;
    return note_set(note, ERR_DENIED,
                    "twofold-agent %s must be started as root: it changes what the kernel lets through", command);
}

static enum err set_floor(const struct options *options, struct note *note)
{
    if (!folders_is_enrolled(options->state)) {
        log_event(LOG_LEVEL_INFO, "floor.skipped", LOG_STR("cause", "this host is not enrolled"));
        return ERR_OK;
    }
    enum err err = need_root("floor", note);
    return err ? err : network_floor(note);
}

// Not under an agent that runs: it would put everything back.
static enum err clear(const struct options *options, struct note *note)
{
    int lock_fd = -1;

    enum err err = need_root("clear", note);
    if (!err && access(options->state, F_OK) == 0)
        err = folders_open(options->state, &lock_fd, note);
    if (!err)
        err = network_clear(note);
    if (lock_fd >= 0)
        close(lock_fd);
    return err;
}

static enum err run_command(const struct options *options, struct note *note)
{
    switch (options->command) {
    case COMMAND_HELP:
        options_print_help();
        return ERR_OK;
    case COMMAND_VERSION:
        printf("twofold-agent " TWOFOLD_VERSION "\n");
        return ERR_OK;
    case COMMAND_ENROL:
        return enrol_run(options, note);
    case COMMAND_RUN:
        return supervisor_run(options, note);
    case COMMAND_FLOOR:
        return set_floor(options, note);
    case COMMAND_CLEAR:
        return clear(options, note);
    }
    return ERR_USAGE;
}

int main(int argc, char **argv)
{
    struct options options;
    struct note note = {0};
    enum log_level level;

    if (argc > 1 && strcmp(argv[1], "role") == 0)
        return run_role(argc, argv);
    log_set_role("agent");
    enum err err = options_parse(argc, argv, &options, &note);
    if (!err && options.log_level && !(err = options_log_level(options.log_level, &level, &note)))
        log_set_level(level);
    if (!err)
        err = run_command(&options, &note);
    return report(err, &note);
}
