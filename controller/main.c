// SPDX-License-Identifier: GPL-2.0-or-later
// twofold-controller: commands and options. Exit status 0: done; 1: failed, with a sentence; 2: wrong usage.
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>

#include "controller/audit.h"
#include "controller/daemon.h"
#include "controller/init.h"
#include "controller/store/admins.h"
#include "proto/base/log.h"
#include "proto/base/text.h"
#include "proto/link/tls.h"

enum exit_status { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

static const char usage[] =
    "usage: twofold-controller init --state DIR --trust-domain DOMAIN --listen ADDR[:PORT]...\n"
    "                               [--name NAME] [--dns NAME]... [--admin-days N]\n"
    "       twofold-controller run --state DIR [--listen ADDR[:PORT]]... [--generation-above N] [--verbose]\n"
    "       twofold-controller admin create NAME --state DIR --out DIR [--admin-days N]\n"
    "       twofold-controller admin remove NAME --state DIR\n"
    "       twofold-controller admin list --state DIR\n"
    "       twofold-controller --help | --version\n"
    "\n"
    "  init                  make the state folder: both CAs, the database, the first administrator's credentials\n"
    "  run                   serve hosts and administrators until SIGTERM\n"
    "  admin                 make, end and list the credentials of further administrators\n"
    "\n"
    "  --state DIR           the controller's state\n"
    "  --trust-domain D      of all identities, such as example.org; stays\n"
    "  --listen A[:PORT]     where hosts and administrators reach the controller; up to eight times (port 7443)\n"
    "  --name NAME           the controller's name in its SPIFFE ID (controller)\n"
    "  --dns NAME            a DNS name for its certificate; up to four times\n"
    "  --admin-days N        life of an administrator's certificate, 1 to 3650 (365)\n"
    "  --out DIR             a new folder for the credentials\n"
    "  --generation-above N  begin above this generation: once, after a backup was restored\n"
    "  --verbose             log at level debug too\n"
    "\n"
    "Exit status: 0 done, 1 failed, 2 wrong usage. See twofold-controller(8).\n";

struct options {
    const char *state;
    const char *out;
    uint32_t admin_days;
    uint64_t generation_above;
    bool verbose;
    struct config config;
};

enum switch_id {
    OPTION_STATE = 1,
    OPTION_TRUST_DOMAIN,
    OPTION_LISTEN,
    OPTION_NAME,
    OPTION_DNS,
    OPTION_ADMIN_DAYS,
    OPTION_OUT,
    OPTION_GENERATION_ABOVE,
    OPTION_VERBOSE,
};

// A command's row names the options that it takes.
static const struct option init_options[] = {
    {"state", required_argument, NULL, OPTION_STATE},
    {"trust-domain", required_argument, NULL, OPTION_TRUST_DOMAIN},
    {"listen", required_argument, NULL, OPTION_LISTEN},
    {"name", required_argument, NULL, OPTION_NAME},
    {"dns", required_argument, NULL, OPTION_DNS},
    {"admin-days", required_argument, NULL, OPTION_ADMIN_DAYS},
    {0},
};
static const struct option run_options[] = {
    {"state", required_argument, NULL, OPTION_STATE},
    {"listen", required_argument, NULL, OPTION_LISTEN},
    {"generation-above", required_argument, NULL, OPTION_GENERATION_ABOVE},
    {"verbose", no_argument, NULL, OPTION_VERBOSE},
    {0},
};
static const struct option admin_options[] = {
    {"state", required_argument, NULL, OPTION_STATE},
    {"out", required_argument, NULL, OPTION_OUT},
    {"admin-days", required_argument, NULL, OPTION_ADMIN_DAYS},
    {0},
};

static int fail(const struct note *note, enum err err)
{
    fprintf(stderr, "twofold-controller: %s\n", note->text[0] != '\0' ? note->text : err_text(err));
    return err == ERR_USAGE ? EXIT_USAGE : EXIT_FAILED;
}

// ---- options

static enum err take_name(const char *text, char room[NAME_MAX_BYTES + 1], struct note *note)
{
    if (!name_is_valid(text))
        return note_set(note, ERR_USAGE, "%.64s is not a name: lower-case letters, digits, '-' and '.', at most %d",
                        text, NAME_MAX_BYTES);
    snprintf(room, NAME_MAX_BYTES + 1, "%s", text);
    return ERR_OK;
}

static enum err take_number(const char *option, const char *text, uint64_t max, uint64_t *ret_number, struct note *note)
{
    if (decimal_parse(text, max, ret_number) != ERR_OK || *ret_number == 0)
        return note_set(note, ERR_USAGE, "%s %.32s: expected a number from 1 to %llu", option, text,
                        (unsigned long long)max);
    return ERR_OK;
}

static enum err take_trust_domain(struct options *options, const char *text, struct note *note)
{
    if (!trust_domain_is_valid(text))
        return note_set(note, ERR_USAGE, "%.64s is not a trust domain: expected a name such as example.org", text);
    snprintf(options->config.trust_domain, sizeof(options->config.trust_domain), "%s", text);
    return ERR_OK;
}

static enum err take_option(struct options *options, enum switch_id id, const char *text, struct note *note)
{
    uint64_t number = 0;
    enum err err = ERR_OK;
    switch (id) {
    case OPTION_STATE:
        options->state = text;
        return ERR_OK;
    case OPTION_OUT:
        options->out = text;
        return ERR_OK;
    case OPTION_VERBOSE:
        options->verbose = true;
        return ERR_OK;
    case OPTION_TRUST_DOMAIN:
        return take_trust_domain(options, text, note);
    case OPTION_LISTEN:
        return config_add_listen(&options->config, text, note) == ERR_OK ? ERR_OK : ERR_USAGE;
    case OPTION_DNS:
        return config_add_dns(&options->config, text, note) == ERR_OK ? ERR_OK : ERR_USAGE;
    case OPTION_NAME:
        return take_name(text, options->config.name, note);
    case OPTION_ADMIN_DAYS:
        err = take_number("--admin-days", text, ADMIN_DAYS_MAX, &number, note);
        options->admin_days = (uint32_t)number;
        return err;
    case OPTION_GENERATION_ABOVE:
        return take_number("--generation-above", text, INT64_MAX - 1, &options->generation_above, note);
    }
    abort();
}

// Leaves optind at the first word that is no option.
static enum err read_options(int argc, char **argv, const struct option *known, struct options *options,
                             struct note *note)
{
    *options = (struct options){.admin_days = ADMIN_DAYS_DEFAULT};
    snprintf(options->config.name, sizeof(options->config.name), "controller");
    opterr = 0;
    optind = 1;
    for (;;) {
        int found = getopt_long(argc, argv, ":", known, NULL);
        if (found == -1)
            break;
        if (found == '?' || found == ':')
            return note_set(note, ERR_USAGE,
                            found == '?' ? "%s is not an option of this command; see twofold-controller --help"
                                         : "%s needs a value; see twofold-controller --help",
                            argv[optind - 1]);
        enum err err = take_option(options, (enum switch_id)found, optarg, note);
        if (err != ERR_OK)
            return err;
    }
    return options->state != NULL
               ? ERR_OK
               : note_set(
                     note, ERR_USAGE,
                     "--state DIR is missing: the folder of the controller's state; see twofold-controller --help");
}

static enum err no_more_words(int argc, char **argv, struct note *note)
{
    return optind == argc
               ? ERR_OK
               : note_set(note, ERR_USAGE, "'%.64s' is one word too many; see twofold-controller --help", argv[optind]);
}

// ---- commands

static int run_init(int argc, char **argv)
{
    struct options options;
    struct note note = {0};
    enum err err = read_options(argc, argv, init_options, &options, &note);
    if (err == ERR_OK)
        err = no_more_words(argc, argv, &note);
    if (err == ERR_OK && options.config.trust_domain[0] == '\0')
        err = note_set(&note, ERR_USAGE,
                       "--trust-domain DOMAIN is missing, such as example.org; see twofold-controller --help");
    if (err == ERR_OK && options.config.listen_count == 0)
        err = note_set(&note, ERR_USAGE,
                       "--listen ADDR[:PORT] is missing: where hosts reach this controller; see "
                       "twofold-controller --help");
    log_set_level(LOG_LEVEL_WARNING);
    if (err == ERR_OK)
        err = init_state(options.state, &options.config, options.admin_days, &clock_system, &note);
    if (err != ERR_OK)
        return fail(&note, err);
    printf("The state is in %s; the administrator's credentials for the twofold command are in %s/admin.\n"
           "Next: twofold-controller run --state %s\n",
           options.state, options.state, options.state);
    return EXIT_DONE;
}

static void set_limits(void)
{
    struct rlimit limit = {0};
    if (setrlimit(RLIMIT_CORE, &limit) != 0) // the CAs' keys must not land in a file
        log_event(LOG_LEVEL_WARNING, "limit.core", LOG_STR("reason", strerror(errno)));
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
            log_event(LOG_LEVEL_WARNING, "limit.nofile", LOG_STR("reason", strerror(errno)));
    }
}

static enum err raise_generation(struct store *store, uint64_t above, struct note *note)
{
    char object[64];
    snprintf(object, sizeof(object), "generation %llu", (unsigned long long)above + 1);
    struct audit_event event = {.actor = "local", .action = "generation.raise", .object = object, .outcome = "ok"};
    uint64_t present = 0;
    enum err err = store_generation(store, &present, note);
    if (err != ERR_OK || present > above)
        return err;
    err = store_begin(store, note);
    if (err == ERR_OK)
        err = store_raise_generation(store, above + 1, note);
    if (err == ERR_OK)
        err = audit_write(store, &clock_system, &event, note);
    if (err == ERR_OK)
        err = store_commit(store, note);
    store_rollback(store);
    return err;
}

static enum err open_to_run(const struct options *options, struct state *state, struct note *note)
{
    enum err err = state_open(options->state, &clock_system, state, note);
    if (err == ERR_OK)
        err = state_lock(options->state, state, note);
    if (err == ERR_OK && options->generation_above > 0)
        err = raise_generation(state->store, options->generation_above, note);
    if (err == ERR_OK && options->config.listen_count > 0) {
        memcpy(state->config.listen, options->config.listen, sizeof(state->config.listen));
        state->config.listen_count = options->config.listen_count;
    }
    return err;
}

static int run_daemon(int argc, char **argv)
{
    struct options options;
    struct note note = {0};
    enum err err = read_options(argc, argv, run_options, &options, &note);
    if (err == ERR_OK)
        err = no_more_words(argc, argv, &note);
    if (err != ERR_OK)
        return fail(&note, err);
    if (options.verbose)
        log_set_level(LOG_LEVEL_DEBUG);
    set_limits();
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); // a file size limit is an error of the write, as a full disk is

    struct state state = {.lock_fd = -1};
    struct daemon daemon;
    uv_loop_t loop;
    if (uv_loop_init(&loop) != 0)
        return fail(&note, ERR_NOMEM);
    err = open_to_run(&options, &state, &note);
    if (err == ERR_OK)
        err = daemon_start(&daemon, &loop, &clock_system, &state, &note);
    if (err != ERR_OK) {
        state_close(&state);
        uv_run(&loop, UV_RUN_DEFAULT); // listeners that were open close
        uv_loop_close(&loop);
        return fail(&note, err);
    }
    uv_run(&loop, UV_RUN_DEFAULT);
    bool failed = daemon.failed;
    daemon_close(&daemon);
    uv_loop_close(&loop);
    log_event(LOG_LEVEL_INFO, "controller.stopped");
    return failed ? EXIT_FAILED : EXIT_DONE;
}

static int run_admin_create(const struct options *options, const char *name)
{
    struct note note = {0};
    char checked[NAME_MAX_BYTES + 1];
    enum err err = take_name(name, checked, &note);
    if (err == ERR_OK && options->out == NULL)
        err = note_set(&note, ERR_USAGE,
                       "--out DIR is missing: the folder for the new credentials; see twofold-controller --help");
    if (err == ERR_OK)
        err = init_admin(options->state, checked, options->out, options->admin_days, &clock_system, &note);
    if (err != ERR_OK)
        return fail(&note, err);
    printf("The credentials of administrator %s are in %s.\n", checked, options->out);
    return EXIT_DONE;
}

static int run_admin_remove(const struct options *options, const char *name)
{
    struct note note = {0};
    enum err err = init_remove_admin(options->state, name, &clock_system, &note);
    if (err != ERR_OK)
        return fail(&note, err);
    printf("Administrator %s has no rights any more.\n", name);
    return EXIT_DONE;
}

static void print_admin(void *context, const char *name, uint64_t expires)
{
    (void)context;
    time_t seconds = (time_t)expires;
    struct tm utc;
    char text[32];
    strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&seconds, &utc));
    printf("%s expires=%s\n", name, text);
}

static int run_admin_list(const struct options *options)
{
    struct note note = {0};
    struct state state;
    enum err err = state_open(options->state, &clock_system, &state, &note);
    if (err != ERR_OK)
        return fail(&note, err);
    err = store_each_admin(state.store, print_admin, NULL, &note);
    state_close(&state);
    return err == ERR_OK ? EXIT_DONE : fail(&note, err);
}

static int run_admin(int argc, char **argv)
{
    struct options options;
    struct note note = {0};
    enum err err = read_options(argc, argv, admin_options, &options, &note);
    if (err != ERR_OK)
        return fail(&note, err);
    log_set_level(LOG_LEVEL_WARNING);
    char **words = argv + optind;
    int count = argc - optind;
    if (count == 2 && strcmp(words[0], "create") == 0)
        return run_admin_create(&options, words[1]);
    if (count == 2 && strcmp(words[0], "remove") == 0)
        return run_admin_remove(&options, words[1]);
    if (count == 1 && strcmp(words[0], "list") == 0)
        return run_admin_list(&options);
    if (count == 0)
        err =
            note_set(&note, ERR_USAGE, "'admin' needs create NAME, remove NAME or list; see twofold-controller --help");
    else
        err = note_set(&note, ERR_USAGE,
                       "'admin %.64s%s' is not create NAME, remove NAME or list; see twofold-controller --help",
                       words[0], count > 1 ? " ..." : "");
    return fail(&note, err);
}

// Also behind a command: `twofold-controller run --help`.
static bool asks_help(int argc, char **argv)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return true;
    }
    return false;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*run)(int argc, char **argv);
    } commands[] = {{"init", run_init}, {"run", run_daemon}, {"admin", run_admin}};

    if (asks_help(argc, argv)) {
        fputs(usage, stdout);
        return EXIT_DONE;
    }
    if (argc >= 2 && strcmp(argv[1], "--version") == 0) {
        puts("twofold-controller " TWOFOLD_VERSION);
        return EXIT_DONE;
    }
    umask(077);
    tls_library_start();
    for (size_t i = 0; argc >= 2 && i < sizeof(commands) / sizeof(commands[0]); i++) {
        if (strcmp(argv[1], commands[i].name) == 0)
            return commands[i].run(argc - 1, argv + 1);
    }
    struct note note = {0};
    enum err err =
        argc < 2 ? note_set(&note, ERR_USAGE, "a command is missing: init, run or admin; see twofold-controller --help")
                 : note_set(&note, ERR_USAGE, "there is no command '%.64s'; see twofold-controller --help", argv[1]);
    return fail(&note, err);
}
