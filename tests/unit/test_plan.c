// SPDX-License-Identifier: GPL-2.0-or-later
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/network/keying.h"
#include "agent/network/policies.h"
#include "agent/network/xfrm/plan.h"
#include "proto/base/buf.h"
#include "tests/unit/policy_inventory.h"

static struct ip ip(const char *text)
{
    struct ip parsed;
    cr_assert_eq(ip_parse(text, &parsed), ERR_OK);
    return parsed;
}

static struct spd_policy allow(enum spd_direction direction, const char *remote, uint16_t port)
{
    struct spd_policy policy = {.direction = direction,
                                .action = SPD_ALLOW,
                                .priority = SPD_PRIORITY_PINHOLE,
                                .selector = {.protocol = IPPROTO_TCP}};
    struct ip_prefix far = {.ip = ip(remote), .bits = 32}, near = {.ip = {.len = 4}};
    policy.selector.source = direction == SPD_OUT ? near : far;
    policy.selector.destination = direction == SPD_OUT ? far : near;
    policy.selector.destination_port = port;
    policy.selector.destination_mask = 0xffff;
    return policy;
}

static struct spd_policy protect(enum spd_direction direction, const char *remote, uint32_t spi)
{
    struct address_pair pair = {
        .local = ip("192.0.2.1"), .remote = ip(remote), .reqid = REQID_BASE + 7, .outbound_spi = spi};
    return direction == SPD_OUT ? policies_pair_out(&pair) : policies_pair_in(&pair);
}

static size_t floor_policies(struct spd_policy *room)
{
    static const enum spd_direction directions[] = {SPD_OUT, SPD_FWD, SPD_IN};
    for (size_t i = 0; i < 3; i++)
        room[i] = (struct spd_policy){.direction = directions[i],
                                      .selector = {.source.ip.len = 4, .destination.ip.len = 4},
                                      .action = directions[i] == SPD_OUT ? SPD_PROTECT : SPD_BLOCK,
                                      .priority = SPD_PRIORITY_FLOOR,
                                      .reqid = directions[i] == SPD_OUT ? REQID_BASE : 0};
    return 3;
}

static char *write_plan(const struct plan *plan)
{
    static const char *const kinds[] = {"add", "update", "remove"};
    struct buf text;
    buf_init(&text, 1 << 20);
    for (size_t i = 0; i < plan->count; i++) {
        char line[SPD_TEXT_BYTES];
        spd_format(plan->steps[i].kind == PLAN_REMOVE ? &plan->steps[i].before : &plan->steps[i].after, line);
        cr_assert_eq(buf_append_text(&text, "%-6s %s\n", kinds[plan->steps[i].kind], line), ERR_OK);
    }
    cr_assert_eq(buf_append_u8(&text, 0), ERR_OK);
    char *copy = strdup((const char *)buf_bytes(&text));
    buf_free(&text);
    return copy;
}

static void check_golden(const struct spd_policy *wanted, size_t wanted_count, const struct spd_policy *have,
                         size_t have_count, const char *name)
{
    char path[128];
    struct plan plan;
    cr_assert_eq(plan_make(wanted, wanted_count, have, have_count, &plan), ERR_OK);
    char *text = write_plan(&plan);
    snprintf(path, sizeof(path), "tests/unit/golden/network/%s.plan", name);
    golden_compare(path, text);
    free(text);
    plan_free(&plan);
}

Test(plan, orders_are_those_of_the_golden_files)
{
    struct spd_policy first[16], second[16];
    size_t a = floor_policies(first), b = floor_policies(second);
    first[a++] = protect(SPD_OUT, "192.0.2.2", 0x1041);
    first[a++] = protect(SPD_IN, "192.0.2.2", 0);
    first[a++] = protect(SPD_OUT, "192.0.2.3", 0x1041);
    first[a++] = protect(SPD_IN, "192.0.2.3", 0);
    first[a++] = allow(SPD_OUT, "192.0.2.9", 53);
    first[a++] = allow(SPD_IN, "192.0.2.9", 22);
    second[b++] = protect(SPD_OUT, "192.0.2.2", 0x1042); // switched
    second[b++] = protect(SPD_IN, "192.0.2.2", 0);
    second[b++] = protect(SPD_OUT, "192.0.2.4", 0x1041); // new; 192.0.2.3 is gone
    second[b++] = protect(SPD_IN, "192.0.2.4", 0);
    second[b++] = allow(SPD_OUT, "192.0.2.9", 53);
    second[b++] = allow(SPD_OUT, "192.0.2.8", 53);
    second[b++] = allow(SPD_IN, "192.0.2.8", 22);
    check_golden(first, a, NULL, 0, "install");
    check_golden(second, b, first, a, "change");
    check_golden(NULL, 0, second, b, "clear");
}

Test(plan, the_same_twice_is_no_step)
{
    struct spd_policy policies[16];
    size_t count = floor_policies(policies);
    policies[count++] = protect(SPD_OUT, "192.0.2.2", 0x1041);
    policies[count++] = allow(SPD_IN, "192.0.2.9", 22);
    struct spd_policy reversed[16];
    for (size_t i = 0; i < count; i++)
        reversed[i] = policies[count - 1 - i];
    struct plan plan;
    cr_assert_eq(plan_make(policies, count, reversed, count, &plan), ERR_OK);
    cr_assert_eq(plan.count, 0);
    plan_free(&plan);
    cr_assert_eq(plan_make(NULL, 0, NULL, 0, &plan), ERR_OK);
    cr_assert_eq(plan.count, 0);
    plan_free(&plan);
}

Test(plan, a_selector_that_is_wanted_twice_is_refused)
{
    struct spd_policy twice[2] = {allow(SPD_IN, "192.0.2.9", 22), allow(SPD_IN, "192.0.2.9", 22)};
    struct plan plan;
    twice[1].priority++;
    cr_assert_eq(plan_make(twice, 2, NULL, 0, &plan), ERR_INVALID);
}

// ---- nothing opens in between: random sets, a model of the kernel, every step looked at

static uint32_t seed = 1;

static unsigned roll(unsigned sides)
{
    seed = seed * 1664525 + 1013904223;
    return (seed >> 8) % sides;
}

struct model {
    struct spd_policy items[64];
    size_t count;
};

static void model_step(struct model *model, const struct plan_step *step)
{
    const struct spd_policy *key = step->kind == PLAN_REMOVE ? &step->before : &step->after;
    size_t at = 0;
    while (at < model->count && spd_compare_key(&model->items[at], key) != 0)
        at++;
    switch (step->kind) {
    case PLAN_ADD:
        cr_assert_eq(at, model->count, "added twice");
        model->items[model->count++] = step->after;
        break;
    case PLAN_UPDATE:
        cr_assert_lt(at, model->count);
        cr_assert(spd_equal(&model->items[at], &step->before));
        model->items[at] = step->after;
        break;
    case PLAN_REMOVE:
        cr_assert_lt(at, model->count);
        cr_assert(spd_equal(&model->items[at], &step->before));
        model->items[at] = model->items[--model->count];
        break;
    }
}

static bool in_prefix(const struct ip_prefix *prefix, const struct ip *ip)
{
    return prefix->bits == 0 || ip_prefix_contains(prefix, ip);
}

// What a packet meets: allow, block, or protect; with no policy at all it passes, as in the kernel.
static enum spd_action verdict(const struct model *model, enum spd_direction direction, const struct ip *remote,
                               uint16_t port)
{
    const struct spd_policy *best = NULL;
    struct ip local = ip("192.0.2.1");
    for (size_t i = 0; i < model->count; i++) {
        const struct spd_policy *policy = &model->items[i];
        const struct spd_selector *selector = &policy->selector;
        if (policy->direction != direction || !in_prefix(&selector->source, direction == SPD_OUT ? &local : remote) ||
            !in_prefix(&selector->destination, direction == SPD_OUT ? remote : &local) ||
            (selector->protocol != 0 && (port & selector->destination_mask) != selector->destination_port))
            continue;
        if (best == NULL || policy->priority < best->priority)
            best = policy;
    }
    return best == NULL ? SPD_ALLOW : best->action;
}

static size_t random_policies(struct spd_policy *room)
{
    static const char *const remotes[] = {"192.0.2.2", "192.0.2.3", "192.0.2.4"};
    size_t count = floor_policies(room);
    for (size_t i = 0; i < 3; i++) {
        if (roll(2) != 0)
            room[count++] = protect(SPD_IN, remotes[i], 0);
        if (roll(2) != 0)
            room[count++] = protect(SPD_OUT, remotes[i], 0x1000 + roll(3));
        for (uint16_t port = 22; port < 24; port++) {
            if (roll(3) == 0)
                room[count++] = allow(SPD_IN, remotes[i], port);
            if (roll(3) == 0)
                room[count++] = allow(SPD_OUT, remotes[i], port);
        }
    }
    return count;
}

// No packet is let pass outside IPsec in between that neither the old nor the new policies let pass.
static void check_no_opening(const struct model *old, const struct model *new, const struct model *now)
{
    static const char *const remotes[] = {"192.0.2.2", "192.0.2.3", "192.0.2.4", "192.0.2.5"};
    for (size_t i = 0; i < 4; i++) {
        struct ip remote = ip(remotes[i]);
        for (uint16_t port = 21; port < 25; port++) {
            for (enum spd_direction direction = SPD_IN; direction <= SPD_FWD; direction++) {
                if (verdict(now, direction, &remote, port) == SPD_ALLOW)
                    cr_assert(verdict(old, direction, &remote, port) == SPD_ALLOW ||
                                  verdict(new, direction, &remote, port) == SPD_ALLOW,
                              "opened: %d %s %u", direction, remotes[i], port);
            }
        }
    }
}

Test(plan, nothing_opens_in_between)
{
    for (seed = 1; seed < 400; seed++) {
        uint32_t kept = seed;
        struct model old = {.count = 0}, new = {.count = 0};
        old.count = roll(8) == 0 ? 0 : random_policies(old.items);
        new.count = random_policies(new.items);
        struct plan plan;
        cr_assert_eq(plan_make(new.items, new.count, old.items, old.count, &plan), ERR_OK);
        struct model now = old;
        for (size_t i = 0; i < plan.count; i++) {
            model_step(&now, &plan.steps[i]);
            check_no_opening(&old, &new, &now);
        }
        cr_assert_eq(now.count, new.count);
        // And back again, as apply.c undoes.
        for (size_t i = plan.count; i > 0; i--) {
            struct plan_step inverse = plan_inverse(&plan.steps[i - 1]);
            model_step(&now, &inverse);
        }
        cr_assert_eq(now.count, old.count);
        plan_free(&plan);
        seed = kept;
    }
}
