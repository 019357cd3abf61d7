// SPDX-License-Identifier: GPL-2.0-or-later
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "policy/policy.h"
#include "policy/words.h"
#include "tests/unit/policy_inventory.h"

static void findings(const char *policy_path, const char *golden_path)
{
    static char text[NOTES_MAX * (NOTE_TEXT_BYTES + 32)];
    struct notes notes = {0};
    struct policy *policy = NULL;
    size_t used = 0;
    char *yaml = golden_read(policy_path);
    cr_assert_eq(policy_read(yaml, strlen(yaml), &policy, &notes), ERR_INVALID, "%s", policy_path);
    cr_assert_null(policy);
    for (size_t i = 0; i < notes.count; i++)
        used += (size_t)snprintf(text + used, sizeof(text) - used, "%u:%u: %s\n", notes.items[i].line,
                                 notes.items[i].column, notes.items[i].text);
    golden_compare(golden_path, text);
    free(yaml);
}

Test(policy_read, findings_are_those_of_the_golden_files)
{
    golden_each("findings", findings);
}

// One finding, whose text holds `words`.
static void refused_at(const char *text, size_t len, unsigned line, unsigned column, const char *words)
{
    struct notes notes = {0};
    struct policy *policy = NULL;
    cr_assert_eq(policy_read(text, len, &policy, &notes), ERR_INVALID, "%.60s", text);
    cr_assert_null(policy);
    cr_assert_geq(notes.count, 1);
    cr_assert(strstr(notes.items[0].text, words), "%.60s: %s", text, notes.items[0].text);
    cr_assert_eq(notes.items[0].line, line, "%.60s: line %u", text, notes.items[0].line);
    cr_assert_eq(notes.items[0].column, column, "%.60s: column %u", text, notes.items[0].column);
}

static void refused(const char *text, unsigned line, unsigned column, const char *words)
{
    refused_at(text, strlen(text), line, column, words);
}

Test(policy_read, the_smallest_policy)
{
    struct policy *policy = policy_good("version: 1\n");
    policy_free(policy);
    policy_free(NULL);
}

Test(policy_read, refuses_what_is_no_policy)
{
    refused("", 1, 1, "empty");
    refused("# only words\n", 1, 1, "empty");
    refused("[]\n", 1, 1, "Here goes a policy");
    refused("version: 2\n", 1, 10, "Version '2'");
    refused("version:\n", 1, 9, "empty");
    refused("version: [1]\n", 1, 10, "one word");
    refused("segments: {}\n", 1, 1, "'version' is missing");
    refused("version: 1\n  x: 1\n", 2, 4, "not YAML");
    refused("version: \"1\\0\"\n", 1, 10, "zero byte");
    refused_at("version: 1\nx\xff: 1\n", 16, 2, 2, "not YAML");
    refused_at("version: 1\n\0\n", 13, 2, 1, "not YAML");
}

Test(policy_read, refuses_what_makes_small_texts_large)
{
    refused("version: &v 1\n", 1, 10, "Anchors");
    refused("version: 1\nrules: *r\n", 2, 8, "Aliases");
    refused("version: !!int 1\n", 1, 10, "Tags");
    refused("version: 1\n<<: {rules: []}\n", 2, 1, "Merge keys");
    refused("version: 1\n---\nversion: 1\n", 2, 1, "second document");
    refused("%TAG ! tag:example.org,2026:\n---\nversion: 1\n", 1, 1, "Tags");
    refused("version: 1\n? [a, b]\n: 1\n", 2, 3, "cannot be a name");
    refused("version: 1\n? *a\n: 1\n", 2, 3, "Aliases");
    refused("version: 1\nversion: 1\n", 2, 1, "already there, at line 1");
}

Test(policy_read, a_bomb_ends_at_once)
{
    static const char bomb[] = "version: 1\n"
                               "a: &a [x, x, x, x, x, x, x, x, x]\n"
                               "b: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a]\n"
                               "c: &c [*b, *b, *b, *b, *b, *b, *b, *b, *b]\n"
                               "d: &d [*c, *c, *c, *c, *c, *c, *c, *c, *c]\n";
    struct notes notes = {0};
    struct policy *policy = NULL;
    cr_assert_eq(policy_read(bomb, strlen(bomb), &policy, &notes), ERR_INVALID);
    cr_assert_gt(notes.count, 4);
}

static void within_a_second(const char *text, size_t len, const char *words)
{
    struct timespec begin, end;
    struct notes notes = {0};
    struct policy *policy = NULL;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &begin);
    cr_assert_eq(policy_read(text, len, &policy, &notes), ERR_INVALID);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &end);
    bool found = false;
    for (size_t i = 0; i < notes.count; i++)
        found |= strstr(notes.items[i].text, words) != NULL;
    cr_assert(found, "%s: %s", words, notes.items[0].text);
    cr_assert_lt((double)(end.tv_sec - begin.tv_sec) + (double)(end.tv_nsec - begin.tv_nsec) / 1e9, 3.0,
                 "%s took too long", words);
}

// `count` times the piece behind the head.
static char *repeated(const char *head, const char *piece, size_t count, size_t *ret_len)
{
    size_t head_len = strlen(head), piece_len = strlen(piece);
    char *text = malloc(head_len + count * piece_len + 1);
    cr_assert_not_null(text);
    memcpy(text, head, head_len);
    for (size_t i = 0; i < count; i++)
        memcpy(text + head_len + i * piece_len, piece, piece_len);
    *ret_len = head_len + count * piece_len;
    text[*ret_len] = 0;
    return text;
}

// A thousand long names, each a near miss.
static char *many_segments(void)
{
    static char text[100000] = "version: 1\nsegments:\n";
    size_t used = strlen(text);
    for (unsigned i = 0; i < 1000 && strlen(text) < 90000; i++)
        used += (size_t)sprintf(text + used,
                                "  aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa%04u: {hosts: x}\n", i);
    strcpy(text + used, "rules:\n");
    return text;
}

Test(policy_read, large_texts_are_refused_quickly)
{
    const struct {
        const char *head, *piece;
        size_t count;
        const char *words;
    } cases[] = {
        {"version: 1\n", "# 10 MB\n", 1310720, "bytes, and"},
        {"version: 1\nx: ", "[", 1000000, "nested more than"},
        {"version: 1\nx: ", "{a: ", 250000, "nested more than"},
        {"version: 1\nx: [", "a,", 500000, "values"},
        {"version: 1\nrules:\n", "  - {}\n", 5000, "'rules' has 5000 entries"},
        {"version: 1\nsegments:\n  a:\n    hosts:\n", "      - a\n", 1025, "'hosts' has 1025 entries"},
        {"version: 1\n", "version: 1\n", 90000, "already there"},
        {"version: 1\nsegments:\n  a:\n    cidrs:\n", "      - 192.0.2.1\n", 1024, "overlaps"},
        {"version: 1\nfailsafe:\n", "  - {name: x, direction: in, ports: [tcp/1]}\n", 65, "'failsafe' has 65 entries"},
        {"version: 1\nrules:\n", "  - {name: x, from: a, to: b, ports: [tcp/1]}\n", 4096, "There is no segment"},
        {"version: 1\n? ", "[", 500000, "nested"},
        {many_segments(),
         "  - {name: r, to: x, ports: tcp/1, from: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa}\n",
         4000, "There is no segment"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        size_t len;
        char *text = repeated(cases[i].head, cases[i].piece, cases[i].count, &len);
        within_a_second(text, len, cases[i].words);
        free(text);
    }
}

Test(policy_read, more_findings_than_fit_are_counted)
{
    struct notes notes = {0};
    struct policy *policy = NULL;
    size_t len;
    char *text = repeated("version: 1\nsegments:\n  a:\n    hosts:\n", "      - UPPER\n", 150, &len);
    cr_assert_eq(policy_read(text, len, &policy, &notes), ERR_INVALID);
    cr_assert_eq(notes.count, NOTES_MAX);
    cr_assert_eq(notes.dropped, 50);
    free(text);
}

Test(policy_read, findings_cannot_write_to_a_terminal)
{
    refused("version: 1\n\"\\e[2Jx\": 1\n", 2, 1, "'?[2Jx' is not a field");
}

Test(policy_read, the_examples_of_the_manual_are_good)
{
    char *manual = golden_read("docs/man/twofold-policy.5");
    size_t examples = 0;
    for (char *begin = manual; (begin = strstr(begin, "\nversion: 1\n")); examples++) {
        char *end = strstr(begin, "\n.Ed\n");
        cr_assert_not_null(end);
        end[1] = 0;
        policy_free(policy_good(begin + 1));
        begin = end + 2;
    }
    cr_assert_eq(examples, 2);
    free(manual);
}

static const char *const words[] = {"ports", "layers", "from", "replication"};

static const char *word(const void *context, size_t index)
{
    return ((const char *const *)context)[index];
}

Test(words, the_nearest_word)
{
    cr_assert_str_eq(words_nearest("port", word, words, 4), "ports");
    cr_assert_str_eq(words_nearest("prots", word, words, 4), "ports");
    cr_assert_str_eq(words_nearest("form", word, words, 4), "from");
    cr_assert_str_eq(words_nearest("layer", word, words, 4), "layers");
    cr_assert_str_eq(words_nearest("erplication", word, words, 4), "replication");
    cr_assert_str_eq(words_nearest("replicatio", word, words, 4), "replication");
    cr_assert_str_eq(words_nearest("replicationss", word, words, 4), "replication");
    cr_assert_str_eq(words_nearest("xreplicatin", word, words, 4), "replication");
    cr_assert_str_eq(words_nearest("eplications", word, words, 4), "replication");
    cr_assert_null(words_nearest("xxeplications", word, words, 4));
    cr_assert_null(words_nearest("lepraction", word, words, 4));
    cr_assert_null(words_nearest("xyzzy", word, words, 4));
    cr_assert_null(words_nearest("to", word, words, 4));
    cr_assert_null(words_nearest("", word, words, 4));
    cr_assert_null(words_nearest("ports", word, words, 0));
}

Test(words, quotes_are_bounded)
{
    char quoted[WORDS_QUOTED_BYTES], longer[200];
    memset(longer, 'x', sizeof(longer));
    longer[199] = 0;
    words_quote(longer, quoted);
    cr_assert_eq(strlen(quoted), WORDS_QUOTED_BYTES - 1);
    cr_assert(strstr(quoted, "x...'"));
    words_quote("a\nb\x7f", quoted);
    cr_assert_str_eq(quoted, "'a?b?'");
}
