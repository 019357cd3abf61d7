// SPDX-License-Identifier: GPL-2.0-or-later
#include <criterion/criterion.h>
#include <string.h>

#include "proto/base/note.h"
#include "proto/base/text.h"

Test(note, holds_what_was_said_and_where)
{
    struct note note = {0};
    cr_assert_eq(note_set_at(&note, 3, 7, ERR_INVALID, "port %u", 0u), ERR_INVALID);
    cr_assert_eq(note.line, 3);
    cr_assert_eq(note.column, 7);
    cr_assert_str_eq(note.text, "port 0");
    cr_assert_eq(note_set(&note, ERR_LIMIT, "%s", "too many"), ERR_LIMIT);
    cr_assert_eq(note.line, 0);
    note_prefix(&note, "%s: ", "file");
    cr_assert_str_eq(note.text, "file: too many");
    cr_assert_eq(note_set(NULL, ERR_LIMIT, "nobody listens"), ERR_LIMIT);
    note_prefix(NULL, "nobody");
}

Test(note, is_cut_between_characters)
{
    struct note note = {0};
    char text[2 * NOTE_TEXT_BYTES];
    for (size_t offset = 0; offset < 4; offset++) {
        memset(text, 'a', sizeof(text));
        for (size_t i = offset; i + 3 < sizeof(text); i += 3)
            memcpy(text + i, "\xe2\x82\xac", 3);
        text[sizeof(text) - 1] = '\0';
        (void)note_set(&note, ERR_INVALID, "%s", text);
        cr_assert_eq(strlen(note.text), NOTE_TEXT_BYTES - 1);
        cr_assert_eq(text_clean_len(note.text, strlen(note.text)), strlen(note.text));
        note_prefix(&note, "x");
        cr_assert_eq(text_clean_len(note.text, strlen(note.text)), strlen(note.text));
    }
}

Test(note, shows_no_control_characters)
{
    struct note note = {0};
    (void)note_set(&note, ERR_INVALID, "'%s'", "a\x1b[2J\xc2\x9b\xff b\n\t\xc3\xbc");
    cr_assert_str_eq(note.text, "'a?[2J??? b\n\t\xc3\xbc'");
}

Test(notes, beyond_the_bound_are_counted)
{
    static struct notes notes;
    for (unsigned i = 0; i < NOTES_MAX + 5; i++)
        notes_add(&notes, i, 1, "finding %u", i);
    cr_assert_eq(notes.count, NOTES_MAX);
    cr_assert_eq(notes.dropped, 5);
    cr_assert_str_eq(notes.items[NOTES_MAX - 1].text, "finding 99");
}

Test(text, clean_is_the_longest_beginning)
{
    cr_expect_eq(text_clean_len("", 0), 0);
    cr_expect_eq(text_clean_len("abc", 3), 3);
    cr_expect_eq(text_clean_len("a\0c", 3), 1);
    cr_expect_eq(text_clean_len("\xe2\x82\xac\xe2\x82", 5), 3);
    cr_expect_eq(text_clean_len("\xc2\x9f", 2), 0);
    cr_expect_eq(text_clean_len("\xc2\xa0", 2), 2);
}
