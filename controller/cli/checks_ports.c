// SPDX-License-Identifier: GPL-2.0-or-later
// Are the ports free, or is it us who listens there? From /proc/net/tcp and the sockets that processes hold.
#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "controller/cli/checks.h"

#define PATH_BYTES 512
#define LISTEN     0x0a

struct listener {
    bool found;
    unsigned long inode;
};

static void look_in(const char *path, unsigned port, struct listener *listener)
{
    char line[512];
    FILE *file = fopen(path, "re");
    if (!file)
        return;
    while (!listener->found && fgets(line, sizeof(line), file)) {
        unsigned local_port, state;
        unsigned long inode;
        if (sscanf(line, " %*u: %*32[0-9A-Fa-f]:%4x %*32[0-9A-Fa-f]:%*4x %2x %*x:%*x %*x:%*x %*x %*u %*u %lu",
                   &local_port, &state, &inode) == 3 &&
            local_port == port && state == LISTEN)
            *listener = (struct listener){true, inode};
    }
    fclose(file);
}

static bool holds(const char *process, unsigned long inode)
{
    char folder[PATH_BYTES], path[2 * PATH_BYTES], target[64], wanted[64];
    bool found = false;
    snprintf(folder, sizeof(folder), "%s/fd", process);
    snprintf(wanted, sizeof(wanted), "socket:[%lu]", inode);
    DIR *fds = opendir(folder);
    if (!fds)
        return false;
    for (struct dirent *entry; !found && (entry = readdir(fds));) {
        snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
        ssize_t len = readlink(path, target, sizeof(target) - 1);
        if (len > 0) {
            target[len] = 0;
            found = strcmp(target, wanted) == 0;
        }
    }
    closedir(fds);
    return found;
}

// "nginx (process 812)"; false when nobody is found, as for other users' processes without root.
static bool name_holder(const char *root, unsigned long inode, char *name, size_t room)
{
    char folder[PATH_BYTES / 2], process[PATH_BYTES - 8], path[PATH_BYTES], comm[32] = "";
    bool found = false;
    snprintf(folder, sizeof(folder), "%s/proc", root);
    DIR *processes = opendir(folder);
    for (struct dirent *entry; processes && !found && (entry = readdir(processes));) {
        if (strspn(entry->d_name, "0123456789") != strlen(entry->d_name))
            continue;
        snprintf(process, sizeof(process), "%s/%.16s", folder, entry->d_name);
        if (!holds(process, inode))
            continue;
        snprintf(path, sizeof(path), "%s/comm", process);
        FILE *file = fopen(path, "re");
        if (file && fgets(comm, sizeof(comm), file))
            comm[strcspn(comm, "\n")] = 0;
        if (file)
            fclose(file);
        snprintf(name, room, "%s (process %.16s)", comm, entry->d_name);
        found = true;
    }
    if (processes)
        closedir(processes);
    return found;
}

static void check_port(struct checks *checks, const char *root, unsigned port, const char *name, const char *use)
{
    static const char *const tables[] = {"/proc/net/tcp", "/proc/net/tcp6"};
    struct listener listener = {0};
    char path[PATH_BYTES], holder[80] = "a process that is not ours to see";

    for (size_t i = 0; i < 2 && !listener.found; i++) {
        snprintf(path, sizeof(path), "%s%s", root, tables[i]);
        look_in(path, port, &listener);
    }
    if (!listener.found) {
        checks_add(checks, name, CHECK_OK, "", "free, for %s", use);
        return;
    }
    bool known = name_holder(root, listener.inode, holder, sizeof(holder));
    if (known && strncmp(holder, "twofold", 7) == 0)
        checks_add(checks, name, CHECK_OK, "", "held by %s", holder);
    else if (port == 7443)
        checks_add(checks, name, CHECK_WARN,
                   "nothing to do where no controller runs; otherwise give it another port with --listen",
                   "taken by %s, and needed for %s", holder, use);
    else
        checks_add(checks, name, known ? CHECK_FAIL : CHECK_WARN,
                   known ? "stop that program or move it to another port" : "run this as root to see who it is",
                   "taken by %s, and needed for %s", holder, use);
}

void checks_ports(struct checks *checks, const char *root)
{
    check_port(checks, root, 15001, "port 15001", "the agent's capture of local flows");
    check_port(checks, root, 15008, "port 15008", "the agent's tunnels");
    check_port(checks, root, 7443, "port 7443", "a controller");
}
