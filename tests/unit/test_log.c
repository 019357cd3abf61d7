// SPDX-License-Identifier: GPL-2.0-or-later
#include <criterion/criterion.h>
#include <criterion/redirect.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "proto/base/log.h"
#include "proto/base/note.h"

static char out[16384];

static const char *logged(void (*what)(void))
{
    int pipe_[2], saved = dup(2);
    cr_assert_eq(pipe(pipe_), 0);
    dup2(pipe_[1], 2);
    what();
    dup2(saved, 2);
    close(pipe_[1]);
    close(saved);
    ssize_t len = read(pipe_[0], out, sizeof(out) - 1);
    close(pipe_[0]);
    out[len > 0 ? len : 0] = '\0';
    return out;
}

static void a_forger(void)
{
    log_set_role("network");
    log_event(LOG_LEVEL_INFO, "peer.said", LOG_STR("text", "a\nerror x=1 \"\\"), LOG_U64("n", 7),
              LOG_HEX32("spi", 0x1f));
}

Test(log, a_peer_cannot_forge_a_line)
{
    const char *line = logged(a_forger);
    cr_assert_not_null(
        strstr(line, " info peer.said role=network text=\"a\\x0aerror x=1 \\\"\\\\\" n=7 spi=0000001f\n"), "%s", line);
    cr_assert_eq(strchr(line, '\n')[1], '\0');
}

static void long_value(void)
{
    char text[5000];
    memset(text, 'a', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    log_event(LOG_LEVEL_INFO, "x", LOG_STR("a", text), LOG_STR("b", text), LOG_STR("empty", ""), LOG_STR("none", NULL));
}

Test(log, values_are_cut)
{
    const char *line = logged(long_value);
    cr_assert_lt(strlen(line), 2300);
    cr_assert_not_null(strstr(line, "...\""));
    cr_assert_not_null(strstr(line, "empty=\"\" none=\"\"\n"));
}

static void debug_line(void)
{
    log_event(LOG_LEVEL_DEBUG, "x");
}

Test(log, levels_beyond_the_threshold_are_silent)
{
    cr_assert_str_eq(logged(debug_line), "");
    log_set_level(LOG_LEVEL_DEBUG);
    cr_assert_neq(logged(debug_line)[0], '\0');
}

Test(note, is_cut_and_prefixed)
{
    struct note note = {0};
    char text[1000];
    memset(text, 'a', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    cr_assert_eq(note_set_at(&note, 3, 4, ERR_INVALID, "%s", text), ERR_INVALID);
    cr_assert_eq(strlen(note.text), NOTE_TEXT_BYTES - 1);
    note_prefix(&note, "file: ");
    cr_assert_eq(strncmp(note.text, "file: aaa", 9), 0);
    cr_assert_eq(strlen(note.text), NOTE_TEXT_BYTES - 1);
    cr_assert_eq(note_set(NULL, ERR_IO, "x"), ERR_IO);
}

Test(notes, count_beyond_their_bound)
{
    static struct notes notes;
    for (unsigned i = 0; i < NOTES_MAX + 5; i++)
        notes_add(&notes, i, 1, "n %u", i);
    cr_assert_eq(notes.count, NOTES_MAX);
    cr_assert_eq(notes.dropped, 5);
    cr_assert_str_eq(notes.items[7].text, "n 7");
}
