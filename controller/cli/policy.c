// SPDX-License-Identifier: GPL-2.0-or-later
// policy check, apply, show.
#include "policy/policy.h"

#include <stdlib.h>
#include <string.h>

#include "admin.pb-c.h"
#include "controller/cli/call.h"
#include "controller/cli/commands.h"
#include "controller/cli/format.h"
#include "controller/cli/json.h"
#include "controller/cli/results.h"
#include "policy/words.h"
#include "proto/base/file.h"
#include "proto/base/spiffe.h"
#include "proto/base/text.h"
#include "proto/wire/message.h"
#include "proto/wire/slice_text.h"

#define SLICE_TEXT_BYTES_MAX (64u << 20)

// Every message between programs carries clean text only, and the controller could not say where it is not.
static enum err check_text(const char *path, const uint8_t *bytes, size_t len, struct note *note)
{
    size_t clean = text_clean_len(bytes, len);
    unsigned line = 1, column = 1;
    if (clean == len)
        return ERR_OK;
    for (size_t i = 0; i < clean; i++) {
        column = bytes[i] == '\n' ? 1 : column + 1;
        line += bytes[i] == '\n';
    }
    if (bytes[clean] == '\r')
        return note_set(note, ERR_INVALID, "%.300s:%u:%u: a carriage return: save the file with line feeds alone.",
                        path, line, column);
    return note_set(note, ERR_INVALID,
                    "%.300s:%u:%u: the byte 0x%02x is no text: a policy is UTF-8 without control characters.", path,
                    line, column, bytes[clean]);
}

static enum err read_policy(const char *path, char **ret_text, struct note *note)
{
    uint8_t *bytes;
    size_t len;
    enum err err = file_read(path, POLICY_TEXT_BYTES_MAX, &bytes, &len, note);
    if (err)
        return err;
    err = check_text(path, bytes, len, note);
    if (err) {
        free(bytes);
        return err;
    }
    *ret_text = (char *)bytes;
    return ERR_OK;
}

// FILE:LINE:COLUMN: text, as compilers have it, so that editors jump there.
static void print_finding(const char *path, unsigned line, unsigned column, const char *text, FILE *out)
{
    char plain[2 * NOTE_TEXT_BYTES];
    snprintf(plain, sizeof(plain), "%s", text);
    fprintf(out, "%s:", strcmp(path, "-") == 0 ? "standard input" : path);
    if (line)
        fprintf(out, "%u:", line);
    if (line && column)
        fprintf(out, "%u:", column);
    fprintf(out, " %s\n", format_plain(plain));
}

static void print_findings(const char *path, Twofold__V1__Finding *const *findings, size_t count)
{
    for (size_t i = 0; i < count; i++)
        print_finding(path, findings[i]->line, findings[i]->column, findings[i]->text, stderr);
}

// ---- check

static json_t *offline_json(const struct notes *notes)
{
    json_t *findings = json_array();
    for (size_t i = 0; findings && i < notes->count; i++) {
        const struct note *note = &notes->items[i];
        if (json_array_append_new(findings, json_pack("{s:I, s:I, s:s}", "line", (json_int_t)note->line, "column",
                                                      (json_int_t)note->column, "text", note->text))) {
            json_decref(findings);
            return NULL;
        }
    }
    return findings ? json_pack("{s:o, s:[]}", "findings", findings, "effects") : NULL;
}

static enum exit_code check_offline(const struct args *args, const char *text)
{
    struct notes notes = {0};
    struct note note = {0};
    struct policy *policy = NULL;
    enum err err = policy_read(text, strlen(text), &policy, &notes);

    policy_free(policy);
    if (err && err != ERR_INVALID)
        return command_fail(err, &note);
    if (args_flag(args, "json")) {
        enum exit_code code = json_print(offline_json(&notes), stdout);
        return code == EXIT_CODE_OK && err ? EXIT_CODE_NO : code;
    }
    for (size_t i = 0; i < notes.count; i++)
        print_finding(args->arguments[0], notes.items[i].line, notes.items[i].column, notes.items[i].text, stderr);
    if (notes.dropped)
        fprintf(stderr, "... and %zu more.\n", notes.dropped);
    if (!err)
        printf("The policy is well formed. (Checked without the controller: not against its hosts.)\n");
    return err ? EXIT_CODE_NO : EXIT_CODE_OK;
}

static enum exit_code print_check(const struct args *args, const Twofold__V1__CheckPolicyResponse *response)
{
    char plain[2 * NOTE_TEXT_BYTES];
    enum exit_code code = EXIT_CODE_OK;
    if (args_flag(args, "json")) {
        code = json_print(json_message(&response->base), stdout);
    } else {
        print_findings(args->arguments[0], response->findings, response->n_findings);
        for (size_t i = 0; i < response->n_effects; i++) {
            snprintf(plain, sizeof(plain), "%s", response->effects[i]);
            printf("%s\n", format_plain(plain));
        }
        if (response->n_findings == 0)
            printf("The policy is good.\n");
    }
    return code == EXIT_CODE_OK && response->n_findings ? EXIT_CODE_NO : code;
}

static enum exit_code run_check(const struct args *args)
{
    Twofold__V1__CheckPolicyRequest request = TWOFOLD__V1__CHECK_POLICY_REQUEST__INIT;
    Twofold__V1__CheckPolicyResponse *response;
    struct note note = {0};
    enum exit_code code;
    char *text;
    enum err err;

    if ((err = read_policy(args->arguments[0], &text, &note)))
        return command_fail(err, &note);
    request.text = text;
    if (args_flag(args, "offline")) {
        code = check_offline(args, text);
    } else if ((err = call_admin(args, "CheckPolicy", &request.base, &twofold__v1__check_policy_response__descriptor, 0,
                                 &response, &note))) {
        code = command_fail(err, &note);
    } else {
        code = print_check(args, response);
        message_free(response);
    }
    free(text);
    return code;
}

static const struct command_option check_options[] = {
    {"offline", NULL, "ask no controller: check form and references only"},
    {0},
};

const struct command command_policy_check = {
    .name = "policy check",
    .arguments = "FILE",
    .summary = "say what is wrong with a policy, and what it would do",
    .details = "All findings at once, as FILE:LINE:COLUMN: text. FILE - is standard input. The controller also says "
               "what the policy would\n"
               "change for its hosts. twofold-policy(5) describes the format.",
    .argument_min = 1,
    .argument_max = 1,
    .options = check_options,
    .run = run_check,
};

// ---- apply

static enum exit_code print_apply(const struct args *args, const Twofold__V1__ApplyPolicyResponse *response)
{
    char elapsed[FORMAT_BYTES];
    bool good = response->n_findings == 0 && results_are_good(response->results, response->n_results);
    if (args_flag(args, "json")) {
        enum exit_code code = json_print(json_message(&response->base), stdout);
        return code == EXIT_CODE_OK && !good ? EXIT_CODE_NO : code;
    }
    if (response->n_findings) {
        print_findings(args->arguments[0], response->findings, response->n_findings);
        fprintf(stderr, "twofold: Nothing was applied: the policy before stays in force.\n");
        return EXIT_CODE_NO;
    }
    printf("Generation %llu, %zu hosts, %s.\n", (unsigned long long)response->generation, response->n_results,
           format_elapsed(response->elapsed_ms, elapsed));
    return results_print(response->results, response->n_results, stdout);
}

static enum exit_code run_apply(const struct args *args)
{
    Twofold__V1__ApplyPolicyRequest request = TWOFOLD__V1__APPLY_POLICY_REQUEST__INIT;
    Twofold__V1__ApplyPolicyResponse *response;
    struct note note = {0};
    enum exit_code code;
    char *text;
    enum err err;

    if ((err = results_wait(args, &request.wait_ms, &note)) || (err = read_policy(args->arguments[0], &text, &note)))
        return command_fail(err, &note);
    request.text = text;
    err = call_admin(args, "ApplyPolicy", &request.base, &twofold__v1__apply_policy_response__descriptor,
                     request.wait_ms, &response, &note);
    free(text);
    if (err)
        return command_fail(err, &note);
    code = print_apply(args, response);
    message_free(response);
    return code;
}

static const struct command_option apply_options[] = {
    {"wait", "SECONDS", "how long to wait for the hosts' answers: 0 to 600 (10)"},
    {0},
};

const struct command command_policy_apply = {
    .name = "policy apply",
    .arguments = "FILE",
    .summary = "put a policy in force, and say what each host answered",
    .details = "With findings nothing is applied. Each host applies its part whole or not at all; one that refuses "
               "keeps what it had and\n"
               "says why. The exit status is 0 only when every connected host has applied it within the time. FILE - "
               "is standard input.",
    .argument_min = 1,
    .argument_max = 1,
    .options = apply_options,
    .run = run_apply,
};

// ---- show

static enum exit_code print_slice(const Twofold__V1__Slice *slice)
{
    struct note note = {0};
    struct buf buf;
    buf_init(&buf, SLICE_TEXT_BYTES_MAX);
    enum err err = slice ? slice_text(slice, &buf) : ERR_NOT_FOUND;
    if (!err)
        fwrite(buf_bytes(&buf), 1, buf.len, stdout);
    buf_free(&buf);
    if (!err)
        return EXIT_CODE_OK;
    note_set(&note, err, "The controller sent no slice that can be shown: %s.", err_text(err));
    return command_fail(err, &note);
}

static enum exit_code print_show(const struct args *args, const Twofold__V1__ShowPolicyResponse *response)
{
    char applied[FORMAT_BYTES];
    if (args_flag(args, "json"))
        return json_print(json_message(&response->base), stdout);
    if (args_value(args, "slice", NULL))
        return print_slice(response->slice);
    printf("# generation %llu, applied %s by %s\n", (unsigned long long)response->generation,
           format_time(response->applied_at, applied),
           response->applied_by[0] ? response->applied_by : "the controller");
    printf("%s%s", response->text, response->text[0] && response->text[strlen(response->text) - 1] != '\n' ? "\n" : "");
    return EXIT_CODE_OK;
}

static enum exit_code run_show(const struct args *args)
{
    Twofold__V1__ShowPolicyRequest request = TWOFOLD__V1__SHOW_POLICY_REQUEST__INIT;
    Twofold__V1__ShowPolicyResponse *response;
    struct note note = {0};
    enum err err;

    if ((err = args_number(args, "generation", 0, 1, UINT64_MAX / 2, &request.generation, &note)))
        return command_fail(err, &note);
    request.slice_of = (char *)args_value(args, "slice", "");
    if (request.slice_of[0] && !name_is_valid(request.slice_of)) {
        note_set(&note, ERR_USAGE, "Option --slice is the name of a host.");
        return command_fail(ERR_USAGE, &note);
    }
    if ((err = call_admin(args, "ShowPolicy", &request.base, &twofold__v1__show_policy_response__descriptor, 0,
                          &response, &note)))
        return command_fail(err, &note);
    enum exit_code code = print_show(args, response);
    message_free(response);
    return code;
}

static const struct command_option show_options[] = {
    {"generation", "NUMBER", "an earlier policy (the one in force)"},
    {"slice", "HOST", "what one host has to enforce, a line for each element"},
    {0},
};

const struct command command_policy_show = {
    .name = "policy show",
    .arguments = "",
    .summary = "print the policy in force, or a host's slice of it",
    .options = show_options,
    .run = run_show,
};
