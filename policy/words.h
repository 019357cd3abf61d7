// SPDX-License-Identifier: GPL-2.0-or-later
// Words that a person wrote: quoted safely in a finding, and the known word that was probably meant.
#ifndef TWOFOLD_POLICY_WORDS_H
#define TWOFOLD_POLICY_WORDS_H

#include <stddef.h>

#define WORDS_QUOTED_BYTES 80

// "'text'", cut with "..." and with '?' for each byte that is not printable ASCII, so that a text cannot write to a terminal.
void words_quote(const char *text, char ret_quoted[WORDS_QUOTED_BYTES]);

// The nearest of the candidates within two edits (insert, remove, replace, swap neighbours) and less than half the word; else NULL.
// `candidate` gives the index-th word.
const char *words_nearest(const char *word, const char *(*candidate)(const void *context, size_t index),
                          const void *context, size_t count);

#define WORDS_HINT_BYTES 100
// " Did you mean 'web'?", or nothing when `nearest` is NULL.
void words_hint(const char *nearest, char ret_hint[WORDS_HINT_BYTES]);

#endif
