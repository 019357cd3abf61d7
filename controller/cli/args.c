// SPDX-License-Identifier: GPL-2.0-or-later
#include <stdio.h>
#include <string.h>

#include "controller/cli/command.h"
#include "policy/words.h"
#include "proto/base/text.h"

const struct command_option command_options[] = {
    {"json", NULL, "print JSON"},
    {"credentials", "DIR", "folder with the administrator's key and certificates (TWOFOLD_CREDENTIALS)"},
    {"controller", "ADDRESS:PORT", "the controller, instead of the one that the credentials name"},
    {"socket", "PATH", "the local agent's socket"},
    {"timeout", "SECONDS", "how long to wait for an answer (10)"},
    {"help", NULL, "print this help"},
    {0},
};

static size_t count_commands(void)
{
    size_t count = 0;
    while (commands[count])
        count++;
    return count;
}

static bool in_group(const struct command *command, const char *group)
{
    size_t len = strlen(group);
    return strncmp(command->name, group, len) == 0 && command->name[len] == ' ';
}

static bool is_group(const char *word)
{
    for (size_t i = 0; commands[i]; i++) {
        if (in_group(commands[i], word))
            return true;
    }
    return false;
}

// ---- which command

static const char *command_name(const void *context, size_t index)
{
    return ((const struct command *const *)context)[index]->name;
}

static enum err find_command(const char *const *words, size_t count, struct args *args, size_t *ret_used,
                             struct note *note)
{
    char name[64], quoted[WORDS_QUOTED_BYTES], hint[WORDS_HINT_BYTES];
    *ret_used = is_group(words[0]) && count > 1 ? 2 : 1;
    snprintf(name, sizeof(name), *ret_used == 2 ? "%s %s" : "%s", words[0], *ret_used == 2 ? words[1] : "");
    for (size_t i = 0; commands[i]; i++) {
        if (strcmp(commands[i]->name, name) == 0) {
            args->command = commands[i];
            return ERR_OK;
        }
    }
    if (is_group(words[0]) && count == 1) {
        args->group = words[0];
        return args->help ? ERR_OK
                          : note_set(note, ERR_USAGE, "'%s' needs one more word. See `twofold %s --help`.", words[0],
                                     words[0]);
    }
    if (*ret_used == 1 && count > 1 && !words_nearest(name, command_name, commands, count_commands()))
        snprintf(name, sizeof(name), "%s %s", words[0], words[1]);
    words_quote(name, quoted);
    words_hint(words_nearest(name, command_name, commands, count_commands()), hint);
    return note_set(note, ERR_USAGE, "There is no command %s.%s `twofold --help` lists them.", quoted, hint);
}

// ---- options

static const struct command_option *find_in(const struct command_option *options, const char *name, size_t len)
{
    for (; options && options->name; options++) {
        if (strlen(options->name) == len && strncmp(options->name, name, len) == 0)
            return options;
    }
    return NULL;
}

struct parse {
    int argc;
    char *const *argv;
    int at;
    struct args *args;
    struct note *note;
};

static enum err refuse_option(struct parse *parse, const char *text)
{
    char quoted[WORDS_QUOTED_BYTES];
    words_quote(text, quoted);
    return note_set(parse->note, ERR_USAGE, "There is no option %s. See `twofold %s%s--help`.", quoted,
                    parse->args->command ? parse->args->command->name : "", parse->args->command ? " " : "");
}

// `text` is behind the dashes.
static enum err take_option(struct parse *parse, const char *text)
{
    struct args *args = parse->args;
    const char *equals = strchr(text, '=');
    size_t len = equals ? (size_t)(equals - text) : strlen(text);
    const struct command_option *option = find_in(command_options, text, len);

    if (!option && args->command)
        option = find_in(args->command->options, text, len);
    if (!option)
        return refuse_option(parse, text);
    if (args->option_count == OPTIONS_MAX)
        return note_set(parse->note, ERR_USAGE, "There are more than %d options.", OPTIONS_MAX);
    const char *value = equals ? equals + 1 : NULL;
    if (!option->value && value)
        return note_set(parse->note, ERR_USAGE, "Option --%s takes no value.", option->name);
    if (option->value && !value) {
        if (parse->at + 1 >= parse->argc)
            return note_set(parse->note, ERR_USAGE, "Option --%s needs %s behind it.", option->name, option->value);
        value = parse->argv[++parse->at];
    }
    args->options[args->option_count++] = (struct command_given){option, value};
    return ERR_OK;
}

static bool asks_help(const char *word)
{
    return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0;
}

// Words up to the first "--", options left out: they name the command.
static size_t leading_words(int argc, char *const *argv, const char **words, size_t room, bool *ret_help)
{
    size_t count = 0;
    for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++) {
        const struct command_option *option = strncmp(argv[i], "--", 2) == 0 && !strchr(argv[i], '=')
                                                  ? find_in(command_options, argv[i] + 2, strlen(argv[i] + 2))
                                                  : NULL;
        *ret_help |= asks_help(argv[i]);
        if (option && option->value)
            i++;
        else if (argv[i][0] != '-' && count < room)
            words[count++] = argv[i];
    }
    return count;
}

static enum err check_arguments(const struct args *args, struct note *note)
{
    const struct command *command = args->command;
    if (args->argument_count >= command->argument_min)
        return ERR_OK;
    return note_set(note, ERR_USAGE, "Usage: twofold %s %s. See `twofold %s --help`.", command->name,
                    command->arguments, command->name);
}

static enum err take_argument(struct parse *parse, const char *word)
{
    struct args *args = parse->args;
    char quoted[WORDS_QUOTED_BYTES];
    if (args->argument_count == args->command->argument_max) {
        words_quote(word, quoted);
        return note_set(parse->note, ERR_USAGE, "%s is one argument too many. See `twofold %s --help`.", quoted,
                        args->command->name);
    }
    args->arguments[args->argument_count++] = word;
    return ERR_OK;
}

static enum err take_all(struct parse *parse, size_t name_words)
{
    bool only_arguments = false;
    for (; parse->at < parse->argc; parse->at++) {
        const char *word = parse->argv[parse->at];
        enum err err = ERR_OK;
        if (!only_arguments && strcmp(word, "--") == 0)
            only_arguments = true;
        else if (!only_arguments && strncmp(word, "--", 2) == 0)
            err = take_option(parse, word + 2);
        else if (!only_arguments && word[0] == '-' && word[1])
            err = refuse_option(parse, word);
        else if (name_words)
            name_words--;
        else
            err = take_argument(parse, word);
        if (err)
            return err;
    }
    return ERR_OK;
}

enum err args_parse(int argc, char *const *argv, struct args *ret_args, struct note *note)
{
    struct args args = {0};
    struct parse parse = {.argc = argc, .argv = argv, .args = &args, .note = note};
    const char *words[2];
    size_t name_words = 0;
    enum err err;

    size_t count = leading_words(argc, argv, words, 2, &args.help);
    args.version = argc > 0 && strcmp(argv[0], "--version") == 0;
    if (args.version || (args.help && count == 0)) {
        *ret_args = args;
        return ERR_OK;
    }
    if (count == 0)
        return note_set(note, ERR_USAGE, "A command is missing. `twofold --help` lists them.");
    if ((err = find_command(words, count, &args, &name_words, note)))
        return err;
    if (!args.help && ((err = take_all(&parse, name_words)) || (err = check_arguments(&args, note))))
        return err;
    *ret_args = args;
    return ERR_OK;
}

const char *args_value(const struct args *args, const char *option, const char *otherwise)
{
    const char *value = otherwise;
    for (size_t i = 0; i < args->option_count; i++) {
        if (strcmp(args->options[i].option->name, option) == 0)
            value = args->options[i].value;
    }
    return value;
}

bool args_flag(const struct args *args, const char *option)
{
    for (size_t i = 0; i < args->option_count; i++) {
        if (strcmp(args->options[i].option->name, option) == 0)
            return true;
    }
    return false;
}

enum err args_number(const struct args *args, const char *option, uint64_t otherwise, uint64_t min, uint64_t max,
                     uint64_t *ret_number, struct note *note)
{
    char quoted[WORDS_QUOTED_BYTES];
    const char *text = args_value(args, option, NULL);
    uint64_t number = otherwise;
    if (text && (decimal_parse(text, max, &number) || number < min)) {
        words_quote(text, quoted);
        return note_set(note, ERR_USAGE, "Option --%s is a whole number from %llu to %llu, not %s.", option,
                        (unsigned long long)min, (unsigned long long)max, quoted);
    }
    *ret_number = number;
    return ERR_OK;
}

// ---- help

static void print_options(const struct command_option *options, FILE *out)
{
    char left[48];
    for (; options && options->name; options++) {
        snprintf(left, sizeof(left), "--%s%s%s", options->name, options->value ? " " : "",
                 options->value ? options->value : "");
        fprintf(out, "  %-28s %s\n", left, options->help);
    }
}

static void print_command(const struct command *command, FILE *out)
{
    fprintf(out, "usage: twofold %s%s%s [options]\n\n%s\n", command->name, command->arguments[0] ? " " : "",
            command->arguments, command->summary);
    if (command->details)
        fprintf(out, "\n%s\n", command->details);
    fprintf(out, "\noptions:\n");
    print_options(command->options, out);
    print_options(command_options, out);
}

void args_help(const struct args *args, FILE *out)
{
    char left[48];
    if (args->command) {
        print_command(args->command, out);
        return;
    }
    fprintf(out, "usage: twofold COMMAND [options]\n\nLooks after Twofold: hosts, policy, and what the layers "
                 "do.\n\ncommands:\n");
    for (size_t i = 0; commands[i]; i++) {
        if (args->group && !in_group(commands[i], args->group))
            continue;
        snprintf(left, sizeof(left), "%s %s", commands[i]->name, commands[i]->arguments);
        fprintf(out, "  %-28s %s\n", left, commands[i]->summary);
    }
    fprintf(out, "\noptions of every command:\n");
    print_options(command_options, out);
    fprintf(out, "  %-28s %s\n", "--version", "print the version");
    fprintf(out, "\n`twofold COMMAND --help` has more. Exit status: 0 yes or done, 1 no or failed, 2 wrong usage.\n");
}

enum exit_code command_fail(enum err err, const struct note *note)
{
    fprintf(stderr, "twofold: %s\n", note->text[0] ? note->text : err_text(err));
    return err == ERR_USAGE ? EXIT_CODE_USAGE : EXIT_CODE_NO;
}
