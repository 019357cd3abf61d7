// SPDX-License-Identifier: GPL-2.0-or-later
// Admin/CheckPolicy, ApplyPolicy, ShowPolicy and Explain.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin.pb-c.h"
#include "controller/admin_wait.h"
#include "controller/findings.h"
#include "controller/handlers.h"
#include "controller/push.h"
#include "controller/sentence.h"
#include "controller/store/policies.h"
#include "proto/base/log.h"
#include "proto/wire/message.h"

// A policy text under examination, with room for what is found in it.
struct draft {
    struct policy *policy; // NULL: it has findings
    struct notes notes;
    struct findings findings;
};

static enum err draft_new(const char *text, struct draft **ret_draft)
{
    struct draft *draft = calloc(1, sizeof(*draft));
    if (draft == NULL)
        return ERR_NOMEM;
    enum err err = policy_read(text, strlen(text), &draft->policy, &draft->notes);
    if (err != ERR_OK && draft->notes.count == 0)
        notes_add(&draft->notes, 0, 0, "%s", err_text(err));
    if (err != ERR_OK)
        findings_fill(&draft->findings, &draft->notes);
    *ret_draft = draft;
    return ERR_OK;
}

static void draft_free(struct draft *draft)
{
    policy_free(draft->policy);
    free(draft);
}

// ---- CheckPolicy

static enum err find_effects(struct call *call, const struct policy *policy, struct notes *notes)
{
    const struct fleet *fleet = call->daemon->fleet;
    enum err err = policy_changes(fleet->policy, policy, hosts_inventory(fleet->hosts), notes);
    return err == ERR_OK ? policy_effects(policy, hosts_inventory(fleet->hosts), notes) : err;
}

static void answer_check(struct call *call, struct draft *draft)
{
    Twofold__V1__CheckPolicyResponse response = TWOFOLD__V1__CHECK_POLICY_RESPONSE__INIT;
    response.findings = draft->findings.pointers;
    response.n_findings = draft->findings.count;
    char *effects[NOTES_MAX];
    if (draft->policy != NULL) {
        for (size_t i = 0; i < draft->notes.count; i++) {
            sentence_trim(draft->notes.items[i].text);
            effects[i] = draft->notes.items[i].text;
        }
        response.effects = effects;
        response.n_effects = draft->notes.count;
    }
    call_answer(call, &response.base);
}

void handle_check_policy(struct call *call, const ProtobufCMessage *message)
{
    const Twofold__V1__CheckPolicyRequest *request = (const Twofold__V1__CheckPolicyRequest *)message;
    struct draft *draft = NULL;
    enum err err = draft_new(request->text, &draft);
    if (err == ERR_OK && draft->policy != NULL)
        err = find_effects(call, draft->policy, &draft->notes);
    if (err == ERR_OK)
        answer_check(call, draft);
    else
        call_refuse_text(call, err, err_text(err));
    if (draft != NULL)
        draft_free(draft);
}

// ---- ApplyPolicy

static void answer_apply(struct call *call, const struct outcome *outcome)
{
    Twofold__V1__ApplyPolicyResponse response = TWOFOLD__V1__APPLY_POLICY_RESPONSE__INIT;
    response.generation = outcome->generation;
    response.elapsed_ms = outcome->elapsed_ms;
    response.results = outcome->results;
    response.n_results = outcome->result_count;
    call_answer(call, &response.base);
}

static void answer_findings(struct call *call, struct draft *draft)
{
    Twofold__V1__ApplyPolicyResponse response = TWOFOLD__V1__APPLY_POLICY_RESPONSE__INIT;
    response.generation = call->daemon->fleet->generation;
    response.findings = draft->findings.pointers;
    response.n_findings = draft->findings.count;
    char outcome[64];
    snprintf(outcome, sizeof(outcome), "the policy has %zu findings", draft->findings.count);
    call_audit_refusal(call, outcome);
    call_answer(call, &response.base);
}

static enum err is_in_force(struct store *store, uint64_t generation, const char *text, bool *ret_same,
                            struct note *note)
{
    struct policy_record present;
    enum err err = store_policy(store, generation, &present, note);
    if (err != ERR_OK)
        return err;
    *ret_same = strcmp(present.text, text) == 0;
    free(present.text);
    return ERR_OK;
}

// The same text twice is no change: the generation stays.
static enum err store_new_policy(struct call *call, const char *text, uint64_t *ret_generation, bool *ret_changed,
                                 struct note *note)
{
    struct store *store = call->daemon->state.store;
    uint64_t now = clock_unix_ms(call->daemon->clock) / 1000;
    uint64_t generation = call->daemon->fleet->generation;
    bool same = false;
    enum err err = is_in_force(store, generation, text, &same, note);
    if (err != ERR_OK || same) {
        *ret_generation = generation;
        *ret_changed = false;
        return err;
    }
    err = store_begin(store, note);
    if (err == ERR_OK)
        err = store_next_generation(store, &generation, note);
    if (err == ERR_OK)
        err = store_add_policy(store, generation, text, call->caller, now, note);
    snprintf(call->object, sizeof(call->object), "generation %llu", (unsigned long long)generation);
    if (err == ERR_OK)
        err = call_audit(call, note);
    if (err == ERR_OK)
        err = store_commit(store, note);
    store_rollback(store);
    if (err == ERR_OK) {
        *ret_generation = generation;
        *ret_changed = true;
    }
    return err;
}

void handle_apply_policy(struct call *call, const ProtobufCMessage *message)
{
    const Twofold__V1__ApplyPolicyRequest *request = (const Twofold__V1__ApplyPolicyRequest *)message;
    uint64_t started_ms = clock_boot_ms(call->daemon->clock);
    struct note note = {0};
    struct draft *draft = NULL;
    uint64_t generation = 0;
    bool changed = false;
    snprintf(call->object, sizeof(call->object), "policy");
    enum err err = draft_new(request->text, &draft);
    if (err == ERR_OK && draft->policy == NULL) {
        answer_findings(call, draft);
        draft_free(draft);
        return;
    }
    if (err == ERR_OK)
        err = store_new_policy(call, request->text, &generation, &changed, &note);
    if (err != ERR_OK) {
        call_refuse(call, err, &note);
        if (draft != NULL)
            draft_free(draft);
        return;
    }
    if (changed) {
        fleet_set_policy(call->daemon->fleet, draft->policy, generation);
        draft->policy = NULL; // the fleet's
    }
    draft_free(draft);
    admin_wait(call, generation, started_ms, request->wait_ms, answer_apply);
}

// ---- ShowPolicy

static enum err compile_slice(struct call *call, const char *host, Twofold__V1__Slice **ret_slice, struct note *note)
{
    enum err err = push_compile(call->daemon->fleet, host, ret_slice, note);
    return err == ERR_NOT_FOUND ? note_set(note, err, "there is no live host %.64s: `twofold hosts` lists them", host)
                                : err;
}

void handle_show_policy(struct call *call, const ProtobufCMessage *message)
{
    const Twofold__V1__ShowPolicyRequest *request = (const Twofold__V1__ShowPolicyRequest *)message;
    uint64_t present = call->daemon->fleet->generation;
    uint64_t generation = request->generation != 0 ? request->generation : present;
    struct note note = {0};
    struct policy_record record = {0};
    Twofold__V1__ShowPolicyResponse response = TWOFOLD__V1__SHOW_POLICY_RESPONSE__INIT;
    if (generation > present) {
        enum err missing = note_set(&note, ERR_NOT_FOUND, "there is no generation %llu yet: the present one is %llu",
                                    (unsigned long long)generation, (unsigned long long)present);
        call_refuse(call, missing, &note);
        return;
    }
    enum err err = store_policy(call->daemon->state.store, generation, &record, &note);
    if (err == ERR_OK && request->slice_of[0] != '\0')
        err = generation == present ? compile_slice(call, request->slice_of, &response.slice, &note)
                                    : note_set(&note, ERR_INVALID, "slices are shown of the present generation only");
    if (err != ERR_OK) {
        call_refuse(call, err, &note);
    } else {
        response.generation = generation;
        response.text = record.text;
        response.applied_at = record.applied_at;
        response.applied_by = record.applied_by;
        call_answer(call, &response.base);
    }
    message_free(response.slice);
    free(record.text);
}

// ---- Explain

void handle_explain(struct call *call, const ProtobufCMessage *message)
{
    const Twofold__V1__ExplainRequest *request = (const Twofold__V1__ExplainRequest *)message;
    const struct fleet *fleet = call->daemon->fleet;
    struct explanation explanation = {0};
    struct note note = {0};
    if (request->port == 0 || request->port > 65535 ||
        (request->protocol != TWOFOLD__V1__PROTOCOL__PROTOCOL_TCP &&
         request->protocol != TWOFOLD__V1__PROTOCOL__PROTOCOL_UDP)) {
        call_refuse_text(call, ERR_INVALID, "name a port from 1 to 65535 of TCP or UDP");
        return;
    }
    enum err err = policy_explain(fleet->policy, hosts_inventory(fleet->hosts), request->source, request->destination,
                                  request->protocol, (uint16_t)request->port, &explanation, &note);
    if (err != ERR_OK) {
        call_refuse(call, err, &note);
        return;
    }
    char location[64] = "";
    if (explanation.line > 0)
        snprintf(location, sizeof(location), "policy:%u:%u", explanation.line, explanation.column);
    sentence_trim(explanation.reason);
    Twofold__V1__ExplainResponse response = TWOFOLD__V1__EXPLAIN_RESPONSE__INIT;
    response.allowed = explanation.allowed;
    response.rule = explanation.rule;
    response.location = location;
    response.ipsec = explanation.ipsec;
    response.https = explanation.https;
    response.reason = explanation.reason;
    call_answer(call, &response.base);
}
