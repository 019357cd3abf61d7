// SPDX-License-Identifier: GPL-2.0-or-later
// From the tree to structs, driven by tables of fields. What does not fit becomes a finding and is left out; reading goes on.
#ifndef TWOFOLD_POLICY_READER_H
#define TWOFOLD_POLICY_READER_H

#include <stdbool.h>
#include <stddef.h>

#include "policy/arena.h"
#include "policy/model.h"
#include "policy/tree.h"
#include "proto/base/note.h"

struct reader {
    struct arena *arena; // of the outcome
    struct notes *notes;
    bool nomem; // memory ran out somewhere: the outcome is void
};

void reader_finding(struct reader *reader, const struct tree_node *node, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static inline struct place reader_place(const struct tree_node *node)
{
    return (struct place){node->line, node->column};
}

// A field of a map, e.g. `ports` of a rule.
struct reader_field {
    const char *name;
    bool needed;
    void (*read)(struct reader *reader, const struct tree_node *node, void *target);
};

struct reader_fields {
    const char *what; // "a rule"
    const struct reader_field *items;
    size_t count;
};

// Reads each member by its field; unknown ones and missing needed ones are findings. False when the node is no map.
bool reader_map(struct reader *reader, const struct tree_node *node, const struct reader_fields *fields, void *target);

// A list, or one value that stands for a list of one.
struct reader_list {
    const char *what; // "ports"
    size_t max;
    size_t item_bytes;
    bool empty_allowed;
    // False: the item is left out, a finding says why.
    bool (*read_item)(struct reader *reader, const struct tree_node *node, void *item);
};
size_t reader_list(struct reader *reader, const struct tree_node *node, const struct reader_list *list,
                   void **ret_items);

// A plain value with text, or NULL and a finding: `what` is "the name of a rule".
const char *reader_text(struct reader *reader, const struct tree_node *node, const char *what);

// A copy in the outcome's arena; NULL and `nomem`.
const char *reader_keep(struct reader *reader, const char *text);

#endif
