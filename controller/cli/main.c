// SPDX-License-Identifier: GPL-2.0-or-later
// twofold: the command line for administrators and for looking at the local agent.
#include <signal.h>
#include <stdio.h>

#include "controller/cli/command.h"
#include "proto/link/tls.h"

int main(int argc, char **argv)
{
    struct note note = {0};
    struct args args;
    enum err err;

    signal(SIGPIPE, SIG_IGN);
    if ((err = args_parse(argc - 1, argv + 1, &args, &note)))
        return (int)command_fail(err, &note);
    if (args.version) {
        printf("twofold %s\n", TWOFOLD_VERSION);
        return EXIT_CODE_OK;
    }
    if (args.help) {
        args_help(&args, stdout);
        return EXIT_CODE_OK;
    }
    tls_library_start();
    enum exit_code code = args.command->run(&args);
    if (fflush(stdout) || ferror(stdout)) {
        note_set(&note, ERR_IO, "The answer could not be written out whole.");
        return (int)command_fail(ERR_IO, &note);
    }
    return (int)code;
}
