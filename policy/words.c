// SPDX-License-Identifier: GPL-2.0-or-later
#include "policy/words.h"

#include <stdio.h>
#include <string.h>

#define WORD_BYTES_MAX 64
#define EDITS_MAX      2

void words_quote(const char *text, char ret_quoted[WORDS_QUOTED_BYTES])
{
    size_t room = WORDS_QUOTED_BYTES - 6; // two quotes, "...", the end
    size_t len = strnlen(text, room + 1);
    size_t shown = len > room ? room : len;
    char *out = ret_quoted;
    *out++ = '\'';
    for (size_t i = 0; i < shown; i++) {
        unsigned char byte = (unsigned char)text[i];
        *out++ = byte >= 0x20 && byte < 0x7f ? (char)byte : '?';
    }
    if (shown < len) {
        memcpy(out, "...", 3);
        out += 3;
    }
    *out++ = '\'';
    *out = 0;
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

// Optimal string alignment distance of words at most WORD_BYTES_MAX long whose lengths differ by at most EDITS_MAX. Only the diagonal band
// is worked out in which it can be EDITS_MAX or less; beyond, the outcome is some larger number.
static size_t edits(const char *a, size_t a_len, const char *b, size_t b_len)
{
    size_t rows[3][WORD_BYTES_MAX + 2];
    size_t *before = rows[0], *last = rows[1], *row = rows[2];

    for (size_t j = 0; j <= b_len; j++)
        last[j] = j;
    for (size_t i = 1; i <= a_len; i++) {
        size_t low = i > EDITS_MAX ? i - EDITS_MAX : 1, high = smaller(b_len, i + EDITS_MAX);
        row[low - 1] = low == 1 ? i : WORD_BYTES_MAX;
        row[high + 1] = WORD_BYTES_MAX;
        for (size_t j = low; j <= high; j++) {
            size_t replace = last[j - 1] + (a[i - 1] != b[j - 1]);
            row[j] = smaller(replace, smaller(last[j], row[j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                row[j] = smaller(row[j], before[j - 2] + 1);
        }
        size_t *spare = before;
        before = last;
        last = row;
        row = spare;
    }
    return last[b_len];
}

const char *words_nearest(const char *word, const char *(*candidate)(const void *context, size_t index),
                          const void *context, size_t count)
{
    size_t len = strnlen(word, WORD_BYTES_MAX + 1);
    if (len > WORD_BYTES_MAX)
        return NULL;
    const char *best = NULL;
    size_t best_edits = EDITS_MAX + 1;
    for (size_t i = 0; i < count; i++) {
        const char *known = candidate(context, i);
        size_t known_len = strnlen(known, WORD_BYTES_MAX + 1);
        if (known_len > WORD_BYTES_MAX || known_len > len + EDITS_MAX || len > known_len + EDITS_MAX)
            continue;
        size_t distance = edits(word, len, known, known_len);
        if (distance < best_edits && distance * 2 < known_len + 1) {
            best = known;
            best_edits = distance;
        }
    }
    return best;
}

void words_hint(const char *nearest, char ret_hint[WORDS_HINT_BYTES])
{
    char quoted[WORDS_QUOTED_BYTES];
    ret_hint[0] = 0;
    if (!nearest)
        return;
    words_quote(nearest, quoted);
    snprintf(ret_hint, WORDS_HINT_BYTES, " Did you mean %s?", quoted);
}
