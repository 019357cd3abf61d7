// SPDX-License-Identifier: GPL-2.0-or-later
#include "controller/limiter.h"

#include <stdlib.h>
#include <string.h>

bool bucket_is_empty(const struct bucket *bucket, const struct rate *rate, uint64_t boot_ms)
{
    uint64_t full = rate->interval_ms * rate->burst;
    return bucket->spent_until_ms > boot_ms && bucket->spent_until_ms - boot_ms > full - rate->interval_ms;
}

bool bucket_take(struct bucket *bucket, const struct rate *rate, uint64_t boot_ms)
{
    if (bucket_is_empty(bucket, rate, boot_ms))
        return false;
    if (bucket->spent_until_ms < boot_ms)
        bucket->spent_until_ms = boot_ms;
    bucket->spent_until_ms += rate->interval_ms;
    return true;
}

struct source {
    struct ip key; // len 0: free
    struct bucket bucket;
};

struct limiter {
    struct rate rate;
    struct source sources[LIMITER_SOURCES];
};

enum err limiter_new(const struct rate *rate, struct limiter **ret_limiter)
{
    struct limiter *limiter = calloc(1, sizeof(*limiter));
    if (limiter == NULL)
        return ERR_NOMEM;
    limiter->rate = *rate;
    *ret_limiter = limiter;
    return ERR_OK;
}

void limiter_free(struct limiter *limiter)
{
    free(limiter);
}

// One subscriber has a whole /64 to pick addresses from.
static struct ip key_of(const struct ip *source)
{
    struct ip key = *source;
    if (key.len == 16)
        memset(key.bytes + 8, 0, 8);
    return key;
}

static const struct source *find(const struct limiter *limiter, const struct ip *key)
{
    for (size_t i = 0; i < LIMITER_SOURCES; i++) {
        if (memcmp(&limiter->sources[i].key, key, sizeof(*key)) == 0)
            return &limiter->sources[i];
    }
    return NULL;
}

bool limiter_blocks(const struct limiter *limiter, const struct ip *source, uint64_t boot_ms)
{
    struct ip key = key_of(source);
    const struct source *known = find(limiter, &key);
    return known != NULL && bucket_is_empty(&known->bucket, &limiter->rate, boot_ms);
}

void limiter_count(struct limiter *limiter, const struct ip *source, uint64_t boot_ms)
{
    struct ip key = key_of(source);
    struct source *place = (struct source *)find(limiter, &key);
    if (place == NULL) {
        place = &limiter->sources[0];
        for (size_t i = 1; i < LIMITER_SOURCES; i++) {
            if (limiter->sources[i].bucket.spent_until_ms < place->bucket.spent_until_ms)
                place = &limiter->sources[i];
        }
        *place = (struct source){.key = key};
    }
    (void)bucket_take(&place->bucket, &limiter->rate, boot_ms); // an empty one stays empty
}
