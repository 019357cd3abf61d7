// SPDX-License-Identifier: GPL-2.0-or-later
// Bytes that wait for an application, in chunks that never move: the front can be in a system call while the back grows. All
// queues of the role share one store, which bounds them together and keeps a few chunks for reuse.
#ifndef TWOFOLD_AGENT_HTTPS_QUEUE_H
#define TWOFOLD_AGENT_HTTPS_QUEUE_H

#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "proto/base/err.h"

struct chunk;

struct chunk_store {
    uint64_t limit_bytes; // of all queues
    uint64_t bytes;
    size_t spare_count;
    struct chunk *spare;
};

void chunk_store_init(struct chunk_store *store, uint64_t limit_bytes);
void chunk_store_free(struct chunk_store *store); // when no queue holds anything

struct queue {
    struct chunk_store *store;
    struct chunk *first;
    struct chunk *last;
    size_t bytes;
};

void queue_init(struct queue *queue, struct chunk_store *store);
void queue_clear(struct queue *queue);

// Copies all bytes to the end, or none: ERR_LIMIT, ERR_NOMEM.
MUST_USE enum err queue_append(struct queue *queue, const uint8_t *bytes, size_t len);

// The front of the queue as buffers, at most `room` of them; how many. They stay valid until they are dropped.
size_t queue_peek(const struct queue *queue, uv_buf_t *ret_bufs, size_t room);

// Drops the first `len` bytes.
void queue_drop(struct queue *queue, size_t len);

#endif
