// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/https/flow.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "agent/https/connect.h"
#include "agent/https/flow_life.h"
#include "agent/https/pool.h"
#include "agent/https/pump.h"
#include "agent/https/tunnel.h"
#include "proto/base/log.h"

#define FLOW_MAGIC 0x666c6f77u

static void flow_log(struct flow *flow, enum log_level level, const char *event)
{
    if (!https_may_log(flow->https)) {
        return;
    }
    const struct flow_record *record = &flow->record;
    char source[IP_ENDPOINT_TEXT_BYTES];
    char destination[IP_ENDPOINT_TEXT_BYTES];
    ip_endpoint_format(&record->source, source);
    ip_endpoint_format(&record->destination, destination);
    log_event(level, event, LOG_U64("id", record->id), LOG_STR("source", source), LOG_STR("destination", destination),
              LOG_STR("peer", record->peer), LOG_STR("identity", record->peer_identity), LOG_STR("rule", record->rule),
              LOG_STR("reason", record->reason));
}

void flow_move(struct flow *flow, enum flow_event event)
{
    enum flow_state next = flow_state_next(flow->state, event);
    assert(next != FLOW_NONE);
    log_event(LOG_LEVEL_DEBUG, "flow.move", LOG_U64("id", flow->record.id),
              LOG_STR("old", flow_state_name(flow->state)), LOG_STR("event", flow_event_name(event)),
              LOG_STR("new", flow_state_name(next)));
    flow->state = next;
}

struct flow *flow_new(struct https *https, Twofold__V1__Direction direction, enum flow_state state)
{
    struct flow *flow = calloc(1, sizeof(*flow));
    if (!flow) {
        return NULL;
    }
    if (uv_tcp_init(&https->loop, &flow->app) != 0) {
        free(flow);
        return NULL;
    }
    flow->magic = FLOW_MAGIC;
    flow->https = https;
    flow->state = state;
    flow->app.data = flow;
    flow->record.direction = direction;
    bool outbound = direction == TWOFOLD__V1__DIRECTION__DIRECTION_OUT;
    flow->deadline_ms =
        clock_boot_ms(https->clock) + https_limit(https, outbound ? HTTPS_LIMIT_ANSWER_MS : HTTPS_LIMIT_REACH_MS);
    queue_init(&flow->queue, &https->chunks);
    LIST_INSERT_HEAD(&https->flows, flow, all);
    https->flow_count++;
    flows_begin(https->records, &flow->record, clock_unix_ms(https->clock));
    return flow;
}

static void on_closed(uv_handle_t *handle)
{
    struct flow *flow = handle->data;
    assert(flow->magic == FLOW_MAGIC && flow->writing == 0);
    queue_clear(&flow->queue);
    LIST_REMOVE(flow, all);
    flow->https->flow_count--;
    flow->magic = 0;
    free(flow);
}

// Gives the stream up; what of its bytes the application never got counts as taken, so that the tunnel's window stays whole.
static void detach_stream(struct flow *flow)
{
    if (flow->stream) {
        h2_consume(flow->stream, flow->queue.bytes);
        h2_stream_set_owner(flow->stream, NULL);
        flow->stream = NULL;
    }
    if (flow->tunnel) {
        tunnel_remove_flow(flow->tunnel, flow);
        flow->tunnel = NULL;
    }
}

void flow_set_reason(struct flow *flow, const char *reason)
{
    snprintf(flow->record.reason, sizeof(flow->record.reason), "%s", reason);
}

// The end of every flow.
void flow_close(struct flow *flow, enum flow_event event, enum app_close how)
{
    if (flow->state == FLOW_CLOSING) {
        return;
    }
    flow_move(flow, event);
    if (flow->lane) {
        pool_forget(flow);
    }
    detach_stream(flow);
    if (flow->is_ready) {
        flow->is_ready = false;
        LIST_REMOVE(flow, of_ready);
    }
    if (flow->writing == 0) {
        queue_clear(&flow->queue);
    }
    flows_end(flow->https->records, &flow->record, clock_unix_ms(flow->https->clock));
    if (how == APP_RESET) {
        uv_os_fd_t fd;
        const struct linger reset = {.l_onoff = 1, .l_linger = 0};
        if (uv_fileno((uv_handle_t *)&flow->app, &fd) == 0 &&
            setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)) != 0) {
            log_event(LOG_LEVEL_WARNING, "flow.linger_failed", LOG_U64("id", flow->record.id));
        }
    }
    uv_close((uv_handle_t *)&flow->app, on_closed);
}

void flow_cut(struct flow *flow, const char *reason)
{
    if (flow->state == FLOW_CLOSING) {
        return;
    }
    flow_set_reason(flow, reason);
    if (flow->stream) {
        h2_reset(flow->stream, H2_CONNECT_ERROR);
    }
    flow_close(flow, FLOW_EVENT_CUT, APP_RESET);
}

void flow_count_refusal(struct flow *flow)
{
    flow->record.verdict = TWOFOLD__V1__VERDICT__VERDICT_REFUSED;
    flow->https->counters.flows_refused++;
    flow_log(flow, LOG_LEVEL_INFO, "flow.refused");
}

void flow_refuse(struct flow *flow, const char *reason)
{
    flow_set_reason(flow, reason);
    flow_count_refusal(flow);
    flow_cut(flow, reason);
}

void flow_attach(struct flow *flow, struct tunnel *tunnel, struct h2_stream *stream)
{
    flow->stream = stream;
    flow->tunnel = tunnel;
    h2_stream_set_owner(stream, flow);
    tunnel_add_flow(tunnel, flow);
    flow->record.https = true;
    snprintf(flow->record.https_suite, sizeof(flow->record.https_suite), "%s", tunnel->suite);
    snprintf(flow->record.peer_identity, sizeof(flow->record.peer_identity), "%s", tunnel->identity);
}

void flow_answer_no(struct flow *flow, const char *status, const char *told, const char *reason)
{
    char text[NOTE_TEXT_BYTES];
    connect_printable(told, text, sizeof(text));
    const struct h2_header headers[] = {{":status", status}, {CONNECT_REASON_HEADER, text}};
    flow_set_reason(flow, reason);
    if (h2_respond(flow->stream, headers, 2, true) == ERR_OK) {
        h2_end_early(flow->stream);
    } else {
        h2_reset(flow->stream, H2_CONNECT_ERROR);
    }
    flow_close(flow, FLOW_EVENT_CUT, APP_CLOSE);
}

// ---- events of its stream

static void on_refusal(struct flow *flow, const struct connect_answer *answer, bool end)
{
    char reason[FLOW_REASON_BYTES];
    snprintf(reason, sizeof(reason), "%s: %.*s", flow->record.peer,
             FLOW_REASON_BYTES - (int)sizeof(flow->record.peer) - 3, answer->reason);
    // Both halves ended costs no reset, which peers count.
    if (!end || h2_send_end(flow->stream, NULL, 0) != ERR_OK) {
        h2_reset(flow->stream, H2_CANCEL);
    }
    flow_set_reason(flow, reason);
    if (answer->status == 503) { // allowed, but there is no application
        flow->record.verdict = TWOFOLD__V1__VERDICT__VERDICT_ALLOWED;
        flow_log(flow, LOG_LEVEL_INFO, "flow.unreachable");
    } else {
        flow_count_refusal(flow);
    }
    flow_close(flow, FLOW_EVENT_CUT, APP_RESET);
}

void flow_on_answer(struct flow *flow, const struct h2_headers *headers, bool end)
{
    struct connect_answer answer;
    if (flow->state != FLOW_ASKING || connect_parse_answer(headers, &answer) != ERR_OK) {
        flow_cut(flow, "the peer's answer is malformed");
        return;
    }
    if (answer.status < 200 || answer.status > 299) {
        on_refusal(flow, &answer, end);
        return;
    }
    flow_move(flow, FLOW_EVENT_ANSWERED);
    flow->record.verdict = TWOFOLD__V1__VERDICT__VERDICT_ALLOWED;
    flow->https->counters.flows_carried++;
    if (end) {
        flow_on_end(flow);
    }
    pump_update_reading(flow);
}

void flow_on_data(struct flow *flow, const uint8_t *bytes, size_t len)
{
    if (flow->state == FLOW_ASKING) {
        h2_consume(flow->stream, len);
        flow_cut(flow, "the peer sent bytes before its answer");
        return;
    }
    pump_deliver(flow, bytes, len);
}

void flow_on_end(struct flow *flow)
{
    switch (flow->state) {
    case FLOW_OPEN:
    case FLOW_APP_ENDED:
    case FLOW_REACHING:
        flow_move(flow, FLOW_EVENT_PEER_END);
        pump_flush(flow);
        return;
    case FLOW_ASKING:
        flow_cut(flow, "the peer ended the flow before its answer");
        return;
    case FLOW_NONE:
    case FLOW_WAITING:
    case FLOW_REACHING_HALF:
    case FLOW_PEER_ENDED:
    case FLOW_ENDED:
    case FLOW_CLOSING:
    case FLOW_STATE_COUNT:
        return; // known already
    }
}

void flow_on_writable(struct flow *flow)
{
    pump_update_reading(flow);
}

void flow_on_gone(struct flow *flow, uint32_t code)
{
    bool orderly = code == H2_NO_ERROR && flow->state == FLOW_ENDED;
    struct tunnel *tunnel = flow->tunnel;
    detach_stream(flow);
    // Not for ever: a peer that ends each tunnel at its first request costs a handshake every time.
    if (code == H2_REFUSED_STREAM && flow->state == FLOW_ASKING &&
        flow->put_backs++ < https_limit(flow->https, HTTPS_LIMIT_TUNNELS_LANE)) {
        tunnel->stream_limit = tunnel->flow_count; // it takes no more than these
        flow_move(flow, FLOW_EVENT_PUT_BACK);
        pool_place(flow);
        return;
    }
    if (orderly) {
        flow_on_delivered(flow);
        return;
    }
    char reason[FLOW_REASON_BYTES];
    if (code == H2_REFUSED_STREAM && flow->state == FLOW_ASKING) {
        snprintf(reason, sizeof(reason), "%s refused to carry it, in %u tunnels", flow->record.peer, flow->put_backs);
        flow_refuse(flow, reason);
        return;
    }
    if (code == H2_CONNECT_ERROR) {
        snprintf(reason, sizeof(reason), "reset by the other side");
    } else {
        snprintf(reason, sizeof(reason), "its stream was reset (HTTP/2 error %u)", code);
    }
    flow_cut(flow, reason);
}

// ---- events of the application's socket

void flow_on_app_end(struct flow *flow)
{
    flow_move(flow, FLOW_EVENT_APP_END);
    pump_update_reading(flow);
    if (h2_send_end(flow->stream, NULL, 0) != ERR_OK) {
        flow_cut(flow, "the tunnel takes no more bytes");
    }
}

void flow_on_app_error(struct flow *flow, int status)
{
    char reason[FLOW_REASON_BYTES];
    if (status == UV_ECONNRESET || status == UV_EPIPE) {
        snprintf(reason, sizeof(reason), "reset by the local application");
    } else {
        snprintf(reason, sizeof(reason), "the local application's socket failed: %s", uv_strerror(status));
    }
    flow_cut(flow, reason);
}

void flow_on_delivered(struct flow *flow)
{
    if (flow->state == FLOW_ENDED && flow->app_half == APP_ENDED && !flow->stream) {
        flow_log(flow, LOG_LEVEL_DEBUG, "flow.ended");
        flow_close(flow, FLOW_EVENT_DELIVERED, APP_CLOSE);
    }
}

// ---- policy and time

static void cut_for(struct flow *flow, const char *reason)
{
    flow_set_reason(flow, reason);
    flow->https->counters.flows_cut++;
    flow_log(flow, LOG_LEVEL_INFO, "flow.cut");
    flow_cut(flow, reason);
}

void flow_cut_revoked(struct flow *flow, const struct table *table)
{
    char reason[FLOW_REASON_BYTES];
    if (flow->state == FLOW_CLOSING || !table_is_revoked(table, flow->record.peer)) {
        return;
    }
    snprintf(reason, sizeof(reason), "%s is revoked", flow->record.peer);
    cut_for(flow, reason);
}

void flow_recheck(struct flow *flow)
{
    struct https *https = flow->https;
    const struct flow_record *record = &flow->record;
    if (flow->state == FLOW_CLOSING) {
        return;
    }
    struct verdict verdict;
    if (record->direction == TWOFOLD__V1__DIRECTION__DIRECTION_OUT) {
        table_outbound(https->table, &record->destination, &verdict);
        if (verdict.allowed && flow->tunnel && !table_peer_has_workload(verdict.peer, flow->tunnel->identity)) {
            verdict.allowed = false;
            snprintf(verdict.reason, sizeof(verdict.reason), "%.400s is no longer an identity of %s",
                     record->peer_identity, verdict.peer->host);
        }
    } else {
        struct table_caller caller = {record->peer_identity, record->source.ip, record->destination.ip};
        table_inbound(https->table, &caller, &record->destination, &verdict);
    }
    if (verdict.allowed) {
        flow_record_judge(&flow->record, &verdict);
        return;
    }
    if (table_is_revoked(https->table, record->peer)) {
        flow_cut_revoked(flow, https->table);
        return;
    }
    char reason[FLOW_REASON_BYTES];
    snprintf(reason, sizeof(reason), "no longer allowed: %.*s", FLOW_REASON_BYTES - 20, verdict.reason);
    cut_for(flow, reason);
}

static void tick_app(struct flow *flow)
{
    int status = pump_app_failure(flow);
    if (status != 0) {
        flow_on_app_error(flow, status);
    }
}

// Until the flow is open.
static void tick_opening(struct flow *flow)
{
    char text[IP_ENDPOINT_TEXT_BYTES];
    char reason[FLOW_REASON_BYTES];
    ip_endpoint_format(&flow->record.destination, text);
    if (flow->state == FLOW_WAITING) {
        snprintf(reason, sizeof(reason), "no tunnel to %s came up in time", flow->record.peer);
        flow_refuse(flow, reason);
    } else if (flow->state == FLOW_ASKING) {
        snprintf(reason, sizeof(reason), "%s did not answer the request for %s in time", flow->record.peer, text);
        flow_refuse(flow, reason);
    } else {
        snprintf(reason, sizeof(reason), "%s did not accept the connection in time", text);
        flow_answer_no(flow, "503", reason, reason);
    }
}

void flow_tick(struct flow *flow, uint64_t boot_ms)
{
    switch (flow->state) {
    case FLOW_REACHING:
    case FLOW_REACHING_HALF:
        if (boot_ms >= flow->deadline_ms) {
            tick_opening(flow);
        }
        return;
    case FLOW_WAITING:
    case FLOW_ASKING:
        if (boot_ms >= flow->deadline_ms) {
            tick_opening(flow);
            return;
        }
        tick_app(flow);
        return;
    case FLOW_OPEN:
    case FLOW_APP_ENDED:
    case FLOW_PEER_ENDED:
    case FLOW_ENDED:
        tick_app(flow);
        return;
    case FLOW_NONE:
    case FLOW_CLOSING:
    case FLOW_STATE_COUNT:
        return;
    }
}
