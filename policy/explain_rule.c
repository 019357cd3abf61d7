// SPDX-License-Identifier: GPL-2.0-or-later
#include <stdio.h>
#include <string.h>

#include "policy/explain.h"
#include "policy/phrase.h"

bool explain_ports_have(const struct policy_ports *ports, const struct policy_port *port)
{
    for (size_t i = 0; i < ports->count; i++) {
        const struct policy_port *range = &ports->items[i];
        if (range->protocol == port->protocol && range->first <= port->first && port->first <= range->last)
            return true;
    }
    return false;
}

static struct explain_match match_rule(const struct question *question, const struct view_rule *rule)
{
    size_t source = question->source.host, destination = question->destination.host;
    return (struct explain_match){
        .rule = rule,
        .from = view_has(rule->from, source),
        .to = view_has(rule->to, destination),
        .port = explain_ports_have(&rule->rule->ports, &question->port),
        .reversed = view_has(rule->from, destination) && view_has(rule->to, source),
    };
}

// How near a rule is; 0: it says nothing about this flow.
static int nearness(const struct explain_match *match)
{
    if (match->from && match->to)
        return match->port ? 6 : 5;
    if (!match->port)
        return 0;
    if (match->to)
        return 4;
    if (match->from)
        return 3;
    return match->reversed ? 2 : 0;
}

static int layers(const struct policy_rule *rule)
{
    return rule->ipsec + rule->https;
}

// As slice_rule has it: of several that match, the one that needs most layers, then the first by name.
struct explain_match explain_nearest(const struct question *question)
{
    struct explain_match best = {0};
    int best_nearness = 0;
    for (size_t i = 0; i < question->view->policy->rule_count; i++) {
        struct explain_match match = match_rule(question, &question->view->rules[i]);
        int near = nearness(&match);
        bool stronger = near == 6 && best_nearness == 6 && layers(match.rule->rule) > layers(best.rule->rule);
        if (near > best_nearness || stronger) {
            best = match;
            best_nearness = near;
        }
    }
    return best;
}

void explain_name(struct explanation *explanation, const char *name, struct place place)
{
    snprintf(explanation->rule, sizeof(explanation->rule), "%s", name);
    explanation->line = place.line;
    explanation->column = place.column;
}

// A failsafe that covers the same flow does not let it pass outside the rule's layers.
static void mention_failsafe(const struct question *question, struct explanation *explanation)
{
    size_t used = strlen(explanation->reason);
    const struct policy_pinhole *pinhole = explain_pinhole(question, TWOFOLD__V1__DIRECTION__DIRECTION_OUT);
    if (!pinhole)
        pinhole = explain_pinhole(question, TWOFOLD__V1__DIRECTION__DIRECTION_IN);
    if (pinhole)
        snprintf(explanation->reason + used, sizeof(explanation->reason) - used,
                 " Failsafe '%s' covers it too, but between these hosts the rule decides.", pinhole->name);
}

void explain_allow(const struct question *question, const struct policy_rule *rule, struct explanation *explanation)
{
    explain_name(explanation, rule->name, rule->place);
    explanation->allowed = true;
    explanation->ipsec = rule->ipsec;
    explanation->https = rule->https;
    snprintf(explanation->reason, sizeof(explanation->reason), "Rule '%s' (line %u) lets %s open %s to %s inside %s.",
             rule->name, rule->place.line, question->source.name, question->port_text, question->destination.name,
             phrase_layers(rule));
    mention_failsafe(question, explanation);
}

// A segment that has the host, to be named in advice; NULL: it is in none.
static const char *segment_of(const struct policy_view *view, size_t host)
{
    for (size_t i = 0; i < view->policy->segment_count; i++) {
        if (view_has(view->segments[i], host))
            return view->policy->segments[i].name;
    }
    return NULL;
}

// "add segment 'web' to its 'from'"
static void advise_member(const struct question *question, const struct end *end, const char *field, char *advice,
                          size_t room)
{
    const char *segment = segment_of(question->view, end->host);
    if (segment)
        snprintf(advice, room, "add segment '%s' to its '%s'", segment, field);
    else
        snprintf(advice, room, "put %s, which is in no segment, into one and that segment into its '%s'", end->name,
                 field);
}

// "add a rule from 'web' to 'api' with ports [tcp/80]"
static void advise_rule(const struct question *question, char *advice, size_t room)
{
    const char *from = segment_of(question->view, question->source.host);
    const char *to = segment_of(question->view, question->destination.host);
    const char *only_ipsec =
        question->port.protocol == TWOFOLD__V1__PROTOCOL__PROTOCOL_UDP ? " and layers: [ipsec]" : "";
    if (!from || !to)
        snprintf(advice, room, "put %s, which is in no segment, into one, and then add a rule with ports [%s]%s",
                 from ? question->destination.name : question->source.name, question->port_text, only_ipsec);
    else
        snprintf(advice, room, "add a rule from '%s' to '%s' with ports [%s]%s", from, to, question->port_text,
                 only_ipsec);
}

static void deny_by_port(const struct question *question, const struct policy_rule *rule,
                         struct explanation *explanation)
{
    char ports[120], advice[200];
    phrase_ports(&rule->ports, ports, sizeof(ports));
    if (question->port.protocol == TWOFOLD__V1__PROTOCOL__PROTOCOL_UDP && rule->https)
        advise_rule(question, advice, sizeof(advice));
    else
        snprintf(advice, sizeof(advice), "add %s to its 'ports'", question->port_text);
    snprintf(explanation->reason, sizeof(explanation->reason),
             "Rule '%s' (line %u) lets %s reach %s, but only on %s. To allow it, %s.", rule->name, rule->place.line,
             question->source.name, question->destination.name, ports, advice);
}

static void deny_by_end(const struct question *question, const struct explain_match *match,
                        struct explanation *explanation)
{
    const struct policy_rule *rule = match->rule->rule;
    const struct end *missing = match->to ? &question->source : &question->destination;
    char names[120], advice[220];
    phrase_names(match->to ? &rule->from : &rule->to, names, sizeof(names));
    advise_member(question, missing, match->to ? "from" : "to", advice, sizeof(advice));
    snprintf(explanation->reason, sizeof(explanation->reason),
             "Rule '%s' (line %u) allows %s %s %s, but only %s %s, and %s is not there. To allow it, %s.", rule->name,
             rule->place.line, question->port_text, match->to ? "to" : "from",
             match->to ? question->destination.name : question->source.name, match->to ? "from" : "to", names,
             missing->name, advice);
}

void explain_deny(const struct question *question, const struct explain_match *nearest, struct explanation *explanation)
{
    char advice[240];
    const struct policy_rule *rule = nearest->rule ? nearest->rule->rule : NULL;
    if (rule)
        explain_name(explanation, rule->name, rule->place);
    if (rule && nearest->from && nearest->to) {
        deny_by_port(question, rule, explanation);
        return;
    }
    if (rule && (nearest->from || nearest->to)) {
        deny_by_end(question, nearest, explanation);
        return;
    }
    advise_rule(question, advice, sizeof(advice));
    if (rule)
        snprintf(explanation->reason, sizeof(explanation->reason),
                 "Rule '%s' (line %u) allows %s the other way only, from %s to %s. To allow it, %s.", rule->name,
                 rule->place.line, question->port_text, question->destination.name, question->source.name, advice);
    else
        snprintf(explanation->reason, sizeof(explanation->reason),
                 "No rule lets %s open %s to %s, and what no rule allows is denied. To allow it, %s.",
                 question->source.name, question->port_text, question->destination.name, advice);
}

bool explain_is_whole(const struct explain_match *match)
{
    return match->rule && match->from && match->to && match->port;
}
