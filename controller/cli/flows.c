// SPDX-License-Identifier: GPL-2.0-or-later
// flows: what passes and what was refused at this host.
#include <stdlib.h>
#include <string.h>

#include "controller/cli/call.h"
#include "controller/cli/columns.h"
#include "controller/cli/commands.h"
#include "controller/cli/format.h"
#include "controller/cli/json.h"
#include "policy/words.h"
#include "proto/wire/message.h"
#include "role.pb-c.h"

// More than an agent keeps; with a filter all are asked for and sorted out here.
#define ALL_FLOWS 1000000

struct filter {
    const char *peer;             // NULL: any
    Twofold__V1__Verdict verdict; // VERDICT_UNSPECIFIED: any
    uint64_t limit;
};

static enum err take_filter(const struct args *args, struct filter *filter, struct note *note)
{
    char quoted[WORDS_QUOTED_BYTES];
    const char *verdict = args_value(args, "verdict", NULL);
    filter->peer = args_value(args, "peer", NULL);
    filter->verdict = TWOFOLD__V1__VERDICT__VERDICT_UNSPECIFIED;
    if (verdict && strcmp(verdict, "allowed") == 0) {
        filter->verdict = TWOFOLD__V1__VERDICT__VERDICT_ALLOWED;
    } else if (verdict && strcmp(verdict, "refused") == 0) {
        filter->verdict = TWOFOLD__V1__VERDICT__VERDICT_REFUSED;
    } else if (verdict) {
        words_quote(verdict, quoted);
        return note_set(note, ERR_USAGE, "Option --verdict is allowed or refused, not %s.", quoted);
    }
    return args_number(args, "limit", 100, 1, ALL_FLOWS, &filter->limit, note);
}

static bool passes(const struct filter *filter, const Twofold__V1__Flow *flow)
{
    if (filter->peer && strcmp(filter->peer, flow->peer) != 0)
        return false;
    return filter->verdict == TWOFOLD__V1__VERDICT__VERDICT_UNSPECIFIED || filter->verdict == flow->verdict;
}

// Those that pass move to the front; the others, behind them, are still freed with the message.
static size_t sort_out(const struct filter *filter, Twofold__V1__Flow **flows, size_t count)
{
    size_t kept = 0;
    for (size_t i = 0; i < count && kept < filter->limit; i++) {
        if (!passes(filter, flows[i]))
            continue;
        Twofold__V1__Flow *other = flows[kept];
        flows[kept++] = flows[i];
        flows[i] = other;
    }
    return kept;
}

// "out tcp"
static void way(const Twofold__V1__Flow *flow, char text[FORMAT_BYTES])
{
    snprintf(text, FORMAT_BYTES, "%s %s", flow->direction == TWOFOLD__V1__DIRECTION__DIRECTION_IN ? "in" : "out",
             flow->protocol == TWOFOLD__V1__PROTOCOL__PROTOCOL_UDP ? "udp" : "tcp");
}

static const char *state(const Twofold__V1__Flow *flow)
{
    if (flow->verdict != TWOFOLD__V1__VERDICT__VERDICT_ALLOWED)
        return "refused";
    return flow->ended_ms ? "ended" : "live";
}

static const char *layers(const Twofold__V1__Flow *flow)
{
    if (flow->ipsec && flow->https)
        return "ipsec+https";
    return flow->ipsec ? "ipsec" : flow->https ? "https" : "";
}

// Who spoke with whom, and the suites of the layers: too wide for cells.
static void evidence_line(struct columns *columns, const Twofold__V1__Flow *flow)
{
    const char *ipsec = flow->ipsec ? flow->ipsec_suite : "", *https = flow->https ? flow->https_suite : "";
    if (!flow->source_identity[0] && !flow->destination_identity[0] && !ipsec[0] && !https[0])
        return;
    columns_line(columns, "%s -> %s%s%s%s%s", format_identity(flow->source_identity),
                 format_identity(flow->destination_identity), ipsec[0] || https[0] ? ", " : "", ipsec,
                 ipsec[0] && https[0] ? " + " : "", https);
}

static void flow_row(struct columns *columns, const Twofold__V1__Flow *flow)
{
    char began[FORMAT_BYTES], direction[FORMAT_BYTES], sent[FORMAT_BYTES], received[FORMAT_BYTES];
    way(flow, direction);
    format_time(flow->started_ms / 1000, began);
    columns_cell(columns, "%s", strlen(began) > 5 ? began + 5 : began); // without the year
    columns_cell(columns, "%s", state(flow));
    columns_cell(columns, "%s", direction);
    columns_cell(columns, "%s", flow->source);
    columns_cell(columns, "%s", flow->destination);
    columns_cell(columns, "%s", flow->peer);
    columns_cell(columns, "%s", flow->rule);
    columns_cell(columns, "%s", layers(flow));
    columns_cell(columns, "%s", format_bytes(flow->bytes_sent, sent));
    columns_cell(columns, "%s", format_bytes(flow->bytes_received, received));
    evidence_line(columns, flow);
    if (flow->reason[0])
        columns_line(columns, "%s", flow->reason);
}

static enum exit_code print_flows(const struct args *args, const Twofold__V1__Flows *flows)
{
    static const char *const heads[] = {"BEGAN", "STATE",  "FLOW", "SOURCE",   "DESTINATION", "PEER",
                                        "RULE",  "LAYERS", "SENT", "RECEIVED", NULL};
    if (args_flag(args, "json"))
        return json_print(json_message(&flows->base), stdout);
    if (flows->n_flows == 0) {
        printf("No flows.\n");
        return EXIT_CODE_OK;
    }
    struct columns *columns = columns_new(heads);
    for (size_t i = 0; i < flows->n_flows; i++)
        flow_row(columns, flows->flows[i]);
    return columns_finish(columns, stdout);
}

static enum exit_code run_flows(const struct args *args)
{
    Twofold__V1__LocalRequest request = TWOFOLD__V1__LOCAL_REQUEST__INIT;
    Twofold__V1__FlowsRequest body = TWOFOLD__V1__FLOWS_REQUEST__INIT;
    Twofold__V1__LocalResponse *response;
    struct filter filter;
    struct note note = {0};
    enum exit_code code;
    enum err err;

    if ((err = take_filter(args, &filter, &note)))
        return command_fail(err, &note);
    bool filtered = filter.peer || filter.verdict != TWOFOLD__V1__VERDICT__VERDICT_UNSPECIFIED;
    body.limit = filtered ? ALL_FLOWS : (uint32_t)filter.limit;
    request.body_case = TWOFOLD__V1__LOCAL_REQUEST__BODY_FLOWS;
    request.flows = &body;
    if ((err = call_agent(args, &request.base, &response, &note)))
        return command_fail(err, &note);
    if (response->body_case == TWOFOLD__V1__LOCAL_RESPONSE__BODY_FLOWS) {
        Twofold__V1__Flows *flows = response->flows;
        size_t count = flows->n_flows;
        flows->n_flows = sort_out(&filter, flows->flows, count);
        code = print_flows(args, flows);
        flows->n_flows = count;
    } else {
        note_set(&note, ERR_PROTOCOL,
                 "The agent answered something else: do `twofold` and the agent have the same version?");
        code = command_fail(ERR_PROTOCOL, &note);
    }
    message_free(response);
    return code;
}

static const struct command_option options[] = {
    {"peer", "HOST", "only flows with this host"},
    {"verdict", "VERDICT", "only those allowed, or refused"},
    {"limit", "NUMBER", "at most so many, the newest (100)"},
    {0},
};

const struct command command_flows = {
    .name = "flows",
    .arguments = "",
    .summary = "list live, ended and refused flows of this host",
    .details =
        "Asks the agent on this host, which keeps the last 1,000 ended flows. For each flow: who spoke with whom, the "
        "rule, the\nlayers that carried it and their suites, bytes as the local application sent and received "
        "them; for one that was\nrefused or cut, why. What the kernel carries for rules with layers: [ipsec] is not "
        "listed one by one.",
    .options = options,
    .run = run_flows,
};
