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

// Worked out once, so that many rules and many hosts together stay cheap.
struct effects {
    const struct policy_view *view;
    struct notes *notes;
    struct arena arena;
    bool *connects;      // for each rule: two different hosts
    uint64_t **pinholes; // for each pinhole: the hosts that it reaches as the far end
    uint64_t *in_segment;
    uint64_t *in_rule; // that connects
};

static bool connects(const struct policy_view *view, const struct view_rule *rule)
{
    size_t from = view_set_count(view, rule->from), to = view_set_count(view, rule->to);
    if (from == 0 || to == 0)
        return false;
    return from > 1 || to > 1 || memcmp(rule->from, rule->to, view->words * sizeof(*rule->from)) != 0;
}

static void join(const struct policy_view *view, uint64_t *set, const uint64_t *other)
{
    for (size_t i = 0; i < view->words; i++)
        set[i] |= other[i];
}

static bool meet(const struct policy_view *view, const uint64_t *a, const uint64_t *b)
{
    for (size_t i = 0; i < view->words; i++) {
        if (a[i] & b[i])
            return true;
    }
    return false;
}

static void fill_pinhole(const struct policy_view *view, const struct policy_pinhole *pinhole, uint64_t *set)
{
    for (size_t i = 0; i < view->host_count; i++) {
        bool reached = !pinhole->cidrs_given;
        for (size_t j = 0; j < view->hosts[i].address_count && !reached; j++)
            reached = policy_cidrs_have(&pinhole->cidrs, &view->hosts[i].addresses[j]);
        if (reached)
            set[i / 64] |= UINT64_C(1) << (i % 64);
    }
}

static enum err prepare(struct effects *effects)
{
    const struct policy_view *view = effects->view;
    const struct policy *policy = view->policy;

    effects->connects = arena_alloc(&effects->arena, policy->rule_count, sizeof(*effects->connects));
    effects->pinholes = arena_alloc(&effects->arena, policy->pinhole_count, sizeof(*effects->pinholes));
    effects->in_segment = arena_alloc(&effects->arena, view->words, sizeof(uint64_t));
    effects->in_rule = arena_alloc(&effects->arena, view->words, sizeof(uint64_t));
    if (!effects->connects || !effects->pinholes || !effects->in_segment || !effects->in_rule)
        return ERR_NOMEM;
    for (size_t i = 0; i < policy->segment_count; i++)
        join(view, effects->in_segment, view->segments[i]);
    for (size_t i = 0; i < policy->rule_count; i++) {
        if (!(effects->connects[i] = connects(view, &view->rules[i])))
            continue;
        join(view, effects->in_rule, view->rules[i].from);
        join(view, effects->in_rule, view->rules[i].to);
    }
    for (size_t i = 0; i < policy->pinhole_count; i++) {
        if (!(effects->pinholes[i] = arena_alloc(&effects->arena, view->words, sizeof(uint64_t))))
            return ERR_NOMEM;
        fill_pinhole(view, &policy->pinholes[i], effects->pinholes[i]);
    }
    return ERR_OK;
}

static void dead_rule(const struct policy_view *view, const struct view_rule *rule, struct notes *notes)
{
    char from[NAMES_BYTES], to[NAMES_BYTES];
    if (view_set_count(view, rule->from) == 0 && view_set_count(view, rule->to) == 0)
        return; // the segments have said it
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

// A rule comes before a failsafe (agent/network/nft_text.c): between its hosts the flow needs the rule's layers, and no longer works while they are down.
static void overlaps(const struct effects *effects, const struct view_rule *rule)
{
    const struct policy *policy = effects->view->policy;
    char port[POLICY_PORT_TEXT_BYTES];
    for (size_t i = 0; i < policy->pinhole_count; i++) {
        const struct policy_pinhole *pinhole = &policy->pinholes[i];
        bool out = pinhole->direction == TWOFOLD__V1__DIRECTION__DIRECTION_OUT;
        if (meet(effects->view, effects->pinholes[i], out ? rule->to : rule->from) &&
            ports_meet(&rule->rule->ports, &pinhole->ports, port))
            notes_add(effects->notes, rule->rule->place.line, rule->rule->place.column,
                      "Rule '%s' and failsafe '%s' both cover %s %s hosts of the rule: between those the rule decides, "
                      "and the "
                      "flow needs its layers. The failsafe serves all others.",
                      rule->rule->name, pinhole->name, port, out ? "to" : "from");
    }
}

static void host_effects(const struct effects *effects, size_t host)
{
    const char *name = effects->view->hosts[host].host->name;
    if (!view_has(effects->in_segment, host))
        notes_add(effects->notes, 0, 0, "Host '%s' is in no segment: it reaches nobody, and nobody reaches it.", name);
    else if (!view_has(effects->in_rule, host))
        notes_add(effects->notes, 0, 0, "No rule concerns host '%s': it reaches nobody, and nobody reaches it.", name);
    if (!view_has(effects->view->reachable, host))
        notes_add(effects->notes, 0, 0, "Host '%s' has no address yet: rules reach it when its agent has enrolled.",
                  name);
}

static void whole_effects(const struct policy_view *view, struct notes *notes)
{
    if (view->policy->rule_count == 0)
        notes_add(notes, 0, 0, "The policy has no rules: everything but failsafe traffic is denied.");
    if (view->policy->pinhole_count == 0)
        notes_add(
            notes, 0, 0,
            "'failsafe' is empty: beside the controller, hosts reach nothing outside the rules, not even DNS, and "
            "nobody gets in by SSH.");
    if (view->host_count == 0)
        notes_add(notes, 0, 0, "No host has enrolled yet: the policy concerns nobody so far.");
}

static enum err find_all(struct effects *effects)
{
    const struct policy_view *view = effects->view;
    enum err err = prepare(effects);
    if (err)
        return err;
    whole_effects(view, effects->notes);
    for (size_t i = 0; i < view->policy->segment_count && view->host_count; i++)
        segment_effects(view, &view->policy->segments[i], view->segments[i], effects->notes);
    for (size_t i = 0; i < view->policy->rule_count; i++) {
        if (effects->connects[i])
            overlaps(effects, &view->rules[i]);
        else
            dead_rule(view, &view->rules[i], effects->notes);
    }
    for (size_t i = 0; i < view->host_count; i++)
        host_effects(effects, i);
    return ERR_OK;
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
    struct effects effects = {.view = view, .notes = notes};
    err = find_all(&effects);
    arena_free(&effects.arena);
    policy_view_free(view);
    return err;
}
