// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/https/pool.h"

#include <stdio.h>
#include <stdlib.h>

#include "agent/https/status.h"

static struct lane_list *bucket_of(struct https *https, const struct ip *source, const struct ip *destination)
{
    uint32_t hash = 2166136261u; // FNV-1a; both addresses are this host's or the slice's
    for (size_t i = 0; i < sizeof(source->bytes); i++) {
        hash = (hash ^ source->bytes[i]) * 16777619u;
        hash = (hash ^ destination->bytes[i]) * 16777619u;
    }
    return &https->lanes[hash % HTTPS_LANE_BUCKETS];
}

static struct lane *lane_get(struct https *https, const struct ip *source, const struct ip *destination)
{
    struct lane_list *bucket = bucket_of(https, source, destination);
    struct lane *lane;
    LIST_FOREACH(lane, bucket, of_bucket)
    {
        if (ip_compare(&lane->source, source) == 0 && ip_compare(&lane->destination, destination) == 0) {
            return lane;
        }
    }
    lane = calloc(1, sizeof(*lane));
    if (!lane) {
        return NULL;
    }
    lane->https = https;
    lane->source = *source;
    lane->destination = *destination;
    LIST_INIT(&lane->tunnels);
    TAILQ_INIT(&lane->waiting);
    LIST_INSERT_HEAD(bucket, lane, of_bucket);
    return lane;
}

static void free_if_unused(struct lane *lane)
{
    if (lane->tunnel_count == 0 && lane->waiting_count == 0) {
        LIST_REMOVE(lane, of_bucket);
        free(lane);
    }
}

static void wait_in(struct lane *lane, struct flow *flow)
{
    TAILQ_INSERT_TAIL(&lane->waiting, flow, of_lane);
    lane->waiting_count++;
    flow->lane = lane;
}

static void stop_waiting(struct flow *flow)
{
    TAILQ_REMOVE(&flow->lane->waiting, flow, of_lane);
    flow->lane->waiting_count--;
    flow->lane = NULL;
}

void pool_forget(struct flow *flow)
{
    struct lane *lane = flow->lane;
    stop_waiting(flow);
    free_if_unused(lane);
}

static struct tunnel *least_loaded(const struct lane *lane)
{
    struct tunnel *best = NULL;
    struct tunnel *tunnel;
    LIST_FOREACH(tunnel, &lane->tunnels, of_lane)
    {
        if (tunnel->state == TUNNEL_OPEN && tunnel->flow_count < tunnel->stream_limit &&
            (!best || tunnel->flow_count < best->flow_count)) {
            best = tunnel;
        }
    }
    return best;
}

// True when the flow has found its tunnel.
static bool ask_any(struct lane *lane, struct flow *flow)
{
    for (;;) {
        struct tunnel *tunnel = least_loaded(lane);
        if (!tunnel) {
            return false;
        }
        enum err err = flow_ask(flow, tunnel);
        if (!err) {
            return true;
        }
        if (err == ERR_LIMIT) {
            tunnel->stream_limit = tunnel->flow_count; // the peer takes no more than these
        } else {
            tunnel_retire(tunnel);
        }
    }
}

static void refuse_waiting(struct lane *lane, const char *reason)
{
    // A refused flow forgets its lane, which frees the lane behind the last one.
    size_t count = lane->waiting_count;
    for (size_t i = 0; i < count; i++) {
        struct flow *flow = TAILQ_FIRST(&lane->waiting);
        flow_refuse(flow, reason);
    }
}

// One more tunnel for those that wait.
static void connect_more(struct lane *lane)
{
    struct https *https = lane->https;
    char reason[FLOW_REASON_BYTES];
    if (lane->connecting) {
        return;
    }
    if (lane->tunnel_count >= https_limit(https, HTTPS_LIMIT_TUNNELS_LANE)) {
        https_limit_sentence(https, HTTPS_LIMIT_TUNNELS_LANE, reason, sizeof(reason));
        refuse_waiting(lane, reason);
        return;
    }
    if (!credentials_are_ready(https->credentials)) {
        snprintf(reason, sizeof(reason), "the HTTPS layer is not up: %.*s", FLOW_REASON_BYTES - 40,
                 credentials_problem(https->credentials));
        refuse_waiting(lane, reason);
        return;
    }
    struct tunnel *tunnel = NULL;
    enum err err = tunnel_connect(https, lane, &lane->source, &lane->destination, &tunnel);
    if (err) {
        snprintf(reason, sizeof(reason), "no tunnel: %s", err_text(err));
        refuse_waiting(lane, reason);
        return;
    }
    lane->connecting = tunnel;
    lane->tunnel_count++;
}

void pool_place(struct flow *flow)
{
    struct https *https = flow->https;
    struct lane *lane = lane_get(https, &flow->record.source.ip, &flow->record.destination.ip);
    if (!lane) {
        flow_refuse(flow, "no memory for a tunnel");
        return;
    }
    if (lane->waiting_count == 0 && ask_any(lane, flow)) {
        return;
    }
    if (lane->waiting_count >= https_limit(https, HTTPS_LIMIT_FLOWS_WAITING)) {
        char reason[FLOW_REASON_BYTES];
        https_limit_sentence(https, HTTPS_LIMIT_FLOWS_WAITING, reason, sizeof(reason));
        flow_refuse(flow, reason);
        return;
    }
    wait_in(lane, flow);
    connect_more(lane);
}

void pool_on_tunnel(struct tunnel *tunnel)
{
    struct lane *lane = tunnel->lane;
    lane->connecting = NULL;
    status_clear_problem(lane->https, &lane->destination);
    LIST_INSERT_HEAD(&lane->tunnels, tunnel, of_lane);
    while (lane->waiting_count > 0) {
        struct flow *flow = TAILQ_FIRST(&lane->waiting);
        stop_waiting(flow);
        if (!ask_any(lane, flow)) {
            TAILQ_INSERT_HEAD(&lane->waiting, flow, of_lane);
            lane->waiting_count++;
            flow->lane = lane;
            connect_more(lane);
            return;
        }
    }
}

void pool_on_gone(struct tunnel *tunnel, const char *reason)
{
    struct lane *lane = tunnel->lane;
    tunnel->lane = NULL;
    if (lane->connecting == tunnel) {
        lane->connecting = NULL;
        tunnel->https->counters.tunnels_failed++;
        status_set_problem(lane->https, &lane->destination, reason);
        // The lane stays until here: the tunnel still counts.
        refuse_waiting(lane, reason);
    } else {
        LIST_REMOVE(tunnel, of_lane);
    }
    lane->tunnel_count--;
    free_if_unused(lane);
}
