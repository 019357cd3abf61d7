// SPDX-License-Identifier: GPL-2.0-or-later
// The session with the controller: connects, proves who it is, checks who answers, and begins again after a wait when it ends, for ever.
//
// on_open -> on_message* -> on_lost, any number of times; none of them from inside a call of the owner. After uplink_close only its callback.
#ifndef TWOFOLD_AGENT_CONTROL_UPLINK_H
#define TWOFOLD_AGENT_CONTROL_UPLINK_H

#include <stdbool.h>
#include <uv.h>

#include "control.pb-c.h"
#include "proto/base/err.h"
#include "proto/base/ip.h"
#include "proto/base/note.h"
#include "proto/link/tls.h"

struct uplink;

struct uplink_events {
    // Fills what the first message says; its fields may point into the owner's memory during the call.
    void (*hello)(void *owner, Twofold__V1__Hello *hello);
    void (*on_open)(void *owner);
    void (*on_message)(void *owner, const Twofold__V1__ControllerMessage *message); // during the call only
    void (*on_lost)(void *owner, const char *why);
    // The answer to uplink_renew, once; NULL with a reason when it was refused or lost.
    void (*on_renewed)(void *owner, const Twofold__V1__EnrolResponse *response, const char *why);
};

struct uplink_config {
    uv_loop_t *loop;
    struct ip_endpoint controller;
    const char *trust_domain; // of the controller's SPIFFE ID; outlives
    const struct uplink_events *events;
    void *owner;
};

// Does nothing before uplink_set_context.
MUST_USE enum err uplink_new(const struct uplink_config *config, struct uplink **ret_uplink);

// The identity to connect with; held. The first call connects, each later one reconnects at once.
void uplink_set_context(struct uplink *uplink, struct tls_context *context);

bool uplink_is_open(const struct uplink *uplink);
// Why there is none, for people; empty while it is open.
const char *uplink_problem(const struct uplink *uplink);

// ERR_CLOSED while there is no session; ERR_LIMIT when the controller takes nothing.
MUST_USE enum err uplink_send(struct uplink *uplink, const Twofold__V1__AgentMessage *message);
// The same with an AgentMessage that is encoded already.
MUST_USE enum err uplink_send_bytes(struct uplink *uplink, const uint8_t *bytes, size_t len);

// Asks for new certificates on the same connection, at most one request at a time (ERR_AGAIN).
MUST_USE enum err uplink_renew(struct uplink *uplink, const Twofold__V1__RenewRequest *request);

// Ends it; `on_closed` when nothing is left of it, and then it is freed.
void uplink_close(struct uplink *uplink, void (*on_closed)(void *owner));

#endif
