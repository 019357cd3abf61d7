// SPDX-License-Identifier: GPL-2.0-or-later
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "controller/cli/checks.h"

// ---- a folder that stands for "/"

static char root[64];

static void make_root(void)
{
    strcpy(root, "/tmp/twofold-checks-XXXXXX");
    cr_assert_not_null(mkdtemp(root));
}

// Makes the folders on the way.
static void put_file(const char *path, const char *text)
{
    char full[256];
    snprintf(full, sizeof(full), "%s%s", root, path);
    for (char *slash = strchr(full + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        cr_assert(mkdir(full, 0700) == 0 || errno == EEXIST);
        *slash = '/';
    }
    FILE *file = fopen(full, "w");
    cr_assert_not_null(file);
    fputs(text, file);
    fclose(file);
}

static void remove_root(void)
{
    char command[128];
    snprintf(command, sizeof(command), "rm -r %s", root);
    cr_assert_eq(system(command), 0);
}

static const struct check *find(const struct checks *checks, const char *name)
{
    for (size_t i = 0; i < checks->count; i++) {
        if (strcmp(checks->items[i].name, name) == 0)
            return &checks->items[i];
    }
    cr_assert_fail("%s", name);
    return NULL;
}

#define HEAD "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
#define REST " 00000000:00000000 00:00000000 00000000     0        0 "

Test(cli_checks, ports_that_are_free)
{
    struct checks checks = {0};
    make_root();
    // Connected from 15001, and listening on another port: neither takes it.
    put_file("/proc/net/tcp", HEAD "   0: 0100007F:3A99 0100007F:0050 01" REST
                                   "11 1 x\n   1: 0100007F:0050 00000000:0000 0A" REST "12 1 x\n");
    checks_ports(&checks, root);
    cr_assert_eq(checks.count, 3);
    for (size_t i = 0; i < 3; i++)
        cr_assert_eq(checks.items[i].verdict, CHECK_OK, "%s", checks.items[i].cause);
    remove_root();
}

static void hold(const char *process, const char *name, const char *fd_target)
{
    char path[128], link[256];
    snprintf(path, sizeof(path), "/proc/%s/comm", process);
    put_file(path, name);
    snprintf(path, sizeof(path), "/proc/%s/fd/0", process);
    put_file(path, "");
    snprintf(link, sizeof(link), "%s/proc/%s/fd/3", root, process);
    cr_assert_eq(symlink(fd_target, link), 0);
}

Test(cli_checks, ports_that_are_taken)
{
    struct checks checks = {0};
    make_root();
    put_file("/proc/net/tcp", HEAD "   0: 0100007F:3A99 00000000:0000 0A" REST
                                   "11 1 x\n   1: 00000000:1D13 00000000:0000 0A" REST "13 1 x\n");
    put_file("/proc/net/tcp6", HEAD
             "   0: 00000000000000000000000000000000:3AA0 00000000000000000000000000000000:0000 0A" REST "12 1 x\n");
    hold("77", "twofold-agent\n", "socket:[11]");
    hold("812", "nginx\n", "socket:[12]");
    checks_ports(&checks, root);
    cr_assert_eq(find(&checks, "port 15001")->verdict, CHECK_OK);
    cr_assert_str_eq(find(&checks, "port 15001")->cause, "held by twofold-agent (process 77)");
    cr_assert_eq(find(&checks, "port 15008")->verdict, CHECK_FAIL);
    cr_assert_str_eq(find(&checks, "port 15008")->cause,
                     "taken by nginx (process 812), and needed for the agent's tunnels");
    cr_assert_eq(find(&checks, "port 7443")->verdict, CHECK_WARN);
    remove_root();
}

Test(cli_checks, settings)
{
    struct checks checks = {0};
    make_root();
    put_file("/proc/sys/net/ipv4/ip_forward", "0\n");
    put_file("/proc/sys/net/ipv4/conf/all/disable_xfrm", "0\n");
    put_file("/proc/sys/net/ipv4/conf/lo/disable_xfrm", "1\n");
    put_file("/proc/sys/net/ipv4/conf/lo/disable_policy", "1\n");
    checks_sysctls(&checks, root);
    cr_assert_eq(checks.count, 3);
    for (size_t i = 0; i < 3; i++)
        cr_assert_eq(checks.items[i].verdict, CHECK_OK, "%s", checks.items[i].cause);
    checks.count = 0;
    put_file("/proc/sys/net/ipv4/ip_forward", "1\n");
    put_file("/proc/sys/net/ipv4/conf/eth0/disable_xfrm", "1\n");
    put_file("/proc/sys/net/ipv6/conf/all/disable_policy", "1\n");
    checks_sysctls(&checks, root);
    cr_assert_eq(find(&checks, "forwarding")->verdict, CHECK_WARN);
    cr_assert_eq(find(&checks, "disable_xfrm")->verdict, CHECK_FAIL);
    cr_assert_str_eq(find(&checks, "disable_xfrm")->cause,
                     "net.ipv4.conf.eth0.disable_xfrm is on: IPsec is silently switched off there");
    cr_assert_eq(find(&checks, "disable_policy")->verdict, CHECK_FAIL);
    remove_root();
}

Test(cli_checks, answers_of_the_kernel_to_an_sa)
{
    const char *cause, *remedy;
    cr_assert_eq(checks_judge_esp(0, &cause, &remedy), CHECK_OK);
    cr_assert_eq(checks_judge_esp(EPERM, &cause, &remedy), CHECK_WARN);
    cr_assert_eq(checks_judge_esp(ENOSYS, &cause, &remedy), CHECK_FAIL);
    cr_assert(strstr(cause, "rfc4106"));
    cr_assert_eq(checks_judge_esp(EPROTONOSUPPORT, &cause, &remedy), CHECK_FAIL);
    cr_assert(strstr(remedy, "esp4"));
    cr_assert_eq(checks_judge_esp(ENOBUFS, &cause, &remedy), CHECK_FAIL);
}

Test(cli_checks, a_clock_that_was_never_set)
{
    struct checks checks = {0};
    checks_clock(&checks, 1000);
    cr_assert_eq(checks.items[0].verdict, CHECK_FAIL);
    checks_clock(&checks, 1772359200);
    cr_assert_neq(checks.items[1].verdict, CHECK_FAIL);
}

Test(cli_checks, more_than_fit_are_left_out)
{
    struct checks checks = {0};
    for (size_t i = 0; i < CHECKS_MAX + 5; i++)
        checks_add(&checks, "x", CHECK_OK, "", "y");
    cr_assert_eq(checks.count, CHECKS_MAX);
}
