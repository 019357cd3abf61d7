// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/network/xfrm/plan.h"

#include <stdlib.h>
#include <string.h>

static int compare_items(const void *a, const void *b)
{
    return spd_compare_key(a, b);
}

static enum err sorted_copy(const struct spd_policy *items, size_t count, struct spd_policy **ret_copy)
{
    struct spd_policy *copy = malloc((count + 1) * sizeof(*copy));
    if (copy == NULL)
        return ERR_NOMEM;
    if (count > 0)
        memcpy(copy, items, count * sizeof(*copy));
    qsort(copy, count, sizeof(*copy), compare_items);
    *ret_copy = copy;
    return ERR_OK;
}

static bool is_floor(const struct spd_policy *policy)
{
    return policy->priority == SPD_PRIORITY_FLOOR || policy->action == SPD_BLOCK;
}

// The phase of plan.h's list; an update that changes the action belongs where its new action does.
static int phase(const struct plan_step *step)
{
    const struct spd_policy *policy = step->kind == PLAN_REMOVE ? &step->before : &step->after;
    if (is_floor(policy))
        return step->kind == PLAN_REMOVE ? 6 : 1;
    if (policy->action == SPD_ALLOW)
        return step->kind == PLAN_REMOVE ? 2 : 4;
    return step->kind == PLAN_REMOVE ? 5 : 3;
}

// In, fwd, out where something is put in place; the other way round where it is taken away.
static int rank(const struct plan_step *step)
{
    static const int ranks[] = {[SPD_IN] = 0, [SPD_FWD] = 1, [SPD_OUT] = 2};
    const struct spd_policy *policy = step->kind == PLAN_REMOVE ? &step->before : &step->after;
    int order = ranks[policy->direction];
    return step->kind == PLAN_REMOVE ? 2 - order : order;
}

static int compare_steps(const void *left, const void *right)
{
    const struct plan_step *a = left;
    const struct plan_step *b = right;
    int order = phase(a) - phase(b);
    if (order == 0)
        order = rank(a) - rank(b);
    if (order == 0)
        order = spd_compare_key(a->kind == PLAN_REMOVE ? &a->before : &a->after,
                                b->kind == PLAN_REMOVE ? &b->before : &b->after);
    return order;
}

static void merge(const struct spd_policy *wanted, size_t wanted_count, const struct spd_policy *have,
                  size_t have_count, struct plan *plan)
{
    size_t w = 0;
    size_t h = 0;
    while (w < wanted_count || h < have_count) {
        int order = w == wanted_count ? 1 : h == have_count ? -1 : spd_compare_key(&wanted[w], &have[h]);
        struct plan_step *step = &plan->steps[plan->count];
        if (order < 0) {
            *step = (struct plan_step){.kind = PLAN_ADD, .after = wanted[w++]};
            plan->count++;
        } else if (order > 0) {
            *step = (struct plan_step){.kind = PLAN_REMOVE, .before = have[h++]};
            plan->count++;
        } else {
            if (!spd_equal(&wanted[w], &have[h])) {
                *step = (struct plan_step){.kind = PLAN_UPDATE, .before = have[h], .after = wanted[w]};
                plan->count++;
            }
            w++;
            h++;
        }
    }
}

enum err plan_make(const struct spd_policy *wanted, size_t wanted_count, const struct spd_policy *have,
                   size_t have_count, struct plan *ret_plan)
{
    struct spd_policy *to = NULL;
    struct spd_policy *from = NULL;
    struct plan plan = {0};
    enum err err = sorted_copy(wanted, wanted_count, &to);
    if (err != ERR_OK)
        return err;
    err = sorted_copy(have, have_count, &from);
    if (err != ERR_OK)
        goto done;
    for (size_t i = 1; i < wanted_count; i++) {
        if (spd_compare_key(&to[i - 1], &to[i]) == 0) {
            err = ERR_INVALID;
            goto done;
        }
    }
    plan.steps = calloc(wanted_count + have_count + 1, sizeof(*plan.steps));
    if (plan.steps == NULL) {
        err = ERR_NOMEM;
        goto done;
    }
    merge(to, wanted_count, from, have_count, &plan);
    qsort(plan.steps, plan.count, sizeof(*plan.steps), compare_steps);
    *ret_plan = plan;
done:
    free(from);
    free(to);
    return err;
}

void plan_free(struct plan *plan)
{
    free(plan->steps);
    *plan = (struct plan){0};
}

struct plan_step plan_inverse(const struct plan_step *step)
{
    switch (step->kind) {
    case PLAN_ADD:
        return (struct plan_step){.kind = PLAN_REMOVE, .before = step->after};
    case PLAN_UPDATE:
        return (struct plan_step){.kind = PLAN_UPDATE, .before = step->after, .after = step->before};
    case PLAN_REMOVE:
        return (struct plan_step){.kind = PLAN_ADD, .after = step->before};
    }
    abort();
}
