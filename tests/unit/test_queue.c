// SPDX-License-Identifier: GPL-2.0-or-later
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "agent/https/limits.h"
#include "agent/https/queue.h"

static uint8_t pattern(size_t at)
{
    return (uint8_t)(at * 31 + at / 251);
}

static void append(struct queue *queue, size_t from, size_t len)
{
    uint8_t *bytes = malloc(len + 1);
    for (size_t i = 0; i < len; i++) {
        bytes[i] = pattern(from + i);
    }
    cr_assert_eq(queue_append(queue, bytes, len), ERR_OK);
    free(bytes);
}

static void expect(const struct queue *queue, size_t from)
{
    uv_buf_t bufs[64];
    size_t count = queue_peek(queue, bufs, 64);
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < bufs[i].len; j++) {
            cr_assert_eq((uint8_t)bufs[i].base[j], pattern(from), "byte %zu", from);
            from++;
        }
    }
}

Test(queue, what_goes_in_comes_out)
{
    struct chunk_store store;
    struct queue queue;
    chunk_store_init(&store, 10 << 20);
    queue_init(&queue, &store);
    size_t in = 0, out = 0;
    srand(7);
    for (int i = 0; i < 500; i++) {
        size_t len = (size_t)rand() % 40000;
        append(&queue, in, len);
        in += len;
        size_t drop = queue.bytes ? (size_t)rand() % (queue.bytes + 1) : 0;
        queue_drop(&queue, drop);
        out += drop;
        cr_assert_eq(queue.bytes, in - out);
        expect(&queue, out);
    }
    queue_clear(&queue);
    cr_assert_eq(store.bytes, 0);
    chunk_store_free(&store);
}

Test(queue, the_store_bounds_all_queues_together)
{
    struct chunk_store store;
    struct queue a, b;
    static const uint8_t bytes[600];
    chunk_store_init(&store, 1000);
    queue_init(&a, &store);
    queue_init(&b, &store);
    cr_assert_eq(queue_append(&a, bytes, 600), ERR_OK);
    cr_assert_eq(queue_append(&b, bytes, 600), ERR_LIMIT);
    cr_assert_eq(b.bytes, 0);
    cr_assert_eq(queue_append(&b, bytes, 400), ERR_OK);
    queue_drop(&a, 300);
    cr_assert_eq(queue_append(&b, bytes, 300), ERR_OK);
    queue_clear(&a);
    queue_clear(&b);
    chunk_store_free(&store);
}

Test(queue, what_was_peeked_stays_while_the_back_grows)
{
    struct chunk_store store;
    struct queue queue;
    uv_buf_t before[4], after[4];
    chunk_store_init(&store, 10 << 20);
    queue_init(&queue, &store);
    append(&queue, 0, 1000);
    cr_assert_eq(queue_peek(&queue, before, 4), 1);
    append(&queue, 1000, HTTPS_CHUNK_BYTES);
    cr_assert_eq(queue_peek(&queue, after, 4), 2);
    cr_assert_eq(after[0].base, before[0].base);
    queue_clear(&queue);
    chunk_store_free(&store);
}

Test(queue, keeps_few_chunks_for_reuse)
{
    struct chunk_store store;
    struct queue queue;
    chunk_store_init(&store, 100 << 20);
    queue_init(&queue, &store);
    append(&queue, 0, (HTTPS_CHUNKS_SPARE + 20) * (size_t)HTTPS_CHUNK_BYTES);
    queue_clear(&queue);
    cr_assert_eq(store.spare_count, HTTPS_CHUNKS_SPARE);
    chunk_store_free(&store);
}
