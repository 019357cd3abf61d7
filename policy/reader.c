// SPDX-License-Identifier: GPL-2.0-or-later
#include "policy/reader.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "policy/words.h"

void reader_finding(struct reader *reader, const struct tree_node *node, const char *format, ...)
{
    char text[NOTE_TEXT_BYTES];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    notes_add(reader->notes, node->line, node->column, "%s", text);
}

static const char *field_name(const void *context, size_t index)
{
    return ((const struct reader_field *)context)[index].name;
}

static void list_fields(const struct reader_fields *fields, char *text, size_t room)
{
    size_t used = 0;
    for (size_t i = 0; i < fields->count && used < room; i++)
        used += (size_t)snprintf(text + used, room - used, "%s%s", i ? ", " : "", fields->items[i].name);
}

static void refuse_unknown(struct reader *reader, const struct tree_node *member, const struct reader_fields *fields)
{
    char quoted[WORDS_QUOTED_BYTES], hint[WORDS_HINT_BYTES], known[160];
    words_quote(member->key, quoted);
    words_hint(words_nearest(member->key, field_name, fields->items, fields->count), hint);
    list_fields(fields, known, sizeof(known));
    notes_add(reader->notes, member->key_line, member->key_column, "%s is not a field of %s.%s It may have: %s.",
              quoted, fields->what, hint, known);
}

static const struct reader_field *find_field(const struct reader_fields *fields, const char *name)
{
    for (size_t i = 0; i < fields->count; i++) {
        if (strcmp(fields->items[i].name, name) == 0)
            return &fields->items[i];
    }
    return NULL;
}

// Refused members count as there: what is wrong with them is said already.
static bool has_member(const struct tree_node *map, const char *name)
{
    for (const struct tree_node *member = map->first; member; member = member->next) {
        if (strcmp(member->key, name) == 0)
            return true;
    }
    return false;
}

bool reader_map(struct reader *reader, const struct tree_node *node, const struct reader_fields *fields, void *target)
{
    if (node->refused)
        return false;
    if (node->kind != TREE_MAP) {
        char known[160];
        list_fields(fields, known, sizeof(known));
        reader_finding(reader, node, "Here goes %s: 'name: value' lines with %s.", fields->what, known);
        return false;
    }
    for (const struct tree_node *member = node->first; member; member = member->next) {
        const struct reader_field *field = find_field(fields, member->key);
        if (!field)
            refuse_unknown(reader, member, fields);
        else if (!member->refused)
            field->read(reader, member, target);
    }
    for (size_t i = 0; i < fields->count; i++) {
        if (fields->items[i].needed && !has_member(node, fields->items[i].name))
            reader_finding(reader, node, "'%s' is missing: %s needs it.", fields->items[i].name, fields->what);
    }
    return true;
}

static bool list_fits(struct reader *reader, const struct tree_node *node, const struct reader_list *list)
{
    bool empty = node->kind == TREE_SCALAR ? !node->quoted && !node->text[0] : node->count == 0;
    if (node->kind == TREE_MAP) {
        reader_finding(reader, node, "'%s' is a list: write [one, two] or lines that begin with '- '.", list->what);
        return false;
    }
    if (empty && !(list->empty_allowed && node->kind == TREE_LIST)) {
        reader_finding(reader, node, "'%s' is empty: name something or leave it out.", list->what);
        return false;
    }
    if (node->count > list->max) {
        reader_finding(reader, node, "'%s' has %zu entries, and %zu is the most.", list->what, node->count, list->max);
        return false;
    }
    return true;
}

size_t reader_list(struct reader *reader, const struct tree_node *node, const struct reader_list *list,
                   void **ret_items)
{
    if (node->refused || !list_fits(reader, node, list))
        return 0;
    size_t room = node->kind == TREE_SCALAR ? 1 : node->count;
    unsigned char *items = arena_alloc(reader->arena, room, list->item_bytes);
    if (!items) {
        reader->nomem = true;
        return 0;
    }
    size_t count = 0;
    const struct tree_node *item = node->kind == TREE_SCALAR ? node : node->first;
    for (; item; item = node->kind == TREE_SCALAR ? NULL : item->next) {
        if (!item->refused && list->read_item(reader, item, items + count * list->item_bytes))
            count++;
    }
    *ret_items = items;
    return count;
}

const char *reader_text(struct reader *reader, const struct tree_node *node, const char *what)
{
    if (node->refused)
        return NULL;
    if (node->kind != TREE_SCALAR) {
        reader_finding(reader, node, "%s is one word here, not a %s.", what, node->kind == TREE_LIST ? "list" : "map");
        return NULL;
    }
    if (!node->text[0]) {
        reader_finding(reader, node, "%s is empty: write it behind the colon.", what);
        return NULL;
    }
    return node->text;
}

const char *reader_keep(struct reader *reader, const char *text)
{
    const char *copy = arena_text(reader->arena, text, strlen(text));
    if (!copy)
        reader->nomem = true;
    return copy;
}
