// SPDX-License-Identifier: GPL-2.0-or-later
// status: of the agent on this host, of the controller, or of both when both can be asked.
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "admin.pb-c.h"
#include "controller/cli/admin_credentials.h"
#include "controller/cli/call.h"
#include "controller/cli/columns.h"
#include "controller/cli/commands.h"
#include "controller/cli/format.h"
#include "controller/cli/json.h"
#include "controller/cli/show.h"
#include "proto/base/clock.h"
#include "proto/base/spiffe.h"
#include "proto/wire/message.h"

// What was asked for and came.
struct answers {
    Twofold__V1__LocalResponse *agent;
    Twofold__V1__GetStatusResponse *controller;
    Twofold__V1__ListHostsResponse *hosts;
};

// The worse one.
static enum exit_code both(enum exit_code a, enum exit_code b)
{
    return a > b ? a : b;
}

// ---- the agent

static enum err ask_agent(const struct args *args, struct answers *answers, struct note *note)
{
    Twofold__V1__LocalRequest request = TWOFOLD__V1__LOCAL_REQUEST__INIT;
    Twofold__V1__StatusRequest body = TWOFOLD__V1__STATUS_REQUEST__INIT;
    request.body_case = TWOFOLD__V1__LOCAL_REQUEST__BODY_STATUS;
    request.status = &body;
    enum err err = call_agent(args, &request.base, &answers->agent, note);
    if (!err && (answers->agent->body_case != TWOFOLD__V1__LOCAL_RESPONSE__BODY_STATUS))
        return note_set(note, ERR_PROTOCOL,
                        "The agent answered something else: do `twofold` and the agent have the same version?");
    return err;
}

static void print_agent_head(const Twofold__V1__LocalStatus *status)
{
    char since[FORMAT_BYTES], until[FORMAT_BYTES], problem[NOTE_TEXT_BYTES];
    printf("Host %s of %s, agent %s\n", status->host, status->trust_domain, status->version);
    printf("  policy       generation %llu, in force since %s\n", (unsigned long long)status->generation,
           format_time(status->slice_time, since));
    snprintf(problem, sizeof(problem), "%s", status->connection_problem);
    printf("  controller   %s, %s%s%s\n", status->controller[0] ? status->controller : "-",
           status->connected ? "connected" : "not connected", problem[0] ? ": " : "", format_plain(problem));
    printf("  certificate  until %s\n", format_time(status->certificate_expires, until));
    for (size_t i = 0; i < status->n_roles; i++) {
        if (status->roles[i]->dataplane[0])
            printf("  data plane   %s\n", status->roles[i]->dataplane);
    }
}

static enum exit_code print_agent(const Twofold__V1__LocalStatus *status)
{
    print_agent_head(status);
    show_warnings(status->warnings, status->n_warnings, stdout);
    printf("\n");
    enum exit_code code = show_peers(status->peers, status->n_peers, stdout);
    printf("\n");
    return both(code, show_roles(status->roles, status->n_roles, stdout));
}

// ---- the controller

static enum err ask_controller(const struct args *args, struct answers *answers, struct note *note)
{
    Twofold__V1__GetStatusRequest status = TWOFOLD__V1__GET_STATUS_REQUEST__INIT;
    Twofold__V1__ListHostsRequest hosts = TWOFOLD__V1__LIST_HOSTS_REQUEST__INIT;
    enum err err = call_admin(args, "GetStatus", &status.base, &twofold__v1__get_status_response__descriptor, 0,
                              &answers->controller, note);
    if (!err)
        err = call_admin(args, "ListHosts", &hosts.base, &twofold__v1__list_hosts_response__descriptor, 0,
                         &answers->hosts, note);
    return err;
}

// "2/3": of the peers whose SAs are needed, those that have them.
static void peers_up(const Twofold__V1__AgentStatus *status, char text[FORMAT_BYTES])
{
    size_t needed = 0, up = 0;
    for (size_t i = 0; status && i < status->n_peers; i++) {
        needed += status->peers[i]->ipsec_needed;
        up += status->peers[i]->ipsec_needed && status->peers[i]->ipsec_up;
    }
    if (status)
        snprintf(text, FORMAT_BYTES, "%zu/%zu", up, needed);
    else
        snprintf(text, FORMAT_BYTES, "-");
}

static void host_row(struct columns *columns, const Twofold__V1__HostEntry *host, uint64_t generation)
{
    char peers[FORMAT_BYTES];
    peers_up(host->status, peers);
    columns_cell(columns, "%s", host->host);
    columns_cell(columns, "%s", !host->connected ? "away" : host->generation == generation ? "current" : "behind");
    columns_cell(columns, "%llu", (unsigned long long)host->generation);
    columns_cell(columns, "%s", peers);
    columns_cell(columns, "%s", host->status ? host->status->dataplane : "");
    columns_cell(columns, "%s", host->version);
    if (host->problem[0])
        columns_line(columns, "%s", host->problem);
    for (size_t i = 0; host->status && i < host->status->n_warnings; i++)
        columns_line(columns, "warning: %s", host->status->warnings[i]);
    for (size_t i = 0; host->status && i < host->status->n_peers; i++) {
        if (host->status->peers[i]->problem[0])
            columns_line(columns, "peer %s: %s", host->status->peers[i]->host, host->status->peers[i]->problem);
    }
}

static enum exit_code print_fleet(const Twofold__V1__ListHostsResponse *hosts)
{
    static const char *const heads[] = {"HOST", "STATE", "GENERATION", "IPSEC PEERS", "DATA PLANE", "VERSION", NULL};
    bool good = true;
    if (hosts->n_hosts == 0) {
        printf("No host has enrolled yet: make a token with `twofold token create`.\n");
        return EXIT_CODE_OK;
    }
    struct columns *columns = columns_new(heads);
    for (size_t i = 0; i < hosts->n_hosts; i++) {
        const Twofold__V1__HostEntry *host = hosts->hosts[i];
        if (host->revoked)
            continue;
        host_row(columns, host, hosts->generation);
        good &= host->connected && host->generation == hosts->generation && !host->problem[0];
    }
    enum exit_code code = columns_finish(columns, stdout);
    return code == EXIT_CODE_OK && !good ? EXIT_CODE_NO : code;
}

// One host as it last reported itself.
static enum exit_code print_host(const char *name, const Twofold__V1__ListHostsResponse *hosts)
{
    struct note note = {0};
    for (size_t i = 0; i < hosts->n_hosts; i++) {
        const Twofold__V1__HostEntry *host = hosts->hosts[i];
        if (strcmp(host->host, name) != 0)
            continue;
        printf("Host %s, %s, generation %llu of %llu\n", host->host,
               host->revoked     ? "revoked"
               : host->connected ? "connected"
                                 : "away",
               (unsigned long long)host->generation, (unsigned long long)hosts->generation);
        if (host->problem[0])
            show_warnings((char *const[]){host->problem}, 1, stdout);
        if (!host->status)
            return EXIT_CODE_NO;
        show_warnings(host->status->warnings, host->status->n_warnings, stdout);
        printf("\n");
        return show_peers(host->status->peers, host->status->n_peers, stdout);
    }
    note_set(&note, ERR_NOT_FOUND, "There is no host '%s'. `twofold hosts` lists them.", name);
    return command_fail(ERR_NOT_FOUND, &note);
}

static enum exit_code print_controller(const struct answers *answers)
{
    const Twofold__V1__GetStatusResponse *status = answers->controller;
    char started[FORMAT_BYTES], network[FORMAT_BYTES], workload[FORMAT_BYTES];
    printf("Controller of %s, version %s, since %s\n", status->trust_domain, status->version,
           format_time(status->started, started));
    printf("  policy       generation %llu\n", (unsigned long long)status->generation);
    printf("  hosts        %u, %u connected, %u at this generation\n", status->hosts, status->connected,
           status->current);
    printf("  network CA   %s\n", format_hash(status->network_ca_sha384, network));
    printf("  workload CA  %s\n", format_hash(status->workload_ca_sha384, workload));
    show_warnings(status->warnings, status->n_warnings, stdout);
    printf("\n");
    return print_fleet(answers->hosts);
}

// ---- the command

static enum exit_code print_json(const struct answers *answers)
{
    json_t *agent = answers->agent ? json_message(&answers->agent->status->base) : json_null();
    json_t *controller = answers->controller ? json_message(&answers->controller->base) : json_null();
    json_t *hosts = answers->hosts ? json_message(&answers->hosts->base) : json_null();
    return json_print(json_pack("{s:o, s:o, s:o}", "agent", agent, "controller", controller, "fleet", hosts), stdout);
}

static enum exit_code print_answers(const struct args *args, const struct answers *answers)
{
    const char *host = args_value(args, "host", NULL);
    enum exit_code code = EXIT_CODE_OK;
    if (args_flag(args, "json"))
        return print_json(answers);
    if (host)
        return print_host(host, answers->hosts);
    if (answers->agent)
        code = print_agent(answers->agent->status);
    if (answers->agent && answers->hosts)
        printf("\n");
    if (answers->hosts)
        code = both(code, print_controller(answers));
    return code;
}

// Which of the two: what is asked for, else what is there.
static enum err choose(const struct args *args, bool *ret_agent, bool *ret_controller, struct note *note)
{
    const char *socket = args_value(args, "socket", AGENT_SOCKET);
    char folder[PATH_MAX];
    bool local = args_flag(args, "local"), fleet = args_flag(args, "fleet") || args_value(args, "host", NULL);
    *ret_agent = local || (!fleet && access(socket, F_OK) == 0);
    *ret_controller = fleet || (!local && admin_credentials_found(args, folder));
    if (*ret_agent || *ret_controller)
        return ERR_OK;
    return note_set(note, ERR_NOT_FOUND,
                    "There is nobody to ask: no agent's socket %.100s, and no administrator's credentials in %.100s. "
                    "Start the agent, or "
                    "give --socket or --credentials.",
                    socket, folder);
}

// An agent's answer is shown also where the controller, that nobody asked for by name, does not answer.
static enum exit_code run_status(const struct args *args)
{
    struct answers answers = {0};
    struct note note = {0};
    bool agent = false, controller = false;

    enum err err = choose(args, &agent, &controller, &note);
    if (!err && agent)
        err = ask_agent(args, &answers, &note);
    bool agent_answered = !err && agent;
    if (!err && controller)
        err = ask_controller(args, &answers, &note);
    enum exit_code code = !err || agent_answered ? print_answers(args, &answers) : EXIT_CODE_OK;
    if (err)
        code = command_fail(err, &note);
    message_free(answers.agent);
    message_free(answers.controller);
    message_free(answers.hosts);
    return code;
}

static const struct command_option options[] = {
    {"local", NULL, "only the agent on this host"},
    {"fleet", NULL, "only the controller"},
    {"host", "NAME", "a host's peers, as it last reported them to the controller"},
    {0},
};

const struct command command_status = {
    .name = "status",
    .arguments = "",
    .summary = "show each peer and layer of this host, and the fleet",
    .details =
        "Asks the agent on this host when its socket is there, and the controller when there are credentials. Below a "
        "peer stands\nwhat is wrong and what to do. The exit status is 1 when a needed layer is down or a host is away "
        "or "
        "behind; with\n--json it is 0 when it was answered.",
    .options = options,
    .run = run_status,
};
