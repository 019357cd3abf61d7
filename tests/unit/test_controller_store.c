// SPDX-License-Identifier: GPL-2.0-or-later
#include <criterion/criterion.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "controller/store/admins.h"
#include "controller/store/audit.h"
#include "controller/store/policies.h"
#include "proto/base/file.h"
#include "tests/unit/controller_fixture.h"

static struct store *store;
static struct note note;
static char path[PATH_MAX];

static void set_up(void)
{
    snprintf(path, sizeof(path), "%s", fixture_path("controller.db"));
    cr_assert_eq(store_create(path, &store, &note), ERR_OK, "%s", note.text);
}

static void tear_down(void)
{
    store_close(store);
    fixture_remove();
}

static void reopen(void)
{
    store_close(store);
    store = NULL;
    cr_assert_eq(store_open(path, &store, &note), ERR_OK, "%s", note.text);
}

// As somebody with an editor for databases would.
static void tamper(const char *sql)
{
    sqlite3 *db = NULL;
    cr_assert_eq(sqlite3_open(path, &db), SQLITE_OK);
    cr_assert_eq(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK, "%s", sqlite3_errmsg(db));
    sqlite3_close(db);
}

TestSuite(store, .init = set_up, .fini = tear_down);

// ---- opening

Test(store, is_private)
{
    struct stat facts;
    cr_assert_eq(stat(path, &facts), 0);
    cr_expect_eq(facts.st_mode & 0777, 0600);
}

Test(store, create_refuses_an_existing_file)
{
    struct store *other = NULL;
    cr_expect_eq(store_create(path, &other, &note), ERR_EXISTS);
}

Test(store, open_refuses_a_missing_file)
{
    struct store *other = NULL;
    cr_expect_eq(store_open(fixture_path("absent.db"), &other, &note), ERR_NOT_FOUND);
    cr_expect(strstr(note.text, "init") != NULL, "%s", note.text);
}

Test(store, open_refuses_a_newer_schema_and_a_foreign_database)
{
    store_close(store);
    store = NULL;
    tamper("PRAGMA user_version = 99");
    cr_expect_eq(store_open(path, &store, &note), ERR_UNSUPPORTED);
    cr_expect(strstr(note.text, "newer") != NULL, "%s", note.text);
    tamper("PRAGMA user_version = 1; PRAGMA application_id = 7");
    cr_expect_eq(store_open(path, &store, &note), ERR_UNSUPPORTED);
}

static void fill(size_t hosts)
{
    cr_assert_eq(store_begin(store, &note), ERR_OK);
    for (size_t i = 0; i < hosts; i++) {
        char name[32], address[32];
        snprintf(name, sizeof(name), "host%04zu", i);
        snprintf(address, sizeof(address), "198.51.%zu.%zu", 100 + i / 250, i % 250 + 1);
        struct host_record host = fixture_host(name, (uint32_t)i + 1, address);
        cr_assert_eq(store_put_host(store, &host, &note), ERR_OK, "%s", note.text);
    }
    cr_assert_eq(store_commit(store, &note), ERR_OK);
}

Test(store, a_corrupt_database_is_refused_and_left_alone)
{
    fill(300);
    store_close(store);
    store = NULL;
    uint8_t *before = NULL, *after = NULL;
    size_t before_len = 0, after_len = 0;
    FILE *file = fopen(path, "r+");
    cr_assert_eq(fseek(file, 4096 * 9, SEEK_SET), 0);
    for (int i = 0; i < 4096 * 4; i++)
        fputc(i * 7 + 3, file);
    fclose(file);
    cr_assert_eq(file_read(path, 64u << 20, &before, &before_len, &note), ERR_OK);
    cr_expect_eq(store_open(path, &store, &note), ERR_CORRUPT);
    cr_expect(strstr(note.text, "backup") != NULL, "%s", note.text);
    cr_assert_eq(file_read(path, 64u << 20, &after, &after_len, &note), ERR_OK);
    cr_assert_eq(before_len, after_len);
    cr_expect_eq(memcmp(before, after, before_len), 0);
    free(before);
    free(after);
}

Test(store, a_file_that_is_no_database_is_refused)
{
    store_close(store);
    store = NULL;
    FILE *file = fopen(path, "w");
    fputs("this is not a database, it only has its name and is long enough to be looked at", file);
    fclose(file);
    cr_expect_eq(store_open(path, &store, &note), ERR_CORRUPT);
}

// ---- settings and generation

Test(store, settings_survive)
{
    char value[16];
    cr_assert_eq(store_set_setting(store, "name", "one", &note), ERR_OK);
    cr_assert_eq(store_set_setting(store, "name", "two", &note), ERR_OK);
    reopen();
    cr_assert_eq(store_setting(store, "name", value, sizeof(value), &note), ERR_OK);
    cr_expect_str_eq(value, "two");
    cr_expect_eq(store_setting(store, "name", value, 3, &note), ERR_LIMIT);
    cr_expect_eq(store_setting(store, "absent", value, sizeof(value), &note), ERR_NOT_FOUND);
}

Test(store, the_generation_only_goes_up)
{
    uint64_t generation = 0;
    cr_assert_eq(store_next_generation(store, &generation, &note), ERR_OK);
    cr_expect_eq(generation, 1);
    cr_assert_eq(store_begin(store, &note), ERR_OK);
    cr_assert_eq(store_next_generation(store, &generation, &note), ERR_OK);
    store_rollback(store);
    cr_assert_eq(store_generation(store, &generation, &note), ERR_OK);
    cr_expect_eq(generation, 1);
    cr_assert_eq(store_raise_generation(store, 40, &note), ERR_OK);
    cr_assert_eq(store_raise_generation(store, 20, &note), ERR_OK);
    reopen();
    cr_assert_eq(store_generation(store, &generation, &note), ERR_OK);
    cr_expect_eq(generation, 40);
    sqlite3 *db = NULL;
    sqlite3_open(path, &db);
    cr_expect_neq(sqlite3_exec(db, "UPDATE generation SET number = 3", NULL, NULL, NULL), SQLITE_OK);
    cr_expect_neq(sqlite3_exec(db, "DELETE FROM generation", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

// ---- tokens

Test(store, a_token_is_kept_and_used_once)
{
    uint8_t secret[TOKEN_SECRET_BYTES];
    struct token_record token = fixture_token("web", "192.0.2.1", 7, secret), found;
    token.addresses[token.address_count++] = fixture_ip("2001:db8::1");
    cr_assert_eq(store_add_token(store, &token, FIXTURE_NOW, &note), ERR_OK, "%s", note.text);
    reopen();
    cr_assert_eq(store_token(store, token.id, &found, &note), ERR_OK);
    cr_expect_str_eq(found.host, "web");
    cr_expect_eq(found.address_count, 2);
    cr_expect_eq(ip_compare(&found.addresses[1], &token.addresses[1]), 0);
    cr_expect_eq(found.label_count, 1);
    cr_expect_str_eq(found.labels[0].value, "web");
    cr_expect_eq(found.used_at, 0);
    cr_assert_eq(store_use_token(store, token.id, FIXTURE_NOW, &note), ERR_OK);
    cr_expect_eq(store_use_token(store, token.id, FIXTURE_NOW, &note), ERR_EXISTS);
    cr_assert_eq(store_token(store, token.id, &found, &note), ERR_OK);
    cr_expect_eq(found.used_at, FIXTURE_NOW);
}

Test(store, an_unknown_token_is_not_found_and_an_old_one_forgotten)
{
    uint8_t secret[TOKEN_SECRET_BYTES];
    struct token_record token = fixture_token("web", NULL, 7, secret), next = fixture_token("api", NULL, 9, secret),
                        found;
    cr_expect_eq(store_token(store, token.id, &found, &note), ERR_NOT_FOUND);
    cr_assert_eq(store_add_token(store, &token, FIXTURE_NOW, &note), ERR_OK);
    cr_assert_eq(store_add_token(store, &next, token.expires + TOKEN_KEEP_SECONDS + 1, &note), ERR_OK);
    cr_expect_eq(store_token(store, token.id, &found, &note), ERR_NOT_FOUND);
    cr_expect_eq(store_token(store, next.id, &found, &note), ERR_OK);
}

// ---- hosts

Test(store, a_host_is_kept_whole)
{
    struct host_record host = fixture_host("web", 5, "192.0.2.1"), found;
    host.addresses[host.address_count++] = fixture_ip("2001:db8::1");
    host.previous_serial = (struct certificate_serial){.bytes = {9}, .len = 1};
    cr_assert_eq(store_put_host(store, &host, &note), ERR_OK, "%s", note.text);
    reopen();
    cr_assert_eq(store_host(store, "web", &found, &note), ERR_OK);
    cr_expect_eq(memcmp(&host, &found, sizeof(host)), 0);
    cr_expect_eq(store_host(store, "api", &found, &note), ERR_NOT_FOUND);
}

Test(store, a_host_keeps_its_slot)
{
    struct host_record host = fixture_host("web", 5, "192.0.2.1");
    cr_assert_eq(store_put_host(store, &host, &note), ERR_OK);
    host.label_count = 0;
    cr_assert_eq(store_put_host(store, &host, &note), ERR_OK);
    host.slot = 6;
    cr_expect_eq(store_put_host(store, &host, &note), ERR_EXISTS);
}

Test(store, no_two_live_hosts_share_a_slot_or_an_address)
{
    struct host_record web = fixture_host("web", 5, "192.0.2.1"), other = fixture_host("api", 5, "192.0.2.2");
    cr_assert_eq(store_put_host(store, &web, &note), ERR_OK);
    cr_expect_eq(store_put_host(store, &other, &note), ERR_EXISTS);
    other = fixture_host("api", 6, "192.0.2.1");
    cr_assert_eq(store_begin(store, &note), ERR_OK);
    cr_expect_eq(store_put_host(store, &other, &note), ERR_EXISTS);
    store_rollback(store);
    char holder[NAME_MAX_BYTES + 1];
    struct ip address;
    cr_expect_eq(store_address_holder(store, "api", other.addresses, 1, holder, &address, &note), ERR_OK);
    cr_expect_str_eq(holder, "web");
    cr_expect_eq(store_address_holder(store, "web", other.addresses, 1, holder, &address, &note), ERR_NOT_FOUND);
}

Test(store, revocation_is_for_good_and_frees_the_address)
{
    struct host_record web = fixture_host("web", 5, "192.0.2.1"), api = fixture_host("api", 6, "192.0.2.1"), found;
    cr_assert_eq(store_put_host(store, &web, &note), ERR_OK);
    cr_assert_eq(store_revoke_host(store, "web", FIXTURE_NOW, "lost", &note), ERR_OK);
    cr_expect_eq(store_revoke_host(store, "web", FIXTURE_NOW, "lost", &note), ERR_EXISTS);
    cr_expect_eq(store_revoke_host(store, "db", FIXTURE_NOW, "lost", &note), ERR_NOT_FOUND);
    cr_expect_eq(store_put_host(store, &web, &note), ERR_EXISTS);
    cr_expect_eq(store_put_host(store, &api, &note), ERR_OK);
    struct certificate_serial serial = {.bytes = {4}, .len = 1};
    cr_expect_eq(store_set_serials(store, "web", &serial, &serial, FIXTURE_NOW, &note), ERR_NOT_FOUND);
    reopen();
    cr_assert_eq(store_host(store, "web", &found, &note), ERR_OK);
    cr_expect(found.revoked);
    cr_expect_str_eq(found.revoked_reason, "lost");
    cr_expect_eq(found.address_count, 1);
}

Test(store, slots_are_new_until_they_run_out)
{
    uint32_t slot = 0;
    cr_assert_eq(store_free_slot(store, &slot, &note), ERR_OK);
    cr_expect_eq(slot, 1);
    struct host_record one = fixture_host("one", 1, "192.0.2.1"), three = fixture_host("three", 3, "192.0.2.3"),
                       last = fixture_host("last", HOST_SLOT_MAX, "192.0.2.4"),
                       beyond = fixture_host("beyond", HOST_SLOT_MAX + 1, "192.0.2.5");
    cr_assert_eq(store_put_host(store, &one, &note), ERR_OK);
    cr_assert_eq(store_put_host(store, &three, &note), ERR_OK);
    cr_assert_eq(store_free_slot(store, &slot, &note), ERR_OK);
    cr_expect_eq(slot, 4);
    cr_assert_eq(store_put_host(store, &last, &note), ERR_OK);
    cr_assert_eq(store_free_slot(store, &slot, &note), ERR_OK);
    cr_expect_eq(slot, 2);
    cr_expect_neq(store_put_host(store, &beyond, &note), ERR_OK);
}

static enum err count_host(void *context, const struct host_record *host)
{
    size_t *count = context;
    cr_expect_eq(host->address_count, 1);
    return ++*count == 200 ? ERR_LIMIT : ERR_OK;
}

Test(store, hosts_are_walked_until_told_to_stop)
{
    size_t count = 0;
    uint64_t live = 0;
    fill(150);
    cr_expect_eq(store_each_host(store, count_host, &count, &note), ERR_OK);
    cr_expect_eq(count, 150);
    cr_expect_eq(store_each_host(store, count_host, &count, &note), ERR_LIMIT);
    cr_expect_eq(count, 200);
    cr_expect_eq(store_count_live_hosts(store, &live, &note), ERR_OK);
    cr_expect_eq(live, 150);
}

// ---- policies

Test(store, the_policy_of_a_generation_is_the_newest_up_to_it)
{
    struct policy_record policy;
    cr_expect_eq(store_policy(store, 9, &policy, &note), ERR_NOT_FOUND);
    cr_assert_eq(store_add_policy(store, 2, "version: 1\n", "admin", FIXTURE_NOW, &note), ERR_OK);
    cr_assert_eq(store_add_policy(store, 5, "version: 1\n# second\n", "admin", FIXTURE_NOW, &note), ERR_OK);
    cr_expect_eq(store_policy(store, 1, &policy, &note), ERR_NOT_FOUND);
    cr_assert_eq(store_policy(store, 4, &policy, &note), ERR_OK);
    cr_expect_eq(policy.generation, 2);
    cr_expect_str_eq(policy.text, "version: 1\n");
    free(policy.text);
    cr_assert_eq(store_policy(store, UINT64_MAX, &policy, &note), ERR_OK);
    cr_expect_eq(policy.generation, 5);
    free(policy.text);
}

// ---- administrators

Test(store, an_administrator_is_known_by_name_and_serial)
{
    const uint8_t serial[] = {1, 2, 3}, other[] = {1, 2, 4};
    bool known = false;
    cr_assert_eq(store_add_admin(store, "eve", serial, sizeof(serial), FIXTURE_NOW, &note), ERR_OK);
    cr_expect_eq(store_add_admin(store, "eve", other, sizeof(other), FIXTURE_NOW, &note), ERR_EXISTS);
    cr_assert_eq(store_admin_is_known(store, "eve", serial, sizeof(serial), &known, &note), ERR_OK);
    cr_expect(known);
    cr_assert_eq(store_admin_is_known(store, "eve", other, sizeof(other), &known, &note), ERR_OK);
    cr_expect_not(known);
    cr_assert_eq(store_remove_admin(store, "eve", &note), ERR_OK);
    cr_expect_eq(store_remove_admin(store, "eve", &note), ERR_NOT_FOUND);
    cr_assert_eq(store_admin_is_known(store, "eve", serial, sizeof(serial), &known, &note), ERR_OK);
    cr_expect_not(known);
}

// ---- audit

static void add_audit(const char *object)
{
    struct audit_row row = {.time_ms = FIXTURE_NOW * 1000,
                            .actor = "spiffe://example.org/admin/eve",
                            .action = "host.revoke",
                            .outcome = "ok"};
    snprintf(row.object, sizeof(row.object), "%s", object);
    cr_assert_eq(store_add_audit(store, &row, &note), ERR_OK, "%s", note.text);
}

static bool is_intact(void)
{
    bool intact = false;
    cr_assert_eq(store_audit_intact(store, &intact, &note), ERR_OK, "%s", note.text);
    return intact;
}

static enum err see_row(void *context, const struct audit_row *row)
{
    *(uint64_t *)context = row->number;
    return ERR_OK;
}

Test(store, the_audit_chain_holds)
{
    uint64_t last = 0;
    cr_expect(is_intact());
    for (int i = 0; i < 5; i++)
        add_audit("web");
    reopen();
    cr_expect(is_intact());
    cr_assert_eq(store_each_audit(store, 1, 2, see_row, &last, &note), ERR_OK);
    cr_expect_eq(last, 3);
}

static const char *const tamperings[] = {
    "UPDATE audit SET object = 'api' WHERE number = 3",
    "UPDATE audit SET time_ms = time_ms + 1 WHERE number = 1",
    "UPDATE audit SET outcome = 'refused' WHERE number = 5",
    "DELETE FROM audit WHERE number = 2",
    "DELETE FROM audit WHERE number = 5",
    "DELETE FROM audit",
    "UPDATE audit SET number = 9 WHERE number = 5",
    "INSERT INTO audit(time_ms, actor, action, object, outcome, hash) VALUES(1, 'a', 'b', 'c', 'd', zeroblob(48))",
    "UPDATE audit SET actor = actor || 'h', action = substr(action, 2) WHERE number = 4",
    "UPDATE audit_head SET number = 4",
    "UPDATE audit SET actor = printf('%.*c', 600, 'x') WHERE number = 4",
};

Test(store, tampering_with_the_audit_log_shows)
{
    for (size_t i = 0; i < sizeof(tamperings) / sizeof(tamperings[0]); i++) {
        for (int j = 0; j < 5; j++)
            add_audit("web");
        cr_assert(is_intact());
        store_close(store);
        tamper(tamperings[i]);
        cr_assert_eq(store_open(path, &store, &note), ERR_OK);
        cr_expect_not(is_intact(), "%s", tamperings[i]);
        tear_down();
        set_up();
    }
}

// ---- a full disk

static void add_until_full(enum err *ret_err)
{
    for (unsigned i = 0; i < 100000; i++) {
        enum err err = store_begin(store, &note);
        if (err == ERR_OK) {
            struct audit_row row = {.time_ms = i, .actor = "a", .action = "b", .outcome = "ok"};
            memset(row.object, 'x', sizeof(row.object) - 1);
            err = store_add_audit(store, &row, &note);
        }
        if (err == ERR_OK)
            err = store_commit(store, &note);
        if (err != ERR_OK) {
            store_rollback(store);
            *ret_err = err;
            return;
        }
    }
}

static void expect_full(void)
{
    enum err err = ERR_OK;
    add_until_full(&err);
    cr_expect_eq(err, ERR_FULL, "%s: %s", err_name(err), note.text);
    cr_expect(strstr(note.text, "free space") != NULL, "%s", note.text);
    cr_expect(is_intact()); // reading goes on, and what was there stays
}

Test(store, a_file_size_limit_is_a_full_disk)
{
    struct rlimit limit = {.rlim_cur = 1u << 20, .rlim_max = RLIM_INFINITY};
    signal(SIGXFSZ, SIG_IGN);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    expect_full();
    limit.rlim_cur = RLIM_INFINITY;
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    add_audit("web");
    cr_expect(is_intact());
}

Test(store, a_full_tmpfs_is_a_full_disk)
{
    char mount_point[PATH_MAX / 2];
    snprintf(mount_point, sizeof(mount_point), "%s/small", fixture_folder());
    mkdir(mount_point, 0700);
    if (mount("tmpfs", mount_point, "tmpfs", 0, "size=512k") != 0)
        cr_skip("needs the right to mount");
    store_close(store);
    snprintf(path, sizeof(path), "%s/controller.db", mount_point);
    cr_assert_eq(store_create(path, &store, &note), ERR_OK, "%s", note.text);
    expect_full();
    store_close(store);
    cr_assert_eq(store_open(path, &store, &note), ERR_OK, "%s", note.text);
    cr_expect(is_intact());
    store_close(store);
    store = NULL;
    umount(mount_point);
}
