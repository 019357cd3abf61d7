// SPDX-License-Identifier: GPL-2.0-or-later
// Inside the control role: what its files share. One object, one loop; see control.c for the order of events.
#ifndef TWOFOLD_AGENT_CONTROL_CONTROL_H
#define TWOFOLD_AGENT_CONTROL_CONTROL_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "agent/control/early.h"
#include "agent/control/inquiry.h"
#include "agent/control/intake.h"
#include "agent/control/local.h"
#include "agent/control/renewal.h"
#include "agent/control/role_link.h"
#include "agent/control/status.h"
#include "agent/control/uplink.h"
#include "agent/identity.h"
#include "agent/role.h"
#include "proto/base/clock.h"
#include "proto/base/ip.h"

enum { CONTROL_EXIT_FAILED = 1 };

struct control {
    const struct role_start *start;
    uv_loop_t loop;
    uv_timer_t timer;
    uv_prepare_t prepare; // sets the timer for the next deadline at the end of each turn
    uv_signal_t signals[2];
    struct identity *identity;
    struct trust *trust;
    struct ip_endpoint controller;
    char controller_text[IP_ENDPOINT_TEXT_BYTES];
    struct role_link *links[ROLE_COUNT]; // NULL behind on_gone
    struct uplink *uplink;               // NULL behind its end
    struct intake *intake;
    struct early *early;
    struct renewal *renewal;
    struct inquiry *ask_status;
    struct inquiry *ask_flows;
    struct inquiry_waiter poll;
    uint64_t poll_at_boot_ms; // UINT64_MAX: under way
    struct status *status;
    struct local *local;
    uint8_t reported[DIGEST_BYTES]; // of the last report to the controller
    uint64_t first_poll_boot_ms;
    uint64_t reported_boot_ms; // 0: none on this session
    char slice_problem[NOTE_TEXT_BYTES];
    bool started; // the stored slice is settled
    bool closing;
    int exit_status;
};

// ---- control.c

// Closes everything that holds the loop, which then runs out. A second call does nothing.
void control_shut_down(struct control *control, int exit_status);

// ---- rollout.c: the slice's way into force

void control_start_stored(struct control *control); // then the session
// The first time connects, later ones reconnect with the identity that is new.
void control_use_identity(struct control *control);
extern const struct intake_config control_intake_config; // without clock, names and context

// ---- neighbours.c: to and from the other roles

enum err control_send(struct control *control, enum role role, const Twofold__V1__RoleMessage *message);
enum err control_send_endpoint(struct control *control);
enum err control_ask_status(void *control, enum role role);
enum err control_ask_flows(void *control, enum role role);
void control_send_bundle(void *control, const Twofold__V1__Bundle *bundle);
void control_send_pair(struct control *control, Twofold__V1__PairMessage *pair);
void control_send_publish(struct control *control);
extern const struct role_link_events control_link_events;

// ---- session.c: to and from the controller, and the renewal of certificates that goes through it

extern const struct uplink_events control_uplink_events;
extern const struct renewal_actions control_renewal_actions;

// ---- report.c: what the roles say of themselves, and who is told

void control_poll_roles(struct control *control);
void control_report(struct control *control); // to the controller, when there is something to say
enum err control_make_local_status(void *control, const struct inquiry_answers *answers, uint8_t **ret_bytes,
                                   size_t *ret_len);

#endif
