// SPDX-License-Identifier: GPL-2.0-or-later
// What the roles last said of themselves, and the two reports made of it: to the controller and to the local socket.
#ifndef TWOFOLD_AGENT_CONTROL_STATUS_H
#define TWOFOLD_AGENT_CONTROL_STATUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/role.h"
#include "control.pb-c.h"
#include "proto/base/err.h"
#include "proto/base/note.h"
#include "role.pb-c.h"

struct status;
MUST_USE enum err status_new(struct status **ret_status);
void status_free(struct status *status); // NULL is fine

// A copy is kept. Only for ROLE_NETWORK and ROLE_HTTPS.
MUST_USE enum err status_set(struct status *status, enum role role, const Twofold__V1__RoleStatus *role_status);
const Twofold__V1__RoleStatus *status_of(const struct status *status, enum role role); // NULL: not yet

// What the control role itself knows. Strings live as long as the report's making.
struct status_facts {
    const char *host;
    const char *trust_domain;
    uint64_t generation;
    const uint8_t *digest; // NULL: no slice in force
    const char *controller;
    bool connected;
    const char *connection_problem;
    uint64_t slice_time;
    uint64_t certificate_expires;
    const struct notes *warnings; // its own, beside the roles'
};

// Encoded; free() the bytes. The peers of both roles are merged by host, in order of their names.
MUST_USE enum err status_local(const struct status *status, const struct status_facts *facts, uint8_t **ret_bytes,
                               size_t *ret_len); // a LocalResponse
MUST_USE enum err status_agent(const struct status *status, const struct status_facts *facts, uint8_t **ret_bytes,
                               size_t *ret_len); // an AgentMessage

// The same as status_agent without what changes by itself (ages): two of them differ only when there is something to report.
MUST_USE enum err status_agent_digest(const struct status *status, const struct status_facts *facts,
                                      uint8_t ret_digest[48]);

#endif
