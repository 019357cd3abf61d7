// SPDX-License-Identifier: GPL-2.0-or-later
// The parts of `status` that both its sources have: peers, roles, warnings.
#ifndef TWOFOLD_CONTROLLER_CLI_SHOW_H
#define TWOFOLD_CONTROLLER_CLI_SHOW_H

#include <stdio.h>

#include "controller/cli/command.h"
#include "role.pb-c.h"

// A table with each peer's layers; what is wrong stands below the peer. EXIT_CODE_NO when a needed layer is down.
enum exit_code show_peers(Twofold__V1__PeerState *const *peers, size_t count, FILE *out);
// What each layer's role runs with: the evidence for their independence.
enum exit_code show_roles(Twofold__V1__RoleStatus *const *roles, size_t count, FILE *out);
void show_warnings(char *const *warnings, size_t count, FILE *out);

// "up", "down", "idle" (nothing has needed it yet) or "-" (no rule needs it).
const char *show_ipsec(const Twofold__V1__PeerState *peer);
const char *show_https(const Twofold__V1__PeerState *peer);

#endif
