// SPDX-License-Identifier: GPL-2.0-or-later
#include "policy/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/policy.h"
#include "policy/words.h"

static void find_at(struct notes *notes, struct place place, const char *text)
{
    notes_add(notes, place.line, place.column, "%s", text);
}

// ---- names

static int compare_segments(const void *a, const void *b)
{
    return strcmp(((const struct policy_segment *)a)->name, ((const struct policy_segment *)b)->name);
}

static const char *segment_name(const void *context, size_t index)
{
    return ((const struct policy_segment *)context)[index].name;
}

static void resolve(const struct policy *policy, struct policy_names *names, struct notes *notes)
{
    char quoted[WORDS_QUOTED_BYTES], hint[WORDS_HINT_BYTES];
    for (size_t i = 0; i < names->count; i++) {
        struct policy_name *name = &names->items[i];
        const struct policy_segment *segment = policy_segment(policy, name->text);
        if (segment) {
            name->segment = (size_t)(segment - policy->segments);
            continue;
        }
        name->segment = SIZE_MAX;
        if (notes->count == NOTES_MAX) { // nobody would read the hint, and looking for it takes its time
            notes->dropped++;
            continue;
        }
        words_quote(name->text, quoted);
        words_hint(words_nearest(name->text, segment_name, policy->segments, policy->segment_count), hint);
        notes_add(notes, name->place.line, name->place.column, "There is no segment %s.%s Define it below 'segments'.",
                  quoted, hint);
    }
}

struct named {
    const char *name;
    struct place place;
};

static int compare_named(const void *a, const void *b)
{
    const struct named *left = a, *right = b;
    int order = strcmp(left->name, right->name);
    if (order)
        return order;
    return left->place.line != right->place.line ? (left->place.line < right->place.line ? -1 : 1)
                                                 : (left->place.column < right->place.column ? -1 : 1);
}

// `what` is "rule".
static void check_unique(struct named *named, size_t count, const char *what, struct notes *notes)
{
    if (count < 2)
        return;
    qsort(named, count, sizeof(*named), compare_named);
    for (size_t i = 1; i < count; i++) {
        if (strcmp(named[i - 1].name, named[i].name) == 0)
            notes_add(notes, named[i].place.line, named[i].place.column,
                      "There is a %s '%s' already, at line %u: give each a name of its own.", what, named[i].name,
                      named[i - 1].place.line);
    }
}

static enum err check_names(const struct policy *policy, struct notes *notes)
{
    size_t room = policy->rule_count + policy->pinhole_count, count = 0;
    struct named *named = calloc(room ? room : 1, sizeof(*named));
    if (!named)
        return ERR_NOMEM;
    for (size_t i = 0; i < policy->rule_count; i++) {
        if (policy->rules[i].name)
            named[count++] = (struct named){policy->rules[i].name, policy->rules[i].place};
    }
    check_unique(named, count, "rule", notes);
    count = 0;
    for (size_t i = 0; i < policy->pinhole_count; i++) {
        if (policy->pinholes[i].name)
            named[count++] = (struct named){policy->pinholes[i].name, policy->pinholes[i].place};
    }
    check_unique(named, count, "failsafe", notes);
    free(named);
    return ERR_OK;
}

// ---- cycles

enum visit { VISIT_NOT, VISIT_OPEN, VISIT_DONE };

struct walk {
    const struct policy *policy;
    struct notes *notes;
    enum visit *state;
    size_t *path;
    size_t depth;
};

static void report_cycle(struct walk *walk, size_t segment, struct place place)
{
    char path[NOTE_TEXT_BYTES / 2];
    size_t used = 0, begin = 0;
    while (walk->path[begin] != segment)
        begin++;
    for (size_t i = begin; i < walk->depth && used < sizeof(path); i++)
        used +=
            (size_t)snprintf(path + used, sizeof(path) - used, "%s -> ", walk->policy->segments[walk->path[i]].name);
    notes_add(walk->notes, place.line, place.column,
              "Segments include each other in a circle: %s%s. Take one of them out.", path,
              used < sizeof(path) ? walk->policy->segments[segment].name : "...");
}

// As deep as there are segments, at most POLICY_SEGMENTS_MAX.
static void visit(struct walk *walk, size_t index)
{
    const struct policy_names *includes = &walk->policy->segments[index].segments;
    walk->state[index] = VISIT_OPEN;
    walk->path[walk->depth++] = index;
    for (size_t i = 0; i < includes->count; i++) {
        size_t next = includes->items[i].segment;
        if (next == SIZE_MAX)
            continue;
        if (walk->state[next] == VISIT_OPEN)
            report_cycle(walk, next, includes->items[i].place);
        else if (walk->state[next] == VISIT_NOT)
            visit(walk, next);
    }
    walk->depth--;
    walk->state[index] = VISIT_DONE;
}

static enum err check_cycles(const struct policy *policy, struct notes *notes)
{
    struct walk walk = {.policy = policy, .notes = notes};
    enum err err = ERR_NOMEM;
    walk.state = calloc(policy->segment_count + 1, sizeof(*walk.state));
    walk.path = calloc(policy->segment_count + 1, sizeof(*walk.path));
    if (walk.state && walk.path) {
        for (size_t i = 0; i < policy->segment_count; i++) {
            if (walk.state[i] == VISIT_NOT)
                visit(&walk, i);
        }
        err = ERR_OK;
    }
    free(walk.state);
    free(walk.path);
    return err;
}

// ---- CIDRs

struct owned_cidr {
    const struct policy_cidr *cidr;
    const struct policy_segment *segment;
};

static int compare_cidrs(const void *a, const void *b)
{
    const struct owned_cidr *left = a, *right = b;
    int order = ip_compare(&left->cidr->prefix.ip, &right->cidr->prefix.ip);
    if (order)
        return order;
    if (left->cidr->prefix.bits != right->cidr->prefix.bits)
        return left->cidr->prefix.bits < right->cidr->prefix.bits ? -1 : 1;
    if (left->cidr->place.line != right->cidr->place.line)
        return left->cidr->place.line < right->cidr->place.line ? -1 : 1;
    return left->cidr->place.column < right->cidr->place.column ? -1 : 1;
}

static void report_overlap(const struct owned_cidr *outer, const struct owned_cidr *inner, struct notes *notes)
{
    char outer_text[IP_PREFIX_TEXT_BYTES], inner_text[IP_PREFIX_TEXT_BYTES];
    ip_prefix_format(&outer->cidr->prefix, outer_text);
    ip_prefix_format(&inner->cidr->prefix, inner_text);
    notes_add(
        notes, inner->cidr->place.line, inner->cidr->place.column,
        "%s of segment '%s' (line %u) overlaps %s of segment '%s' (line %u): an address must belong to one CIDR only; "
        "to join segments use 'segments'.",
        inner_text, inner->segment->name, inner->cidr->place.line, outer_text, outer->segment->name,
        outer->cidr->place.line);
}

// Two prefixes overlap only when one contains the other. Sorted, a prefix comes before all that it contains, so each is compared
// with the last one that reached furthest.
static enum err check_cidrs(const struct policy *policy, struct notes *notes)
{
    size_t count = 0;
    for (size_t i = 0; i < policy->segment_count; i++)
        count += policy->segments[i].cidrs.count;
    struct owned_cidr *sorted = calloc(count ? count : 1, sizeof(*sorted));
    if (!sorted)
        return ERR_NOMEM;
    count = 0;
    for (size_t i = 0; i < policy->segment_count; i++) {
        const struct policy_segment *segment = &policy->segments[i];
        for (size_t j = 0; j < segment->cidrs.count; j++)
            sorted[count++] = (struct owned_cidr){&segment->cidrs.items[j], segment};
    }
    if (count > 1)
        qsort(sorted, count, sizeof(*sorted), compare_cidrs);
    size_t outer = 0;
    for (size_t i = 1; i < count; i++) {
        if (ip_prefix_overlaps(&sorted[outer].cidr->prefix, &sorted[i].cidr->prefix))
            report_overlap(&sorted[outer], &sorted[i], notes);
        else
            outer = i;
    }
    free(sorted);
    return ERR_OK;
}

// ---- ports

static bool covers(const struct policy_port *port, unsigned number)
{
    return port->protocol == TWOFOLD__V1__PROTOCOL__PROTOCOL_TCP && port->first <= number && number <= port->last;
}

static void check_https_port(const struct policy_port *port, struct notes *notes)
{
    char text[POLICY_PORT_TEXT_BYTES];
    policy_port_format(port, text);
    if (port->protocol == TWOFOLD__V1__PROTOCOL__PROTOCOL_UDP)
        notes_add(notes, port->place.line, port->place.column,
                  "%s cannot go through the https layer, which carries TCP: put UDP ports into a rule of their own "
                  "with layers: [ipsec].",
                  text);
    static const unsigned reserved[] = {POLICY_PORT_CAPTURE, POLICY_PORT_TUNNEL};
    for (size_t i = 0; i < sizeof(reserved) / sizeof(*reserved); i++) {
        if (covers(port, reserved[i]))
            notes_add(notes, port->place.line, port->place.column,
                      "%s covers port %u, on which the agents themselves speak for the https layer: leave it out "
                      "(tcp/1-15000, "
                      "tcp/15002-15007, tcp/15009-65535).",
                      text, reserved[i]);
    }
}

static int compare_ports(const void *a, const void *b)
{
    const struct policy_port *left = a, *right = b;
    if (left->protocol != right->protocol)
        return left->protocol < right->protocol ? -1 : 1;
    if (left->first != right->first)
        return left->first < right->first ? -1 : 1;
    return left->last < right->last ? -1 : left->last > right->last;
}

// By (protocol, first), disjoint; what touches becomes one.
static void merge_ports(struct policy_ports *ports)
{
    size_t kept = 0;
    if (ports->count < 2)
        return;
    qsort(ports->items, ports->count, sizeof(*ports->items), compare_ports);
    for (size_t i = 1; i < ports->count; i++) {
        struct policy_port *last = &ports->items[kept], *port = &ports->items[i];
        if (port->protocol == last->protocol && port->first <= (unsigned)last->last + 1) {
            if (port->last > last->last)
                last->last = port->last;
        } else {
            ports->items[++kept] = *port;
        }
    }
    ports->count = kept + 1;
}

static void check_rule(const struct policy *policy, struct policy_rule *rule, struct notes *notes)
{
    resolve(policy, &rule->from, notes);
    resolve(policy, &rule->to, notes);
    for (size_t i = 0; rule->https && i < rule->ports.count; i++)
        check_https_port(&rule->ports.items[i], notes);
    merge_ports(&rule->ports);
}

static int compare_prefixes(const void *a, const void *b)
{
    const struct policy_cidr *left = a, *right = b;
    int order = ip_compare(&left->prefix.ip, &right->prefix.ip);
    return order ? order : (int)left->prefix.bits - (int)right->prefix.bits;
}

// Sorted, and without those that lie inside another one.
static void merge_cidrs(struct policy_cidrs *cidrs)
{
    size_t kept = 0;
    if (cidrs->count < 2)
        return;
    qsort(cidrs->items, cidrs->count, sizeof(*cidrs->items), compare_prefixes);
    for (size_t i = 1; i < cidrs->count; i++) {
        if (!ip_prefix_overlaps(&cidrs->items[kept].prefix, &cidrs->items[i].prefix))
            cidrs->items[++kept] = cidrs->items[i];
    }
    cidrs->count = kept + 1;
}

// A pinhole passes outside both layers: on the agents' own ports it would be a way around the tunnels.
static void check_pinhole(struct policy_pinhole *pinhole, struct notes *notes)
{
    for (size_t i = 0; i < pinhole->ports.count; i++) {
        const struct policy_port *port = &pinhole->ports.items[i];
        if (covers(port, POLICY_PORT_CAPTURE) || covers(port, POLICY_PORT_TUNNEL))
            find_at(notes, port->place,
                    "A failsafe cannot open the agents' own ports 15001 and 15008: it would lead around the tunnels.");
    }
    merge_ports(&pinhole->ports);
    merge_cidrs(&pinhole->cidrs);
}

enum err policy_check(struct policy *policy, struct notes *notes)
{
    enum err err;

    if (policy->segment_count > 1)
        qsort(policy->segments, policy->segment_count, sizeof(*policy->segments), compare_segments);
    for (size_t i = 0; i < policy->segment_count; i++)
        resolve(policy, &policy->segments[i].segments, notes);
    for (size_t i = 0; i < policy->rule_count; i++)
        check_rule(policy, &policy->rules[i], notes);
    for (size_t i = 0; i < policy->pinhole_count; i++)
        check_pinhole(&policy->pinholes[i], notes);
    if ((err = check_names(policy, notes)) || (err = check_cycles(policy, notes)))
        return err;
    return check_cidrs(policy, notes);
}
