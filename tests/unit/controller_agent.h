// SPDX-License-Identifier: GPL-2.0-or-later
// An agent in memory, for the tests of sessions: it keeps a slice as a real one does, and can be told to misbehave.
#ifndef TWOFOLD_TESTS_UNIT_CONTROLLER_AGENT_H
#define TWOFOLD_TESTS_UNIT_CONTROLLER_AGENT_H

#include <stdbool.h>
#include <stdint.h>

#include "control.pb-c.h"
#include "controller/session.h"

struct fake_agent {
    char host[NAME_MAX_BYTES + 1];
    struct session *session; // NULL: not connected
    Twofold__V1__Slice *slice;
    uint8_t digest[DIGEST_BYTES];
    bool has_digest;
    // What it was sent.
    Twofold__V1__SliceDelta *pending; // not answered yet; NULL: none
    unsigned deltas, bundles, pairs, publishes;
    char last_bundle_from[NAME_MAX_BYTES + 1], last_pair_from[NAME_MAX_BYTES + 1];
    size_t last_from_bytes; // length of the last delta's `from`
    // How its session ended.
    bool ended, cut;
    enum grpc_status status;
    char text[256];
    bool jammed; // takes no more bytes
};

void fake_agent_connect(struct fake_agent *agent, struct fleet *fleet, const char *host);
void fake_agent_hello(struct fake_agent *agent);
void fake_agent_send(struct fake_agent *agent, const Twofold__V1__AgentMessage *message);
// Applies the pending delta and says so.
void fake_agent_ack(struct fake_agent *agent);
void fake_agent_nack(struct fake_agent *agent, const char *reason);
void fake_agent_bundle(struct fake_agent *agent, const char *named, uint64_t epoch);
void fake_agent_pair(struct fake_agent *agent, const char *to);
// The connection is over; the slice stays.
void fake_agent_disconnect(struct fake_agent *agent);
void fake_agent_free(struct fake_agent *agent);

#endif
