// SPDX-License-Identifier: GPL-2.0-or-later
// The supervisor with roles that only say who they are: this program is started again as `role NAME`, as the agent is. Needs root.
#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "agent/folders.h"
#include "agent/role_args.h"
#include "agent/spawn.h"
#include "agent/supervisor.h"
#include "proto/base/file.h"

// ---- the role: writes what it is to FOLDER/facts, then does what FOLDER/behaviour says

static void write_facts(const struct role_start *start)
{
    char path[300], line[512];
    struct rlimit core;

    snprintf(path, sizeof(path), "%s/facts.new", start->folder);
    FILE *out = fopen(path, "we");
    FILE *status = fopen("/proc/self/status", "re");
    if (!out || !status)
        _exit(90);
    while (fgets(line, sizeof(line), status))
        fputs(line, out);
    fclose(status);
    getrlimit(RLIMIT_CORE, &core);
    fprintf(out, "core: %llu\nsid: %d\npid: %d\nparent: %d\ntunnel: %d\nhttps_uid: %d\nexport: %s\n",
            (unsigned long long)core.rlim_max, getsid(0) == getpid(), getpid(), getppid(), start->tunnel_port,
            (int)start->https_uid, start->export_folder ? start->export_folder : "none");
    fprintf(out, "environment:");
    for (char **variable = environ; *variable; variable++)
        fprintf(out, " %s", *variable);
    fprintf(out, "\nfds:");
    DIR *fds = opendir("/proc/self/fd");
    struct dirent *entry;
    int neighbours[] = {start->control_fd, start->network_fd, start->https_fd, start->ready_fd};
    while (fds && (entry = readdir(fds))) {
        int fd = atoi(entry->d_name);
        bool known = entry->d_name[0] == '.' || fd <= 2 || fd == dirfd(fds) || fd == fileno(out);
        for (size_t i = 0; i < 4; i++)
            known = known || fd == neighbours[i];
        if (!known)
            fprintf(out, " stray%d", fd);
    }
    closedir(fds);
    fprintf(out, "\n");
    fclose(out);
    snprintf(line, sizeof(line), "%s/facts", start->folder);
    if (rename(path, line) < 0)
        _exit(91);
}

static int fake_role(int argc, char **argv)
{
    struct role_start start;
    struct note note = {0};
    enum log_level level;
    uint8_t *behaviour;
    char path[300];
    pid_t parent;
    size_t len;

    if (role_args_parse(argc, argv, &start, &parent, &level, &note) != ERR_OK || spawn_settle(parent) != ERR_OK)
        return 92;
    write_facts(&start);
    snprintf(path, sizeof(path), "%s/behaviour", start.folder);
    if (file_read(path, 100, &behaviour, &len, NULL) == ERR_OK) {
        if (strcmp((char *)behaviour, "exit") == 0)
            _exit(3);
        if (strcmp((char *)behaviour, "stubborn") == 0)
            signal(SIGTERM, SIG_IGN);
    }
    if (start.ready_fd >= 0 && write(start.ready_fd, "1", 1) != 1)
        return 93;
    for (;;)
        pause();
}

// ---- the test

static char base[64], state[96], runtime[96], notify_path[96];
static struct note note;
static struct options options;
static int notify_fd;
static const struct user USERS[ROLE_COUNT] = {{61001, 61001}, {61002, 61002}, {61003, 61003}};

static void enrol(void)
{
    char staging[256], folder[300], path[400];
    int lock;

    cr_assert_eq(folders_open(state, &lock, &note), ERR_OK, "%s", note.text);
    cr_assert_eq(folders_stage(state, staging, sizeof(staging), &note), ERR_OK);
    cr_assert_eq(folders_folder(staging, ROLE_CONTROL, folder, sizeof(folder), &note), ERR_OK);
    snprintf(path, sizeof(path), "%s/agent.pem", folder);
    cr_assert_eq(file_write(path, "x", 1, 0600, &note), ERR_OK);
    cr_assert_eq(folders_install(state, USERS, &note), ERR_OK, "%s", note.text);
    close(lock);
}

static void start(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    if (geteuid() != 0)
        cr_skip_test("needs root");
    strcpy(base, "/tmp/supervisor-XXXXXX");
    cr_assert_not_null(mkdtemp(base));
    cr_assert_eq(chmod(base, 0755), 0);
    snprintf(state, sizeof(state), "%s/state", base);
    snprintf(runtime, sizeof(runtime), "%s/run", base);
    snprintf(notify_path, sizeof(notify_path), "%s/notify", base);
    notify_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    memcpy(address.sun_path, notify_path, strlen(notify_path));
    cr_assert_eq(bind(notify_fd, (struct sockaddr *)&address, sizeof(address)), 0);
    setenv("NOTIFY_SOCKET", notify_path, 1);
    options = (struct options){
        .command = COMMAND_RUN,
        .state = state,
        .runtime = runtime,
        .control_user = "61001",
        .network_user = "61002",
        .https_user = "61003",
        .log_level = "error",
    };
}

static void finish(void)
{
    char command[128];

    close(notify_fd);
    snprintf(command, sizeof(command), "rm -rf %s", base);
    cr_expect_eq(system(command), 0);
}

TestSuite(supervisor, .init = start, .fini = finish, .timeout = 60);

static pid_t supervise(void)
{
    pid_t pid = fork();

    cr_assert_geq(pid, 0);
    if (pid == 0)
        _exit(supervisor_run(&options, &note) == ERR_OK ? 0 : 1);
    return pid;
}

static void behave(enum role role, const char *behaviour)
{
    char path[300];

    snprintf(path, sizeof(path), "%s/%s/behaviour", state, role_name(role));
    if (behaviour)
        cr_assert_eq(file_write(path, behaviour, strlen(behaviour), 0644, &note), ERR_OK);
    else
        cr_assert_eq(unlink(path), 0);
}

static void pause_briefly(void)
{
    struct timespec time = {.tv_nsec = 5000000};

    nanosleep(&time, NULL);
}

// The value of a fact, once the role has written it and its pid is another one than `not_pid`.
static char *fact(enum role role, const char *key, pid_t not_pid)
{
    static char value[512];
    char path[300], line[512];

    snprintf(path, sizeof(path), "%s/%s/facts", state, role_name(role));
    for (;; pause_briefly()) {
        pid_t pid = 0;
        bool found = false;
        FILE *file = fopen(path, "re");

        if (!file)
            continue;
        while (fgets(line, sizeof(line), file)) {
            sscanf(line, "pid: %d", &pid);
            size_t len = strlen(key);
            if (strncmp(line, key, len) == 0 && line[len] == ':') {
                line[strcspn(line, "\n")] = '\0';
                snprintf(value, sizeof(value), "%s", line + len + 1 + strspn(line + len + 1, " \t"));
                found = true;
            }
        }
        fclose(file);
        if (pid == not_pid)
            continue;
        cr_assert(found, "%s", key);
        return value;
    }
}

static pid_t pid_of(enum role role, pid_t not_pid)
{
    return (pid_t)atoi(fact(role, "pid", not_pid));
}

static void wait_until_gone(pid_t pid)
{
    // A zombie's parent is init or a reaper of the machine: gone is what does not run any more.
    for (;; pause_briefly()) {
        char path[64], line[64] = "";
        snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
        FILE *file = fopen(path, "re");
        if (!file)
            return;
        char *got = fgets(line, sizeof(line), file);
        fclose(file);
        if (got && strstr(line, ") Z"))
            return;
    }
}

static void expect_notice(const char *expected)
{
    char text[64] = "";
    struct pollfd wait = {.fd = notify_fd, .events = POLLIN};

    cr_assert_eq(poll(&wait, 1, 20000), 1);
    cr_assert_gt(recv(notify_fd, text, sizeof(text) - 1, 0), 0);
    cr_expect_str_eq(text, expected);
}

static int stop(pid_t pid)
{
    int status;

    cr_assert_eq(kill(pid, SIGTERM), 0);
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

Test(supervisor, roles_have_nothing_that_they_do_not_need)
{
    static const char *const net_admin = "0000000000001000"; // CAP_NET_ADMIN is 12
    static const char *const none = "0000000000000000";

    enrol();
    setenv("SECRET", "of the supervisor", 1);
    int leaked = open("/etc/passwd", O_RDONLY); // not close-on-exec
    options.admin_group = "61009";
    pid_t supervisor = supervise();
    expect_notice("READY=1");
    for (enum role role = 0; role < ROLE_COUNT; role++) {
        char uids[64];
        const char *capabilities = role == ROLE_NETWORK ? net_admin : none;

        snprintf(uids, sizeof(uids), "%u\t%u\t%u\t%u", USERS[role].uid, USERS[role].uid, USERS[role].uid,
                 USERS[role].uid);
        cr_expect_str_eq(fact(role, "Uid", 0), uids);
        cr_expect_str_eq(fact(role, "Gid", 0), uids);
        cr_expect_str_eq(fact(role, "Groups", 0), role == ROLE_CONTROL ? "61009 " : "", "%s", role_name(role));
        cr_expect_str_eq(fact(role, "CapEff", 0), capabilities, "%s", role_name(role));
        cr_expect_str_eq(fact(role, "CapPrm", 0), capabilities);
        cr_expect_str_eq(fact(role, "CapAmb", 0), capabilities);
        cr_expect_str_eq(fact(role, "CapInh", 0), capabilities);
        cr_expect_str_eq(fact(role, "CapBnd", 0), none);
        cr_expect_str_eq(fact(role, "NoNewPrivs", 0), "1");
        cr_expect_str_eq(fact(role, "SigBlk", 0), none);
        cr_expect_str_eq(fact(role, "core", 0), "0");
        cr_expect_str_eq(fact(role, "sid", 0), "1");
        cr_expect_str_eq(fact(role, "fds", 0), "", "%s", role_name(role));
        cr_expect_str_eq(fact(role, "environment", 0), "LC_ALL=C.UTF-8");
        cr_expect_eq(atoi(fact(role, "parent", 0)), supervisor);
        cr_expect_str_eq(fact(role, "tunnel", 0), "15008");
        cr_expect_str_eq(fact(role, "https_uid", 0), "61003");
        cr_expect_str_eq(fact(role, "export", 0), "none");
    }
    cr_expect_eq(stop(supervisor), 0);
    expect_notice("STOPPING=1");
    close(leaked);
}

Test(supervisor, runtime_and_export_folders)
{
    struct stat status;
    char path[200];

    enrol();
    snprintf(path, sizeof(path), "%s/secrets", base);
    options.export_secrets = path;
    pid_t supervisor = supervise();
    expect_notice("READY=1");
    cr_expect(strstr(fact(ROLE_HTTPS, "export", 0), "/secrets/https"));
    cr_assert_eq(stat(runtime, &status), 0);
    cr_expect(status.st_uid == 61001 && (status.st_mode & 07777) == 0755);
    cr_assert_eq(stat(path, &status), 0);
    cr_expect(status.st_uid == 0 && (status.st_mode & 07777) == 0711);
    strcat(path, "/network");
    cr_assert_eq(stat(path, &status), 0);
    cr_expect(status.st_uid == 61002 && (status.st_mode & 07777) == 0700);
    cr_expect_eq(stop(supervisor), 0);
}

Test(supervisor, one_role_s_end_starts_all_again)
{
    pid_t before[ROLE_COUNT];

    enrol();
    pid_t supervisor = supervise();
    expect_notice("READY=1");
    for (enum role role = 0; role < ROLE_COUNT; role++)
        before[role] = pid_of(role, 0);
    cr_assert_eq(kill(before[ROLE_HTTPS], SIGKILL), 0);
    for (enum role role = 0; role < ROLE_COUNT; role++) {
        wait_until_gone(before[role]);
        cr_expect_neq(pid_of(role, before[role]), before[role]);
    }
    cr_expect_eq(stop(supervisor), 0);
}

Test(supervisor, role_that_always_ends_is_tried_again_and_again)
{
    enrol();
    behave(ROLE_NETWORK, "exit");
    pid_t supervisor = supervise();
    pid_t first = pid_of(ROLE_NETWORK, 0);
    pid_t second = pid_of(ROLE_NETWORK, first);
    cr_expect_neq(first, second);
    behave(ROLE_NETWORK, NULL);
    expect_notice("READY=1");
    cr_expect_eq(stop(supervisor), 0);
}

Test(supervisor, stubborn_role_is_killed)
{
    enrol();
    behave(ROLE_HTTPS, "stubborn");
    pid_t supervisor = supervise();
    expect_notice("READY=1");
    pid_t role = pid_of(ROLE_HTTPS, 0);
    cr_expect_eq(stop(supervisor), 0);
    wait_until_gone(role);
}

Test(supervisor, roles_die_with_their_supervisor)
{
    pid_t roles[ROLE_COUNT];
    int status;

    enrol();
    pid_t supervisor = supervise();
    expect_notice("READY=1");
    for (enum role role = 0; role < ROLE_COUNT; role++)
        roles[role] = pid_of(role, 0);
    cr_assert_eq(kill(supervisor, SIGKILL), 0);
    cr_assert_eq(waitpid(supervisor, &status, 0), supervisor);
    for (enum role role = 0; role < ROLE_COUNT; role++)
        wait_until_gone(roles[role]);
}

Test(supervisor, parent_that_has_ended_already)
{
    cr_expect_eq(spawn_settle(getppid() + 1), ERR_CLOSED);
}

Test(supervisor, host_that_is_not_enrolled)
{
    cr_expect_eq(supervisor_run(&options, &note), ERR_NOT_FOUND);
    cr_expect(strstr(note.text, "twofold token create"), "%s", note.text);
    cr_expect_neq(access(state, F_OK), 0, "nothing is made");
}

Test(supervisor, second_agent_with_the_same_state)
{
    enrol();
    pid_t supervisor = supervise();
    expect_notice("READY=1");
    cr_expect_eq(supervisor_run(&options, &note), ERR_EXISTS);
    cr_expect_eq(stop(supervisor), 0);
}

Test(supervisor, folders_of_other_users)
{
    enrol();
    options.https_user = "61004";
    cr_expect_eq(supervisor_run(&options, &note), ERR_INVALID);
    cr_expect(strstr(note.text, "--https-user"), "%s", note.text);
}

Test(supervisor, without_root)
{
    int status;
    pid_t pid = fork();

    cr_assert_geq(pid, 0);
    if (pid == 0) {
        if (setuid(61001) < 0)
            _exit(9);
        enum err err = supervisor_run(&options, &note);
        _exit(err == ERR_DENIED && strstr(note.text, "as root") ? 0 : 1);
    }
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_expect_eq(WEXITSTATUS(status), 0);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "role") == 0)
        return fake_role(argc, argv);
    struct criterion_test_set *tests = criterion_initialize();
    int result = criterion_handle_args(argc, argv, true) ? !criterion_run_all_tests(tests) : 0;
    criterion_finalize(tests);
    return result;
}
