// SPDX-License-Identifier: GPL-2.0-or-later
// audit: who did what, and whether the record is whole.
#include <string.h>

#include "admin.pb-c.h"
#include "controller/cli/call.h"
#include "controller/cli/columns.h"
#include "controller/cli/commands.h"
#include "controller/cli/format.h"
#include "controller/cli/json.h"
#include "proto/wire/message.h"

static enum exit_code print_audit(const struct args *args, const Twofold__V1__ListAuditResponse *response)
{
    static const char *const heads[] = {"NUMBER", "TIME", "WHO", "ACTION", "OBJECT", "OUTCOME", NULL};
    char time[FORMAT_BYTES];
    if (args_flag(args, "json")) {
        enum exit_code code = json_print(json_message(&response->base), stdout);
        return code == EXIT_CODE_OK && !response->intact ? EXIT_CODE_NO : code;
    }
    if (response->n_entries == 0 && response->intact) {
        printf("No entries.\n");
        return EXIT_CODE_OK;
    }
    struct columns *columns = columns_new(heads);
    for (size_t i = 0; i < response->n_entries; i++) {
        const Twofold__V1__AuditEntry *entry = response->entries[i];
        columns_cell(columns, "%llu", (unsigned long long)entry->number);
        columns_cell(columns, "%s", format_time_ms(entry->time_ms, time));
        columns_cell(columns, "%s", format_identity(entry->actor));
        columns_cell(columns, "%s", entry->action);
        columns_cell(columns, "%s", entry->object);
        bool done = strcmp(entry->outcome, "ok") == 0;
        columns_cell(columns, "%s", done ? "ok" : "refused");
        if (!done)
            columns_line(columns, "%s", entry->outcome);
    }
    enum exit_code code = columns_finish(columns, stdout);
    if (response->intact || code != EXIT_CODE_OK)
        return code;
    fprintf(
        stderr,
        "twofold: The chain of hashes is broken: entries were changed or removed. Compare with a copy of the store.\n");
    return EXIT_CODE_NO;
}

static enum exit_code run_audit(const struct args *args)
{
    Twofold__V1__ListAuditRequest request = TWOFOLD__V1__LIST_AUDIT_REQUEST__INIT;
    Twofold__V1__ListAuditResponse *response;
    struct note note = {0};
    uint64_t limit;
    enum err err;

    if ((err = args_number(args, "after", 0, 0, UINT64_MAX / 2, &request.after, &note)) ||
        (err = args_number(args, "limit", 100, 1, 1000, &limit, &note)))
        return command_fail(err, &note);
    request.limit = (uint32_t)limit;
    if ((err = call_admin(args, "ListAudit", &request.base, &twofold__v1__list_audit_response__descriptor, 0, &response,
                          &note)))
        return command_fail(err, &note);
    enum exit_code code = print_audit(args, response);
    message_free(response);
    return code;
}

static const struct command_option options[] = {
    {"after", "NUMBER", "only entries with a higher number"},
    {"limit", "NUMBER", "at most so many entries: 1 to 1000 (100)"},
    {0},
};

const struct command command_audit = {
    .name = "audit",
    .arguments = "",
    .summary = "list what administrators and hosts did, and check the record",
    .details = "Every entry has the hash of the one before it; the exit status is 1 when that chain is broken.",
    .options = options,
    .run = run_audit,
};
