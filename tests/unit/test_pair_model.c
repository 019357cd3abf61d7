// SPDX-License-Identifier: GPL-2.0-or-later
// The order of a rekey as a model, explored to its end: two ends, a pair in use and four new ones, every order of making pairs, of kernel
// answers, of words (lost, late, doubled and replayed: what was once said may arrive at any time), of packets, and an agent that dies at any
// point and forgets its pairs but not its kernel. The states are pair.c's; what the ends do in them is that of keying_step.c and
// keying_make.c, with no linger: what is removed is gone at once.
#include <criterion/criterion.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "agent/network/pair.h"

#define PAIRS 5 // 0 is in use from the beginning

enum { NONE = PAIR_COMPLETE + 1, DEAD }; // not made yet; burned or forgotten

struct end {
    uint8_t state[PAIRS];
    uint8_t inbound; // bit k: in the kernel
    uint8_t points;  // the pair that the policies point at
    uint8_t pointed; // bit k: packets of that pair may arrive at the other end
};

struct model {
    struct end ends[2]; // [0] leads
    uint8_t said[2][2]; // by sender and word, bit k
};

#define STATES_MAX (1u << 20)
#define EDGES_MAX  (1u << 22)

static struct model *states;
static uint32_t *table; // index + 1
static uint32_t count;
static uint32_t (*edges)[2];
static uint32_t edge_count;

static uint32_t place(const struct model *model)
{
    uint64_t hash = 1469598103934665603u;
    for (size_t i = 0; i < sizeof(*model); i++)
        hash = (hash ^ ((const uint8_t *)model)[i]) * 1099511628211u;
    uint32_t at = (uint32_t)(hash >> 20) % (2 * STATES_MAX);
    while (table[at] && memcmp(&states[table[at] - 1], model, sizeof(*model)) != 0)
        at = (at + 1) % (2 * STATES_MAX);
    return at;
}

static void visit(uint32_t from, const struct model *model)
{
    uint32_t at = place(model);

    if (!table[at]) {
        cr_assert_lt(count, STATES_MAX);
        states[count] = *model;
        table[at] = ++count;
    }
    if (table[at] - 1 == from)
        return;
    cr_assert_lt(edge_count, EDGES_MAX);
    edges[edge_count][0] = from;
    edges[edge_count++][1] = table[at] - 1;
}

// ---- what an end does

static bool is_live(const struct end *end, unsigned k)
{
    return end->state[k] <= PAIR_COMPLETE;
}

static void burn(struct end *end, unsigned k)
{
    end->state[k] = DEAD;
    end->inbound &= (uint8_t) ~(1u << k);
}

static void finish(struct end *end, unsigned k)
{
    for (unsigned i = 0; i < k; i++) {
        end->inbound &= (uint8_t) ~(1u << i);
        end->state[i] = DEAD;
    }
}

static void say(struct model *model, unsigned who, enum derive_word word, unsigned k)
{
    model->said[who][word] |= (uint8_t)(1u << k);
}

static void happen(struct model *model, unsigned who, unsigned k, enum pair_event event)
{
    struct end *end = &model->ends[who];
    bool leads = who == 0;

    if (!is_live(end, k) || k < end->points)
        return;
    end->state[k] = (uint8_t)pair_next(leads, end->state[k], event);
    if (event == PAIR_INSTALLED && leads)
        say(model, who, DERIVE_ACK, k);
    if (event == PAIR_ACK && !leads && end->state[k] == PAIR_ANSWERED)
        say(model, who, DERIVE_ACK, k);
    if (event == PAIR_POINTED) {
        end->points = (uint8_t)k;
        end->pointed |= (uint8_t)(1u << k);
        say(model, who, DERIVE_DONE, k);
    }
    if (end->state[k] == PAIR_COMPLETE)
        finish(end, k);
}

static void make(struct end *end, unsigned k)
{
    for (unsigned i = 0; i < k; i++) {
        if (end->state[i] == NONE)
            end->state[i] = DEAD; // its epochs are past
        else if (end->state[i] == PAIR_NEW || end->state[i] == PAIR_OFFERED)
            burn(end, i);
    }
    end->state[k] = PAIR_NEW;
}

static void die(struct end *end)
{
    for (unsigned k = 0; k < PAIRS; k++)
        if (is_live(end, k))
            end->state[k] = DEAD; // its SAs stay in the kernel
}

static void step_end(uint32_t from, unsigned who)
{
    const struct model before = states[from];
    const struct end *end = &before.ends[who], *other = &before.ends[1 - who];
    struct model next;

    for (unsigned k = 1; k < PAIRS; k++) {
        if (end->state[k] == NONE) {
            next = before;
            make(&next.ends[who], k);
            visit(from, &next);
        }
        if (end->state[k] == PAIR_NEW) {
            next = before;
            next.ends[who].inbound |= (uint8_t)(1u << k);
            happen(&next, who, k, PAIR_INSTALLED);
            visit(from, &next);
        }
        if (end->state[k] == PAIR_READY) {
            next = before;
            happen(&next, who, k, PAIR_POINTED);
            visit(from, &next);
        }
        for (enum derive_word word = DERIVE_ACK; word <= DERIVE_DONE; word++) {
            if (!(before.said[1 - who][word] >> k & 1))
                continue;
            next = before;
            happen(&next, who, k, word == DERIVE_ACK ? PAIR_ACK : PAIR_DONE);
            visit(from, &next);
        }
        if (other->pointed >> k & 1) {
            next = before;
            happen(&next, who, k, PAIR_DONE);
            visit(from, &next);
        }
    }
    next = before;
    die(&next.ends[who]);
    visit(from, &next);
}

// ---- what must hold

static void check(const struct model *model)
{
    for (unsigned who = 0; who < 2; who++)
        cr_assert(model->ends[1 - who].inbound >> model->ends[who].points & 1,
                  "an end sends on pair %u, which the other end does not receive", model->ends[who].points);
}

static bool is_good(const struct model *model)
{
    return model->ends[0].state[PAIRS - 1] == PAIR_COMPLETE && model->ends[1].state[PAIRS - 1] == PAIR_COMPLETE;
}

// From everywhere where the last pair isn't lost a way leads to both ends using it.
static void check_progress(void)
{
    bool *reaches = calloc(count, sizeof(*reaches));
    bool changed = true;
    uint32_t stuck = 0, possible = 0;

    for (uint32_t i = 0; i < count; i++)
        reaches[i] = is_good(&states[i]);
    while (changed) {
        changed = false;
        for (uint32_t i = edge_count; i-- > 0;) {
            if (!reaches[edges[i][0]] && reaches[edges[i][1]])
                changed = reaches[edges[i][0]] = true;
        }
    }
    for (uint32_t i = 0; i < count; i++) {
        if (states[i].ends[0].state[PAIRS - 1] == DEAD || states[i].ends[1].state[PAIRS - 1] == DEAD)
            continue;
        possible++;
        stuck += !reaches[i];
    }
    cr_expect_gt(possible, 1000);
    cr_expect_eq(stuck, 0, "%u of %u states lead nowhere", stuck, possible);
    free(reaches);
}

Test(pair_model, every_order_of_events_keeps_what_must_hold, .timeout = 100)
{
    struct model first = {0};

    states = calloc(STATES_MAX, sizeof(*states));
    table = calloc(2 * (size_t)STATES_MAX, sizeof(*table));
    edges = calloc(EDGES_MAX, sizeof(*edges));
    cr_assert(states && table && edges);
    for (unsigned who = 0; who < 2; who++) {
        memset(first.ends[who].state, NONE, PAIRS);
        first.ends[who].state[0] = PAIR_COMPLETE;
        first.ends[who].inbound = first.ends[who].pointed = 1;
    }
    visit(UINT32_MAX, &first);
    edge_count = 0;
    for (uint32_t i = 0; i < count; i++) {
        check(&states[i]);
        step_end(i, 0);
        step_end(i, 1);
    }
    cr_log_info("%u states, %u steps", count, edge_count);
    cr_expect_gt(count, 1000);
    check_progress();
    free(states);
    free(table);
    free(edges);
}
