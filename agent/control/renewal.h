// SPDX-License-Identifier: GPL-2.0-or-later
// Renews the three certificates of the host together, at half of their life ± 10 %: every role makes its own new key, the control role carries
// the requests to the controller and the certificates back. A failure at any point leaves the present ones in use; it is
// tried again. Sans-I/O.
#ifndef TWOFOLD_AGENT_CONTROL_RENEWAL_H
#define TWOFOLD_AGENT_CONTROL_RENEWAL_H

#include <stdbool.h>
#include <stdint.h>

#include "agent/role.h"
#include "control.pb-c.h"
#include "proto/base/clock.h"
#include "proto/base/err.h"
#include "proto/base/note.h"
#include "proto/link/cert.h"
#include "role.pb-c.h"

struct renewal_actions {
    // RenewalStart to the network or https role.
    enum err (*ask_role)(void *context, enum role role);
    // The control role's own new key; free() the request.
    enum err (*own_request)(void *context, uint8_t **ret_request, size_t *ret_len, struct note *note);
    enum err (*call)(void *context, const Twofold__V1__RenewRequest *request);
    // Stores and uses the agent certificate; first, since nothing is handed out when it fails.
    enum err (*install)(void *context, const Twofold__V1__EnrolResponse *response, struct note *note);
    enum err (*deliver)(void *context, enum role role, const Twofold__V1__Certificate *certificate);
    void (*renewed)(void *context, uint64_t not_after);
    void (*failed)(void *context, const char *why, uint64_t retry_ms);
};

struct renewal;
MUST_USE enum err renewal_new(const struct clock *clock, const struct renewal_actions *actions, void *context,
                              struct renewal **ret_renewal);
void renewal_free(struct renewal *renewal); // NULL is fine

// The agent certificate in use; sets the time of the next renewal.
void renewal_set_certificate(struct renewal *renewal, const struct cert_facts *facts);

// From the network or https role.
void renewal_on_request(struct renewal *renewal, enum role role, const Twofold__V1__CertificateRequest *request);
// The controller's answer; NULL with a reason when there is none.
void renewal_on_response(struct renewal *renewal, const Twofold__V1__EnrolResponse *response, const char *why);

void renewal_tick(struct renewal *renewal);
uint64_t renewal_deadline(const struct renewal *renewal); // boot milliseconds

// Why the last attempt failed, for the status; empty after a success.
const char *renewal_problem(const struct renewal *renewal);

#endif
