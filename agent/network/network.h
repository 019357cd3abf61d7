// SPDX-License-Identifier: GPL-2.0-or-later
// The network role's state: shared by role.c (loop, channels), messages.c (what the neighbours say), actions.c (what keying asks for) and
// status.c only.
#ifndef TWOFOLD_AGENT_NETWORK_NETWORK_H
#define TWOFOLD_AGENT_NETWORK_NETWORK_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "agent/identity.h"
#include "agent/network/dataplane.h"
#include "agent/network/drops.h"
#include "agent/network/keying.h"
#include "agent/network/nflog.h"
#include "agent/network/xfrm/stat.h"
#include "agent/role.h"
#include "proto/base/clock.h"
#include "proto/link/channel.h"
#include "role.pb-c.h"

#define NETWORK_SUITE "ecp384-aes256gcm16"

enum network_timing {
    RECONCILE_MS = 60000,    // without any event
    RECONCILE_SOON_MS = 500, // after someone changed something
    TICK_MAX_MS = 30000,     // the loop's clock stops while the machine sleeps; keying's does not
};

struct network {
    const struct role_start *start;
    uv_loop_t *loop;
    int exit_status;
    bool is_ending;

    struct channel *control; // NULL behind on_close
    struct channel *https;
    uv_signal_t terminate;
    uv_timer_t tick;      // keying's deadline
    uv_timer_t reconcile; // comparison with the kernel
    uv_prepare_t turn;    // the end of each turn: report, set the tick
    uv_poll_t kernel_events[DATAPLANE_EVENT_FDS];
    uv_poll_t drop_events;
    bool has_drop_events;

    struct identity *identity;
    struct trust *trust;
    struct dataplane *dataplane;
    struct keying *keying;        // NULL while the kernel has no ESP
    Twofold__V1__Slice *slice;    // in force; owned
    Twofold__V1__Slice *prepared; // staged; owned
    bool adopted;                 // SAs of an earlier life have been looked at
    bool sas_changed;             // the https role is to be told in this turn
    uint64_t event_at_boot_ms;    // of the reconcile that is due; UINT64_MAX: only the periodic one

    struct nflog *nflog; // NULL: refused packets cannot be listed
    struct drops *drops;
    uint64_t drops_lost;
    struct xfrm_stat stat_base; // at start
    bool has_stat;
    uint64_t repaired_policies, removed_strays, lost_sas, restored_tables;
    char trouble[256];             // the kernel's last refusal, until a comparison finds all in order; empty: none
    char certificate_problem[256]; // of the last renewal; empty: none
    char list_problem[256];        // why refused packets cannot be listed
};

// ---- actions.c

extern const struct keying_actions network_actions;
// Makes keying anew: at start when the kernel has ESP, and when SAs were lost (their keys must not be used again). What is in the
// kernel is adopted; peers are keyed with a fresh epoch.
MUST_USE enum err network_start_keying(struct network *network, struct note *note);
void network_send(struct network *network, struct channel *channel, const Twofold__V1__RoleMessage *message);
void network_report_sas(struct network *network);
void network_trouble(struct network *network, const char *event, const char *peer, const struct note *note);

// ---- messages.c

void network_on_control(struct network *network, const Twofold__V1__RoleMessage *message);
// Makes the slice the one in force, whole; on failure the old one stays in force.
MUST_USE enum err network_commit(struct network *network, Twofold__V1__Slice *slice, struct note *note);

// ---- status.c

void network_send_status(struct network *network);
void network_send_flows(struct network *network, uint32_t limit);

// ---- role.c

// Ends the role's loop.
void network_end(struct network *network, int exit_status);

#endif
