// SPDX-License-Identifier: GPL-2.0-or-later
// Every limit of the https role: what applications and peers can make grow. One row each; the values are the defaults, which only
// tests lower.
#ifndef TWOFOLD_AGENT_HTTPS_LIMITS_H
#define TWOFOLD_AGENT_HTTPS_LIMITS_H

#include <stdint.h>

// X(name, value, what it bounds, for people)
#define HTTPS_LIMITS(X)                                                                 \
    X(FLOWS, 16384, "live flows of this host")                                          \
    X(FLOWS_WAITING, 4096, "flows that wait for one tunnel to come up")                 \
    X(FLOWS_ENDED, 1000, "ended flows that are remembered")                             \
    X(STRANGERS, 256, "refused tunnel attempts that are remembered")                    \
    X(FLOWS_REPORTED, 10000, "flows in one report")                                     \
    X(QUEUED_BYTES, 512u << 20, "bytes of all flows that wait for applications")        \
    X(TUNNELS_IN, 4096, "tunnels that peers keep open to this host")                    \
    X(TUNNELS_ADDRESS, 64, "tunnels that one address keeps open to this host")          \
    X(HANDSHAKES, 256, "tunnels whose handshake is not complete")                       \
    X(HANDSHAKES_ADDRESS, 64, "tunnels of one address whose handshake is not complete") \
    X(TUNNELS_LANE, 16, "tunnels from one local address to one address of a peer")      \
    X(STREAMS, 100, "flows in one tunnel")                                              \
    X(CONNECT_MS, 10000, "milliseconds until a tunnel is up")                           \
    X(ANSWER_MS, 15000, "milliseconds until a flow is answered")                        \
    X(REACH_MS, 10000, "milliseconds until the local application accepts")              \
    X(LINGER_MS, 2000, "milliseconds that a refused request or tunnel may linger")      \
    X(IDLE_MS, 300000, "milliseconds that a tunnel without flows stays")                \
    X(LOGS, 50, "lines about flows in the log in one second")

enum https_limit {
#define HTTPS_LIMIT_ENUM(name, value, meaning) HTTPS_LIMIT_##name,
    HTTPS_LIMITS(HTTPS_LIMIT_ENUM)
#undef HTTPS_LIMIT_ENUM
        HTTPS_LIMIT_COUNT
};

struct https_limits {
    uint64_t value[HTTPS_LIMIT_COUNT];
};

extern const struct https_limits https_limits_default;

// "live flows of this host"
const char *https_limit_meaning(enum https_limit limit);

// The windows. One stream: 1 MiB, which fills 10 Gb/s at 0.8 ms and 1 Gb/s at 8 ms, and is what a reader that stalls makes this side hold; the
// sender holds H2_SEND_QUEUE_BYTES more. The tunnel's window is the sum of its streams' windows and no less: with less, a few
// readers that stall would take it up and stop every other flow in the tunnel.
enum https_window {
    HTTPS_STREAM_WINDOW_BYTES = 1 << 20,
    HTTPS_TUNNEL_WINDOW_BYTES = 100 << 20, // STREAMS times the stream's
};

enum https_buffer {
    HTTPS_READ_BYTES = 256 << 10,  // one read from an application at most; its stream's queue has room for less
    HTTPS_CHUNK_BYTES = 64 << 10,  // of what waits for applications
    HTTPS_FLUSH_BYTES = 256 << 10, // gathered in one turn before it is written
    HTTPS_CHUNKS_SPARE = 64,       // kept for reuse
};

enum https_time {
    HTTPS_TICK_MS = 250,
    HTTPS_PING_MS = 10000, // the peer is gone after two unanswered ones
};

#endif
