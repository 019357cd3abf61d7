// SPDX-License-Identifier: GPL-2.0-or-later
// Each command is one struct, in the file of its group.
#ifndef TWOFOLD_CONTROLLER_CLI_COMMANDS_H
#define TWOFOLD_CONTROLLER_CLI_COMMANDS_H

#include "controller/cli/command.h"

extern const struct command command_token_create; // token.c
extern const struct command command_policy_check; // policy.c
extern const struct command command_policy_apply;
extern const struct command command_policy_show;
extern const struct command command_hosts;     // hosts.c
extern const struct command command_revoke;    // hosts.c
extern const struct command command_status;    // status.c
extern const struct command command_flows;     // flows.c
extern const struct command command_explain;   // explain.c
extern const struct command command_preflight; // preflight.c
extern const struct command command_audit;     // audit.c

#endif
