// SPDX-License-Identifier: GPL-2.0-or-later
// YAML text (1.1, by libyaml) to a plain tree with positions: scalars, lists and maps, nothing else. What a policy does not need and
// what makes small texts large is refused: anchors, aliases, tags, merge keys, several documents; duplicate keys too.
#ifndef TWOFOLD_POLICY_TREE_H
#define TWOFOLD_POLICY_TREE_H

#include <stdbool.h>
#include <stddef.h>

#include "policy/arena.h"
#include "proto/base/err.h"
#include "proto/base/note.h"

enum tree_kind { TREE_SCALAR, TREE_LIST, TREE_MAP };

struct tree_node {
    enum tree_kind kind;
    unsigned line; // from 1
    unsigned column;
    bool refused;     // a finding about it is already there: readers pass over it
    bool quoted;      // scalar
    const char *text; // scalar; no zero byte inside
    const char *key;  // of a map's member
    unsigned key_line;
    unsigned key_column;
    struct tree_node *next; // in the list or map that it is in, as written
    struct tree_node *first;
    struct tree_node *last;
    size_t count;
};

// ERR_OK with the root (NULL for an empty text), whatever findings were added; ERR_INVALID when reading had to stop, with a finding;
// ERR_NOMEM. The tree lives in the arena.
MUST_USE enum err tree_read(const char *text, size_t len, struct arena *arena, struct notes *notes,
                            struct tree_node **ret_root);

#endif
