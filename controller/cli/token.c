// SPDX-License-Identifier: GPL-2.0-or-later
// token create: a host's permission to enrol, once.
#include <stdlib.h>
#include <string.h>

#include "admin.pb-c.h"
#include "controller/cli/admin_credentials.h"
#include "controller/cli/call.h"
#include "controller/cli/commands.h"
#include "controller/cli/format.h"
#include "controller/cli/json.h"
#include "policy/words.h"
#include "proto/base/ip.h"
#include "proto/base/spiffe.h"
#include "proto/base/text.h"
#include "proto/wire/message.h"

enum { VALID_SECONDS_MIN = 60, VALID_SECONDS_MAX = 7 * 86400, VALID_SECONDS_DEFAULT = 3600 };

// The request and the memory its fields point into.
struct draft {
    Twofold__V1__CreateTokenRequest request;
    Twofold__V1__Label labels[OPTIONS_MAX];
    Twofold__V1__Label *label_list[OPTIONS_MAX];
    char label_texts[OPTIONS_MAX][2 * NAME_MAX_BYTES + 2];
    struct ip ips[OPTIONS_MAX];
    ProtobufCBinaryData addresses[OPTIONS_MAX];
};

static enum err take_label(struct draft *draft, const char *text, struct note *note)
{
    char quoted[WORDS_QUOTED_BYTES];
    size_t index = draft->request.n_labels;
    char *copy = draft->label_texts[index];
    const char *equals = strchr(text, '=');

    words_quote(text, quoted);
    if (!equals || strlen(text) >= sizeof(draft->label_texts[0]))
        return note_set(note, ERR_USAGE, "Option --label is NAME=VALUE, such as role=web, not %s.", quoted);
    strcpy(copy, text);
    copy[equals - text] = 0;
    draft->labels[index] = (Twofold__V1__Label)TWOFOLD__V1__LABEL__INIT;
    draft->labels[index].key = copy;
    draft->labels[index].value = copy + (equals - text) + 1;
    if (!label_key_is_valid(draft->labels[index].key) || !label_value_is_valid(draft->labels[index].value))
        return note_set(
            note, ERR_USAGE,
            "%s is no label: a name has a-z, 0-9, '-', '.', '_', '/', a value letters, digits, '-', '.', '_'.", quoted);
    for (size_t i = 0; i < index; i++) {
        if (strcmp(draft->labels[i].key, copy) == 0)
            return note_set(note, ERR_USAGE, "Label '%s' is given twice.", copy);
    }
    draft->label_list[index] = &draft->labels[index];
    draft->request.n_labels++;
    return ERR_OK;
}

static enum err take_address(struct draft *draft, const char *text, struct note *note)
{
    char quoted[WORDS_QUOTED_BYTES];
    struct ip *ip = &draft->ips[draft->request.n_addresses];
    words_quote(text, quoted);
    if (ip_parse(text, ip) || ip_is_unspecified(ip) || ip_is_loopback(ip) || ip_is_multicast(ip))
        return note_set(note, ERR_USAGE, "%s is no address of a host: give one that other hosts reach it by.", quoted);
    draft->addresses[draft->request.n_addresses++] = (ProtobufCBinaryData){.len = ip->len, .data = ip->bytes};
    return ERR_OK;
}

static enum err take_options(const struct args *args, struct draft *draft, struct note *note)
{
    char quoted[WORDS_QUOTED_BYTES];
    enum err err = ERR_OK;
    for (size_t i = 0; i < args->option_count && !err; i++) {
        const struct command_given *given = &args->options[i];
        if (strcmp(given->option->name, "label") == 0)
            err = take_label(draft, given->value, note);
        else if (strcmp(given->option->name, "address") == 0)
            err = take_address(draft, given->value, note);
    }
    if (err)
        return err;
    const char *valid = args_value(args, "valid", NULL);
    uint64_t seconds = VALID_SECONDS_DEFAULT;
    if (valid && (duration_parse(valid, VALID_SECONDS_MAX, &seconds) || seconds < VALID_SECONDS_MIN)) {
        words_quote(valid, quoted);
        return note_set(note, ERR_USAGE, "Option --valid is a time from 60s to 7d, not %s.", quoted);
    }
    draft->request.valid_seconds = (uint32_t)seconds;
    return ERR_OK;
}

static enum err take_names(const struct args *args, struct draft *draft, struct note *note)
{
    const char *host = args_value(args, "host", NULL), *workload = args_value(args, "workload", "");
    if (!host)
        return note_set(note, ERR_USAGE, "Option --host is missing: the name that the host will have.");
    if (!name_is_valid(host) || (workload[0] && !name_is_valid(workload)))
        return note_set(note, ERR_USAGE, "Names of hosts and workloads have a-z, 0-9, '-' and '.', 1 to %d of them.",
                        NAME_MAX_BYTES);
    draft->request.host = (char *)host;
    draft->request.workload = (char *)workload;
    return ERR_OK;
}

// Where this command reached the controller, so that the next step can be copied.
static void controller_text(const struct args *args, char text[IP_ENDPOINT_TEXT_BYTES])
{
    struct admin_credentials credentials;
    struct note note = {0};
    snprintf(text, IP_ENDPOINT_TEXT_BYTES, "ADDRESS:PORT");
    if (admin_credentials_load(args, &credentials, &note))
        return;
    ip_endpoint_format(&credentials.controller, text);
    admin_credentials_free(&credentials);
}

static enum exit_code print_token(const struct args *args, const Twofold__V1__CreateTokenResponse *response)
{
    char expires[FORMAT_BYTES], controller[IP_ENDPOINT_TEXT_BYTES];
    if (args_flag(args, "json"))
        return json_print(json_message(&response->base), stdout);
    controller_text(args, controller);
    printf("%s\n", response->token);
    fprintf(stderr,
            "For host %s, once, until %s. It is not shown again. On the host:\n"
            "  twofold-agent enrol --controller %s --token-file FILE\n",
            args_value(args, "host", ""), format_time(response->expires, expires), controller);
    return EXIT_CODE_OK;
}

static enum exit_code run_token_create(const struct args *args)
{
    struct note note = {0};
    Twofold__V1__CreateTokenResponse *response;
    enum exit_code code = EXIT_CODE_NO;
    enum err err;

    struct draft *draft = calloc(1, sizeof(*draft));
    if (!draft)
        return command_fail(ERR_NOMEM, &note);
    twofold__v1__create_token_request__init(&draft->request);
    draft->request.labels = draft->label_list;
    draft->request.addresses = draft->addresses;
    if ((err = take_names(args, draft, &note)) || (err = take_options(args, draft, &note)) ||
        (err = call_admin(args, "CreateToken", &draft->request.base, &twofold__v1__create_token_response__descriptor, 0,
                          &response, &note))) {
        code = command_fail(err, &note);
    } else {
        code = print_token(args, response);
        message_free(response);
    }
    free(draft);
    return code;
}

static const struct command_option options[] = {
    {"host", "NAME", "the host's name"},
    {"label", "NAME=VALUE", "a label that segments select by; may be repeated"},
    {"address", "ADDRESS", "an address of the host; may be repeated (the one it enrols from)"},
    {"workload", "NAME", "account name of the host's workload (the host's name)"},
    {"valid", "TIME", "how long the token may be used: 60s to 7d (1h)"},
    {0},
};

const struct command command_token_create = {
    .name = "token create",
    .arguments = "--host NAME",
    .summary = "make a one-time join token for a host",
    .details =
        "The token goes to standard output, alone on its line. It pins the network CA, so the host knows whom it "
        "joins.\n"
        "Name, labels and addresses are bound to the host's certificates by the controller when the token is used.",
    .options = options,
    .run = run_token_create,
};
