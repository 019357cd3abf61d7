// SPDX-License-Identifier: GPL-2.0-or-later
// The seccomp filters, each case in a process of its own.
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

#include "agent/confine_loop.h"
#include "agent/role.h"

TestSuite(confine, .timeout = 60);

// The exit status of a child, or 128 + the signal that ended it.
static int end_of(pid_t pid)
{
    int status;

    cr_assert_eq(waitpid(pid, &status, 0), pid);
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

// Runs `body` confined in a child.
static int confined(enum role role, int (*body)(void))
{
    struct note note = {0};

    pid_t pid = fork();
    cr_assert_geq(pid, 0);
    if (pid == 0) {
        if (role_confine(role, &note) != ERR_OK)
            _exit(99);
        _exit(body());
    }
    return end_of(pid);
}

// What each role is expected to do.
static int ordinary_work(void)
{
    char path[] = "/tmp/confine-XXXXXX";
    int fd = mkostemp(path, O_CLOEXEC);

    if (fd < 0 || write(fd, "x", 1) != 1 || fsync(fd) < 0 || fchmod(fd, 0600) < 0 || close(fd) < 0)
        return 1;
    if (rename(path, "/tmp/confine-renamed") < 0 || unlink("/tmp/confine-renamed") < 0)
        return 2;
    void *memory = malloc(10 << 20);
    if (!memory)
        return 3;
    memset(memory, 1, 10 << 20);
    free(memory);
    return 0;
}

static void *thread(void *argument)
{
    return argument;
}

static int start_a_thread(void)
{
    pthread_t id;
    void *result;
    int token;

    return pthread_create(&id, NULL, thread, &token) == 0 && pthread_join(id, &result) == 0 && result == &token ? 0 : 1;
}

static int execute(void)
{
    char *const arguments[] = {(char *)"/bin/true", NULL};

    execv("/bin/true", arguments);
    return 0;
}

static int trace(void)
{
    return ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0 ? 1 : 0;
}

static int load_a_module(void)
{
    return syscall(SYS_init_module, NULL, 0, "") == 0 ? 1 : 0;
}

static int read_other_memory(void)
{
    return syscall(SYS_process_vm_readv, getppid(), NULL, 0, NULL, 0, 0) == 0 ? 1 : 0;
}

static int use_bpf(void)
{
    return syscall(SYS_bpf, 0, NULL, 0) == 0 ? 1 : 0;
}

static int change_user(void)
{
    return setuid(1) == 0 ? 1 : 0;
}

static int make_a_child(void)
{
    // The system call that is left to it: clone3 is answered with ENOSYS, and clone without CLONE_THREAD is refused.
    return syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL) < 0 && errno == EPERM ? 0 : 1;
}

static int run_memory(void)
{
    void *memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (memory == MAP_FAILED)
        return 1;
    if (mprotect(memory, 4096, PROT_READ | PROT_EXEC) == 0 || errno != EPERM)
        return 2;
    return mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED ? 0 : 3;
}

static int packet_socket(void)
{
    return socket(AF_PACKET, SOCK_RAW, 0) < 0 && errno == EPERM ? 0 : 1;
}

static int inet_stream(void)
{
    return socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0) >= 0 ? 0 : 1;
}

static int netlink_socket(void)
{
    return socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_XFRM) >= 0 ? 0 : 1;
}

static int unix_socket(void)
{
    return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0) >= 0 ? 0 : 1;
}

static int make_a_folder(void)
{
    return mkdir("/tmp/confine-folder", 0700) < 0 && errno == EPERM ? 0 : 1;
}

Test(confine, roles_can_do_their_work)
{
    for (enum role role = 0; role < ROLE_COUNT; role++) {
        cr_expect_eq(confined(role, ordinary_work), 0, "%s", role_name(role));
        cr_expect_eq(confined(role, start_a_thread), 0, "%s", role_name(role));
    }
}

Test(confine, what_no_role_does_kills)
{
    int (*const bodies[])(void) = {execute, trace, load_a_module, read_other_memory, use_bpf, change_user};

    for (enum role role = 0; role < ROLE_COUNT; role++) {
        for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++)
            cr_expect_eq(confined(role, bodies[i]), 128 + SIGSYS, "%s, case %zu", role_name(role), i);
    }
}

Test(confine, other_things_are_refused)
{
    for (enum role role = 0; role < ROLE_COUNT; role++) {
        cr_expect_eq(confined(role, make_a_child), 0, "%s", role_name(role));
        cr_expect_eq(confined(role, run_memory), 0, "%s", role_name(role));
        cr_expect_eq(confined(role, packet_socket), 0, "%s", role_name(role));
        cr_expect_eq(confined(role, make_a_folder), 0, "%s", role_name(role));
    }
}

static void count_event(uv_poll_t *poll, int status, int events)
{
    *(int *)poll->data += status == 0 && events == UV_READABLE;
}

// A role's loop is there before its filter, and has new descriptors behind it.
static int serve_a_loop(enum role role)
{
    struct note note = {0};
    uv_loop_t loop;
    uv_poll_t poll;
    int fds[2], seen = 0;

    if (confine_loop_init(&loop, &note) != ERR_OK || pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0)
        return 1;
    if (role_confine(role, &note) != ERR_OK)
        return 2;
    for (int round = 0; round < 3; round++) {
        poll.data = &seen;
        if (uv_poll_init(&loop, &poll, fds[0]) < 0 || uv_poll_start(&poll, UV_READABLE, count_event) < 0)
            return 3;
        if (write(fds[1], "x", 1) != 1 || uv_run(&loop, UV_RUN_ONCE) < 0 || seen != round + 1)
            return 4;
        uv_close((uv_handle_t *)&poll, NULL);
        if (uv_run(&loop, UV_RUN_DEFAULT) != 0)
            return 5;
    }
    return uv_loop_close(&loop) == 0 ? 0 : 6;
}

Test(confine, loops_go_on_behind_the_filter)
{
    for (enum role role = 0; role < ROLE_COUNT; role++) {
        pid_t pid = fork();

        cr_assert_geq(pid, 0);
        if (pid == 0) {
            alarm(10);
            _exit(serve_a_loop(role));
        }
        cr_expect_eq(end_of(pid), 0, "%s", role_name(role));
    }
}

Test(confine, sockets_by_role)
{
    cr_expect_eq(confined(ROLE_CONTROL, inet_stream), 0);
    cr_expect_eq(confined(ROLE_CONTROL, unix_socket), 0);
    cr_expect_eq(confined(ROLE_CONTROL, netlink_socket), 1);
    cr_expect_eq(confined(ROLE_NETWORK, netlink_socket), 0);
    cr_expect_eq(confined(ROLE_NETWORK, inet_stream), 1);
    cr_expect_eq(confined(ROLE_NETWORK, unix_socket), 1);
    cr_expect_eq(confined(ROLE_HTTPS, inet_stream), 0);
    cr_expect_eq(confined(ROLE_HTTPS, netlink_socket), 1);
}
