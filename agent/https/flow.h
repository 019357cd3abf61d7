// SPDX-License-Identifier: GPL-2.0-or-later
// One TCP flow of a local application, carried in one stream of a tunnel: bytes, half-closes and resets both ways, with backpressure from
// end to end. What is held of one flow is bounded: H2_SEND_QUEUE_BYTES on their way into the tunnel, and the stream's window on their
// way to the application, because the window is given back only as the application takes the bytes.
//
// The order of events of an outbound flow: flow_accept -> flow_open -> flow_ask (by the pool) -> stream events; of an inbound one:
// flow_receive -> stream events. Whatever ends it, the record gets the reason, and the struct goes when its socket is closed.
#ifndef TWOFOLD_AGENT_HTTPS_FLOW_H
#define TWOFOLD_AGENT_HTTPS_FLOW_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <uv.h>

#include "agent/https/flow_state.h"
#include "agent/https/flows.h"
#include "agent/https/https.h"
#include "agent/https/queue.h"
#include "proto/link/h2.h"

// The socket's writing half.
enum app_half { APP_OPEN, APP_ENDING, APP_ENDED };

struct flow {
    uint32_t magic;
    struct https *https;
    enum flow_state state;
    struct flow_record record;
    uint64_t deadline_ms; // boot; until it is open

    struct h2_stream *stream; // NULL: not yet, or gone
    struct tunnel *tunnel;    // with `stream`
    struct lane *lane;        // while it waits for a tunnel

    uv_tcp_t app;
    enum app_half app_half;
    bool is_reading;
    bool is_starved;    // the last read found no room in the stream's queue
    unsigned put_backs; // times that the peer refused its stream
    bool is_ready;      // in https->ready
    struct queue queue; // for the application
    size_t writing;     // bytes of its front that are in `write`
    uv_write_t write;
    uv_shutdown_t shutdown;
    uv_connect_t connect;

    LIST_ENTRY(flow) all;
    LIST_ENTRY(flow) of_tunnel;
    LIST_ENTRY(flow) of_ready;
    TAILQ_ENTRY(flow) of_lane;
};

// ---- outbound

// Takes a connection from a capture listener, inside its callback. NULL when that is not possible: the connection is reset.
struct flow *flow_accept(struct https *https, uv_stream_t *listener);

// Decides on it and, when it may go, asks the pool for a tunnel.
void flow_open(struct flow *flow, const struct ip_endpoint *source, const struct ip_endpoint *destination);

// Opens its stream. ERR_LIMIT: the tunnel is full; ERR_CLOSED: it takes no more streams. The flow then still waits.
MUST_USE enum err flow_ask(struct flow *flow, struct tunnel *tunnel);

// Ends it as refused; the application sees a reset.
void flow_refuse(struct flow *flow, const char *reason);

// ---- inbound

// A request on a tunnel: decides, reaches the application, answers.
void flow_receive(struct tunnel *tunnel, struct h2_stream *stream, const struct h2_headers *headers, bool end);

// ---- events of its stream

void flow_on_answer(struct flow *flow, const struct h2_headers *headers, bool end);
void flow_on_data(struct flow *flow, const uint8_t *bytes, size_t len);
void flow_on_end(struct flow *flow);
void flow_on_writable(struct flow *flow);
void flow_on_gone(struct flow *flow, uint32_t code);

// ---- all of them

// Ends it with resets on both sides.
void flow_cut(struct flow *flow, const char *reason);
// Ends it when its peer is revoked by this table.
void flow_cut_revoked(struct flow *flow, const struct table *table);
// Asks the table in force again.
void flow_recheck(struct flow *flow);
// Ends it when its time is over, and when its application's socket has died while nothing was read from it.
void flow_tick(struct flow *flow, uint64_t boot_ms);
// Writes what this turn has gathered for the applications.
void flow_flush_all(struct https *https);

#endif
