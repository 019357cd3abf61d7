// SPDX-License-Identifier: GPL-2.0-or-later
#include <stdio.h>

#include "policy/explain.h"

static bool pinhole_reaches(const struct policy_view *view, const struct policy_pinhole *pinhole, const struct end *far)
{
    if (!pinhole->cidrs_given)
        return true;
    if (far->by_address)
        return policy_cidrs_have(&pinhole->cidrs, &far->address);
    for (size_t i = 0; i < view->hosts[far->host].address_count; i++) {
        if (policy_cidrs_have(&pinhole->cidrs, &view->hosts[far->host].addresses[i]))
            return true;
    }
    return false;
}

const struct policy_pinhole *explain_pinhole(const struct question *question, Twofold__V1__Direction direction)
{
    const struct policy *policy = question->view->policy;
    const struct end *far =
        direction == TWOFOLD__V1__DIRECTION__DIRECTION_OUT ? &question->destination : &question->source;
    for (size_t i = 0; i < policy->pinhole_count; i++) {
        const struct policy_pinhole *pinhole = &policy->pinholes[i];
        if (pinhole->direction == direction && explain_ports_have(&pinhole->ports, &question->port) &&
            pinhole_reaches(question->view, pinhole, far))
            return pinhole;
    }
    return NULL;
}

// A failsafe works at one host, so a flow between two hosts needs one at each end.
bool explain_failsafe(const struct question *question, struct explanation *explanation)
{
    const struct policy_pinhole *out = NULL, *in = NULL;
    bool needs_out = question->source.host != VIEW_NONE, needs_in = question->destination.host != VIEW_NONE;

    if (needs_out)
        out = explain_pinhole(question, TWOFOLD__V1__DIRECTION__DIRECTION_OUT);
    if (needs_in)
        in = explain_pinhole(question, TWOFOLD__V1__DIRECTION__DIRECTION_IN);
    if (!out && !in)
        return false;
    explain_name(explanation, out ? out->name : in->name, out ? out->place : in->place);
    explanation->allowed = (!needs_out || out) && (!needs_in || in);
    if (explanation->allowed)
        snprintf(explanation->reason, sizeof(explanation->reason),
                 "Failsafe '%s' lets %s pass from %s to %s, outside both layers.", explanation->rule,
                 question->port_text, question->source.name, question->destination.name);
    else
        snprintf(
            explanation->reason, sizeof(explanation->reason),
            "Failsafe '%s' lets %s %s %s, but nothing lets it %s %s. To allow it, add a rule, which also encrypts it.",
            explanation->rule, question->port_text, out ? "out of" : "into",
            out ? question->source.name : question->destination.name, out ? "into" : "out of",
            out ? question->destination.name : question->source.name);
    return true;
}

void explain_deny_outside(const struct question *question, struct explanation *explanation)
{
    bool out = question->source.host != VIEW_NONE;
    const struct end *far = out ? &question->destination : &question->source;
    snprintf(explanation->reason, sizeof(explanation->reason),
             "%s is none of the hosts, so no rule can name it, and no failsafe lets %s %s %s. To allow it, enrol that "
             "machine and add "
             "a rule, or add a failsafe with direction: %s, ports: [%s] and cidrs: [%s].",
             far->given, question->port_text, out ? "out of" : "into",
             out ? question->source.name : question->destination.name, out ? "out" : "in", question->port_text,
             far->given);
}
