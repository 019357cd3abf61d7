// SPDX-License-Identifier: GPL-2.0-or-later
// Text -> tree -> model -> check. The tables below are the whole form of a policy.
#include <stdlib.h>
#include <string.h>

#include "policy/check.h"
#include "policy/policy.h"
#include "policy/reader.h"
#include "policy/tree.h"
#include "policy/values.h"
#include "policy/words.h"
#include "proto/base/text.h"

#define FIELDS(what_, table_)                                                           \
    {                                                                                   \
        .what = (what_), .items = (table_), .count = sizeof(table_) / sizeof(*(table_)) \
    }

// ---- segments

static void read_segment_labels(struct reader *reader, const struct tree_node *node, void *target)
{
    values_labels(reader, node, target);
}

static void read_segment_hosts(struct reader *reader, const struct tree_node *node, void *target)
{
    values_hosts(reader, node, &((struct policy_segment *)target)->hosts);
}

static void read_segment_cidrs(struct reader *reader, const struct tree_node *node, void *target)
{
    values_cidrs(reader, node, &((struct policy_segment *)target)->cidrs);
}

static void read_segment_segments(struct reader *reader, const struct tree_node *node, void *target)
{
    values_segments(reader, node, "segments", &((struct policy_segment *)target)->segments);
}

static const struct reader_field segment_fields[] = {
    {"labels", false, read_segment_labels},
    {"hosts", false, read_segment_hosts},
    {"cidrs", false, read_segment_cidrs},
    {"segments", false, read_segment_segments},
};
static const struct reader_fields segment_form = FIELDS("a segment", segment_fields);

static void read_segment(struct reader *reader, const struct tree_node *node, struct policy_segment *segment)
{
    char quoted[WORDS_QUOTED_BYTES];
    words_quote(node->key, quoted);
    if (!name_is_valid(node->key))
        notes_add(reader->notes, node->key_line, node->key_column,
                  "A segment's name cannot be %s: use a-z, 0-9, '-' and '.', 1 to %d of them, beginning and ending "
                  "with a letter or digit.",
                  quoted, NAME_MAX_BYTES);
    segment->name = reader_keep(reader, node->key);
    segment->place = (struct place){node->key_line, node->key_column};
    if (reader_map(reader, node, &segment_form, segment) && node->count == 0)
        reader_finding(reader, node, "Segment %s selects nothing: give it labels, hosts, cidrs or segments.", quoted);
}

static void read_segments(struct reader *reader, const struct tree_node *node, void *target)
{
    struct policy *policy = target;
    if (node->kind != TREE_MAP) {
        reader_finding(reader, node, "'segments' is a map: write 'web: {labels: {role: web}}' below it.");
        return;
    }
    if (node->count > POLICY_SEGMENTS_MAX) {
        reader_finding(reader, node, "There are %zu segments, and %d is the most.", node->count, POLICY_SEGMENTS_MAX);
        return;
    }
    policy->segments = arena_alloc(reader->arena, node->count, sizeof(*policy->segments));
    if (!policy->segments) {
        reader->nomem = true;
        return;
    }
    for (const struct tree_node *member = node->first; member && !reader->nomem; member = member->next) {
        if (!member->refused)
            read_segment(reader, member, &policy->segments[policy->segment_count++]);
    }
}

// ---- rules

static void read_rule_name(struct reader *reader, const struct tree_node *node, void *target)
{
    ((struct policy_rule *)target)->name = values_name(reader, node, "A rule's name");
}

static void read_rule_from(struct reader *reader, const struct tree_node *node, void *target)
{
    values_segments(reader, node, "from", &((struct policy_rule *)target)->from);
}

static void read_rule_to(struct reader *reader, const struct tree_node *node, void *target)
{
    values_segments(reader, node, "to", &((struct policy_rule *)target)->to);
}

static void read_rule_ports(struct reader *reader, const struct tree_node *node, void *target)
{
    values_ports(reader, node, &((struct policy_rule *)target)->ports);
}

static void read_rule_layers(struct reader *reader, const struct tree_node *node, void *target)
{
    values_layers(reader, node, target);
}

static const struct reader_field rule_fields[] = {
    {"name", true, read_rule_name},   {"from", true, read_rule_from},      {"to", true, read_rule_to},
    {"ports", true, read_rule_ports}, {"layers", false, read_rule_layers},
};
static const struct reader_fields rule_form = FIELDS("a rule", rule_fields);

static bool read_rule(struct reader *reader, const struct tree_node *node, void *item)
{
    struct policy_rule *rule = item;
    *rule = (struct policy_rule){.place = reader_place(node), .ipsec = true, .https = true};
    return reader_map(reader, node, &rule_form, rule);
}

static void read_rules(struct reader *reader, const struct tree_node *node, void *target)
{
    static const struct reader_list list = {.what = "rules",
                                            .max = POLICY_RULES_MAX,
                                            .item_bytes = sizeof(struct policy_rule),
                                            .empty_allowed = true,
                                            .read_item = read_rule};
    struct policy *policy = target;
    void *items = NULL;
    policy->rule_count = reader_list(reader, node, &list, &items);
    policy->rules = items;
}

// ---- failsafe

static void read_pinhole_name(struct reader *reader, const struct tree_node *node, void *target)
{
    ((struct policy_pinhole *)target)->name = values_name(reader, node, "A failsafe's name");
}

static void read_pinhole_direction(struct reader *reader, const struct tree_node *node, void *target)
{
    struct policy_pinhole *pinhole = target;
    char quoted[WORDS_QUOTED_BYTES];
    const char *text = reader_text(reader, node, "'direction'");
    if (!text)
        return;
    if (strcmp(text, "in") == 0) {
        pinhole->direction = TWOFOLD__V1__DIRECTION__DIRECTION_IN;
    } else if (strcmp(text, "out") == 0) {
        pinhole->direction = TWOFOLD__V1__DIRECTION__DIRECTION_OUT;
    } else {
        words_quote(text, quoted);
        reader_finding(reader, node,
                       "%s is no direction: write in (others open, the hosts accept) or out (the hosts open).", quoted);
    }
}

static void read_pinhole_cidrs(struct reader *reader, const struct tree_node *node, void *target)
{
    struct policy_pinhole *pinhole = target;
    pinhole->cidrs_given = true;
    values_cidrs(reader, node, &pinhole->cidrs);
    if (pinhole->cidrs.count > POLICY_FAILSAFE_CIDRS_MAX)
        reader_finding(reader, node, "'cidrs' of a failsafe has %zu entries, and %d is the most.", pinhole->cidrs.count,
                       POLICY_FAILSAFE_CIDRS_MAX);
}

static void read_pinhole_ports(struct reader *reader, const struct tree_node *node, void *target)
{
    values_ports(reader, node, &((struct policy_pinhole *)target)->ports);
}

static const struct reader_field pinhole_fields[] = {
    {"name", true, read_pinhole_name},
    {"direction", true, read_pinhole_direction},
    {"ports", true, read_pinhole_ports},
    {"cidrs", false, read_pinhole_cidrs},
};
static const struct reader_fields pinhole_form = FIELDS("a failsafe", pinhole_fields);

static bool read_pinhole(struct reader *reader, const struct tree_node *node, void *item)
{
    struct policy_pinhole *pinhole = item;
    *pinhole = (struct policy_pinhole){.place = reader_place(node)};
    return reader_map(reader, node, &pinhole_form, pinhole);
}

static void read_failsafe(struct reader *reader, const struct tree_node *node, void *target)
{
    static const struct reader_list list = {.what = "failsafe",
                                            .max = POLICY_FAILSAFE_MAX,
                                            .item_bytes = sizeof(struct policy_pinhole),
                                            .empty_allowed = true,
                                            .read_item = read_pinhole};
    struct policy *policy = target;
    void *items = NULL;
    policy->failsafe_given = true;
    policy->pinhole_count = reader_list(reader, node, &list, &items);
    policy->pinholes = items;
}

// So that nobody locks himself out by forgetting: names resolve and an administrator gets in.
static void default_failsafe(struct reader *reader, struct policy *policy)
{
    static const struct policy_pinhole defaults[] = {
        {.name = "dns", .direction = TWOFOLD__V1__DIRECTION__DIRECTION_OUT},
        {.name = "ssh", .direction = TWOFOLD__V1__DIRECTION__DIRECTION_IN},
    };
    static const struct policy_port dns[] = {{TWOFOLD__V1__PROTOCOL__PROTOCOL_TCP, 53, 53, {0, 0}},
                                             {TWOFOLD__V1__PROTOCOL__PROTOCOL_UDP, 53, 53, {0, 0}}};
    static const struct policy_port ssh[] = {{TWOFOLD__V1__PROTOCOL__PROTOCOL_TCP, 22, 22, {0, 0}}};

    policy->pinholes = arena_alloc(reader->arena, 1, sizeof(defaults));
    struct policy_port *ports = arena_alloc(reader->arena, 3, sizeof(*ports));
    if (!policy->pinholes || !ports) {
        reader->nomem = true;
        return;
    }
    memcpy(policy->pinholes, defaults, sizeof(defaults));
    memcpy(ports, dns, sizeof(dns));
    memcpy(ports + 2, ssh, sizeof(ssh));
    policy->pinholes[0].ports = (struct policy_ports){2, ports};
    policy->pinholes[1].ports = (struct policy_ports){1, ports + 2};
    policy->pinhole_count = 2;
}

// ---- the rest of the top

static void read_version(struct reader *reader, const struct tree_node *node, void *target)
{
    char quoted[WORDS_QUOTED_BYTES];
    (void)target;
    const char *text = reader_text(reader, node, "'version'");
    if (!text || strcmp(text, "1") == 0)
        return;
    words_quote(text, quoted);
    reader_finding(reader, node, "Version %s is not known: this software reads version 1.", quoted);
}

static void read_rekey(struct reader *reader, const struct tree_node *node, void *target)
{
    struct policy *policy = target;
    char quoted[WORDS_QUOTED_BYTES];
    uint64_t seconds;
    const char *text = reader_text(reader, node, "'rekey'");
    if (!text)
        return;
    words_quote(text, quoted);
    enum err err = duration_parse(text, POLICY_REKEY_SECONDS_MAX, &seconds);
    if (err == ERR_MALFORMED)
        reader_finding(reader, node, "%s is no time: write a number and s, m or h, such as 30m.", quoted);
    else if (err || seconds < POLICY_REKEY_SECONDS_MIN)
        reader_finding(reader, node, "%s is out of range: keys live from %ds to 1h.", quoted, POLICY_REKEY_SECONDS_MIN);
    else
        policy->rekey_seconds = (uint32_t)seconds;
}

static const struct reader_field keying_fields[] = {{"rekey", false, read_rekey}};
static const struct reader_fields keying_form = FIELDS("'keying'", keying_fields);

static void read_keying(struct reader *reader, const struct tree_node *node, void *target)
{
    reader_map(reader, node, &keying_form, target);
}

static void read_independence(struct reader *reader, const struct tree_node *node, void *target)
{
    struct policy *policy = target;
    char quoted[WORDS_QUOTED_BYTES];
    const char *text = reader_text(reader, node, "'independence'");
    if (!text)
        return;
    policy->independence_required = strcmp(text, "required") == 0;
    if (policy->independence_required || strcmp(text, "reported") == 0)
        return;
    words_quote(text, quoted);
    reader_finding(
        reader, node,
        "%s is not known: write required (hosts whose layers share anything refuse to run) or reported (they say so).",
        quoted);
}

static const struct reader_field policy_fields[] = {
    {"version", true, read_version},    {"segments", false, read_segments}, {"rules", false, read_rules},
    {"failsafe", false, read_failsafe}, {"keying", false, read_keying},     {"independence", false, read_independence},
};
static const struct reader_fields policy_form = FIELDS("a policy", policy_fields);

static int compare_notes(const void *a, const void *b)
{
    const struct note *left = a, *right = b;
    if (left->line != right->line)
        return left->line < right->line ? -1 : 1;
    if (left->column != right->column)
        return left->column < right->column ? -1 : 1;
    return strcmp(left->text, right->text);
}

static enum err read_tree(const struct tree_node *root, struct policy *policy, struct notes *notes)
{
    struct reader reader = {.arena = &policy->arena, .notes = notes};
    if (!root) {
        notes_add(notes, 1, 1, "The policy is empty: it needs at least 'version: 1'.");
        return ERR_OK;
    }
    reader_map(&reader, root, &policy_form, policy);
    if (!policy->failsafe_given)
        default_failsafe(&reader, policy);
    return reader.nomem ? ERR_NOMEM : policy_check(policy, notes);
}

enum err policy_read(const char *text, size_t len, struct policy **ret_policy, struct notes *notes)
{
    struct arena tree = {0};
    struct tree_node *root = NULL;
    size_t before = notes->count + notes->dropped, first = notes->count;

    struct policy *policy = calloc(1, sizeof(*policy));
    if (!policy)
        return ERR_NOMEM;
    policy->rekey_seconds = POLICY_REKEY_SECONDS_MAX;
    enum err err = tree_read(text, len, &tree, notes, &root);
    if (!err)
        err = read_tree(root, policy, notes);
    arena_free(&tree);
    if (!err && notes->count + notes->dropped > before)
        err = ERR_INVALID;
    qsort(notes->items + first, notes->count - first, sizeof(*notes->items), compare_notes);
    if (err) {
        policy_free(policy);
        return err;
    }
    *ret_policy = policy;
    return ERR_OK;
}

void policy_free(struct policy *policy)
{
    if (!policy)
        return;
    arena_free(&policy->arena);
    free(policy);
}
