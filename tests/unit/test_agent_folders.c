// SPDX-License-Identifier: GPL-2.0-or-later
// The state folder. Needs root, as the agent does.
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/folders.h"
#include "proto/base/file.h"

static char base[64];
static char state[96];
static struct note note;
static const struct user USERS[ROLE_COUNT] = {{61001, 61001}, {61002, 61002}, {61003, 61003}};

static void start(void)
{
    if (geteuid() != 0)
        cr_skip_test("needs root");
    strcpy(base, "/tmp/folders-XXXXXX");
    cr_assert_not_null(mkdtemp(base));
    cr_assert_eq(chmod(base, 0755), 0);
    snprintf(state, sizeof(state), "%s/state", base);
}

static void finish(void)
{
    char command[128];

    snprintf(command, sizeof(command), "rm -rf %s", base);
    cr_expect_eq(system(command), 0);
}

TestSuite(agent_folders, .init = start, .fini = finish);

static const char *in_state(const char *name)
{
    static char path[256];

    snprintf(path, sizeof(path), "%s/%s", state, name);
    return path;
}

static void write_in(const char *folder, const char *name, const char *content)
{
    char path[256];

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    cr_assert_eq(file_write(path, content, strlen(content), 0600, &note), ERR_OK, "%s", note.text);
}

static void stage(const char *content)
{
    char staging[256], folder[300];

    cr_assert_eq(folders_stage(state, staging, sizeof(staging), &note), ERR_OK, "%s", note.text);
    for (enum role role = 0; role < ROLE_COUNT; role++) {
        cr_assert_eq(folders_folder(staging, role, folder, sizeof(folder), &note), ERR_OK);
        write_in(folder, role == ROLE_CONTROL ? "agent.pem" : "x.pem", content);
    }
}

static void expect_content(const char *name, const char *content)
{
    uint8_t *bytes;
    size_t len;

    cr_assert_eq(file_read(in_state(name), 100, &bytes, &len, &note), ERR_OK, "%s", note.text);
    cr_expect_str_eq((char *)bytes, content);
    free(bytes);
}

static int open_state(void)
{
    int fd = -1;

    cr_assert_eq(folders_open(state, &fd, &note), ERR_OK, "%s", note.text);
    return fd;
}

Test(agent_folders, install_gives_each_role_its_folder)
{
    struct stat status;
    int fd = open_state();

    cr_expect_not(folders_is_enrolled(state));
    cr_expect_eq(folders_check(state, USERS, &note), ERR_NOT_FOUND);
    cr_expect(strstr(note.text, "twofold-agent enrol"), "%s", note.text);
    stage("one");
    cr_expect_not(folders_is_enrolled(state), "staged is not in force");
    cr_assert_eq(folders_install(state, USERS, &note), ERR_OK, "%s", note.text);
    cr_expect(folders_is_enrolled(state));
    cr_expect_eq(folders_check(state, USERS, &note), ERR_OK, "%s", note.text);
    cr_assert_eq(stat(in_state("network"), &status), 0);
    cr_expect(status.st_uid == 61002 && status.st_gid == 61002 && (status.st_mode & 07777) == 0700);
    cr_assert_eq(stat(in_state("https/x.pem"), &status), 0);
    cr_expect(status.st_uid == 61003 && (status.st_mode & 07777) == 0600);
    close(fd);
}

Test(agent_folders, second_enrolment_replaces_everything)
{
    int fd = open_state();

    stage("one");
    cr_assert_eq(folders_install(state, USERS, &note), ERR_OK);
    write_in(in_state("control"), "slice.pb", "of the old enrolment");
    stage("two");
    cr_assert_eq(folders_install(state, USERS, &note), ERR_OK, "%s", note.text);
    expect_content("control/agent.pem", "two");
    cr_expect_neq(access(in_state("control/slice.pb"), F_OK), 0);
    close(fd);
}

Test(agent_folders, what_was_only_staged_changes_nothing)
{
    int fd = open_state();

    stage("one");
    cr_assert_eq(folders_install(state, USERS, &note), ERR_OK);
    stage("two");
    folders_unstage(state);
    cr_expect_neq(access(in_state(".enrol"), F_OK), 0);
    stage("three");
    close(fd);
    fd = open_state(); // as after a crash
    expect_content("control/agent.pem", "one");
    stage("four"); // over what was left
    close(fd);
}

// Behind the rename the enrolment is done: whoever opens the state finishes it, at whichever step it was cut.
Test(agent_folders, install_that_was_cut_is_finished)
{
    for (int step = 0; step <= ROLE_COUNT; step++) {
        char from[256], to[256];
        int fd;

        finish();
        start();
        fd = open_state();
        stage("one");
        cr_assert_eq(folders_install(state, USERS, &note), ERR_OK);
        stage("two");
        strcpy(from, in_state(".enrol"));
        cr_assert_eq(rename(from, in_state(".enrolled")), 0);
        for (enum role role = 0; (int)role < step; role++) {
            snprintf(from, sizeof(from), "%s/.enrolled/%s", state, role_name(role));
            snprintf(to, sizeof(to), "rm -r %s/%s", state, role_name(role));
            cr_assert_eq(system(to), 0);
            snprintf(to, sizeof(to), "%s/%s", state, role_name(role));
            cr_assert_eq(rename(from, to), 0);
        }
        close(fd);
        cr_expect(folders_is_enrolled(state));
        fd = open_state();
        expect_content("control/agent.pem", "two");
        expect_content("network/x.pem", "two");
        expect_content("https/x.pem", "two");
        cr_expect_neq(access(in_state(".enrolled"), F_OK), 0);
        close(fd);
    }
}

Test(agent_folders, only_one_agent_at_a_time)
{
    int fd = open_state();
    int second;

    cr_expect_eq(folders_open(state, &second, &note), ERR_EXISTS);
    cr_expect(strstr(note.text, "stop it first"), "%s", note.text);
    close(fd);
    fd = open_state();
    close(fd);
}

Test(agent_folders, state_that_others_can_write_to)
{
    int fd;

    cr_assert_eq(mkdir(state, 0755), 0);
    cr_assert_eq(chmod(state, 0777), 0);
    cr_expect_eq(folders_open(state, &fd, &note), ERR_INVALID);
    cr_assert_eq(chmod(state, 0755), 0);
    cr_assert_eq(chown(state, 61001, 0), 0);
    cr_expect_eq(folders_open(state, &fd, &note), ERR_INVALID);
}

Test(agent_folders, state_that_is_a_link)
{
    char other[128];
    int fd;

    snprintf(other, sizeof(other), "%s/other", base);
    cr_assert_eq(mkdir(other, 0755), 0);
    cr_assert_eq(symlink(other, state), 0);
    cr_expect_eq(folders_open(state, &fd, &note), ERR_INVALID);
}

Test(agent_folders, wrong_owner_or_mode)
{
    const struct user others[ROLE_COUNT] = {{61001, 1}, {61002, 1}, {61009, 1}};
    int fd = open_state();

    stage("one");
    cr_assert_eq(folders_install(state, USERS, &note), ERR_OK);
    cr_expect_eq(folders_check(state, others, &note), ERR_INVALID);
    cr_expect(strstr(note.text, "--https-user"), "%s", note.text);
    cr_assert_eq(chmod(in_state("network"), 0755), 0);
    cr_expect_eq(folders_check(state, USERS, &note), ERR_INVALID);
    close(fd);
}

// As root one would only notice when the roles fail.
Test(agent_folders, a_folder_above_that_lets_no_role_through)
{
    int fd = open_state();

    stage("one");
    cr_assert_eq(folders_install(state, USERS, &note), ERR_OK);
    cr_expect_eq(folders_reach(state, USERS, &note), ERR_OK, "%s", note.text);
    cr_assert_eq(chmod(base, 0700), 0);
    cr_expect_eq(folders_reach(state, USERS, &note), ERR_INVALID);
    cr_expect(strstr(note.text, base) && strstr(note.text, "--state"), "%s", note.text);
    cr_expect_eq(folders_check(state, USERS, &note), ERR_INVALID);
    // For one of the three is not enough.
    cr_assert_eq(chmod(base, 0750), 0);
    cr_assert_eq(chown(base, 0, USERS[ROLE_CONTROL].gid), 0);
    cr_expect_eq(folders_reach(state, USERS, &note), ERR_INVALID);
    cr_expect(strstr(note.text, "network"), "%s", note.text);
    close(fd);
}

// A role that was taken over must not get the next enrolment to follow its links or to remove what isn't its own.
Test(agent_folders, links_in_a_role_folder_are_removed_not_followed)
{
    char victim[128], path[256];
    int fd = open_state();

    snprintf(victim, sizeof(victim), "%s/victim", base);
    write_in(base, "victim", "precious");
    stage("one");
    cr_assert_eq(folders_install(state, USERS, &note), ERR_OK);
    cr_assert_eq(symlink(victim, in_state("https/link")), 0);
    stage("two");
    cr_assert_eq(folders_install(state, USERS, &note), ERR_OK, "%s", note.text);
    cr_expect_eq(access(victim, F_OK), 0);
    // A folder in there stops the replacement; it is finished once that is gone.
    snprintf(path, sizeof(path), "%s", in_state("https/folder"));
    cr_assert_eq(mkdir(path, 0700), 0);
    stage("three");
    cr_expect_neq(folders_install(state, USERS, &note), ERR_OK);
    close(fd);
    cr_assert_eq(rmdir(path), 0);
    fd = open_state();
    expect_content("https/x.pem", "three");
    close(fd);
}
