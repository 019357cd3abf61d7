// SPDX-License-Identifier: GPL-2.0-or-later
// preflight: can this machine be a host?
#include <time.h>
#include <unistd.h>

#include "controller/cli/checks.h"
#include "controller/cli/columns.h"
#include "controller/cli/commands.h"
#include "controller/cli/json.h"
#include "proto/base/clock.h"

static const char *const words[] = {[CHECK_OK] = "ok", [CHECK_WARN] = "warn", [CHECK_FAIL] = "fail"};

static enum exit_code print_json(const struct checks *checks)
{
    json_t *list = json_array();
    for (size_t i = 0; list && i < checks->count; i++) {
        const struct check *check = &checks->items[i];
        if (json_array_append_new(list,
                                  json_pack("{s:s, s:s, s:s, s:s}", "check", check->name, "result",
                                            words[check->verdict], "cause", check->cause, "remedy", check->remedy))) {
            json_decref(list);
            list = NULL;
        }
    }
    return json_print(list ? json_pack("{s:o}", "checks", list) : NULL, stdout);
}

static enum exit_code print_table(const struct checks *checks)
{
    static const char *const heads[] = {"CHECK", "RESULT", "CAUSE", NULL};
    struct columns *columns = columns_new(heads);
    for (size_t i = 0; i < checks->count; i++) {
        columns_cell(columns, "%s", checks->items[i].name);
        columns_cell(columns, "%s", words[checks->items[i].verdict]);
        columns_cell(columns, "%s", checks->items[i].cause);
        if (checks->items[i].remedy[0])
            columns_line(columns, "remedy: %s", checks->items[i].remedy);
    }
    return columns_finish(columns, stdout);
}

static enum exit_code run_preflight(const struct args *args)
{
    struct checks checks = {0};
    checks_esp(&checks);
    checks_nftables(&checks);
    checks_ports(&checks, "");
    checks_clock(&checks, clock_unix_ms(&clock_system) / 1000);
    checks_sysctls(&checks, "");
    checks_processor(&checks);
    checks_users(&checks);
    enum exit_code code = args_flag(args, "json") ? print_json(&checks) : print_table(&checks);
    for (size_t i = 0; code == EXIT_CODE_OK && i < checks.count; i++) {
        if (checks.items[i].verdict == CHECK_FAIL)
            code = EXIT_CODE_NO;
    }
    return code;
}

const struct command command_preflight = {
    .name = "preflight",
    .arguments = "",
    .summary = "check whether this machine can be a host",
    .details = "Run it as root: only then the kernel can be asked. Nothing is changed: a throw-away SA on a loopback "
               "address is removed at\n"
               "once, and the ruleset is only checked. The exit status is 1 when a check fails.",
    .run = run_preflight,
};
