// SPDX-License-Identifier: GPL-2.0-or-later
#include "proto/link/turn.h"

#include <stdlib.h>

struct list {
    struct turn_work *first;
    struct turn_work *last;
};

struct turn {
    struct turn *next;
    uv_loop_t *loop;
    unsigned holders;
    unsigned handles_open;
    uv_prepare_t prepare; // before the loop waits: runs the work
    uv_idle_t idle;       // active while there is work, so that the loop does not wait
    struct list waiting;
    struct list running;
    uint8_t plaintext[TURN_PLAINTEXT_BYTES];
    uint8_t ciphertext[TURN_CIPHERTEXT_BYTES];
};

// Loops belong to threads.
static _Thread_local struct turn *turns;

static void append(struct list *list, struct turn_work *work)
{
    work->previous = list->last;
    work->next = NULL;
    if (list->last)
        list->last->next = work;
    else
        list->first = work;
    list->last = work;
}

static void take_out(struct list *list, struct turn_work *work)
{
    if (work->previous)
        work->previous->next = work->next;
    else
        list->first = work->next;
    if (work->next)
        work->next->previous = work->previous;
    else
        list->last = work->previous;
}

static void on_idle(uv_idle_t *idle)
{
    (void)idle; // being active is its only purpose
}

static void on_prepare(uv_prepare_t *prepare)
{
    struct turn *turn = prepare->data;

    turn->running = turn->waiting;
    turn->waiting = (struct list){NULL, NULL};
    while (turn->running.first) {
        struct turn_work *work = turn->running.first;
        take_out(&turn->running, work);
        work->queued = false;
        work->run(work);
    }
    if (!turn->waiting.first)
        uv_idle_stop(&turn->idle);
    else if (!uv_is_closing((uv_handle_t *)&turn->idle))
        uv_idle_start(&turn->idle, on_idle);
}

void turn_queue(struct turn *turn, struct turn_work *work)
{
    if (work->queued)
        return;
    work->queued = true;
    append(&turn->waiting, work);
}

void turn_unqueue(struct turn *turn, struct turn_work *work)
{
    if (!work->queued)
        return;
    work->queued = false;
    // In the middle of either list its neighbours are all that changes.
    take_out(turn->running.first == work || turn->running.last == work ? &turn->running : &turn->waiting, work);
}

static void on_closed(uv_handle_t *handle)
{
    struct turn *turn = handle->data;

    if (--turn->handles_open == 0)
        free(turn);
}

enum err turn_hold(uv_loop_t *loop, struct turn **ret_turn)
{
    struct turn *turn = turns;

    while (turn && turn->loop != loop)
        turn = turn->next;
    if (!turn) {
        turn = calloc(1, sizeof(*turn));
        if (!turn)
            return ERR_NOMEM;
        turn->loop = loop;
        uv_prepare_init(loop, &turn->prepare);
        uv_idle_init(loop, &turn->idle);
        turn->prepare.data = turn;
        turn->idle.data = turn;
        turn->handles_open = 2;
        uv_prepare_start(&turn->prepare, on_prepare);
        uv_unref((uv_handle_t *)&turn->prepare);
        turn->next = turns;
        turns = turn;
    }
    turn->holders++;
    *ret_turn = turn;
    return ERR_OK;
}

void turn_drop(struct turn *turn)
{
    if (--turn->holders > 0)
        return;
    struct turn **link = &turns;
    while (*link != turn)
        link = &(*link)->next;
    *link = turn->next;
    uv_close((uv_handle_t *)&turn->prepare, on_closed);
    uv_close((uv_handle_t *)&turn->idle, on_closed);
}

uint8_t *turn_ciphertext(struct turn *turn)
{
    return turn->ciphertext;
}

uint8_t *turn_plaintext(struct turn *turn)
{
    return turn->plaintext;
}
