// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/options.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define ON(command) (1u << COMMAND_##command)

struct command_row {
    const char *name;
    enum command command;
    const char *help;
};

static const struct command_row COMMANDS[] = {
    {"enrol", COMMAND_ENROL, "join: make keys here, have them certified with a join token"},
    {"run", COMMAND_RUN, "start the roles and keep them running"},
    {"floor", COMMAND_FLOOR, "at boot, before the network is up: deny everything until the agent runs"},
    {"clear", COMMAND_CLEAR, "after decommissioning: remove every kernel object of Twofold"},
    {"version", COMMAND_VERSION, "print the version"},
    {"help", COMMAND_HELP, "print this, as --help does"},
};

struct option_row {
    const char *name;
    const char *argument;
    unsigned commands; // that take it
    unsigned required; // by these
    size_t offset;     // of its `const char *` in struct options
    const char *preset;
    const char *help;
};

#define AT(field) offsetof(struct options, field)

static const struct option_row OPTIONS[] = {
    {"--state", "DIR", ON(ENROL) | ON(RUN) | ON(FLOOR) | ON(CLEAR), 0, AT(state), "/var/lib/twofold",
     "keys, certificates, last good slice"},
    {"--runtime", "DIR", ON(RUN), 0, AT(runtime), "/run/twofold", "for the local socket"},
    {"--controller", "ADDR:PORT", ON(ENROL), ON(ENROL), AT(controller), NULL, "the controller's address and port"},
    {"--token-file", "FILE", ON(ENROL), ON(ENROL), AT(token_file), NULL, "holds the join token; - is standard input"},
    {"--control-user", "U", ON(ENROL) | ON(RUN), 0, AT(control_user), "twofold-control",
     "user of the control role: name or uid"},
    {"--network-user", "U", ON(ENROL) | ON(RUN), 0, AT(network_user), "twofold-network", "user of the network role"},
    {"--https-user", "U", ON(ENROL) | ON(RUN), 0, AT(https_user), "twofold-https", "user of the https role"},
    {"--admin-group", "G", ON(RUN), 0, AT(admin_group), NULL,
     "group that may ask for status and flows; otherwise only root"},
    {"--export-secrets", "DIR", ON(RUN), 0, AT(export_secrets), NULL, "PROOFS ONLY: write every session key to DIR"},
    {"--log-level", "L", ON(ENROL) | ON(RUN) | ON(FLOOR) | ON(CLEAR), 0, AT(log_level), "info",
     "error, warning, info or debug"},
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const char **slot(struct options *options, const struct option_row *row)
{
    return (const char **)((char *)options + row->offset);
}

static const struct command_row *find_command(const char *name)
{
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0)
        name = "help";
    if (strcmp(name, "--version") == 0)
        name = "version";
    for (size_t i = 0; i < COUNT(COMMANDS); i++) {
        if (strcmp(COMMANDS[i].name, name) == 0)
            return &COMMANDS[i];
    }
    return NULL;
}

// Matches "--name" and "--name=value".
static const struct option_row *find_option(const char *argument, const char **ret_value)
{
    size_t len = strcspn(argument, "=");

    for (size_t i = 0; i < COUNT(OPTIONS); i++) {
        if (strlen(OPTIONS[i].name) == len && memcmp(OPTIONS[i].name, argument, len) == 0) {
            *ret_value = argument[len] ? argument + len + 1 : NULL;
            return &OPTIONS[i];
        }
    }
    return NULL;
}

static enum err parse_options(int argc, char *const *argv, const struct command_row *command, struct options *options,
                              struct note *note)
{
    for (int i = 2; i < argc; i++) {
        const char *value = NULL;
        const struct option_row *row = find_option(argv[i], &value);

        if (!row)
            return note_set(note, ERR_USAGE, "'%s' is not an option of twofold-agent; see twofold-agent help", argv[i]);
        if (!(row->commands & (1u << command->command)))
            return note_set(note, ERR_USAGE, "'twofold-agent %s' has no option %s", command->name, row->name);
        if (*slot(options, row))
            return note_set(note, ERR_USAGE, "%s is given twice", row->name);
        if (!value && i + 1 < argc)
            value = argv[++i];
        if (!value || !value[0])
            return note_set(note, ERR_USAGE, "%s needs a value: %s %s", row->name, row->name, row->argument);
        *slot(options, row) = value;
    }
    return ERR_OK;
}

static enum err fill_presets(const struct command_row *command, struct options *options, struct note *note)
{
    for (size_t i = 0; i < COUNT(OPTIONS); i++) {
        const struct option_row *row = &OPTIONS[i];

        if (*slot(options, row))
            continue;
        if (row->required & (1u << command->command))
            return note_set(note, ERR_USAGE, "'twofold-agent %s' needs %s %s", command->name, row->name, row->argument);
        *slot(options, row) = row->preset;
    }
    return ERR_OK;
}

// Also behind a command: `twofold-agent run --help`.
static bool asks_help(int argc, char *const *argv)
{
    for (int i = 2; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return true;
    }
    return false;
}

enum err options_parse(int argc, char *const *argv, struct options *ret_options, struct note *note)
{
    struct options options = {0};

    if (argc < 2)
        return note_set(note, ERR_USAGE, "a command is missing: enrol, run, floor or clear; see twofold-agent help");
    const struct command_row *command = find_command(argv[1]);
    if (!command)
        return note_set(note, ERR_USAGE, "'%s' is not a command of twofold-agent; see twofold-agent help", argv[1]);
    options.command = command->command;
    if (asks_help(argc, argv)) {
        *ret_options = (struct options){.command = COMMAND_HELP};
        return ERR_OK;
    }
    enum err err = parse_options(argc, argv, command, &options, note);
    if (!err)
        err = fill_presets(command, &options, note);
    if (!err)
        *ret_options = options;
    return err;
}

static const char *const LEVELS[] = {
    [LOG_LEVEL_ERROR] = "error",
    [LOG_LEVEL_WARNING] = "warning",
    [LOG_LEVEL_INFO] = "info",
    [LOG_LEVEL_DEBUG] = "debug",
};

enum err options_log_level(const char *text, enum log_level *ret_level, struct note *note)
{
    for (size_t i = 0; i < COUNT(LEVELS); i++) {
        if (strcmp(text, LEVELS[i]) == 0) {
            *ret_level = (enum log_level)i;
            return ERR_OK;
        }
    }
    return note_set(note, ERR_USAGE, "'%s' is not a log level: error, warning, info or debug", text);
}

const char *options_log_level_name(enum log_level level)
{
    return LEVELS[level];
}

void options_print_help(void)
{
    printf("twofold-agent " TWOFOLD_VERSION
           ": two layers of encryption between this host and the hosts it may talk to\n\n");
    for (size_t c = 0; c < COUNT(COMMANDS); c++) {
        printf("twofold-agent %-8s %s\n", COMMANDS[c].name, COMMANDS[c].help);
        for (size_t o = 0; o < COUNT(OPTIONS); o++) {
            const struct option_row *row = &OPTIONS[o];
            char left[64];

            if (!(row->commands & (1u << COMMANDS[c].command)))
                continue;
            snprintf(left, sizeof(left), "%s %s", row->name, row->argument);
            printf("    %-24s %s%s%s%s%s\n", left, row->help, row->preset ? " (" : "", row->preset ? row->preset : "",
                   row->preset ? ")" : "", row->required & (1u << COMMANDS[c].command) ? " (required)" : "");
        }
    }
    printf("\nExit status: 0 done, 1 failed, 2 wrong usage. See twofold-agent(8).\n");
}
