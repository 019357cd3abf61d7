// SPDX-License-Identifier: GPL-2.0-or-later
// A port as the command line has it.
#ifndef TWOFOLD_CONTROLLER_CLI_EXPLAIN_H
#define TWOFOLD_CONTROLLER_CLI_EXPLAIN_H

#include "admin.pb-c.h"
#include "proto/base/err.h"
#include "proto/base/note.h"

// "443", "443/tcp" or "53/udp". ERR_USAGE.
MUST_USE enum err explain_parse_port(const char *text, Twofold__V1__Protocol *ret_protocol, uint32_t *ret_port,
                                     struct note *note);

#endif
