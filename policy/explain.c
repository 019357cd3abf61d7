// SPDX-License-Identifier: GPL-2.0-or-later
// One flow, one answer: the rule or failsafe that carries it, or the nearest miss and what would allow it.
#include "policy/explain.h"

#include <stdio.h>
#include <string.h>

#include "policy/words.h"

// ---- who is meant

static const char *inventory_name(const void *context, size_t index)
{
    return ((const struct inventory_host *)context)[index].name;
}

static bool has_address(const struct inventory_host *host, const struct ip *address)
{
    for (size_t i = 0; i < host->address_count; i++) {
        if (ip_compare(&host->addresses[i], address) == 0)
            return true;
    }
    return false;
}

static enum err resolve(const struct policy_view *view, const char *given, struct end *end, struct note *note)
{
    const struct inventory *inventory = view->inventory;
    char quoted[WORDS_QUOTED_BYTES], hint[WORDS_HINT_BYTES];

    *end = (struct end){.given = given, .name = given};
    end->host = view_host_by_name(view, given);
    if (end->host == VIEW_NONE && !ip_parse(given, &end->address)) {
        end->by_address = true;
        end->host = view_host_by_address(view, &end->address);
    }
    if (end->host != VIEW_NONE) {
        end->name = view->hosts[end->host].host->name;
        return ERR_OK;
    }
    for (size_t i = 0; i < inventory->host_count && !end->revoked; i++) {
        const struct inventory_host *host = &inventory->hosts[i];
        if (host->revoked && (strcmp(host->name, given) == 0 || (end->by_address && has_address(host, &end->address))))
            end->revoked = host;
    }
    if (end->revoked || end->by_address)
        return ERR_OK;
    words_quote(given, quoted);
    words_hint(words_nearest(given, inventory_name, inventory->hosts, inventory->host_count), hint);
    return note_set(note, ERR_NOT_FOUND, "%s is neither a host nor an address.%s `twofold hosts` lists the hosts.",
                    quoted, hint);
}

// ---- the answer

// True when the flow never comes to a rule.
static bool explain_special(const struct question *question, struct explanation *explanation)
{
    const struct end *ends[] = {&question->source, &question->destination};
    for (size_t i = 0; i < 2; i++) {
        if (ends[i]->revoked) {
            snprintf(
                explanation->reason, sizeof(explanation->reason),
                "Host %s is revoked: nobody speaks with it. To allow it, enrol the machine again under another name.",
                ends[i]->revoked->name);
            return true;
        }
    }
    if (question->source.host != VIEW_NONE && question->source.host == question->destination.host) {
        explanation->allowed = true;
        snprintf(explanation->reason, sizeof(explanation->reason),
                 "Both ends are %s: what stays inside one host is on no network, and no rule applies to it.",
                 question->source.name);
        return true;
    }
    for (size_t i = 0; i < 2; i++) {
        if (ends[i]->host != VIEW_NONE && !view_has(question->view->reachable, ends[i]->host)) {
            snprintf(explanation->reason, sizeof(explanation->reason),
                     "Host %s has no address yet: start its agent with its join token, then ask again.", ends[i]->name);
            return true;
        }
    }
    return false;
}

static void explain(const struct question *question, struct explanation *explanation)
{
    bool both = question->source.host != VIEW_NONE && question->destination.host != VIEW_NONE;
    struct explain_match nearest = {0};

    if (explain_special(question, explanation))
        return;
    if (both)
        nearest = explain_nearest(question);
    if (explain_is_whole(&nearest))
        explain_allow(question, nearest.rule->rule, explanation);
    else if (!explain_failsafe(question, explanation) && !both)
        explain_deny_outside(question, explanation);
    else if (both && !explanation->allowed && (nearest.rule || !explanation->rule[0]))
        explain_deny(question, &nearest, explanation);
}

enum err policy_explain(const struct policy *policy, const struct inventory *inventory, const char *source,
                        const char *destination, Twofold__V1__Protocol protocol, uint16_t port,
                        struct explanation *ret_explanation, struct note *note)
{
    struct question question = {.port = {.protocol = protocol, .first = port, .last = port}};
    struct explanation explanation = {0};
    struct policy_view *view;
    enum err err;

    if (port == 0 ||
        (protocol != TWOFOLD__V1__PROTOCOL__PROTOCOL_TCP && protocol != TWOFOLD__V1__PROTOCOL__PROTOCOL_UDP))
        return note_set(note, ERR_INVALID, "Ports are 1 to 65535 of tcp or udp.");
    if ((err = policy_view_new(policy, inventory, &view, note)))
        return err;
    question.view = view;
    policy_port_format(&question.port, question.port_text);
    if (!(err = resolve(view, source, &question.source, note)))
        err = resolve(view, destination, &question.destination, note);
    bool ours = question.source.host != VIEW_NONE || question.destination.host != VIEW_NONE ||
                question.source.revoked || question.destination.revoked;
    if (!err && !ours)
        err = note_set(note, ERR_NOT_FOUND,
                       "Neither end is one of the hosts, so the policy has no say. `twofold hosts` lists them.");
    if (!err) {
        explain(&question, &explanation);
        *ret_explanation = explanation;
    }
    policy_view_free(view);
    return err;
}
