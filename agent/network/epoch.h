// SPDX-License-Identifier: GPL-2.0-or-later
// Epochs: the own one's number, the highest one seen of each peer, and the file that keeps both over restarts (docs/keying.md, "Epochs").
#ifndef TWOFOLD_AGENT_NETWORK_EPOCH_H
#define TWOFOLD_AGENT_NETWORK_EPOCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/base/err.h"
#include "proto/base/note.h"
#include "proto/base/spiffe.h"

enum epoch_limit {
    EPOCH_HOSTS_MAX = 20000, // more than a slice holds; beyond it those that are no peers are forgotten
    EPOCH_HASH_BYTES = 16,
    EPOCH_FILE_BYTES_MAX = 4 << 20,
};

// The smallest number that is at least max(last, unix_s << 20) + 1 and whose low six bits are the first ones after those of `last`
// that `in_use` (bit n: low bits n are those of an SA in force) does not hold. With all in use: the ones after `last`.
uint64_t epoch_next(uint64_t last, uint64_t unix_s, uint64_t in_use);

// Events per time, with a burst: full at the beginning.
struct epoch_bucket {
    uint64_t full_at_ms; // when it will be full again
};
bool epoch_bucket_take(struct epoch_bucket *bucket, uint64_t now_ms, uint64_t interval_ms, unsigned burst);
uint64_t epoch_bucket_ready_ms(const struct epoch_bucket *bucket, uint64_t now_ms, uint64_t interval_ms,
                               unsigned burst);

// What is remembered of a host as long as possible, peer or not.
struct epoch_seen {
    char host[NAME_MAX_BYTES + 1];
    uint64_t epoch;       // highest accepted; 0: none
    uint64_t incarnation; // not-before of the certificate that signed it
    uint64_t floor;       // bundles under certificates older than this are refused: set when a lower epoch was accepted
    uint8_t hash[EPOCH_HASH_BYTES]; // of the blob: one epoch, one bundle
    // Of this process only.
    uint64_t paired_with; // own epoch that this bundle was paired with last: a pair is made once
    struct epoch_bucket bucket;
    bool is_peer; // not forgotten
};

enum epoch_verdict {
    EPOCH_NEW,       // to be accepted
    EPOCH_SAME,      // the bundle that was accepted before
    EPOCH_OLD,       // stale
    EPOCH_TWO_FACED, // another bundle with the same epoch
};
// seen NULL: nothing is known.
enum epoch_verdict epoch_judge(const struct epoch_seen *seen, uint64_t epoch, uint64_t incarnation,
                               const uint8_t hash[EPOCH_HASH_BYTES]);
void epoch_accept(struct epoch_seen *seen, uint64_t epoch, uint64_t incarnation, const uint8_t hash[EPOCH_HASH_BYTES]);

struct epoch_store;
// Reads the file; one that isn't there is a first start. ERR_CORRUPT with the remedy.
MUST_USE enum err epoch_store_new(const char *path, struct epoch_store **ret_store, struct note *note);
void epoch_store_free(struct epoch_store *store); // does not write
uint64_t epoch_store_own(const struct epoch_store *store);
void epoch_store_set_own(struct epoch_store *store, uint64_t epoch);
struct epoch_seen *epoch_store_find(struct epoch_store *store, const char *host); // NULL: none
// Finds or adds. The pointer stays good until the host is forgotten: never while is_peer. ERR_NOMEM, ERR_LIMIT.
MUST_USE enum err epoch_store_get(struct epoch_store *store, const char *host, struct epoch_seen **ret_seen);
MUST_USE enum err epoch_store_write(const struct epoch_store *store, struct note *note);

// The file's form, for tests.
MUST_USE enum err epoch_store_decode(const uint8_t *bytes, size_t len, struct epoch_store **ret_store);

#endif
