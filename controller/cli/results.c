// SPDX-License-Identifier: GPL-2.0-or-later
#include "controller/cli/results.h"

#include "controller/cli/columns.h"
#include "controller/cli/format.h"

bool results_are_good(Twofold__V1__HostResult *const *results, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!results[i]->answered || !results[i]->applied)
            return false;
    }
    return true;
}

enum exit_code results_print(Twofold__V1__HostResult *const *results, size_t count, FILE *out)
{
    static const char *const heads[] = {"HOST", "RESULT", "TIME", "REASON", NULL};
    char time[FORMAT_BYTES];
    if (count == 0)
        return EXIT_CODE_OK;
    struct columns *columns = columns_new(heads);
    for (size_t i = 0; i < count; i++) {
        const Twofold__V1__HostResult *result = results[i];
        columns_cell(columns, "%s", result->host);
        columns_cell(columns, "%s", !result->answered ? "no answer" : result->applied ? "applied" : "refused");
        columns_cell(columns, "%s", result->answered ? format_elapsed(result->elapsed_ms, time) : "");
        columns_cell(columns, "%s", result->reason);
    }
    enum exit_code code = columns_finish(columns, out);
    return code == EXIT_CODE_OK && !results_are_good(results, count) ? EXIT_CODE_NO : code;
}

enum err results_wait(const struct args *args, uint32_t *ret_wait_ms, struct note *note)
{
    uint64_t seconds;
    enum err err = args_number(args, "wait", 10, 0, 600, &seconds, note);
    if (!err)
        *ret_wait_ms = (uint32_t)seconds * 1000;
    return err;
}
