// SPDX-License-Identifier: GPL-2.0-or-later
// `twofold-agent enrol`: one-time joining with a token. Keys are made here and never leave; the token pins the network CA, and what
// the controller gives back is checked before anything of it is kept.
#ifndef TWOFOLD_AGENT_ENROL_H
#define TWOFOLD_AGENT_ENROL_H

#include "agent/options.h"
#include "control.pb-c.h"
#include "proto/base/err.h"
#include "proto/base/note.h"
#include "proto/link/key.h"
#include "proto/wire/token.h"

// Blocks until done, at most 30 s. On failure the note says why, and an earlier enrolment is untouched.
MUST_USE enum err enrol_run(const struct options *options, struct note *note);

// What enrol_run checks of the controller's answer (here for the tests): each certificate is for its key, of the right kind, for the
// token's host and trust domain, and chains to its CA; the network CA is the pinned one; the CAs don't share a key.
// `keys`: agent, host, workload. `now` in unix seconds.
MUST_USE enum err enrol_check(const Twofold__V1__EnrolResponse *response, const struct token *token,
                              const struct key *const keys[3], uint64_t now, struct note *note);

#endif
