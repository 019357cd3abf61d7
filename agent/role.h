// SPDX-License-Identifier: GPL-2.0-or-later
// What the supervisor hands to each role, and the roles' entry points. A role runs in a process of its own, already under its own uid, with only
// its capabilities, and returns the exit status of its process. It sets up (opens sockets, reads its keys), then calls
// role_confine, then serves. It ends orderly on SIGTERM, and whenever the channel to one of its neighbours closes: the supervisor then
// starts all roles again.
#ifndef TWOFOLD_AGENT_ROLE_H
#define TWOFOLD_AGENT_ROLE_H

#include <stdint.h>
#include <sys/types.h>

#include "proto/base/err.h"
#include "proto/base/note.h"

enum role { ROLE_CONTROL, ROLE_NETWORK, ROLE_HTTPS };

#define ROLE_COUNT 3

struct role_start {
    enum role role;
    const char *folder;         // the role's own state folder, mode 0700, e.g. STATE/network
    const char *runtime_folder; // RUNTIME, for the local socket (control)
    const char *export_folder;  // of --export-secrets, the role's own, mode 0700; NULL: secrets are never exported
    // Connected stream sockets for proto/link/channel; -1 where the role has no such neighbour.
    int control_fd;         // to control (network, https)
    int network_fd;         // to network (control, https)
    int https_fd;           // to https (control, network)
    uid_t https_uid;        // whose packets the capture lets pass (network)
    uint16_t outbound_port; // 15001: capture of local flows (https, network)
    uint16_t tunnel_port;   // 15008: tunnels (https, network)
    gid_t admin_gid;        // who may ask the local socket (control); -1: root only
    int ready_fd;      // control: one byte goes here when the stored slice is in force or there is none; otherwise -1
    uid_t control_uid; // whose packets the controller's pinhole is for (network)
};

int control_main(const struct role_start *start);
int network_main(const struct role_start *start);
int https_main(const struct role_start *start);

// "control", "network", "https"
const char *role_name(enum role role);

// The seccomp filter of a role (agent/confine.c): an allowlist; everything else fails with EPERM, and exec, ptrace and module loading kill the
// process. After this nothing can be undone. TSYNC: covers all threads.
MUST_USE enum err role_confine(enum role role, struct note *note);

#endif
