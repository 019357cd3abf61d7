// SPDX-License-Identifier: GPL-2.0-or-later
#include "policy/tree.h"

#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "policy/policy.h"
#include "policy/words.h"

// What is open while events come in: the list or map, and in a map the key whose value comes next.
struct level {
    struct tree_node *node;
    bool has_key;
    bool key_refused;
    const char *key;
    unsigned key_line;
    unsigned key_column;
};

struct builder {
    yaml_parser_t parser;
    struct arena *arena;
    struct notes *notes;
    struct tree_node *root;
    struct level levels[POLICY_DEPTH_MAX + 1];
    size_t depth;
    size_t nodes;
    size_t documents;
    size_t skipping; // depth inside a map's key that is no scalar
};

static void refuse(struct builder *builder, const yaml_mark_t *mark, const char *text)
{
    notes_add(builder->notes, (unsigned)mark->line + 1, (unsigned)mark->column + 1, "%s", text);
}

static bool refuse_properties(struct builder *builder, const yaml_event_t *event, const yaml_char_t *anchor,
                              const yaml_char_t *tag)
{
    if (anchor)
        refuse(builder, &event->start_mark,
               "Anchors (&name) are not part of a policy: write the value out where it is used.");
    if (tag)
        refuse(builder, &event->start_mark,
               "Tags (!name) are not part of a policy: remove it; every value is plain text.");
    return anchor || tag;
}

static enum err node_new(struct builder *builder, const yaml_event_t *event, enum tree_kind kind,
                         struct tree_node **ret_node)
{
    if (++builder->nodes > POLICY_NODES_MAX) {
        notes_add(builder->notes, (unsigned)event->start_mark.line + 1, (unsigned)event->start_mark.column + 1,
                  "The policy has more than %d values: split it or select by labels.", POLICY_NODES_MAX);
        return ERR_INVALID;
    }
    struct tree_node *node = arena_alloc(builder->arena, 1, sizeof(*node));
    if (!node)
        return ERR_NOMEM;
    node->kind = kind;
    node->line = (unsigned)event->start_mark.line + 1;
    node->column = (unsigned)event->start_mark.column + 1;
    *ret_node = node;
    return ERR_OK;
}

// Puts a finished scalar or a just opened list or map where it belongs.
static void attach(struct builder *builder, struct tree_node *node)
{
    if (builder->depth == 0) {
        builder->root = node;
        return;
    }
    struct level *level = &builder->levels[builder->depth - 1];
    if (level->node->kind == TREE_MAP) {
        node->key = level->key;
        node->key_line = level->key_line;
        node->key_column = level->key_column;
        level->has_key = false;
        if (level->key_refused)
            return; // parsed for its findings, then dropped
    }
    if (level->node->last)
        level->node->last->next = node;
    else
        level->node->first = node;
    level->node->last = node;
    level->node->count++;
}

static bool wants_key(const struct builder *builder)
{
    if (builder->depth == 0)
        return false;
    const struct level *level = &builder->levels[builder->depth - 1];
    return level->node->kind == TREE_MAP && !level->has_key;
}

static enum err on_key(struct builder *builder, const yaml_event_t *event)
{
    struct level *level = &builder->levels[builder->depth - 1];
    const char *text = (const char *)event->data.scalar.value;
    size_t len = event->data.scalar.length;

    level->has_key = true;
    level->key_refused = refuse_properties(builder, event, event->data.scalar.anchor, event->data.scalar.tag);
    level->key_line = (unsigned)event->start_mark.line + 1;
    level->key_column = (unsigned)event->start_mark.column + 1;
    if (strlen(text) != len) {
        refuse(builder, &event->start_mark, "A name holds a zero byte: remove it.");
        level->key_refused = true;
    }
    if (event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE && strcmp(text, "<<") == 0) {
        refuse(builder, &event->start_mark, "Merge keys (<<) are not part of a policy: write the values out.");
        level->key_refused = true;
    }
    level->key = arena_text(builder->arena, text, len);
    return level->key ? ERR_OK : ERR_NOMEM;
}

static enum err on_scalar(struct builder *builder, const yaml_event_t *event)
{
    struct tree_node *node;
    const char *text = (const char *)event->data.scalar.value;
    size_t len = event->data.scalar.length;
    enum err err;

    if (wants_key(builder))
        return on_key(builder, event);
    if ((err = node_new(builder, event, TREE_SCALAR, &node)))
        return err;
    node->refused = refuse_properties(builder, event, event->data.scalar.anchor, event->data.scalar.tag);
    node->quoted = event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
    if (strlen(text) != len) {
        refuse(builder, &event->start_mark, "A value holds a zero byte: remove it.");
        node->refused = true;
    }
    if (!(node->text = arena_text(builder->arena, text, len)))
        return ERR_NOMEM;
    attach(builder, node);
    return ERR_OK;
}

static enum err on_alias(struct builder *builder, const yaml_event_t *event)
{
    struct tree_node *node;
    enum err err;

    refuse(builder, &event->start_mark,
           "Aliases (*name) are not part of a policy: write the value out where it is used.");
    if (wants_key(builder)) {
        struct level *level = &builder->levels[builder->depth - 1];
        level->has_key = level->key_refused = true;
        return ERR_OK;
    }
    if ((err = node_new(builder, event, TREE_SCALAR, &node)))
        return err;
    node->refused = true;
    node->text = "";
    attach(builder, node);
    return ERR_OK;
}

static enum err on_open(struct builder *builder, const yaml_event_t *event, enum tree_kind kind)
{
    const yaml_char_t *anchor = kind == TREE_MAP ? event->data.mapping_start.anchor : event->data.sequence_start.anchor;
    const yaml_char_t *tag = kind == TREE_MAP ? event->data.mapping_start.tag : event->data.sequence_start.tag;
    struct tree_node *node;
    enum err err;

    if (wants_key(builder)) {
        refuse(builder, &event->start_mark,
               "A list or map cannot be a name here: write a plain word before the colon.");
        builder->skipping = 1;
        return ERR_OK;
    }
    if (builder->depth == POLICY_DEPTH_MAX) {
        notes_add(builder->notes, (unsigned)event->start_mark.line + 1, (unsigned)event->start_mark.column + 1,
                  "Lists and maps are nested more than %d deep: no policy needs that.", POLICY_DEPTH_MAX);
        return ERR_INVALID;
    }
    if ((err = node_new(builder, event, kind, &node)))
        return err;
    node->refused = refuse_properties(builder, event, anchor, tag);
    attach(builder, node);
    builder->levels[builder->depth++] = (struct level){.node = node};
    return ERR_OK;
}

static int compare_keys(const void *a, const void *b)
{
    const struct tree_node *left = *(struct tree_node *const *)a, *right = *(struct tree_node *const *)b;
    int order = strcmp(left->key, right->key);
    if (order)
        return order;
    if (left->key_line != right->key_line)
        return left->key_line < right->key_line ? -1 : 1;
    return left->key_column < right->key_column ? -1 : left->key_column > right->key_column;
}

// The later ones of equal keys are marked as refused.
static enum err check_duplicates(struct builder *builder, struct tree_node *map)
{
    struct tree_node **sorted;
    char quoted[WORDS_QUOTED_BYTES];
    size_t count = 0;

    if (map->count < 2)
        return ERR_OK;
    if (!(sorted = malloc(map->count * sizeof(*sorted))))
        return ERR_NOMEM;
    for (struct tree_node *member = map->first; member; member = member->next)
        sorted[count++] = member;
    qsort(sorted, count, sizeof(*sorted), compare_keys);
    for (size_t i = 1; i < count; i++) {
        if (strcmp(sorted[i - 1]->key, sorted[i]->key) != 0)
            continue;
        words_quote(sorted[i]->key, quoted);
        notes_add(builder->notes, sorted[i]->key_line, sorted[i]->key_column,
                  "%s is already there, at line %u: keep one of the two.", quoted, sorted[i - 1]->key_line);
        sorted[i]->refused = true;
    }
    free(sorted);
    return ERR_OK;
}

static enum err on_close(struct builder *builder)
{
    struct level *level = &builder->levels[--builder->depth];
    return level->node->kind == TREE_MAP ? check_duplicates(builder, level->node) : ERR_OK;
}

static enum err on_document(struct builder *builder, const yaml_event_t *event)
{
    if (++builder->documents > 1) {
        refuse(builder, &event->start_mark,
               "A second document begins here: a policy is one document; remove the line '---'.");
        return ERR_INVALID;
    }
    if (event->data.document_start.tag_directives.start != event->data.document_start.tag_directives.end)
        refuse(builder, &event->start_mark, "Tags are not part of a policy: remove the %TAG line.");
    return ERR_OK;
}

// The inside of a key that is no scalar: passed over up to its end, then its value is dropped.
static void skip_key(struct builder *builder, yaml_event_type_t type)
{
    if (type == YAML_SEQUENCE_START_EVENT || type == YAML_MAPPING_START_EVENT)
        builder->skipping++;
    if (type == YAML_SEQUENCE_END_EVENT || type == YAML_MAPPING_END_EVENT)
        builder->skipping--;
    if (builder->skipping == 0) {
        struct level *level = &builder->levels[builder->depth - 1];
        level->has_key = level->key_refused = true;
    }
}

static enum err on_event(struct builder *builder, const yaml_event_t *event)
{
    if (builder->skipping) {
        skip_key(builder, event->type);
        if (builder->skipping <= POLICY_DEPTH_MAX)
            return ERR_OK;
        refuse(builder, &event->start_mark, "Lists and maps are nested too deep: no policy needs that.");
        return ERR_INVALID;
    }
    switch (event->type) {
    case YAML_DOCUMENT_START_EVENT:
        return on_document(builder, event);
    case YAML_SCALAR_EVENT:
        return on_scalar(builder, event);
    case YAML_ALIAS_EVENT:
        return on_alias(builder, event);
    case YAML_SEQUENCE_START_EVENT:
        return on_open(builder, event, TREE_LIST);
    case YAML_MAPPING_START_EVENT:
        return on_open(builder, event, TREE_MAP);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        return on_close(builder);
    default:
        return ERR_OK;
    }
}

// libyaml says where in characters, except for bytes that are no text: there only an offset is known.
static enum err on_yaml_error(struct builder *builder, const char *text, size_t len)
{
    const yaml_parser_t *parser = &builder->parser;
    const char *problem = parser->problem ? parser->problem : "not YAML";
    unsigned line = (unsigned)parser->problem_mark.line + 1, column = (unsigned)parser->problem_mark.column + 1;

    if (parser->error == YAML_MEMORY_ERROR)
        return ERR_NOMEM;
    if (parser->error == YAML_READER_ERROR) {
        line = column = 1;
        for (size_t i = 0; i < parser->problem_offset && i < len; i++) {
            column++;
            if (text[i] == '\n') {
                line++;
                column = 1;
            }
        }
    }
    notes_add(builder->notes, line, column, "This is not YAML: %s%s%s.", problem, parser->context ? ", " : "",
              parser->context ? parser->context : "");
    return ERR_INVALID;
}

static enum err read_events(struct builder *builder, const char *text, size_t len)
{
    for (;;) {
        yaml_event_t event;
        if (!yaml_parser_parse(&builder->parser, &event))
            return on_yaml_error(builder, text, len);
        bool end = event.type == YAML_STREAM_END_EVENT;
        enum err err = on_event(builder, &event);
        yaml_event_delete(&event);
        if (err || end)
            return err;
    }
}

enum err tree_read(const char *text, size_t len, struct arena *arena, struct notes *notes, struct tree_node **ret_root)
{
    struct builder builder = {.arena = arena, .notes = notes};

    if (len > POLICY_TEXT_BYTES_MAX) {
        notes_add(notes, 0, 0, "The policy has %zu bytes, and %d is the most: split it or select by labels.", len,
                  POLICY_TEXT_BYTES_MAX);
        return ERR_INVALID;
    }
    if (!yaml_parser_initialize(&builder.parser))
        return ERR_NOMEM;
    yaml_parser_set_encoding(&builder.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&builder.parser, (const unsigned char *)text, len);
    enum err err = read_events(&builder, text, len);
    yaml_parser_delete(&builder.parser);
    if (!err)
        *ret_root = builder.root;
    return err;
}
