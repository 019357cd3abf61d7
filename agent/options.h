// SPDX-License-Identifier: GPL-2.0-or-later
// The command line of twofold-agent: one table row per option. Values are kept as text here; those who use them check them.
#ifndef TWOFOLD_AGENT_OPTIONS_H
#define TWOFOLD_AGENT_OPTIONS_H

#include <stdbool.h>

#include "proto/base/err.h"
#include "proto/base/log.h"
#include "proto/base/note.h"

enum command { COMMAND_HELP, COMMAND_VERSION, COMMAND_ENROL, COMMAND_RUN, COMMAND_FLOOR, COMMAND_CLEAR };

// All point into argv or at constants.
struct options {
    enum command command;
    const char *state;
    const char *runtime;
    const char *controller;
    const char *token_file;
    const char *control_user;
    const char *network_user;
    const char *https_user;
    const char *export_secrets; // NULL: not asked for
    const char *admin_group;    // NULL: only root
    const char *log_level;
};

// ERR_USAGE with a sentence for an unknown command or option, an option that the command does not have, a missing or double value,
// or a missing required option.
MUST_USE enum err options_parse(int argc, char *const *argv, struct options *ret_options, struct note *note);

// "error", "warning", "info", "debug". ERR_USAGE.
MUST_USE enum err options_log_level(const char *text, enum log_level *ret_level, struct note *note);
const char *options_log_level_name(enum log_level level);

// To standard output.
void options_print_help(void);

#endif
