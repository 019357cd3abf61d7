// SPDX-License-Identifier: GPL-2.0-or-later
// The local socket: RUNTIME/agent.sock, on which root and the administrators' group ask for status and flows. One request, one answer, again.
// Bounded: LOCAL_ASKERS_MAX at once, each with one question and LOCAL_IDLE_MS to ask it.
#ifndef TWOFOLD_AGENT_CONTROL_LOCAL_H
#define TWOFOLD_AGENT_CONTROL_LOCAL_H

#include <stdint.h>
#include <sys/types.h>
#include <uv.h>

#include "agent/control/inquiry.h"
#include "proto/base/clock.h"
#include "proto/base/err.h"
#include "proto/base/note.h"
#include "role.pb-c.h"

enum { LOCAL_ASKERS_MAX = 16, LOCAL_IDLE_MS = 10000, LOCAL_REQUEST_BYTES_MAX = 1024 };

struct local_config {
    uv_loop_t *loop;
    const struct clock *clock;
    const char *folder; // RUNTIME
    gid_t admin_gid;    // -1: only root
    struct inquiry *status;
    struct inquiry *flows;
    // Makes the encoded LocalResponse to a status request out of the roles' answers; free() the bytes.
    enum err (*make_status)(void *context, const struct inquiry_answers *answers, uint8_t **ret_bytes, size_t *ret_len);
    void *context;
};

struct local;
MUST_USE enum err local_new(const struct local_config *config, struct local **ret_local, struct note *note);

// Closes the listener and all askers; freed by itself when they are gone, within the loop.
void local_close(struct local *local);

void local_tick(struct local *local);
uint64_t local_deadline(const struct local *local); // boot milliseconds

// Decodes and checks a request (here for the fuzzer). Free with message_free. ERR_MALFORMED.
MUST_USE enum err local_request_decode(const uint8_t *bytes, size_t len, Twofold__V1__LocalRequest **ret_request);

#endif
