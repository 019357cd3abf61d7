// SPDX-License-Identifier: GPL-2.0-or-later
// What the controller knows of all hosts while it runs: the policy and inventory in force, and for each host its session, slices,
// bundle and last report. No sockets and no store: changes come in as calls, messages leave through each session's port.
//
// The spine, in the order to read it: fleet_set_policy, fleet_put_host (something changed: every agent is behind) -> push.c (compile a
// host's slice, send the difference) -> session.c (messages in) -> push.c (ACK or NACK) -> relay.c (bundles to the peers that the
// applied slice connects) and rollout.c (who waits for the change).
#ifndef TWOFOLD_CONTROLLER_FLEET_H
#define TWOFOLD_CONTROLLER_FLEET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "control.pb-c.h"
#include "controller/held.h"
#include "controller/inventory.h"
#include "controller/limiter.h"
#include "policy/policy.h"
#include "proto/base/clock.h"
#include "proto/base/err.h"
#include "proto/base/spiffe.h"

#define FLEET_ANSWER_MS     60000 // an agent that takes longer to answer a slice is cut, so that it starts over
#define FLEET_RETRY_MS      60000 // a refused slice is offered again after this
#define AGENT_PROBLEM_BYTES 512
#define AGENT_VERSION_BYTES 64

struct session;
struct rollout;

// One host. Lives as long as the fleet once it has been seen.
struct agent {
    struct fleet *fleet;
    char host[NAME_MAX_BYTES + 1];
    struct session *session; // NULL: not connected; the session's owner is its connection
    struct bucket openings;  // of sessions

    struct held applied; // in force there, as far as it is known here
    struct held sent;    // on its way; one at most
    uint64_t sent_nonce;
    uint64_t sent_at_ms;            // boot
    uint64_t refused_at_ms;         // boot; 0: the last answer was an ACK
    bool behind;                    // something changed since its slice was compiled
    bool resent;                    // a whole slice was sent again after a mismatch; not twice
    uint8_t reported[DIGEST_BYTES]; // from its Hello; zero: nothing in force

    uint64_t generation; // last acknowledged
    char problem[AGENT_PROBLEM_BYTES];
    char version[AGENT_VERSION_BYTES];
    Twofold__V1__AgentMessage *status; // its last AgentStatus; NULL: none
    uint8_t *bundle;                   // its last Bundle, as an encoded ControllerMessage; NULL: none
    size_t bundle_len;
};

struct fleet {
    const struct clock *clock;
    struct hosts *hosts;
    struct policy *policy;
    struct policy_view *view; // of both; NULL: not made since the last change
    uint64_t generation;
    uint64_t nonce;
    struct agent **agents; // by host
    size_t agent_count;
    size_t agent_capacity;
    size_t cursor; // where fleet_work goes on
    struct rollout *rollouts;
    void (*on_work)(void *context); // call fleet_work soon; never from inside this
    void *context;
};

// Takes hosts and policy over when it succeeds.
MUST_USE enum err fleet_new(const struct clock *clock, struct hosts *hosts, struct policy *policy, uint64_t generation,
                            void (*on_work)(void *context), void *context, struct fleet **ret_fleet);
void fleet_free(struct fleet *fleet); // behind session_gone of each session and the end of each rollout

// A new policy in force, which is taken over.
void fleet_set_policy(struct fleet *fleet, struct policy *policy, uint64_t generation);
// A host that enrolled, changed, or was revoked; the session of a revoked one is cut.
MUST_USE enum err fleet_put_host(struct fleet *fleet, const struct host_record *host, uint64_t generation);

// The host's agent; made when it is asked for first. fleet_find makes none and may give NULL.
MUST_USE enum err fleet_agent(struct fleet *fleet, const char *host, struct agent **ret_agent);
struct agent *fleet_find(const struct fleet *fleet, const char *host);

// A bounded piece of what there is to do; true: call again.
bool fleet_work(struct fleet *fleet);
// Time passes: a few times a second.
void fleet_tick(struct fleet *fleet);

bool agent_is_current(const struct agent *agent); // connected, and its slice in force is the present generation's
void agent_set_problem(struct agent *agent, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
