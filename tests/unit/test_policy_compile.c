// SPDX-License-Identifier: GPL-2.0-or-later
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "policy/policy.h"
#include "proto/base/buf.h"
#include "proto/wire/message.h"
#include "proto/wire/slice.h"
#include "proto/wire/slice_text.h"
#include "tests/unit/policy_inventory.h"

static void append_slice(const struct policy_view *view, const char *host, struct buf *buf)
{
    Twofold__V1__Slice *slice = NULL;
    struct note note = {0};
    cr_assert_eq(policy_compile_view(view, host, &slice), ERR_OK, "%s", host);
    cr_assert_eq(slice_check(slice, &note), ERR_OK, "%s: %s", host, note.text);
    cr_assert_eq(slice_text(slice, buf), ERR_OK);
    cr_assert_eq(buf_append_text(buf, "\n"), ERR_OK);
    message_free(slice);
}

// All slices of the hosts that are there, as one text.
static char *all_slices(const struct policy *policy, const struct inventory *inventory)
{
    static const char *const names[] = {"api1", "branch1", "cache1", "db1", "db2", "lone", "soon", "web1", "web2"};
    struct policy_view *view = NULL;
    struct note note = {0};
    struct buf buf;
    buf_init(&buf, 1 << 20);
    cr_assert_eq(policy_view_new(policy, inventory, &view, &note), ERR_OK, "%s", note.text);
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
        append_slice(view, names[i], &buf);
    char *text = strndup((const char *)buf_bytes(&buf), buf.len);
    buf_free(&buf);
    policy_view_free(view);
    return text;
}

static void slices(const char *policy_path, const char *golden_path)
{
    char *yaml = golden_read(policy_path);
    struct policy *policy = policy_good(yaml);
    char *text = all_slices(policy, &policy_inventory);
    golden_compare(golden_path, text);
    free(text);
    policy_free(policy);
    free(yaml);
}

Test(policy_compile, slices_are_those_of_the_golden_files)
{
    golden_each("slices", slices);
}

static void order_does_not_matter(const char *policy_path, const char *golden_path)
{
    struct inventory_host shuffled[16];
    struct inventory inventory = policy_inventory;
    char *yaml = golden_read(policy_path);
    struct policy *policy = policy_good(yaml);
    char *first = all_slices(policy, &policy_inventory);
    (void)golden_path;
    for (size_t shift = 1; shift < inventory.host_count; shift += 2) {
        for (size_t i = 0; i < inventory.host_count; i++)
            shuffled[i] = policy_inventory.hosts[(i * 3 + shift) % inventory.host_count];
        inventory.hosts = shuffled;
        char *again = all_slices(policy, &inventory);
        cr_assert_str_eq(first, again);
        free(again);
    }
    free(first);
    policy_free(policy);
    free(yaml);
}

Test(policy_compile, the_order_of_the_inventory_does_not_matter)
{
    golden_each("slices", order_does_not_matter);
}

Test(policy_compile, no_slice_for_those_who_are_not_there)
{
    struct policy *policy = policy_good("version: 1\n");
    Twofold__V1__Slice *slice = NULL;
    cr_assert_eq(policy_compile(policy, &policy_inventory, "old", &slice), ERR_NOT_FOUND);
    cr_assert_eq(policy_compile(policy, &policy_inventory, "nobody", &slice), ERR_NOT_FOUND);
    cr_assert_null(slice);
    cr_assert_eq(policy_compile(policy, &policy_inventory, "web1", &slice), ERR_OK);
    cr_assert_eq(slice->n_peers, 0);
    cr_assert_eq(slice->n_pinholes, 2);
    message_free(slice);
    policy_free(policy);
}

Test(policy_compile, an_empty_inventory_is_fine)
{
    struct inventory none = {.trust_domain = "example.org"};
    struct policy *policy =
        policy_good("version: 1\nsegments: {a: {hosts: x}}\nrules: [{name: r, from: a, to: a, ports: tcp/1}]\n");
    struct policy_view *view = NULL;
    struct notes notes = {0};
    Twofold__V1__Slice *slice;
    cr_assert_eq(policy_view_new(policy, &none, &view, NULL), ERR_OK);
    cr_assert_eq(policy_compile_view(view, "x", &slice), ERR_NOT_FOUND);
    policy_view_free(view);
    cr_assert_eq(policy_effects(policy, &none, &notes), ERR_OK);
    policy_free(policy);
}

static void unfit(const struct inventory_host *hosts, size_t count, enum err wanted, const char *words)
{
    struct inventory inventory = {.trust_domain = "example.org", .generation = 1, .hosts = hosts, .host_count = count};
    struct policy *policy = policy_good("version: 1\n");
    struct policy_view *view = NULL;
    struct note note = {0};
    cr_assert_eq(policy_view_new(policy, &inventory, &view, &note), wanted);
    cr_assert_null(view);
    cr_assert(strstr(note.text, words), "%s", note.text);
    policy_free(policy);
}

Test(policy_compile, refuses_an_unfit_inventory)
{
    const struct ip one = {.len = 4, .bytes = {192, 0, 2, 1}};
    struct ip many[SLICE_PEER_ADDRESSES_MAX + 1];
    for (size_t i = 0; i < sizeof(many) / sizeof(*many); i++)
        many[i] = (struct ip){.len = 4, .bytes = {192, 0, 2, (uint8_t)i}};
    unfit((struct inventory_host[]){{.name = "a", .slot = 1}, {.name = "a", .slot = 2}}, 2, ERR_INVALID,
          "two hosts 'a'");
    unfit((struct inventory_host[]){{.name = "a", .slot = 1}, {.name = "b", .slot = 1}}, 2, ERR_INVALID, "same slot 1");
    unfit((struct inventory_host[]){{"a", &one, 1, NULL, 0, 1, "", false}, {"b", &one, 1, NULL, 0, 2, "", false}}, 2,
          ERR_INVALID, "same address 192.0.2.1");
    unfit((struct inventory_host[]){{.name = "a"}}, 1, ERR_INVALID, "slot 0");
    unfit((struct inventory_host[]){{.name = "a", .slot = 1 << 20}}, 1, ERR_INVALID, "slot 1048576");
    unfit((struct inventory_host[]){{"a", many, SLICE_PEER_ADDRESSES_MAX + 1, NULL, 0, 1, "", false}}, 1, ERR_LIMIT,
          "17 addresses");
}

// A thousand hosts, each a peer of all: the most that a change of policy has to compile at such a site.
Test(policy_compile, a_thousand_hosts)
{
    enum { COUNT = 1000 };
    static char names[COUNT][16];
    static struct ip addresses[COUNT];
    static struct inventory_host hosts[COUNT];
    static const struct inventory_label label[] = {{"role", "node"}};
    struct inventory inventory = {.trust_domain = "example.org", .generation = 1, .hosts = hosts, .host_count = COUNT};
    struct policy_view *view = NULL;
    struct timespec begin, end;

    for (unsigned i = 0; i < COUNT; i++) {
        snprintf(names[i], sizeof(names[i]), "node%u", i);
        addresses[i] = (struct ip){.len = 4, .bytes = {198, 18, (uint8_t)(i >> 8), (uint8_t)i}};
        hosts[i] = (struct inventory_host){
            names[i], &addresses[i], 1, label, 1, i + 1, "spiffe://example.org/ns/default/sa/node", false};
    }
    struct policy *policy =
        policy_good("version: 1\n"
                    "segments: {all: {labels: {role: node}}}\n"
                    "rules:\n"
                    "  - {name: mesh, from: all, to: all, ports: [tcp/1-15000], layers: [ipsec, https]}\n");
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &begin);
    cr_assert_eq(policy_view_new(policy, &inventory, &view, NULL), ERR_OK);
    for (unsigned i = 0; i < COUNT; i++) {
        Twofold__V1__Slice *slice = NULL;
        cr_assert_eq(policy_compile_view(view, names[i], &slice), ERR_OK);
        cr_assert_eq(slice->n_peers, COUNT - 1);
        cr_assert_eq(slice->n_rules, 2);
        message_free(slice);
    }
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &end);
    double seconds = (double)(end.tv_sec - begin.tv_sec) + (double)(end.tv_nsec - begin.tv_nsec) / 1e9;
    cr_log_info("compile: %d slices of a full mesh in %.2f s\n", COUNT, seconds);
    cr_assert_lt(seconds, 20.0);
    policy_view_free(view);
    policy_free(policy);
}
