// SPDX-License-Identifier: GPL-2.0-or-later
// The end of a loop's turn: work put off until every event of the turn has been handled, and the buffers that all connections of a loop
// share for reading. One turn a loop, made with its first holder and gone with its last. For conn.c only.
#ifndef TWOFOLD_LINK_TURN_H
#define TWOFOLD_LINK_TURN_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "proto/base/err.h"

#define TURN_CIPHERTEXT_BYTES (128u << 10)
#define TURN_PLAINTEXT_BYTES  (64u << 10)

struct turn;

struct turn_work {
    void (*run)(struct turn_work *work);
    struct turn_work *previous;
    struct turn_work *next;
    bool queued;
};

MUST_USE enum err turn_hold(uv_loop_t *loop, struct turn **ret_turn);
void turn_drop(struct turn *turn);

// Runs once before the loop waits for events again. What is queued while work runs comes in the next turn, which then waits for nothing.
void turn_queue(struct turn *turn, struct turn_work *work);
void turn_unqueue(struct turn *turn, struct turn_work *work);

uint8_t *turn_ciphertext(struct turn *turn);
uint8_t *turn_plaintext(struct turn *turn);

#endif
