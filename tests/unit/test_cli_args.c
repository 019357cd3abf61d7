// SPDX-License-Identifier: GPL-2.0-or-later
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controller/cli/command.h"
#include "controller/cli/explain.h"

static struct args parsed(int argc, const char **argv)
{
    struct args args = {0};
    struct note note = {0};
    cr_assert_eq(args_parse(argc, (char *const *)argv, &args, &note), ERR_OK, "%s", note.text);
    return args;
}

#define PARSED(...) parsed((int)(sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *)), (const char *[]){__VA_ARGS__})

Test(cli_args, commands_and_arguments)
{
    struct args args = PARSED("policy", "apply", "shop.yaml", "--wait", "5");
    cr_assert_str_eq(args.command->name, "policy apply");
    cr_assert_eq(args.argument_count, 1);
    cr_assert_str_eq(args.arguments[0], "shop.yaml");
    cr_assert_str_eq(args_value(&args, "wait", NULL), "5");
    args = PARSED("--json", "--socket", "/tmp/x", "flows", "--peer=web");
    cr_assert_str_eq(args.command->name, "flows");
    cr_assert(args_flag(&args, "json"));
    cr_assert_str_eq(args_value(&args, "socket", NULL), "/tmp/x");
    cr_assert_str_eq(args_value(&args, "peer", NULL), "web");
    cr_assert_str_eq(args_value(&args, "verdict", "any"), "any");
    args = PARSED("policy", "check", "--", "--odd-name.yaml");
    cr_assert_str_eq(args.arguments[0], "--odd-name.yaml");
    args = PARSED("policy", "check", "-");
    cr_assert_str_eq(args.arguments[0], "-");
}

Test(cli_args, options_repeat_and_the_last_one_counts)
{
    struct args args = PARSED("token", "create", "--label", "a=b", "--host", "one", "--label", "c=d", "--host", "two");
    cr_assert_eq(args.option_count, 4);
    cr_assert_str_eq(args_value(&args, "host", NULL), "two");
}

Test(cli_args, help_and_version)
{
    struct args args = PARSED("--version");
    cr_assert(args.version);
    args = PARSED("--help");
    cr_assert(args.help && !args.command);
    args = PARSED("policy", "--help");
    cr_assert(args.help && !args.command);
    cr_assert_str_eq(args.group, "policy");
    args = PARSED("policy", "apply", "--help");
    cr_assert(args.help);
    cr_assert_str_eq(args.command->name, "policy apply");
    args = PARSED("flows", "-h", "--nonsense");
    cr_assert(args.help);
}

static void refused(const char *words, int argc, const char **argv)
{
    struct args args;
    struct note note = {0};
    cr_assert_eq(args_parse(argc, (char *const *)argv, &args, &note), ERR_USAGE);
    cr_assert(strstr(note.text, words), "%s", note.text);
}

#define REFUSED(words, ...) \
    refused((words), (int)(sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *)), (const char *[]){__VA_ARGS__})

Test(cli_args, wrong_usage)
{
    refused("A command is missing", 0, (const char *[]){NULL});
    REFUSED("A command is missing", "--json");
    REFUSED("There is no command 'hots'. Did you mean 'hosts'?", "hots");
    REFUSED("Did you mean 'policy check'?", "policy", "chekc");
    REFUSED("Did you mean 'policy check'?", "polcy", "check");
    REFUSED("'policy' needs one more word", "policy");
    REFUSED("Usage: twofold policy apply FILE", "policy", "apply");
    REFUSED("one argument too many", "hosts", "web");
    REFUSED("There is no option 'wiat'", "policy", "apply", "x", "--wiat", "5");
    REFUSED("There is no option '-j'", "hosts", "-j");
    REFUSED("Option --wait needs SECONDS", "policy", "apply", "x", "--wait");
    REFUSED("Option --json takes no value", "hosts", "--json=yes");
    REFUSED("There is no command '?[2J'", "\x1b[2J");
}

Test(cli_args, too_many_options)
{
    const char *argv[OPTIONS_MAX + 4] = {"token", "create"};
    struct args args;
    struct note note = {0};
    for (size_t i = 2; i < OPTIONS_MAX + 3; i++)
        argv[i] = "--json";
    cr_assert_eq(args_parse(OPTIONS_MAX + 3, (char *const *)argv, &args, &note), ERR_USAGE);
}

Test(cli_args, numbers)
{
    struct args args = PARSED("policy", "apply", "x", "--wait", "600");
    struct note note = {0};
    uint64_t number = 7;
    cr_assert_eq(args_number(&args, "wait", 10, 0, 600, &number, &note), ERR_OK);
    cr_assert_eq(number, 600);
    cr_assert_eq(args_number(&args, "timeout", 10, 1, 600, &number, &note), ERR_OK);
    cr_assert_eq(number, 10);
    number = 7;
    cr_assert_eq(args_number(&args, "wait", 10, 0, 599, &number, &note), ERR_USAGE);
    cr_assert_eq(number, 7);
    cr_assert_str_eq(note.text, "Option --wait is a whole number from 0 to 599, not '600'.");
    args = PARSED("policy", "apply", "x", "--wait", "5s");
    cr_assert_eq(args_number(&args, "wait", 10, 0, 599, &number, &note), ERR_USAGE);
}

Test(cli_args, every_command_explains_itself)
{
    char *text = NULL;
    size_t len = 0;
    for (size_t i = 0; commands[i]; i++) {
        struct args args = {.command = commands[i], .help = true};
        FILE *out = open_memstream(&text, &len);
        cr_assert_not_null(commands[i]->run);
        cr_assert_leq(commands[i]->argument_max, ARGUMENTS_MAX);
        args_help(&args, out);
        fclose(out);
        cr_assert(strstr(text, commands[i]->summary));
        for (const struct command_option *option = commands[i]->options; option && option->name; option++)
            cr_assert(strstr(text, option->help), "%s --%s", commands[i]->name, option->name);
        free(text);
    }
}

Test(cli_explain, ports)
{
    Twofold__V1__Protocol protocol;
    struct note note = {0};
    uint32_t port;
    cr_assert_eq(explain_parse_port("443", &protocol, &port, &note), ERR_OK);
    cr_assert(protocol == TWOFOLD__V1__PROTOCOL__PROTOCOL_TCP && port == 443);
    cr_assert_eq(explain_parse_port("53/udp", &protocol, &port, &note), ERR_OK);
    cr_assert(protocol == TWOFOLD__V1__PROTOCOL__PROTOCOL_UDP && port == 53);
    cr_assert_eq(explain_parse_port("65535/tcp", &protocol, &port, &note), ERR_OK);
    static const char *const wrong[] = {"",       "0",    "65536", "http",         "80/", "80/sctp",
                                        "udp/53", "/udp", "80 ",   "000000000080", "-1"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++)
        cr_assert_eq(explain_parse_port(wrong[i], &protocol, &port, &note), ERR_USAGE, "%s", wrong[i]);
}
