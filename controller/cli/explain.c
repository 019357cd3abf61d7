// SPDX-License-Identifier: GPL-2.0-or-later
// explain SRC DST PORT
#include <stdlib.h>
#include <string.h>

#include "admin.pb-c.h"
#include "controller/cli/call.h"
#include "controller/cli/commands.h"
#include "controller/cli/explain.h"
#include "controller/cli/format.h"
#include "controller/cli/json.h"
#include "policy/words.h"
#include "proto/base/text.h"
#include "proto/wire/message.h"

enum err explain_parse_port(const char *text, Twofold__V1__Protocol *ret_protocol, uint32_t *ret_port,
                            struct note *note)
{
    char quoted[WORDS_QUOTED_BYTES], number[8];
    Twofold__V1__Protocol protocol = TWOFOLD__V1__PROTOCOL__PROTOCOL_TCP;
    const char *slash = strchr(text, '/');
    size_t len = slash ? (size_t)(slash - text) : strlen(text);
    uint64_t port = 0;

    if (slash && strcmp(slash + 1, "udp") == 0)
        protocol = TWOFOLD__V1__PROTOCOL__PROTOCOL_UDP;
    bool known = !slash || strcmp(slash + 1, "udp") == 0 || strcmp(slash + 1, "tcp") == 0;
    if (known && len < sizeof(number)) {
        memcpy(number, text, len);
        number[len] = 0;
        known = decimal_parse(number, UINT16_MAX, &port) == ERR_OK && port > 0;
    } else {
        known = false;
    }
    if (!known) {
        words_quote(text, quoted);
        return note_set(note, ERR_USAGE, "%s is no port: write 443, 443/tcp or 53/udp.", quoted);
    }
    *ret_protocol = protocol;
    *ret_port = (uint32_t)port;
    return ERR_OK;
}

static enum exit_code print_explanation(const struct args *args, const Twofold__V1__ExplainResponse *response)
{
    enum exit_code answer = response->allowed ? EXIT_CODE_OK : EXIT_CODE_NO;
    char reason[2 * NOTE_TEXT_BYTES];
    if (args_flag(args, "json")) {
        enum exit_code code = json_print(json_message(&response->base), stdout);
        return code == EXIT_CODE_OK ? answer : code;
    }
    snprintf(reason, sizeof(reason), "%s", response->reason);
    printf("%s", response->allowed ? "allowed" : "denied");
    if (response->rule[0])
        printf("  %s %s (%s)", response->allowed ? "rule" : "nearest rule", response->rule, response->location);
    if (response->allowed)
        printf("  layers: %s", response->ipsec && response->https ? "ipsec, https"
                               : response->ipsec                  ? "ipsec"
                               : response->https                  ? "https"
                                                                  : "none");
    printf("\n%s\n", format_plain(reason));
    return answer;
}

static enum exit_code run_explain(const struct args *args)
{
    Twofold__V1__ExplainRequest request = TWOFOLD__V1__EXPLAIN_REQUEST__INIT;
    Twofold__V1__ExplainResponse *response;
    struct note note = {0};
    enum err err;

    request.source = (char *)args->arguments[0];
    request.destination = (char *)args->arguments[1];
    if ((err = explain_parse_port(args->arguments[2], &request.protocol, &request.port, &note)) ||
        (err = call_admin(args, "Explain", &request.base, &twofold__v1__explain_response__descriptor, 0, &response,
                          &note)))
        return command_fail(err, &note);
    enum exit_code code = print_explanation(args, response);
    message_free(response);
    return code;
}

const struct command command_explain = {
    .name = "explain",
    .arguments = "SRC DST PORT[/udp]",
    .summary = "say which rule allows a flow, or what would allow it",
    .details = "SRC and DST are hosts' names or addresses. The exit status is 0 when the flow is allowed, 1 "
               "when it is denied.",
    .argument_min = 3,
    .argument_max = 3,
    .run = run_explain,
};
