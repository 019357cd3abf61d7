// SPDX-License-Identifier: GPL-2.0-or-later
// The commands of `twofold` as a table: name, arguments, options and help in one place, and what a command is given when it runs.
#ifndef TWOFOLD_CONTROLLER_CLI_COMMAND_H
#define TWOFOLD_CONTROLLER_CLI_COMMAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "proto/base/err.h"
#include "proto/base/note.h"

enum exit_code {
    EXIT_CODE_OK = 0,
    EXIT_CODE_NO = 1,    // the answer is no, or it failed
    EXIT_CODE_USAGE = 2, // wrong usage
};

#define ARGUMENTS_MAX 4
#define OPTIONS_MAX   64

struct command_option {
    const char *name;  // without the dashes
    const char *value; // "SECONDS"; NULL: it has none
    const char *help;
};

struct command_given {
    const struct command_option *option;
    const char *value;
};

struct command;

// A parsed command line.
struct args {
    const struct command *command; // NULL: help or version was asked for without one
    bool help;
    bool version;
    const char *group; // with help: only the commands that begin with this word
    size_t argument_count;
    const char *arguments[ARGUMENTS_MAX];
    size_t option_count;
    struct command_given options[OPTIONS_MAX];
};

struct command {
    const char *name;      // "policy apply"
    const char *arguments; // "FILE"
    const char *summary;   // one line, for the list
    const char *details;   // for its own help
    size_t argument_min;
    size_t argument_max;
    const struct command_option *options; // ends with an all-zero one; NULL: none
    enum exit_code (*run)(const struct args *args);
};

extern const struct command *const commands[];        // ends with NULL
extern const struct command_option command_options[]; // those that every command has

// ERR_USAGE with a note that says what is wrong. `argv` has no program name.
MUST_USE enum err args_parse(int argc, char *const *argv, struct args *ret_args, struct note *note);

// The value of the last one given, or `otherwise`.
const char *args_value(const struct args *args, const char *option, const char *otherwise);
bool args_flag(const struct args *args, const char *option);

// A whole number from `min` to `max`; a note when it is none.
MUST_USE enum err args_number(const struct args *args, const char *option, uint64_t otherwise, uint64_t min,
                              uint64_t max, uint64_t *ret_number, struct note *note);

// Help of one command, of a group or of all.
void args_help(const struct args *args, FILE *out);

// "twofold: <note>" on standard error, and the exit code that belongs to the error.
enum exit_code command_fail(enum err err, const struct note *note);

#endif
