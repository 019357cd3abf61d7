// SPDX-License-Identifier: GPL-2.0-or-later
// Sentences for people in fixed rooms: a long one is cut at a whole character, so that it stays valid UTF-8.
#ifndef TWOFOLD_CONTROLLER_SENTENCE_H
#define TWOFOLD_CONTROLLER_SENTENCE_H

#include <stddef.h>

void sentence_set(char *room, size_t room_len, const char *format, ...) __attribute__((format(printf, 3, 4)));

// Drops a character that was cut off at the end of a UTF-8 text.
void sentence_trim(char *text);

#endif
