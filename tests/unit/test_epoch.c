// SPDX-License-Identifier: GPL-2.0-or-later
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/network/epoch.h"
#include "proto/base/file.h"

static const uint8_t hash_a[EPOCH_HASH_BYTES] = {1}, hash_b[EPOCH_HASH_BYTES] = {2};

// ---- numbers

Test(epoch, the_first_follows_the_clock)
{
    uint64_t epoch = epoch_next(0, 1780000000, 0);

    cr_expect_gt(epoch, UINT64_C(1780000000) << 20);
    cr_expect_leq(epoch, (UINT64_C(1780000000) << 20) + 64);
    cr_expect_eq(epoch & 63, 1);
}

Test(epoch, consecutive_ones_differ_in_their_low_bits)
{
    uint64_t last = 0;

    for (unsigned i = 0; i < 1000; i++) {
        // A clock that jumps, stands still and goes back.
        uint64_t next = epoch_next(last, 1780000000 + (i % 7 == 3 ? 86400 : i % 5), 0);
        cr_assert_gt(next, last);
        cr_assert_eq(next & 63, (last + 1) & 63);
        last = next;
    }
}

Test(epoch, bits_in_use_are_passed_over)
{
    uint64_t last = (UINT64_C(1780000000) << 20) + 62;

    cr_expect_eq(epoch_next(last, 0, 0) & 63, 63);
    cr_expect_eq(epoch_next(last, 0, UINT64_C(1) << 63) & 63, 0);
    cr_expect_eq(epoch_next(last, 0, UINT64_C(1) << 63 | 7) & 63, 3);
    cr_expect_eq(epoch_next(last, 0, ~(UINT64_C(1) << 62)) & 63, 62, "only its own are free");
    cr_expect_eq(epoch_next(last, 0, UINT64_MAX) & 63, 63, "none is free");
    cr_expect_gt(epoch_next(last, 0, UINT64_MAX), last);
}

// ---- rate

Test(epoch, a_bucket_lets_a_burst_through_and_then_its_rate)
{
    struct epoch_bucket bucket = {0};
    uint64_t now_ms = 500;

    for (unsigned i = 0; i < 3; i++)
        cr_expect(epoch_bucket_take(&bucket, now_ms, 1000, 3));
    cr_expect_not(epoch_bucket_take(&bucket, now_ms, 1000, 3));
    cr_expect_eq(epoch_bucket_ready_ms(&bucket, now_ms, 1000, 3), now_ms + 1000);
    cr_expect_not(epoch_bucket_take(&bucket, now_ms + 999, 1000, 3));
    cr_expect(epoch_bucket_take(&bucket, now_ms + 1000, 1000, 3));
    cr_expect_not(epoch_bucket_take(&bucket, now_ms + 1001, 1000, 3));
    for (unsigned i = 0; i < 3; i++)
        cr_expect(epoch_bucket_take(&bucket, now_ms + 60000, 1000, 3), "full again");
    cr_expect_not(epoch_bucket_take(&bucket, now_ms + 60000, 1000, 3));
}

// ---- what is accepted

Test(epoch, higher_ones_are_new_and_lower_ones_old)
{
    struct epoch_seen seen = {0};

    cr_expect_eq(epoch_judge(NULL, 5, 100, hash_a), EPOCH_NEW);
    cr_expect_eq(epoch_judge(&seen, 5, 100, hash_a), EPOCH_NEW);
    epoch_accept(&seen, 5, 100, hash_a);
    cr_expect_eq(epoch_judge(&seen, 5, 100, hash_a), EPOCH_SAME);
    cr_expect_eq(epoch_judge(&seen, 5, 100, hash_b), EPOCH_TWO_FACED);
    cr_expect_eq(epoch_judge(&seen, 4, 100, hash_a), EPOCH_OLD);
    cr_expect_eq(epoch_judge(&seen, 6, 100, hash_b), EPOCH_NEW);
}

Test(epoch, a_renewed_certificate_that_looks_older_does_not_lock_a_host_out)
{
    struct epoch_seen seen = {0};

    epoch_accept(&seen, 5, 100, hash_a);
    cr_expect_eq(epoch_judge(&seen, 6, 90, hash_b), EPOCH_NEW, "the CA's clock was set back");
}

Test(epoch, a_host_that_lost_its_state_begins_again_and_its_past_does_not_return)
{
    struct epoch_seen seen = {0};

    epoch_accept(&seen, 500, 100, hash_a);
    cr_expect_eq(epoch_judge(&seen, 7, 100, hash_b), EPOCH_OLD, "the same certificate");
    cr_expect_eq(epoch_judge(&seen, 7, 99, hash_b), EPOCH_OLD, "an older one");
    cr_assert_eq(epoch_judge(&seen, 7, 101, hash_b), EPOCH_NEW);
    epoch_accept(&seen, 7, 101, hash_b);
    cr_expect_eq(epoch_judge(&seen, 500, 100, hash_a), EPOCH_OLD);
    cr_expect_eq(epoch_judge(&seen, 501, 100, hash_a), EPOCH_OLD);
    cr_expect_eq(epoch_judge(&seen, 8, 101, hash_a), EPOCH_NEW);
    epoch_accept(&seen, 8, 101, hash_a);
    cr_expect_eq(epoch_judge(&seen, 501, 100, hash_a), EPOCH_OLD, "for good");
}

// ---- the file

static char path[64];

static void make_path(void)
{
    strcpy(path, "/tmp/twofold-test-epoch.XXXXXX");
    int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    close(fd);
    unlink(path);
}

static void remove_path(void)
{
    unlink(path);
}

TestSuite(epoch_file, .init = make_path, .fini = remove_path);

static void write_one(void)
{
    struct epoch_store *store;
    struct epoch_seen *seen;
    struct note note;

    cr_assert_eq(epoch_store_new(path, &store, &note), ERR_OK);
    epoch_store_set_own(store, 77);
    cr_assert_eq(epoch_store_get(store, "web", &seen), ERR_OK);
    epoch_accept(seen, 5, 100, hash_a);
    cr_assert_eq(epoch_store_get(store, "api", &seen), ERR_OK);
    epoch_accept(seen, 9, 200, hash_a);
    epoch_accept(seen, 3, 201, hash_b);
    cr_assert_eq(epoch_store_get(store, "never-heard", &seen), ERR_OK);
    cr_assert_eq(epoch_store_write(store, &note), ERR_OK, "%s", note.text);
    epoch_store_free(store);
}

Test(epoch_file, what_is_written_comes_back)
{
    struct epoch_store *store;
    struct note note;

    write_one();
    cr_assert_eq(epoch_store_new(path, &store, &note), ERR_OK, "%s", note.text);
    cr_expect_eq(epoch_store_own(store), 77);
    const struct epoch_seen *web = epoch_store_find(store, "web"), *api = epoch_store_find(store, "api");
    cr_assert(web && api);
    cr_expect_eq(web->epoch, 5);
    cr_expect_eq(web->floor, 0);
    cr_expect_eq(api->epoch, 3);
    cr_expect_eq(api->incarnation, 201);
    cr_expect_eq(api->floor, 201);
    cr_expect_eq(epoch_judge(api, 3, 201, hash_b), EPOCH_SAME);
    cr_expect_null(epoch_store_find(store, "never-heard"));
    epoch_store_free(store);
}

Test(epoch_file, a_damaged_one_is_an_error_with_its_remedy)
{
    struct epoch_store *store;
    struct note note;
    uint8_t *bytes;
    size_t len;

    write_one();
    cr_assert_eq(file_read(path, 1 << 20, &bytes, &len, &note), ERR_OK);
    for (size_t i = 0; i < len; i++) {
        bytes[i] ^= 0x20;
        cr_expect_eq(epoch_store_decode(bytes, len, &store), ERR_CORRUPT, "byte %zu", i);
        bytes[i] ^= 0x20;
        cr_expect_eq(epoch_store_decode(bytes, i, &store), ERR_CORRUPT, "cut at %zu", i);
    }
    cr_assert_eq(file_write(path, bytes, len - 1, 0600, &note), ERR_OK);
    free(bytes);
    cr_expect_eq(epoch_store_new(path, &store, &note), ERR_CORRUPT);
    cr_expect_not_null(strstr(note.text, "remove it"), "%s", note.text);
}

Test(epoch_file, hosts_are_bounded_and_peers_stay)
{
    struct epoch_store *store;
    struct epoch_seen *seen, *peer;
    struct note note;
    char host[32];

    cr_assert_eq(epoch_store_new(path, &store, &note), ERR_OK);
    cr_assert_eq(epoch_store_get(store, "peer", &peer), ERR_OK);
    epoch_accept(peer, 1, 1, hash_a); // the oldest of all
    peer->is_peer = true;
    for (unsigned i = 0; i < EPOCH_HOSTS_MAX + 10; i++) {
        snprintf(host, sizeof(host), "h%u", i);
        cr_assert_eq(epoch_store_get(store, host, &seen), ERR_OK);
        epoch_accept(seen, i + 2, 1, hash_a);
    }
    cr_expect_eq(epoch_store_find(store, "peer"), peer);
    cr_expect_null(epoch_store_find(store, "h0"), "the oldest is forgotten");
    cr_expect_not_null(epoch_store_find(store, "h20009"));
    cr_expect_eq(epoch_store_write(store, &note), ERR_OK, "%s", note.text);
    epoch_store_free(store);
    cr_expect_eq(epoch_store_new(path, &store, &note), ERR_OK, "the largest file can be read: %s", note.text);
    epoch_store_free(store);
}

Test(epoch_file, when_all_are_peers_there_is_a_limit)
{
    struct epoch_store *store;
    struct epoch_seen *seen;
    struct note note;
    char host[32];

    cr_assert_eq(epoch_store_new(path, &store, &note), ERR_OK);
    for (unsigned i = 0; i < EPOCH_HOSTS_MAX; i++) {
        snprintf(host, sizeof(host), "h%u", i);
        cr_assert_eq(epoch_store_get(store, host, &seen), ERR_OK);
        seen->is_peer = true;
    }
    cr_expect_eq(epoch_store_get(store, "one-more", &seen), ERR_LIMIT);
    epoch_store_free(store);
}
