// SPDX-License-Identifier: GPL-2.0-or-later
#include "proto/base/note.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "proto/base/text.h"

__attribute__((format(printf, 4, 0))) static void fill(struct note *note, unsigned line, unsigned column,
                                                       const char *format, va_list args)
{
    note->line = line;
    note->column = column;
    vsnprintf(note->text, sizeof(note->text), format, args);
    text_make_clean(note->text);
}

enum err note_set(struct note *note, enum err err, const char *format, ...)
{
    if (note) {
        va_list args;
        va_start(args, format);
        fill(note, 0, 0, format, args);
        va_end(args);
    }
    return err;
}

enum err note_set_at(struct note *note, unsigned line, unsigned column, enum err err, const char *format, ...)
{
    if (note) {
        va_list args;
        va_start(args, format);
        fill(note, line, column, format, args);
        va_end(args);
    }
    return err;
}

void note_prefix(struct note *note, const char *format, ...)
{
    if (!note)
        return;
    char text[2 * NOTE_TEXT_BYTES];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(text, NOTE_TEXT_BYTES, format, args);
    va_end(args);
    if (len < 0)
        return;
    if (len >= NOTE_TEXT_BYTES)
        len = NOTE_TEXT_BYTES - 1;
    snprintf(text + len, sizeof(text) - (size_t)len, "%s", note->text);
    memcpy(note->text, text, sizeof(note->text) - 1);
    note->text[sizeof(note->text) - 1] = '\0';
    text_make_clean(note->text);
}

void notes_add(struct notes *notes, unsigned line, unsigned column, const char *format, ...)
{
    if (notes->count == NOTES_MAX) {
        notes->dropped++;
        return;
    }
    va_list args;
    va_start(args, format);
    fill(&notes->items[notes->count++], line, column, format, args);
    va_end(args);
}
