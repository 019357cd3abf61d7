// SPDX-License-Identifier: GPL-2.0-or-later
// `twofold-agent run`: keeps the three roles running. It is small, parses nothing from the network, and holds no key.
#ifndef TWOFOLD_AGENT_SUPERVISOR_H
#define TWOFOLD_AGENT_SUPERVISOR_H

#include "agent/options.h"
#include "proto/base/err.h"
#include "proto/base/note.h"

// Checks what the roles need, starts them, and when one of them ends, ends the others and starts all again (after 0.2 s, growing to 10 s).
// Returns ERR_OK after SIGTERM or SIGINT, when the roles have ended; the kernel's state stays. Otherwise the note says what is
// missing.
MUST_USE enum err supervisor_run(const struct options *options, struct note *note);

#endif
