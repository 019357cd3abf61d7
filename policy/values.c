// SPDX-License-Identifier: GPL-2.0-or-later
#include "policy/values.h"

#include <string.h>

#include "policy/policy.h"
#include "policy/words.h"
#include "proto/base/spiffe.h"
#include "proto/base/text.h"

const char *values_name(struct reader *reader, const struct tree_node *node, const char *what)
{
    char quoted[WORDS_QUOTED_BYTES];
    const char *text = reader_text(reader, node, what);
    if (!text)
        return NULL;
    if (!name_is_valid(text)) {
        words_quote(text, quoted);
        reader_finding(
            reader, node,
            "%s cannot be %s: use a-z, 0-9, '-' and '.', 1 to %d of them, beginning and ending with a letter or digit.",
            what, quoted, NAME_MAX_BYTES);
        return NULL;
    }
    return reader_keep(reader, text);
}

static bool read_name(struct reader *reader, const struct tree_node *node, const char *what, struct policy_name *name)
{
    name->text = values_name(reader, node, what);
    name->place = reader_place(node);
    return name->text;
}

static bool read_host(struct reader *reader, const struct tree_node *node, void *item)
{
    return read_name(reader, node, "A host's name", item);
}

void values_hosts(struct reader *reader, const struct tree_node *node, struct policy_names *names)
{
    static const struct reader_list list = {
        .what = "hosts", .max = POLICY_LIST_MAX, .item_bytes = sizeof(struct policy_name), .read_item = read_host};
    void *items = NULL;
    names->count = reader_list(reader, node, &list, &items);
    names->items = items;
}

static bool read_segment(struct reader *reader, const struct tree_node *node, void *item)
{
    return read_name(reader, node, "A segment's name", item);
}

void values_segments(struct reader *reader, const struct tree_node *node, const char *what, struct policy_names *names)
{
    const struct reader_list list = {
        .what = what, .max = POLICY_LIST_MAX, .item_bytes = sizeof(struct policy_name), .read_item = read_segment};
    void *items = NULL;
    names->count = reader_list(reader, node, &list, &items);
    names->items = items;
}

static bool read_cidr(struct reader *reader, const struct tree_node *node, void *item)
{
    struct policy_cidr *cidr = item;
    char quoted[WORDS_QUOTED_BYTES];
    const char *text = reader_text(reader, node, "A CIDR");
    if (!text)
        return false;
    words_quote(text, quoted);
    cidr->place = reader_place(node);
    switch (ip_prefix_parse(text, &cidr->prefix)) {
    case ERR_OK:
        return true;
    case ERR_INVALID:
        reader_finding(reader, node, "%s has bits set behind its prefix length: write the network's own address.",
                       quoted);
        return false;
    default:
        reader_finding(reader, node,
                       "%s is no CIDR: write an address and a length, such as 192.0.2.0/24 or 2001:db8::/32.", quoted);
        return false;
    }
}

void values_cidrs(struct reader *reader, const struct tree_node *node, struct policy_cidrs *cidrs)
{
    static const struct reader_list list = {
        .what = "cidrs", .max = POLICY_LIST_MAX, .item_bytes = sizeof(struct policy_cidr), .read_item = read_cidr};
    void *items = NULL;
    cidrs->count = reader_list(reader, node, &list, &items);
    cidrs->items = items;
}

static bool parse_number(const char *text, size_t len, uint16_t *ret_port)
{
    char digits[6];
    uint64_t value;
    if (len == 0 || len >= sizeof(digits))
        return false;
    memcpy(digits, text, len);
    digits[len] = 0;
    if (decimal_parse(digits, UINT16_MAX, &value) || value == 0)
        return false;
    *ret_port = (uint16_t)value;
    return true;
}

static bool parse_range(const char *text, struct policy_port *port)
{
    const char *dash = strchr(text, '-');
    size_t first_len = dash ? (size_t)(dash - text) : strlen(text);
    if (!parse_number(text, first_len, &port->first))
        return false;
    port->last = port->first;
    return !dash || parse_number(dash + 1, strlen(dash + 1), &port->last);
}

static bool read_port(struct reader *reader, const struct tree_node *node, void *item)
{
    struct policy_port *port = item;
    char quoted[WORDS_QUOTED_BYTES];
    const char *text = reader_text(reader, node, "A port");
    if (!text)
        return false;
    words_quote(text, quoted);
    port->place = reader_place(node);
    const char *slash = strchr(text, '/');
    if (slash && slash - text == 3 && strncmp(text, "tcp", 3) == 0) {
        port->protocol = TWOFOLD__V1__PROTOCOL__PROTOCOL_TCP;
    } else if (slash && slash - text == 3 && strncmp(text, "udp", 3) == 0) {
        port->protocol = TWOFOLD__V1__PROTOCOL__PROTOCOL_UDP;
    } else {
        reader_finding(reader, node, "%s has no protocol: write tcp/ or udp/ before the port, such as tcp/443.",
                       quoted);
        return false;
    }
    if (!parse_range(slash + 1, port)) {
        reader_finding(reader, node, "%s is no port: ports are 1 to 65535, ranges are written tcp/9000-9010.", quoted);
        return false;
    }
    if (port->first > port->last) {
        reader_finding(reader, node, "%s ends before it begins: write the lower port first.", quoted);
        return false;
    }
    return true;
}

void values_ports(struct reader *reader, const struct tree_node *node, struct policy_ports *ports)
{
    static const struct reader_list list = {.what = "ports",
                                            .max = POLICY_RULE_PORTS_MAX,
                                            .item_bytes = sizeof(struct policy_port),
                                            .read_item = read_port};
    void *items = NULL;
    ports->count = reader_list(reader, node, &list, &items);
    ports->items = items;
}

static bool read_label(struct reader *reader, const struct tree_node *node, struct policy_label *label)
{
    char quoted[WORDS_QUOTED_BYTES];
    if (!label_key_is_valid(node->key)) {
        words_quote(node->key, quoted);
        notes_add(reader->notes, node->key_line, node->key_column,
                  "%s cannot be a label's name: use a-z, 0-9, '-', '.', '_' and '/', 1 to %d of them.", quoted,
                  NAME_MAX_BYTES);
        return false;
    }
    if (node->kind != TREE_SCALAR || !label_value_is_valid(node->text)) {
        words_quote(node->kind == TREE_SCALAR ? node->text : "(a list or map)", quoted);
        reader_finding(reader, node,
                       "%s cannot be a label's value: use letters, digits, '-', '.' and '_', at most %d of them.",
                       quoted, NAME_MAX_BYTES);
        return false;
    }
    label->key = reader_keep(reader, node->key);
    label->value = reader_keep(reader, node->text);
    return label->key && label->value;
}

void values_labels(struct reader *reader, const struct tree_node *node, struct policy_segment *segment)
{
    if (node->kind != TREE_MAP) {
        reader_finding(reader, node, "'labels' is a map: write {role: web}.");
        return;
    }
    if (node->count == 0) {
        reader_finding(reader, node, "'labels' is empty: name a label or leave it out.");
        return;
    }
    if (node->count > POLICY_LABELS_MAX) {
        reader_finding(reader, node, "'labels' has %zu entries, and %d is the most.", node->count, POLICY_LABELS_MAX);
        return;
    }
    segment->labels = arena_alloc(reader->arena, node->count, sizeof(*segment->labels));
    if (!segment->labels) {
        reader->nomem = true;
        return;
    }
    for (const struct tree_node *member = node->first; member; member = member->next) {
        if (!member->refused && read_label(reader, member, &segment->labels[segment->label_count]))
            segment->label_count++;
    }
}

static const char *const layer_names[] = {"ipsec", "https"};

static const char *layer_name(const void *context, size_t index)
{
    return ((const char *const *)context)[index];
}

static bool read_layer(struct reader *reader, const struct tree_node *node, void *item)
{
    char quoted[WORDS_QUOTED_BYTES], hint[WORDS_HINT_BYTES];
    size_t *layer = item;
    const char *text = reader_text(reader, node, "A layer");
    if (!text)
        return false;
    for (*layer = 0; *layer < 2; ++*layer) {
        if (strcmp(text, layer_names[*layer]) == 0)
            return true;
    }
    words_quote(text, quoted);
    words_hint(words_nearest(text, layer_name, layer_names, 2), hint);
    reader_finding(reader, node, "%s is no layer: there are ipsec and https.%s", quoted, hint);
    return false;
}

void values_layers(struct reader *reader, const struct tree_node *node, struct policy_rule *rule)
{
    static const struct reader_list list = {
        .what = "layers", .max = 2, .item_bytes = sizeof(size_t), .empty_allowed = true, .read_item = read_layer};
    rule->layers_given = true;
    rule->ipsec = rule->https = false;
    if (node->kind == TREE_LIST && node->count == 0) {
        reader_finding(reader, node,
                       "The rule needs no layer, and nothing passes unencrypted: write layers: [ipsec, https], [ipsec] "
                       "or [https].");
        return;
    }
    void *items = NULL;
    size_t count = reader_list(reader, node, &list, &items);
    for (size_t i = 0; i < count; i++) {
        bool *layer = ((size_t *)items)[i] == 0 ? &rule->ipsec : &rule->https;
        if (*layer)
            reader_finding(reader, node, "A layer is named twice: name each once.");
        *layer = true;
    }
}
