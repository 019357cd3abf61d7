// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/spawn.h"

#include <cap-ng.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/role_args.h"

#define EXIT_NOT_CONFINED 126

enum { ROLE_DESCRIPTORS = 65536, ROLE_LOCKED_BYTES = 64 << 20 };

// Only in the child, which has nobody to return to.
static _Noreturn void give_up(enum role role, const char *doing)
{
    log_event(LOG_LEVEL_ERROR, "role.not_confined", LOG_STR("name", role_name(role)), LOG_STR("doing", doing),
              LOG_STR("cause", strerror(errno)));
    _exit(EXIT_NOT_CONFINED);
}

// The soft limit up to `wanted`, and the hard one too where this process may.
static void raise_limit(int resource, rlim_t wanted)
{
    struct rlimit limit = {.rlim_cur = wanted, .rlim_max = wanted};
    struct rlimit have;

    if (setrlimit(resource, &limit) == 0 || getrlimit(resource, &have) < 0)
        return;
    limit.rlim_max = have.rlim_max;
    limit.rlim_cur = have.rlim_max < wanted ? have.rlim_max : wanted;
    if (setrlimit(resource, &limit) < 0)
        log_event(LOG_LEVEL_WARNING, "role.limit", LOG_U64("resource", (uint64_t)resource));
}

static void set_limits(const struct role_start *start)
{
    const struct rlimit none = {0, 0};

    if (setrlimit(RLIMIT_CORE, &none) < 0)
        give_up(start->role, "forbid core dumps");
    raise_limit(RLIMIT_NOFILE, ROLE_DESCRIPTORS);
    raise_limit(RLIMIT_MEMLOCK, ROLE_LOCKED_BYTES);
}

static void keep_descriptor(enum role role, int fd)
{
    if (fd >= 0 && fcntl(fd, F_SETFD, 0) < 0)
        give_up(role, "hand over a descriptor");
}

static void set_descriptors(const struct role_start *start)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);

    if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(STDERR_FILENO, STDOUT_FILENO) < 0)
        give_up(start->role, "open /dev/null");
    if (close_range(STDERR_FILENO + 1, UINT_MAX, CLOSE_RANGE_CLOEXEC) < 0)
        give_up(start->role, "close the supervisor's descriptors");
    keep_descriptor(start->role, start->control_fd);
    keep_descriptor(start->role, start->network_fd);
    keep_descriptor(start->role, start->https_fd);
    keep_descriptor(start->role, start->ready_fd);
}

// The bounding set goes last of what needs privilege; ambient is what survives the exec.
static void drop_rights(const struct role_start *start, const struct user *user)
{
    gid_t group = start->admin_gid;
    size_t groups = start->role == ROLE_CONTROL && group != (gid_t)-1 ? 1 : 0;

    if (setgroups(groups, &group) < 0)
        give_up(start->role, "set the supplementary groups");
    capng_clear(CAPNG_SELECT_ALL);
    if (start->role == ROLE_NETWORK &&
        capng_update(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED | CAPNG_INHERITABLE, CAP_NET_ADMIN) < 0)
        give_up(start->role, "choose the capabilities");
    if (capng_change_id((int)user->uid, (int)user->gid, CAPNG_CLEAR_BOUNDING | CAPNG_CLEAR_AMBIENT) < 0)
        give_up(start->role, "change user and drop capabilities");
    if (start->role == ROLE_NETWORK &&
        (capng_update(CAPNG_ADD, CAPNG_AMBIENT, CAP_NET_ADMIN) < 0 || capng_apply(CAPNG_SELECT_AMBIENT) < 0))
        give_up(start->role, "keep CAP_NET_ADMIN");
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        give_up(start->role, "forbid new privileges");
}

static _Noreturn void become(const struct role_start *start, const struct user *user, struct role_args *args)
{
    static char locale[] = "LC_ALL=C.UTF-8";
    char *const environment[] = {locale, NULL};
    sigset_t none;

    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    umask(077);
    setsid();
    if (chdir("/") < 0)
        give_up(start->role, "leave the folder");
    set_limits(start);
    set_descriptors(start);
    drop_rights(start, user);
    execve("/proc/self/exe", args->argv, environment);
    give_up(start->role, "start the program");
}

enum err spawn_role(const struct role_start *start, const struct user *user, enum log_level level, pid_t *ret_pid,
                    struct note *note)
{
    struct role_args args;

    if (role_args_format(start, getpid(), level, &args) != ERR_OK)
        return note_set(note, ERR_INVALID, "the paths of the state and runtime folders are too long");
    pid_t pid = fork();
    if (pid < 0)
        return note_set(note, err_from_errno(errno), "cannot start the %s role: %s", role_name(start->role),
                        strerror(errno));
    if (pid == 0)
        become(start, user, &args);
    *ret_pid = pid;
    return ERR_OK;
}

enum err spawn_settle(pid_t parent)
{
    // The signal is asked for here and not before the exec, since a change of credentials takes it back; the supervisor may have
    // ended before this line, and then no signal comes.
    if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
        return err_from_errno(errno);
    return getppid() == parent ? ERR_OK : ERR_CLOSED;
}
