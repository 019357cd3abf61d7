// SPDX-License-Identifier: GPL-2.0-or-later
// Token buckets: what a peer may do per second, in bounded memory.
#ifndef TWOFOLD_CONTROLLER_LIMITER_H
#define TWOFOLD_CONTROLLER_LIMITER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/base/err.h"
#include "proto/base/ip.h"

struct rate {
    uint64_t interval_ms; // one more each
    uint32_t burst;
};

// A plain value; zero is full.
struct bucket {
    uint64_t spent_until_ms; // the time at which it is full again
};

// Takes one, or says that there is none.
bool bucket_take(struct bucket *bucket, const struct rate *rate, uint64_t boot_ms);
bool bucket_is_empty(const struct bucket *bucket, const struct rate *rate, uint64_t boot_ms);

// Buckets for each source: an IPv4 address or an IPv6 /64. At most LIMITER_SOURCES; when a new one comes, the one that is
// nearest to full is forgotten.
#define LIMITER_SOURCES 4096
struct limiter;
MUST_USE enum err limiter_new(const struct rate *rate, struct limiter **ret_limiter);
void limiter_free(struct limiter *limiter);
bool limiter_blocks(const struct limiter *limiter, const struct ip *source, uint64_t boot_ms);
void limiter_count(struct limiter *limiter, const struct ip *source, uint64_t boot_ms);

#endif
