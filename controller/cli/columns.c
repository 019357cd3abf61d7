// SPDX-License-Identifier: GPL-2.0-or-later
#include "controller/cli/columns.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "controller/cli/format.h"

#define CELL_BYTES 1024

// A cell, or with `line` a whole line.
struct cell {
    char *text;
    bool line;
};

struct columns {
    const char *heads[COLUMNS_MAX];
    size_t widths[COLUMNS_MAX];
    size_t width; // columns
    struct cell *cells;
    size_t count;
    size_t room;
    size_t at;   // column of the next cell
    bool failed; // memory ran out: a part would mislead
};

// Characters, not bytes: UTF-8 continuation bytes take no place.
static size_t characters(const char *text)
{
    size_t count = 0;
    for (; *text; text++)
        count += ((unsigned char)*text & 0xc0) != 0x80;
    return count;
}

struct columns *columns_new(const char *const *heads)
{
    struct columns *columns = calloc(1, sizeof(*columns));
    if (!columns)
        return NULL;
    for (; heads[columns->width] && columns->width < COLUMNS_MAX; columns->width++) {
        columns->heads[columns->width] = heads[columns->width];
        columns->widths[columns->width] = characters(heads[columns->width]);
    }
    return columns;
}

void columns_free(struct columns *columns)
{
    if (!columns)
        return;
    for (size_t i = 0; i < columns->count; i++)
        free(columns->cells[i].text);
    free(columns->cells);
    free(columns);
}

static bool make_room(struct columns *columns)
{
    if (columns->count < columns->room)
        return true;
    size_t room = columns->room ? 2 * columns->room : 64;
    struct cell *cells = realloc(columns->cells, room * sizeof(*cells));
    if (!cells)
        return false;
    columns->cells = cells;
    columns->room = room;
    return true;
}

__attribute__((format(printf, 3, 0))) static void add(struct columns *columns, bool line, const char *format,
                                                      va_list arguments)
{
    char text[CELL_BYTES];
    if (!columns || columns->failed)
        return;
    vsnprintf(text, sizeof(text), format, arguments);
    format_plain(text);
    char *copy = strdup(text[0] ? text : "-");
    if (!copy || !make_room(columns)) {
        free(copy);
        columns->failed = true;
        return;
    }
    columns->cells[columns->count++] = (struct cell){copy, line};
    if (line)
        return;
    size_t cell = characters(copy);
    if (cell > columns->widths[columns->at])
        columns->widths[columns->at] = cell;
    columns->at = (columns->at + 1) % columns->width;
}

void columns_cell(struct columns *columns, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    add(columns, false, format, arguments);
    va_end(arguments);
}

void columns_line(struct columns *columns, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    add(columns, true, format, arguments);
    va_end(arguments);
}

// The last column has no blanks behind it.
static void print_cell(const struct columns *columns, const char *text, size_t column, FILE *out)
{
    if (column + 1 == columns->width)
        fprintf(out, "%s\n", text);
    else
        fprintf(out, "%s%*s", text, (int)(columns->widths[column] - characters(text) + 2), "");
}

bool columns_print(const struct columns *columns, FILE *out)
{
    size_t column = 0;
    if (!columns || columns->failed)
        return false;
    for (size_t i = 0; i < columns->width; i++)
        print_cell(columns, columns->heads[i], i, out);
    for (size_t i = 0; i < columns->count; i++) {
        if (columns->cells[i].line) {
            fprintf(out, "    %s\n", columns->cells[i].text);
            continue;
        }
        print_cell(columns, columns->cells[i].text, column, out);
        column = (column + 1) % columns->width;
    }
    return true;
}

enum exit_code columns_finish(struct columns *columns, FILE *out)
{
    const struct note note = {.text = "There is not enough memory to print the table."};
    bool printed = columns_print(columns, out);
    columns_free(columns);
    return printed ? EXIT_CODE_OK : command_fail(ERR_NOMEM, &note);
}
