// SPDX-License-Identifier: GPL-2.0-or-later
// What one policy changes against another, rule by rule and failsafe by failsafe.
#include <string.h>

#include "policy/phrase.h"
#include "policy/policy.h"
#include "policy/view.h"

#define NAMES_BYTES 160

static void tell_rule(const struct policy_view *view, const struct view_rule *rule, const char *verb,
                      struct notes *notes)
{
    char from[NAMES_BYTES], to[NAMES_BYTES], ports[NAMES_BYTES / 2];
    phrase_hosts(view, rule->from, from, sizeof(from));
    phrase_hosts(view, rule->to, to, sizeof(to));
    phrase_ports(&rule->rule->ports, ports, sizeof(ports));
    notes_add(notes, rule->rule->place.line, rule->rule->place.column, "Rule '%s' %s: from %s to %s, %s inside %s.",
              rule->rule->name, verb, from, to, ports, phrase_layers(rule->rule));
}

static bool same_ports(const struct policy_ports *a, const struct policy_ports *b)
{
    if (a->count != b->count)
        return false;
    for (size_t i = 0; i < a->count; i++) {
        if (a->items[i].protocol != b->items[i].protocol || a->items[i].first != b->items[i].first ||
            a->items[i].last != b->items[i].last)
            return false;
    }
    return true;
}

// Both views are of one inventory, so their sets compare.
static bool same_rule(const struct policy_view *view, const struct view_rule *a, const struct view_rule *b)
{
    size_t bytes = view->words * sizeof(uint64_t);
    return memcmp(a->from, b->from, bytes) == 0 && memcmp(a->to, b->to, bytes) == 0 &&
           a->rule->ipsec == b->rule->ipsec && a->rule->https == b->rule->https &&
           same_ports(&a->rule->ports, &b->rule->ports);
}

static void compare_rules(const struct policy_view *old, const struct policy_view *new, struct notes *notes)
{
    size_t i = 0, j = 0;
    while (i < old->policy->rule_count || j < new->policy->rule_count) {
        int order = i == old->policy->rule_count   ? 1
                    : j == new->policy->rule_count ? -1
                                                   : strcmp(old->rules[i].rule->name, new->rules[j].rule->name);
        if (order < 0)
            tell_rule(old, &old->rules[i], "ends", notes);
        else if (order > 0)
            tell_rule(new, &new->rules[j], "begins", notes);
        else if (!same_rule(old, &old->rules[i], &new->rules[j]))
            tell_rule(new, &new->rules[j], "changes to", notes);
        i += order <= 0;
        j += order >= 0;
    }
}

// ---- failsafe

static void tell_pinhole(const struct policy_pinhole *pinhole, const char *verb, struct notes *notes)
{
    char cidrs[NAMES_BYTES] = "any address", ports[NAMES_BYTES / 2];
    bool in = pinhole->direction == TWOFOLD__V1__DIRECTION__DIRECTION_IN;
    if (pinhole->cidrs_given)
        phrase_cidrs(&pinhole->cidrs, cidrs, sizeof(cidrs));
    phrase_ports(&pinhole->ports, ports, sizeof(ports));
    notes_add(notes, pinhole->place.line, pinhole->place.column, "Failsafe '%s' %s: %s, %s %s, outside both layers.",
              pinhole->name, verb, ports, in ? "in from" : "out to", cidrs);
}

static bool same_cidrs(const struct policy_cidrs *a, const struct policy_cidrs *b)
{
    if (a->count != b->count)
        return false;
    for (size_t i = 0; i < a->count; i++) {
        const struct ip_prefix *x = &a->items[i].prefix, *y = &b->items[i].prefix;
        if (x->bits != y->bits || ip_compare(&x->ip, &y->ip) != 0)
            return false;
    }
    return true;
}

static bool same_pinhole(const struct policy_pinhole *a, const struct policy_pinhole *b)
{
    return a->direction == b->direction && a->cidrs_given == b->cidrs_given && same_cidrs(&a->cidrs, &b->cidrs) &&
           same_ports(&a->ports, &b->ports);
}

static const struct policy_pinhole *pinhole_by_name(const struct policy *policy, const char *name)
{
    for (size_t i = 0; i < policy->pinhole_count; i++) {
        if (strcmp(policy->pinholes[i].name, name) == 0)
            return &policy->pinholes[i];
    }
    return NULL;
}

// They are few: a list of 64 at most.
static void compare_pinholes(const struct policy *old, const struct policy *new, struct notes *notes)
{
    for (size_t i = 0; i < old->pinhole_count; i++) {
        if (!pinhole_by_name(new, old->pinholes[i].name))
            tell_pinhole(&old->pinholes[i], "ends", notes);
    }
    for (size_t i = 0; i < new->pinhole_count; i++) {
        const struct policy_pinhole *before = pinhole_by_name(old, new->pinholes[i].name);
        if (!before || !same_pinhole(before, &new->pinholes[i]))
            tell_pinhole(&new->pinholes[i], before ? "changes to" : "begins", notes);
    }
}

enum err policy_changes(const struct policy *old, const struct policy *new, const struct inventory *inventory,
                        struct notes *notes)
{
    struct policy_view *old_view = NULL, *new_view = NULL;
    enum err err = policy_view_new(old, inventory, &old_view, NULL);
    if (!err)
        err = policy_view_new(new, inventory, &new_view, NULL);
    if (!err) {
        compare_rules(old_view, new_view, notes);
        compare_pinholes(old, new, notes);
    }
    policy_view_free(old_view);
    policy_view_free(new_view);
    return err;
}
