// SPDX-License-Identifier: GPL-2.0-or-later
// hosts, revoke.
#include <string.h>

#include "admin.pb-c.h"
#include "controller/cli/call.h"
#include "controller/cli/columns.h"
#include "controller/cli/commands.h"
#include "controller/cli/format.h"
#include "controller/cli/json.h"
#include "controller/cli/results.h"
#include "proto/base/spiffe.h"
#include "proto/wire/message.h"

static const char *state(const Twofold__V1__HostEntry *host, uint64_t generation)
{
    if (host->revoked)
        return "revoked";
    if (!host->connected)
        return "away";
    return host->generation == generation ? "current" : "behind";
}

static enum exit_code print_hosts(const struct args *args, const Twofold__V1__ListHostsResponse *response)
{
    static const char *const heads[] = {"HOST", "STATE",    "GENERATION",        "ADDRESSES", "LABELS",
                                        "SLOT", "IDENTITY", "CERTIFICATE UNTIL", NULL};
    char addresses[FORMAT_LIST_BYTES], labels[FORMAT_LIST_BYTES], until[FORMAT_BYTES];
    if (args_flag(args, "json"))
        return json_print(json_message(&response->base), stdout);
    if (response->n_hosts == 0) {
        printf("No host has enrolled yet: make a token with `twofold token create`.\n");
        return EXIT_CODE_OK;
    }
    struct columns *columns = columns_new(heads);
    for (size_t i = 0; i < response->n_hosts; i++) {
        const Twofold__V1__HostEntry *host = response->hosts[i];
        columns_cell(columns, "%s", host->host);
        columns_cell(columns, "%s", state(host, response->generation));
        columns_cell(columns, "%llu", (unsigned long long)host->generation);
        columns_cell(columns, "%s", format_addresses(host->addresses, host->n_addresses, addresses));
        columns_cell(columns, "%s", format_labels(host->labels, host->n_labels, labels));
        columns_cell(columns, "%u", host->slot);
        columns_cell(columns, "%s", format_identity(host->workload));
        columns_cell(columns, "%s", format_time(host->certificate_expires, until));
        // "revoked" alone says no more than the state.
        if (host->problem[0] && !(host->revoked && strcmp(host->problem, "revoked") == 0))
            columns_line(columns, "%s", host->problem);
    }
    return columns_finish(columns, stdout);
}

static enum exit_code run_hosts(const struct args *args)
{
    Twofold__V1__ListHostsRequest request = TWOFOLD__V1__LIST_HOSTS_REQUEST__INIT;
    Twofold__V1__ListHostsResponse *response;
    struct note note = {0};
    enum err err = call_admin(args, "ListHosts", &request.base, &twofold__v1__list_hosts_response__descriptor, 0,
                              &response, &note);
    if (err)
        return command_fail(err, &note);
    enum exit_code code = print_hosts(args, response);
    message_free(response);
    return code;
}

const struct command command_hosts = {
    .name = "hosts",
    .arguments = "",
    .summary = "list the hosts that the controller knows",
    .details =
        "States: current (connected, at the present generation), behind (connected, not there yet), away, revoked.\n"
        "Below a host stands what is wrong with it.",
    .run = run_hosts,
};

static enum exit_code print_revoke(const struct args *args, const Twofold__V1__RevokeHostResponse *response)
{
    char elapsed[FORMAT_BYTES];
    if (args_flag(args, "json")) {
        enum exit_code code = json_print(json_message(&response->base), stdout);
        return code == EXIT_CODE_OK && !results_are_good(response->results, response->n_results) ? EXIT_CODE_NO : code;
    }
    printf("Host %s is revoked: generation %llu, %s.\n", args->arguments[0], (unsigned long long)response->generation,
           format_elapsed(response->elapsed_ms, elapsed));
    return results_print(response->results, response->n_results, stdout);
}

static enum exit_code run_revoke(const struct args *args)
{
    Twofold__V1__RevokeHostRequest request = TWOFOLD__V1__REVOKE_HOST_REQUEST__INIT;
    Twofold__V1__RevokeHostResponse *response;
    struct note note = {0};
    enum err err;

    request.host = (char *)args->arguments[0];
    request.reason = (char *)args_value(args, "reason", "");
    if (!name_is_valid(request.host)) {
        note_set(&note, ERR_USAGE, "A host's name has a-z, 0-9, '-' and '.', 1 to %d of them.", NAME_MAX_BYTES);
        return command_fail(ERR_USAGE, &note);
    }
    if ((err = results_wait(args, &request.wait_ms, &note)) ||
        (err = call_admin(args, "RevokeHost", &request.base, &twofold__v1__revoke_host_response__descriptor,
                          request.wait_ms, &response, &note)))
        return command_fail(err, &note);
    enum exit_code code = print_revoke(args, response);
    message_free(response);
    return code;
}

static const struct command_option revoke_options[] = {
    {"reason", "TEXT", "why, for the audit log and `twofold hosts`"},
    {"wait", "SECONDS", "how long to wait for the other hosts' answers: 0 to 600 (10)"},
    {0},
};

const struct command command_revoke = {
    .name = "revoke",
    .arguments = "HOST",
    .summary = "shut a host out: its SAs are dropped and its tunnels cut",
    .details = "A revoked name cannot enrol again; to bring the machine back, enrol it under another name.",
    .argument_min = 1,
    .argument_max = 1,
    .options = revoke_options,
    .run = run_revoke,
};
