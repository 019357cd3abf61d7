// SPDX-License-Identifier: GPL-2.0-or-later
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/control/slice_store.h"
#include "proto/base/file.h"
#include "proto/wire/message.h"
#include "proto/wire/slice.h"
#include "tests/unit/slice_fixture.h"

static char folder[64];
static Twofold__V1__Slice *slice;
static uint8_t *bytes;
static size_t len;

static void start(void)
{
    strcpy(folder, "/tmp/slice-store-XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
    slice = fixture_slice();
    cr_assert_eq(slice_store_encode(slice, 1700000000, &bytes, &len), ERR_OK);
}

static void finish(void)
{
    char command[128];

    free(bytes);
    message_free(slice);
    snprintf(command, sizeof(command), "rm -rf %s", folder);
    cr_expect_eq(system(command), 0);
}

TestSuite(slice_store, .init = start, .fini = finish);

static enum err decode(struct note *note)
{
    struct stored_slice stored;

    enum err err = slice_store_decode(bytes, len, "example.org", "web", &stored, note);
    if (!err)
        message_free(stored.slice);
    return err;
}

Test(slice_store, decodes_what_it_encoded)
{
    struct stored_slice stored;
    struct note note = {0};
    uint8_t before[DIGEST_BYTES], after[DIGEST_BYTES];

    cr_assert_eq(slice_store_decode(bytes, len, "example.org", "web", &stored, &note), ERR_OK, "%s", note.text);
    cr_expect_eq(stored.applied_at, 1700000000);
    cr_assert_eq(slice_digest(slice, before), ERR_OK);
    cr_assert_eq(slice_digest(stored.slice, after), ERR_OK);
    cr_expect_arr_eq(before, after, DIGEST_BYTES);
    message_free(stored.slice);
}

Test(slice_store, every_flipped_byte_is_found)
{
    for (size_t i = 0; i < len; i++) {
        bytes[i] ^= 0x20;
        cr_expect_eq(decode(NULL), ERR_CORRUPT, "byte %zu", i);
        bytes[i] ^= 0x20;
    }
}

Test(slice_store, every_cut_is_found)
{
    size_t whole = len;

    for (len = 0; len < whole; len++)
        cr_expect_eq(decode(NULL), ERR_CORRUPT, "cut at %zu", len);
}

Test(slice_store, slice_of_another_host)
{
    struct stored_slice stored;
    struct note note = {0};

    cr_expect_eq(slice_store_decode(bytes, len, "example.org", "api", &stored, &note), ERR_IDENTITY);
    cr_expect(strstr(note.text, "'api'"));
    cr_expect_eq(slice_store_decode(bytes, len, "example.net", "web", &stored, &note), ERR_IDENTITY);
}

// Well-formed and with the right digest, but nothing that may be enforced.
Test(slice_store, slice_that_fails_its_check)
{
    struct note note = {0};

    free(bytes);
    slice->settings->rekey_seconds = 0;
    cr_assert_eq(slice_store_encode(slice, 1, &bytes, &len), ERR_OK);
    cr_expect_eq(decode(&note), ERR_CORRUPT);
    cr_expect(strstr(note.text, "does not pass its check"), "%s", note.text);
}

Test(slice_store, nothing_stored)
{
    struct stored_slice stored;
    struct note note = {0};

    cr_expect_eq(slice_store_load(folder, "example.org", "web", &stored, &note), ERR_NOT_FOUND);
}

Test(slice_store, staged_is_not_in_force_until_published)
{
    struct stored_slice stored;
    struct note note = {0};
    struct stat status;
    char path[128];

    cr_assert_eq(slice_store_stage(folder, slice, 5, &note), ERR_OK, "%s", note.text);
    cr_expect_eq(slice_store_load(folder, "example.org", "web", &stored, &note), ERR_NOT_FOUND);
    cr_assert_eq(slice_store_publish(folder, &note), ERR_OK, "%s", note.text);
    cr_assert_eq(slice_store_load(folder, "example.org", "web", &stored, &note), ERR_OK, "%s", note.text);
    cr_expect_eq(stored.applied_at, 5);
    message_free(stored.slice);
    snprintf(path, sizeof(path), "%s/slice.pb", folder);
    cr_assert_eq(stat(path, &status), 0);
    cr_expect_eq(status.st_mode & 07777, 0600);
}

Test(slice_store, damaged_file_is_refused_with_its_path)
{
    struct stored_slice stored;
    struct note note = {0};
    char path[128];

    snprintf(path, sizeof(path), "%s/slice.pb", folder);
    cr_assert_eq(file_write(path, "garbage", 7, 0600, &note), ERR_OK);
    cr_expect_eq(slice_store_load(folder, "example.org", "web", &stored, &note), ERR_CORRUPT);
    cr_expect(strstr(note.text, path), "%s", note.text);
    cr_expect_eq(access(path, F_OK), 0, "it is left for whoever wants to look");
}

Test(slice_store, publish_without_stage)
{
    struct note note = {0};

    cr_expect_eq(slice_store_publish(folder, &note), ERR_NOT_FOUND);
}
