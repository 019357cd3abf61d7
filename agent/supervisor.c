// SPDX-License-Identifier: GPL-2.0-or-later
// Order: checks -> [ socketpairs -> roles -> wait -> roles end -> wait a little ]* -> roles end -> return. Signals are read from a
// descriptor, so nothing happens between the lines.
#include "agent/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/backoff.h"
#include "agent/folders.h"
#include "agent/notify.h"
#include "agent/spawn.h"
#include "agent/user.h"
#include "proto/base/clock.h"
#include "proto/base/file.h"

enum {
    OUTBOUND_PORT = 15001,
    TUNNEL_PORT = 15008,
    RESTART_MIN_MS = 200,
    RESTART_MAX_MS = 10000,
    SETTLED_MS = 30000, // roles that ran this long begin with the shortest wait again
    END_MS = 5000,      // from SIGTERM to SIGKILL
};

struct supervisor {
    const struct options *options;
    enum log_level level;
    struct user users[ROLE_COUNT];
    gid_t admin_gid;
    char folders[ROLE_COUNT][PATH_MAX];
    char exports[ROLE_COUNT][PATH_MAX];
    int signal_fd;
    int ready_fd;           // read end; -1 when nothing more is expected of it
    pid_t pids[ROLE_COUNT]; // 0: not running
    bool is_ready;          // said so to the service manager
    bool is_stopping;       // for good
    bool is_ending;         // the roles have been told to end
};

// ---- checks and preparations

static enum err fail(struct note *note, const char *doing, const char *what)
{
    int error = errno;
    return note_set(note, err_from_errno(error), "%s: cannot %s: %s", what, doing, strerror(error));
}

// The runtime folder is the control role's, since it puts the local socket there. Whoever made it before (a service manager, root)
// hands it over.
static enum err make_runtime_folder(const char *path, const struct user *user, struct note *note)
{
    struct stat stat;

    if (mkdir(path, 0755) < 0 && errno != EEXIST)
        return fail(note, "make the folder", path);
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return fail(note, "open the folder", path);
    enum err err = ERR_OK;
    if (fstat(fd, &stat) < 0)
        err = fail(note, "look at the folder", path);
    else if (stat.st_uid != 0 && stat.st_uid != user->uid)
        err = note_set(note, ERR_INVALID, "%s belongs to uid %u: it must be root's or the control role's", path,
                       (unsigned)stat.st_uid);
    else if (fchown(fd, user->uid, user->gid) < 0 || fchmod(fd, 0755) < 0)
        err = fail(note, "hand over the folder", path);
    close(fd);
    return err;
}

static enum err make_export_folders(struct supervisor *supervisor, const char *path, struct note *note)
{
    enum err err = file_make_folder(path, 0711, 0, (gid_t)-1, note);

    for (enum role role = 0; !err && role < ROLE_COUNT; role++) {
        const struct user *user = &supervisor->users[role];

        err = folders_folder(path, role, supervisor->exports[role], sizeof(supervisor->exports[role]), note);
        if (!err)
            err = file_make_folder(supervisor->exports[role], 0700, user->uid, user->gid, note);
    }
    if (!err)
        log_event(LOG_LEVEL_WARNING, "secrets.exported", LOG_STR("folder", path),
                  LOG_STR("meaning",
                          "EVERY SESSION KEY OF THIS HOST IS WRITTEN THERE: for proofs only, never in production; "
                          "leave --export-secrets out to end it"));
    return err;
}

static enum err resolve_users(struct supervisor *supervisor, struct note *note)
{
    const struct options *options = supervisor->options;
    const char *const names[ROLE_COUNT] = {
        [ROLE_CONTROL] = options->control_user,
        [ROLE_NETWORK] = options->network_user,
        [ROLE_HTTPS] = options->https_user,
    };

    enum err err = user_find_roles(names, supervisor->users, note);
    if (err)
        return err;
    supervisor->admin_gid = (gid_t)-1;
    return options->admin_group ? user_find_group(options->admin_group, &supervisor->admin_gid, note) : ERR_OK;
}

static enum err prepare_folders(struct supervisor *supervisor, struct note *note)
{
    const struct options *options = supervisor->options;

    enum err err = folders_check(options->state, supervisor->users, note);
    if (err)
        return err;
    for (enum role role = 0; role < ROLE_COUNT; role++) {
        err = folders_folder(options->state, role, supervisor->folders[role], sizeof(supervisor->folders[role]), note);
        if (err)
            return err;
    }
    err = make_runtime_folder(options->runtime, &supervisor->users[ROLE_CONTROL], note);
    if (!err && options->export_secrets)
        err = make_export_folders(supervisor, options->export_secrets, note);
    return err;
}

static enum err open_signals(int *ret_fd, struct note *note)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGCHLD);
    if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
        return fail(note, "block", "signals");
    int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (fd < 0)
        return fail(note, "read", "signals");
    *ret_fd = fd;
    return ERR_OK;
}

// ---- starting

struct wires {
    int control_network[2];
    int control_https[2];
    int network_https[2];
    int ready[2];
};

static void close_pair(int pair[2])
{
    for (int i = 0; i < 2; i++) {
        if (pair[i] >= 0)
            close(pair[i]);
        pair[i] = -1;
    }
}

static void wires_close(struct wires *wires)
{
    close_pair(wires->control_network);
    close_pair(wires->control_https);
    close_pair(wires->network_https);
    close_pair(wires->ready);
}

static const struct wires NO_WIRES = {{-1, -1}, {-1, -1}, {-1, -1}, {-1, -1}};

static enum err wires_open(struct wires *ret_wires, struct note *note)
{
    struct wires wires = NO_WIRES;
    int type = SOCK_STREAM | SOCK_CLOEXEC;

    if (socketpair(AF_UNIX, type, 0, wires.control_network) < 0 ||
        socketpair(AF_UNIX, type, 0, wires.control_https) < 0 ||
        socketpair(AF_UNIX, type, 0, wires.network_https) < 0 || pipe2(wires.ready, O_CLOEXEC | O_NONBLOCK) < 0) {
        enum err err = fail(note, "make", "the channels between the roles");
        wires_close(&wires);
        return err;
    }
    *ret_wires = wires;
    return ERR_OK;
}

static struct role_start describe(const struct supervisor *supervisor, enum role role, const struct wires *wires)
{
    struct role_start start = {
        .role = role,
        .folder = supervisor->folders[role],
        .runtime_folder = supervisor->options->runtime,
        .export_folder = supervisor->options->export_secrets ? supervisor->exports[role] : NULL,
        .control_fd = -1,
        .network_fd = -1,
        .https_fd = -1,
        .https_uid = supervisor->users[ROLE_HTTPS].uid,
        .outbound_port = OUTBOUND_PORT,
        .tunnel_port = TUNNEL_PORT,
        .admin_gid = supervisor->admin_gid,
        .ready_fd = -1,
        .control_uid = supervisor->users[ROLE_CONTROL].uid,
    };

    switch (role) {
    case ROLE_CONTROL:
        start.network_fd = wires->control_network[0];
        start.https_fd = wires->control_https[0];
        start.ready_fd = wires->ready[1];
        break;
    case ROLE_NETWORK:
        start.control_fd = wires->control_network[1];
        start.https_fd = wires->network_https[0];
        break;
    case ROLE_HTTPS:
        start.control_fd = wires->control_https[1];
        start.network_fd = wires->network_https[1];
        break;
    }
    return start;
}

static enum err start_roles(struct supervisor *supervisor, struct note *note)
{
    struct wires wires = NO_WIRES;

    enum err err = wires_open(&wires, note);
    for (enum role role = 0; !err && role < ROLE_COUNT; role++) {
        struct role_start start = describe(supervisor, role, &wires);

        err = spawn_role(&start, &supervisor->users[role], supervisor->level, &supervisor->pids[role], note);
        if (!err)
            log_event(LOG_LEVEL_INFO, "role.started", LOG_STR("name", role_name(role)),
                      LOG_U64("pid", (uint64_t)supervisor->pids[role]), LOG_U64("uid", supervisor->users[role].uid));
    }
    if (!err) {
        supervisor->ready_fd = wires.ready[0];
        wires.ready[0] = -1;
    }
    wires_close(&wires);
    return err;
}

// ---- what happens meanwhile

// `expected`: the supervisor has asked for it.
static void log_end(enum role role, int status, bool expected)
{
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS)
        log_event(LOG_LEVEL_ERROR, "role.ended", LOG_STR("name", role_name(role)),
                  LOG_STR("cause", "it asked the kernel for something that its filter forbids on pain of death"));
    else if (WIFSIGNALED(status))
        log_event(expected ? LOG_LEVEL_INFO : LOG_LEVEL_WARNING, "role.ended", LOG_STR("name", role_name(role)),
                  LOG_STR("cause", strsignal(WTERMSIG(status))));
    else
        log_event(expected ? LOG_LEVEL_INFO : LOG_LEVEL_WARNING, "role.ended", LOG_STR("name", role_name(role)),
                  LOG_U64("status", (uint64_t)WEXITSTATUS(status)));
}

// Takes every child that has ended (as the first process of a container there may be foreign ones). True when a role was among them.
static bool reap(struct supervisor *supervisor)
{
    bool role_ended = false;
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        for (enum role role = 0; role < ROLE_COUNT; role++) {
            if (supervisor->pids[role] != pid)
                continue;
            supervisor->pids[role] = 0;
            role_ended = true;
            log_end(role, status, supervisor->is_ending);
        }
    }
    return role_ended;
}

static bool any_running(const struct supervisor *supervisor)
{
    for (enum role role = 0; role < ROLE_COUNT; role++) {
        if (supervisor->pids[role])
            return true;
    }
    return false;
}

static void signal_roles(const struct supervisor *supervisor, int number)
{
    for (enum role role = 0; role < ROLE_COUNT; role++) {
        if (supervisor->pids[role] && kill(supervisor->pids[role], number) < 0)
            log_event(LOG_LEVEL_WARNING, "role.signal", LOG_STR("name", role_name(role)),
                      LOG_STR("cause", strerror(errno)));
    }
}

// True when a role has ended.
static bool read_signals(struct supervisor *supervisor)
{
    struct signalfd_siginfo info;
    bool role_ended = false;

    while (read(supervisor->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
        if (info.ssi_signo == SIGCHLD) {
            role_ended |= reap(supervisor);
            continue;
        }
        if (!supervisor->is_stopping)
            log_event(LOG_LEVEL_INFO, "agent.stopping", LOG_STR("signal", strsignal((int)info.ssi_signo)));
        supervisor->is_stopping = true;
    }
    return role_ended;
}

static void drop_ready_fd(struct supervisor *supervisor)
{
    if (supervisor->ready_fd >= 0)
        close(supervisor->ready_fd);
    supervisor->ready_fd = -1;
}

static void read_ready(struct supervisor *supervisor)
{
    uint8_t byte;

    if (read(supervisor->ready_fd, &byte, 1) == 1 && !supervisor->is_ready) {
        supervisor->is_ready = true;
        log_event(LOG_LEVEL_INFO, "agent.ready");
        notify_send("READY=1");
    }
    drop_ready_fd(supervisor);
}

// Waits for one turn of events, at most `timeout_ms` (-1: for ever). True when a role has ended.
static bool turn(struct supervisor *supervisor, int timeout_ms)
{
    struct pollfd fds[2] = {
        {.fd = supervisor->signal_fd, .events = POLLIN},
        {.fd = supervisor->ready_fd, .events = POLLIN},
    };

    if (poll(fds, 2, timeout_ms) <= 0)
        return false;
    if (fds[1].revents)
        read_ready(supervisor);
    return fds[0].revents ? read_signals(supervisor) : false;
}

static void end_roles(struct supervisor *supervisor)
{
    uint64_t deadline = clock_boot_ms(&clock_system) + END_MS;

    supervisor->is_ending = true;
    signal_roles(supervisor, SIGTERM);
    while (any_running(supervisor)) {
        uint64_t now = clock_boot_ms(&clock_system);

        if (now >= deadline) {
            log_event(LOG_LEVEL_WARNING, "roles.killed", LOG_STR("cause", "they did not end in time"));
            signal_roles(supervisor, SIGKILL);
            deadline = UINT64_MAX;
        }
        turn(supervisor, deadline == UINT64_MAX ? -1 : (int)(deadline - now));
    }
    supervisor->is_ending = false;
    drop_ready_fd(supervisor);
}

static void wait_before_restart(struct supervisor *supervisor, struct backoff *backoff)
{
    uint64_t wait_ms = backoff_next_ms(backoff);
    uint64_t deadline = clock_boot_ms(&clock_system) + wait_ms;

    log_event(LOG_LEVEL_WARNING, "roles.restart", LOG_U64("wait_ms", wait_ms));
    for (;;) {
        uint64_t now = clock_boot_ms(&clock_system);

        if (now >= deadline || supervisor->is_stopping)
            return;
        turn(supervisor, (int)(deadline - now));
    }
}

static void serve(struct supervisor *supervisor)
{
    struct backoff backoff;
    struct note note = {0};

    backoff_init(&backoff, RESTART_MIN_MS, RESTART_MAX_MS);
    while (!supervisor->is_stopping) {
        uint64_t started = clock_boot_ms(&clock_system);

        if (start_roles(supervisor, &note) != ERR_OK)
            log_event(LOG_LEVEL_ERROR, "roles.not_started", LOG_STR("cause", note.text));
        else
            while (!supervisor->is_stopping && !turn(supervisor, -1))
                ;
        if (supervisor->is_stopping)
            notify_send("STOPPING=1");
        end_roles(supervisor);
        if (clock_boot_ms(&clock_system) - started >= SETTLED_MS)
            backoff_reset(&backoff);
        if (!supervisor->is_stopping)
            wait_before_restart(supervisor, &backoff);
    }
}

enum err supervisor_run(const struct options *options, struct note *note)
{
    struct supervisor supervisor = {.options = options, .signal_fd = -1, .ready_fd = -1};
    int lock_fd;

    if (geteuid() != 0)
        return note_set(note, ERR_DENIED,
                        "twofold-agent run must be started as root: it gives each role its own user "
                        "and the network role CAP_NET_ADMIN, and keeps nothing else for itself");
    enum err err = options_log_level(options->log_level, &supervisor.level, note);
    if (err || (err = resolve_users(&supervisor, note)))
        return err;
    if (!folders_is_enrolled(options->state))
        return folders_check(options->state, supervisor.users, note);
    if ((err = folders_open(options->state, &lock_fd, note)))
        return err;
    if ((err = prepare_folders(&supervisor, note)) || (err = open_signals(&supervisor.signal_fd, note)))
        goto err_close_lock;
    log_event(LOG_LEVEL_INFO, "agent.started", LOG_STR("version", TWOFOLD_VERSION), LOG_STR("state", options->state));
    serve(&supervisor);
    log_event(LOG_LEVEL_INFO, "agent.stopped", LOG_STR("kernel", "its SAs, policies and rules stay in force"));
    close(supervisor.signal_fd);

err_close_lock:
    close(lock_fd);
    return err;
}
