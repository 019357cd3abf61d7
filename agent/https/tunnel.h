// SPDX-License-Identifier: GPL-2.0-or-later
// A tunnel: one HTTP/2 session over mutual TLS with a peer's workload, from either side, and the flows in it.
#ifndef TWOFOLD_AGENT_HTTPS_TUNNEL_H
#define TWOFOLD_AGENT_HTTPS_TUNNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <uv.h>

#include "agent/https/flows.h"
#include "agent/https/https.h"
#include "agent/https/table.h"
#include "proto/link/h2.h"

//   CONNECTING --handshake, peer checked--> OPEN --GOAWAY, own certificate renewed--> RETIRED
//   any --closed by us or the peer, no longer allowed, expired--> CLOSING --session gone--> (freed)
enum tunnel_state {
    TUNNEL_CONNECTING,
    TUNNEL_OPEN,
    TUNNEL_RETIRED, // no new flows; goes when the last one has ended
    TUNNEL_CLOSING,
};

struct tunnel {
    struct https *https;
    enum tunnel_state state;
    Twofold__V1__Direction direction; // OUT: this host opened it
    struct h2_session *session;
    struct lane *lane; // outbound
    struct ip_endpoint remote;
    struct ip_endpoint local;
    char identity[SPIFFE_TEXT_BYTES]; // the peer's, proven
    char suite[FLOW_SUITE_BYTES];
    bool is_admitted;               // the table lets it carry flows
    char reason[FLOW_REASON_BYTES]; // why it was closed by us
    uint64_t idle_since_ms;         // boot; while it has no flows
    uint64_t expires_ms;            // unix; the earlier end of the two certificates
    uint64_t retires_ms;            // unix; half of that time: new flows then take a tunnel with newer certificates
    size_t flow_count;
    size_t stream_limit; // as the peer let us find out
    struct flow_list flows;
    LIST_ENTRY(tunnel) all;
    LIST_ENTRY(tunnel) of_lane;
};

// Opens a tunnel for the lane, from its source to its destination; pool_on_tunnel or pool_on_failure follows.
MUST_USE enum err tunnel_connect(struct https *https, struct lane *lane, const struct ip *source,
                                 const struct ip *destination, struct tunnel **ret_tunnel);

// Takes a connection from a tunnel listener, inside its callback.
void tunnel_accept(struct https *https, uv_stream_t *listener);

void tunnel_add_flow(struct tunnel *tunnel, struct flow *flow);
void tunnel_remove_flow(struct tunnel *tunnel, struct flow *flow);

// No new flows.
void tunnel_retire(struct tunnel *tunnel);
// Cuts its flows and closes it at once.
void tunnel_close(struct tunnel *tunnel, const char *reason);

// Who is at the other end, for the table.
struct table_caller tunnel_caller(const struct tunnel *tunnel);

// Asks the table again: a tunnel that may not be there any more is cut at once.
void tunnel_recheck(struct tunnel *tunnel);
void tunnel_tick(struct tunnel *tunnel, uint64_t boot_ms, uint64_t unix_ms);

#endif
