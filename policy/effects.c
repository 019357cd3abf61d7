// SPDX-License-Identifier: GPL-2.0-or-later
// What a good policy does that its author may not expect.
#include <string.h>

#include "policy/phrase.h"
#include "policy/policy.h"
#include "policy/view.h"

#define NAMES_BYTES 160

static void segment_effects(const struct policy_view *view, const struct policy_segment *segment, const uint64_t *set,
                            struct notes *notes)
{
    if (view_set_count(view, set) == 0)
        notes_add(notes, segment->place.line, segment->place.column, "Segment '%s' has no hosts now.", segment->name);
    for (size_t i = 0; i < segment->hosts.count; i++) {
        const struct policy_name *name = &segment->hosts.items[i];
        if (view_host_by_name(view, name->text) == VIEW_NONE)
            notes_add(notes, name->place.line, name->place.column,
                      "Segment '%s' names host '%s', which is not there or revoked.", segment->name, name->text);
    }
}

// A rule connects two different hosts, or nobody.
static bool connects(const struct policy_view *view, const struct view_rule *rule)
{
    size_t from = view_set_count(view, rule->from), to = view_set_count(view, rule->to);
    if (from == 0 || to == 0)
        return false;
    return from > 1 || to > 1 || memcmp(rule->from, rule->to, view->words * sizeof(*rule->from)) != 0;
}

static void rule_effects(const struct policy_view *view, const struct view_rule *rule, struct notes *notes)
{
    char from[NAMES_BYTES], to[NAMES_BYTES];
    if (connects(view, rule) || (view_set_count(view, rule->from) == 0 && view_set_count(view, rule->to) == 0))
        return; // with nobody at both ends, the segments have said it
    phrase_hosts(view, rule->from, from, sizeof(from));
    phrase_hosts(view, rule->to, to, sizeof(to));
    notes_add(notes, rule->rule->place.line, rule->rule->place.column,
              "Rule '%s' matches nothing now: it leads from %s to %s.", rule->rule->name, from, to);
}

static bool ports_meet(const struct policy_ports *a, const struct policy_ports *b, char text[POLICY_PORT_TEXT_BYTES])
{
    for (size_t i = 0; i < a->count; i++) {
        for (size_t j = 0; j < b->count; j++) {
            const struct policy_port *x = &a->items[i], *y = &b->items[j];
            if (x->protocol != y->protocol || x->first > y->last || y->first > x->last)
                continue;
            policy_port_format(x->last - x->first < y->last - y->first ? x : y, text);
            return true;
        }
    }
    return false;
}

static bool reaches_host(const struct policy_pinhole *pinhole, const struct view_host *host)
{
    for (size_t i = 0; i < host->address_count; i++) {
        for (size_t j = 0; j < pinhole->cidrs.count; j++) {
            if (ip_prefix_contains(&pinhole->cidrs.items[j].prefix, &host->addresses[i]))
                return true;
        }
    }
    return false;
}

static bool reaches(const struct policy_view *view, const struct policy_pinhole *pinhole, const uint64_t *set)
{
    if (!pinhole->cidrs_given)
        return view_set_count(view, set) > 0;
    for (size_t i = 0; i < view->host_count; i++) {
        if (view_has(set, i) && reaches_host(pinhole, &view->hosts[i]))
            return true;
    }
    return false;
}

// A failsafe comes before the rules: where both cover a flow, it leaves or arrives outside the layers that the rule needs.
static void pinhole_effects(const struct policy_view *view, const struct view_rule *rule, struct notes *notes)
{
    char port[POLICY_PORT_TEXT_BYTES];
    for (size_t i = 0; i < view->policy->pinhole_count && connects(view, rule); i++) {
        const struct policy_pinhole *pinhole = &view->policy->pinholes[i];
        bool out = pinhole->direction == TWOFOLD__V1__DIRECTION__DIRECTION_OUT;
        if (ports_meet(&rule->rule->ports, &pinhole->ports, port) &&
            reaches(view, pinhole, out ? rule->to : rule->from))
            notes_add(notes, rule->rule->place.line, rule->rule->place.column,
                      "Rule '%s' and failsafe '%s' both cover %s %s hosts of the rule: failsafe comes first and passes "
                      "outside the layers. "
                      "Narrow its 'cidrs' or take the port out of the rule.",
                      rule->rule->name, pinhole->name, port, out ? "to" : "from");
    }
}

static void host_effects(const struct policy_view *view, size_t host, struct notes *notes)
{
    const struct policy *policy = view->policy;
    const char *name = view->hosts[host].host->name;
    bool segment = false, rule = false;

    for (size_t i = 0; i < policy->segment_count && !segment; i++)
        segment = view_has(view->segments[i], host);
    for (size_t i = 0; i < policy->rule_count && !rule; i++)
        rule = connects(view, &view->rules[i]) &&
               (view_has(view->rules[i].from, host) || view_has(view->rules[i].to, host));
    if (!segment)
        notes_add(notes, 0, 0, "Host '%s' is in no segment: it reaches nobody, and nobody reaches it.", name);
    else if (!rule)
        notes_add(notes, 0, 0, "No rule concerns host '%s': it reaches nobody, and nobody reaches it.", name);
    if (!view_has(view->reachable, host))
        notes_add(notes, 0, 0, "Host '%s' has no address yet: rules reach it when its agent has enrolled.", name);
}

enum err policy_effects(const struct policy *policy, const struct inventory *inventory, struct notes *notes)
{
    struct note note = {0};
    struct policy_view *view;
    enum err err = policy_view_new(policy, inventory, &view, &note);
    if (err) {
        notes_add(notes, 0, 0, "%s", note.text);
        return err;
    }
    if (policy->rule_count == 0)
        notes_add(notes, 0, 0, "The policy has no rules: everything but failsafe traffic is denied.");
    if (policy->pinhole_count == 0)
        notes_add(
            notes, 0, 0,
            "'failsafe' is empty: beside the controller, hosts reach nothing outside the rules, not even DNS, and "
            "nobody gets in by SSH.");
    if (view->host_count == 0)
        notes_add(notes, 0, 0, "No host has enrolled yet: the policy concerns nobody so far.");
    for (size_t i = 0; i < policy->segment_count && view->host_count; i++)
        segment_effects(view, &policy->segments[i], view->segments[i], notes);
    for (size_t i = 0; i < policy->rule_count; i++) {
        rule_effects(view, &view->rules[i], notes);
        pinhole_effects(view, &view->rules[i], notes);
    }
    for (size_t i = 0; i < view->host_count; i++)
        host_effects(view, i, notes);
    policy_view_free(view);
    return ERR_OK;
}
