// SPDX-License-Identifier: GPL-2.0-or-later
// The seccomp filters. What a role may ask of the kernel is the common list and its own; a call on no list fails with EPERM; calls that
// no role ever has a reason for kill the process, since they mean that it is no longer itself. Calls that C libraries try first and
// do without answer ENOSYS. A name that the build's libseccomp or the machine (arm64 has no `poll`) does not know is left out: it then fails like
// any other.
#include <errno.h>
#include <linux/sched.h>
#include <seccomp.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "agent/role.h"

// Memory, time, threads that exist, signals, event loops, and what a process needs to end.
static const char COMMON[] =
    // memory
    "brk madvise mlock mlock2 mremap munlock munmap "
    // time and randomness
    "clock_getres clock_gettime clock_nanosleep getrandom gettimeofday nanosleep time "
    // itself
    "exit exit_group getegid geteuid getgid getpgrp getpid getppid getrlimit getrusage gettid getuid "
    "prlimit64 sched_getaffinity sched_yield sysinfo uname membarrier "
    // threads' and signals' book-keeping
    "futex futex_waitv restart_syscall rseq rt_sigaction rt_sigpending rt_sigprocmask rt_sigreturn "
    "rt_sigtimedwait set_robust_list set_tid_address sigaltstack tgkill "
    // event loop
    "epoll_create1 epoll_ctl epoll_pwait epoll_pwait2 epoll_wait eventfd2 pipe2 poll ppoll pselect6 select "
    "timerfd_create timerfd_gettime timerfd_settime "
    // descriptors
    "close close_range dup dup3 fcntl fstat lseek newfstatat pread64 read readv write writev "
    // sockets that are open: the channels to the neighbours
    "getpeername getsockname getsockopt recvfrom recvmsg recvmmsg sendmsg sendmmsg sendto setsockopt "
    "shutdown "
    // reading files
    "access faccessat faccessat2 getcwd getdents64 lstat open openat readlink readlinkat stat statx ";

// Files of its own folder; the session outwards and the local socket.
static const char CONTROL[] =
    "accept accept4 bind chmod chown connect fchmod fchmodat fchown fchownat fdatasync flock fsync ftruncate "
    "listen rename renameat renameat2 umask unlink unlinkat ";

// Files of its own folder; netlink. libnftables looks every uid up as a user's name, and does without where that would need a socket or a
// library: those are refused.
static const char NETWORK[] =
    "bind connect fchmod fchmodat fdatasync flock fsync ftruncate rename renameat renameat2 umask unlink "
    "unlinkat ";

// Files of its own folder (a renewed certificate); listeners and tunnels.
static const char HTTPS[] =
    "accept accept4 bind connect fchmod fchmodat fdatasync flock fsync ftruncate listen rename renameat "
    "renameat2 umask unlink unlinkat ";

static const char KILLED[] =
    "execve execveat fork vfork ptrace process_vm_readv process_vm_writev init_module finit_module "
    "delete_module kexec_load kexec_file_load bpf userfaultfd perf_event_open add_key keyctl request_key "
    "mount umount2 move_mount open_tree fsopen pivot_root chroot setns unshare open_by_handle_at pidfd_getfd "
    "kcmp iopl ioperm reboot swapon swapoff syslog acct quotactl setuid setgid setreuid setregid setresuid "
    "setresgid setfsuid setfsgid setgroups capset personality ";

// Tried first by C libraries and libuv, which go on without when the kernel is too old for them.
static const char ABSENT[] = "clone3 io_uring_setup io_uring_enter io_uring_register set_mempolicy_home_node ";

struct role_filter {
    const char *calls;
    int families[4]; // of sockets it may make; 0 ends
};

static const struct role_filter FILTERS[ROLE_COUNT] = {
    [ROLE_CONTROL] = {CONTROL, {AF_INET, AF_INET6, AF_UNIX}},
    // AF_INET: a datagram socket on which interfaces are asked for; it carries nothing.
    [ROLE_NETWORK] = {NETWORK, {AF_NETLINK, AF_INET}},
    [ROLE_HTTPS] = {HTTPS, {AF_INET, AF_INET6}},
};

// `calls` are names with spaces between. 0 or a negative errno, as libseccomp has it.
static int add_list(scmp_filter_ctx filter, uint32_t action, const char *calls)
{
    char name[32];
    size_t len;

    for (; *calls; calls += len + strspn(calls + len, " ")) {
        len = strcspn(calls, " ");
        snprintf(name, sizeof(name), "%.*s", (int)len, calls);
        int number = seccomp_syscall_resolve_name(name);
        if (number < 0)
            continue;
        int result = seccomp_rule_add(filter, action, number, 0);
        if (result < 0 && result != -EDOM)
            return result;
    }
    return 0;
}

// Threads of this process: libuv's pool and wolfSSL may start one late. Never a child.
static int allow_threads(scmp_filter_ctx filter)
{
    return seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
                            SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD | CLONE_VM, CLONE_THREAD | CLONE_VM));
}

// No memory that can be run: what was injected stays data.
static int allow_memory(scmp_filter_ctx filter)
{
    int result = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));

    if (result == 0)
        result =
            seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    return result;
}

static int allow_sockets(scmp_filter_ctx filter, const struct role_filter *role)
{
    for (size_t i = 0; role->families[i]; i++) {
        int result = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1,
                                      SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)role->families[i]));
        if (result < 0)
            return result;
    }
    return 0;
}

// Only what asks something of a socket or an interface: bytes waiting, non-blocking, close-on-exec, names and flags of interfaces.
static int allow_ioctls(scmp_filter_ctx filter)
{
    static const unsigned requests[] = {0x541b, 0x5421, 0x5451, 0x8910, 0x8912, 0x8913, 0x8927, 0x8933};

    for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
        int result = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1,
                                      SCMP_A1(SCMP_CMP_MASKED_EQ, 0xffffffff, requests[i]));
        if (result < 0)
            return result;
    }
    return 0;
}

// prctl only to name threads and memory.
static int allow_prctl(scmp_filter_ctx filter)
{
    static const unsigned options[] = {15 /* PR_SET_NAME */, 16 /* PR_GET_NAME */, 0x53564d41 /* PR_SET_VMA */};

    for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
        int result = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(prctl), 1, SCMP_A0(SCMP_CMP_EQ, options[i]));
        if (result < 0)
            return result;
    }
    return 0;
}

static int build(scmp_filter_ctx filter, const struct role_filter *role)
{
    int result;

    if ((result = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1)) < 0 ||
        (result = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS)) < 0 ||
        (result = add_list(filter, SCMP_ACT_ALLOW, COMMON)) < 0 ||
        (result = add_list(filter, SCMP_ACT_ALLOW, role->calls)) < 0 ||
        (result = add_list(filter, SCMP_ACT_KILL_PROCESS, KILLED)) < 0 ||
        (result = add_list(filter, SCMP_ACT_ERRNO(ENOSYS), ABSENT)) < 0)
        return result;
    if ((result = allow_threads(filter)) < 0 || (result = allow_memory(filter)) < 0 ||
        (result = allow_sockets(filter, role)) < 0 || (result = allow_ioctls(filter)) < 0)
        return result;
    return allow_prctl(filter);
}

enum err role_confine(enum role role, struct note *note)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));

    if (!filter)
        return note_set(note, ERR_UNSUPPORTED,
                        "the kernel has no seccomp filters (CONFIG_SECCOMP_FILTER): a role does not run without");
    int result = build(filter, &FILTERS[role]);
    if (result == 0)
        result = seccomp_load(filter);
    seccomp_release(filter);
    if (result < 0)
        return note_set(note, ERR_KERNEL, "the seccomp filter of the %s role cannot be set: %s", role_name(role),
                        strerror(-result));
    return ERR_OK;
}
