// SPDX-License-Identifier: GPL-2.0-or-later
#include <criterion/criterion.h>
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/base/file.h"

static char folder[64];

static void make_folder(void)
{
    strcpy(folder, "/tmp/twofold-test-file.XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
}

static void remove_folder(void)
{
    char command[128];
    snprintf(command, sizeof(command), "rm -rf %s", folder);
    cr_assert_eq(system(command), 0);
}

static unsigned entries(void)
{
    unsigned count = 0;
    DIR *dir = opendir(folder);
    while (readdir(dir))
        count++;
    closedir(dir);
    return count - 2;
}

TestSuite(file, .init = make_folder, .fini = remove_folder);

Test(file, content_comes_back)
{
    char path[128];
    uint8_t *bytes;
    size_t len;
    struct stat stat_;
    struct note note;
    snprintf(path, sizeof(path), "%s/a", folder);
    cr_assert_eq(file_write(path, "one\0two", 7, 0600, &note), ERR_OK, "%s", note.text);
    cr_assert_eq(file_write(path, "three", 5, 0640, &note), ERR_OK);
    cr_assert_eq(file_read(path, 5, &bytes, &len, &note), ERR_OK);
    cr_assert_eq(len, 5);
    cr_assert_str_eq((char *)bytes, "three");
    free(bytes);
    cr_assert_eq(stat(path, &stat_), 0);
    cr_assert_eq(stat_.st_mode & 07777, 0640);
    cr_assert_eq(entries(), 1);
    cr_assert_eq(file_read(path, 4, &bytes, &len, &note), ERR_LIMIT);
    cr_assert_not_null(strstr(note.text, path));
}

Test(file, a_full_disk_keeps_the_old_content)
{
    char path[128], *much = calloc(1, 65536);
    uint8_t *bytes;
    size_t len;
    struct note note;
    struct rlimit limit = {4096, RLIM_INFINITY};
    snprintf(path, sizeof(path), "%s/a", folder);
    cr_assert_eq(file_write(path, "old", 3, 0600, &note), ERR_OK);
    signal(SIGXFSZ, SIG_IGN);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    cr_assert_eq(file_write(path, much, 65536, 0600, &note), ERR_FULL);
    limit.rlim_cur = RLIM_INFINITY;
    setrlimit(RLIMIT_FSIZE, &limit);
    cr_assert_eq(file_read(path, 100, &bytes, &len, &note), ERR_OK);
    cr_assert_str_eq((char *)bytes, "old");
    cr_assert_eq(entries(), 1);
    free(bytes);
    free(much);
}

Test(file, missing_ones_are_named)
{
    uint8_t *bytes;
    size_t len;
    struct note note;
    cr_assert_eq(file_read("/nonexistent/x", 10, &bytes, &len, &note), ERR_NOT_FOUND);
    cr_assert_not_null(strstr(note.text, "/nonexistent/x"));
    cr_assert_eq(file_write("/nonexistent/x", "a", 1, 0600, &note), ERR_NOT_FOUND);
}

Test(file, folders_have_the_right_mode_and_owner)
{
    char path[128];
    struct note note;
    snprintf(path, sizeof(path), "%s/d", folder);
    cr_assert_eq(file_make_folder(path, 0700, getuid(), getgid(), &note), ERR_OK);
    cr_assert_eq(file_make_folder(path, 0700, getuid(), getgid(), &note), ERR_OK);
    cr_assert_eq(file_make_folder(path, 0755, (uid_t)-1, (gid_t)-1, &note), ERR_DENIED);
    cr_assert_eq(file_make_folder(path, 0700, getuid() + 1, getgid(), &note), ERR_DENIED);
    cr_assert_eq(symlink("/", strcat(path, "link")), 0);
    cr_assert_neq(file_make_folder(path, 0700, (uid_t)-1, (gid_t)-1, &note), ERR_OK);
}
