// SPDX-License-Identifier: GPL-2.0-or-later
// The list of all commands, in the order of the help.
#include "controller/cli/commands.h"

const struct command *const commands[] = {
    &command_token_create, &command_policy_check, &command_policy_apply, &command_policy_show,
    &command_hosts,        &command_revoke,       &command_status,       &command_flows,
    &command_explain,      &command_preflight,    &command_audit,        NULL,
};
