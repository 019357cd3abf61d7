// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/unit/policy_inventory.h"

#include <criterion/criterion.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define V4(a, b, c, d)                    \
    {                                     \
        .len = 4, .bytes = { a, b, c, d } \
    }
#define V6(subnet, last)                                                              \
    {                                                                                 \
        .len = 16, .bytes = { 0x20, 0x01, 0x0d, 0xb8, [7] = (subnet), [15] = (last) } \
    }
#define ADDRESSES(...)               \
    .addresses = (const struct ip[]) \
    {                                \
        __VA_ARGS__                  \
    }
#define WORKLOAD(name) .workload = "spiffe://example.org/ns/default/sa/" name

static const struct inventory_label web[] = {{"role", "web"}, {"env", "prod"}};
static const struct inventory_label web_test[] = {{"role", "web"}, {"env", "test"}};
static const struct inventory_label api[] = {{"env", "prod"}, {"role", "api"}};

static const struct inventory_host hosts[] = {
    {"web2", ADDRESSES(V6(1, 12), V4(192, 0, 2, 12)), 2, web_test, 2, 12, WORKLOAD("web"), false},
    {"db1", ADDRESSES(V4(192, 0, 2, 31)), 1, NULL, 0, 31, WORKLOAD("db"), false},
    {"old", ADDRESSES(V4(192, 0, 2, 31)), 1, api, 2, 31, WORKLOAD("api"), true},
    {"soon", NULL, 0, web, 2, 13, WORKLOAD("web"), false},
    {"api1", ADDRESSES(V4(192, 0, 2, 21), V6(1, 21)), 2, api, 2, 21, WORKLOAD("api"), false},
    {"branch1", ADDRESSES(V4(198, 51, 100, 5), V4(192, 0, 2, 200)), 2, NULL, 0, 41, WORKLOAD("branch1"), false},
    {"lone", ADDRESSES(V4(203, 0, 113, 9)), 1, NULL, 0, 51, WORKLOAD("lone"), false},
    {"web1", ADDRESSES(V4(192, 0, 2, 11)), 1, web, 2, 11, WORKLOAD("web"), false},
    {"cache1", ADDRESSES(V6(2, 1)), 1, NULL, 0, 61, "", false},
    {"db2", ADDRESSES(V4(192, 0, 2, 32)), 1, NULL, 0, 32, WORKLOAD("db"), false},
};

const struct inventory policy_inventory = {
    .trust_domain = "example.org", .generation = 7, .hosts = hosts, .host_count = sizeof(hosts) / sizeof(*hosts)};

struct policy *policy_good(const char *text)
{
    struct notes notes = {0};
    struct policy *policy = NULL;
    enum err err = policy_read(text, strlen(text), &policy, &notes);
    cr_assert_eq(err, ERR_OK, "%s: %u:%u %s", err_name(err), notes.items[0].line, notes.items[0].column,
                 notes.items[0].text);
    cr_assert_eq(notes.count, 0);
    return policy;
}

char *golden_read(const char *path)
{
    FILE *file = fopen(path, "r");
    cr_assert_not_null(file, "%s", path);
    char *text = calloc(1, 1 << 20);
    cr_assert_not_null(text);
    size_t len = fread(text, 1, (1 << 20) - 1, file);
    text[len] = 0;
    fclose(file);
    return text;
}

void golden_compare(const char *path, const char *text)
{
    if (getenv("UPDATE_GOLDEN")) {
        FILE *file = fopen(path, "w");
        cr_assert_not_null(file);
        cr_assert_geq(fputs(text, file), 0);
        fclose(file);
        return;
    }
    char *wanted = golden_read(path);
    cr_assert_str_eq(text, wanted, "%s", path);
    free(wanted);
}

void golden_each(const char *ending, void (*run)(const char *policy_path, const char *golden_path))
{
    char pattern[128], policy_path[256];
    glob_t found;
    snprintf(pattern, sizeof(pattern), "tests/unit/golden/policy/*.%s", ending);
    cr_assert_eq(glob(pattern, 0, NULL, &found), 0, "%s", pattern);
    for (size_t i = 0; i < found.gl_pathc; i++) {
        const char *path = found.gl_pathv[i];
        snprintf(policy_path, sizeof(policy_path), "%.*s.yaml", (int)(strlen(path) - strlen(ending) - 1), path);
        run(policy_path, path);
    }
    globfree(&found);
}
