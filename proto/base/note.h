// SPDX-License-Identifier: GPL-2.0-or-later
// What to tell a person about a failure: where, what, why and the remedy, as one sentence or two.
#ifndef TWOFOLD_BASE_NOTE_H
#define TWOFOLD_BASE_NOTE_H

#include <stddef.h>

#include "proto/base/err.h"

#define NOTE_TEXT_BYTES 512

// Position 0 means "not known". A note is a plain value; its text is always terminated, cut on overflow, and clean (text_clean_len) whatever went
// into it, so that it can be shown and sent.
struct note {
    unsigned line;
    unsigned column;
    char text[NOTE_TEXT_BYTES];
};

// Fills the note, if there is one, and returns `err`: `return note_set(note, ERR_INVALID, "port %u is not ...", port);`
enum err note_set(struct note *note, enum err err, const char *format, ...) __attribute__((format(printf, 3, 4)));

// The same with a position in a text; lines and columns count from 1.
enum err note_set_at(struct note *note, unsigned line, unsigned column, enum err err, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

// Puts words in front of what the note says: note_prefix(note, "%s: ", path).
void note_prefix(struct note *note, const char *format, ...) __attribute__((format(printf, 2, 3)));

// A bounded list of notes: beyond NOTES_MAX only the number is counted.
#define NOTES_MAX 100

struct notes {
    size_t count;   // of those in `items`
    size_t dropped; // beyond NOTES_MAX
    struct note items[NOTES_MAX];
};

void notes_add(struct notes *notes, unsigned line, unsigned column, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

#endif
