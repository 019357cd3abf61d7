// SPDX-License-Identifier: GPL-2.0-or-later
// What each host answered to a change, as a table.
#ifndef TWOFOLD_CONTROLLER_CLI_RESULTS_H
#define TWOFOLD_CONTROLLER_CLI_RESULTS_H

#include "admin.pb-c.h"
#include "controller/cli/command.h"

// EXIT_CODE_NO when a host refused or did not answer.
enum exit_code results_print(Twofold__V1__HostResult *const *results, size_t count, FILE *out);
bool results_are_good(Twofold__V1__HostResult *const *results, size_t count);

// --wait SECONDS, as milliseconds.
MUST_USE enum err results_wait(const struct args *args, uint32_t *ret_wait_ms, struct note *note);

#endif
