// SPDX-License-Identifier: GPL-2.0-or-later
// How flows begin: from a captured connection of a local application, and from a peer's request.
#include <stdio.h>

#include "agent/https/connect.h"
#include "agent/https/flow.h"
#include "agent/https/flow_life.h"
#include "agent/https/pool.h"
#include "agent/https/pump.h"
#include "agent/https/tunnel.h"

// ---- outbound

struct flow *flow_accept(struct https *https, uv_stream_t *listener)
{
    struct flow *flow = flow_new(https, TWOFOLD__V1__DIRECTION__DIRECTION_OUT, FLOW_WAITING);
    if (!flow) {
        return NULL;
    }
    int status = uv_accept(listener, (uv_stream_t *)&flow->app);
    if (status != 0) {
        flow_cut(flow, uv_strerror(status));
        return NULL;
    }
    uv_tcp_nodelay(&flow->app, 1);
    return flow;
}

void flow_open(struct flow *flow, const struct ip_endpoint *source, const struct ip_endpoint *destination)
{
    struct https *https = flow->https;
    flow->record.source = *source;
    flow->record.destination = *destination;
    if (!https->table) {
        flow_refuse(flow,
                    "no policy has reached this host yet. `twofold status` says whether the controller can be reached");
        return;
    }
    struct verdict verdict;
    table_outbound(https->table, destination, &verdict);
    flow_record_judge(&flow->record, &verdict);
    if (!verdict.allowed) {
        flow_refuse(flow, verdict.reason);
        return;
    }
    if (https->flow_count > https_limit(https, HTTPS_LIMIT_FLOWS)) {
        char reason[FLOW_REASON_BYTES];
        https_limit_sentence(https, HTTPS_LIMIT_FLOWS, reason, sizeof(reason));
        flow_refuse(flow, reason);
        return;
    }
    flow->record.verdict = TWOFOLD__V1__VERDICT__VERDICT_ALLOWED; // by this end; the other one may still refuse it
    pool_place(flow);
}

enum err flow_ask(struct flow *flow, struct tunnel *tunnel)
{
    struct connect_headers headers;
    struct h2_stream *stream = NULL;
    connect_format(&flow->record.destination, &flow->record.source, &headers);
    enum err err = h2_open(tunnel->session, headers.items, CONNECT_HEADERS, false, flow, &stream);
    if (err) {
        return err;
    }
    flow_attach(flow, tunnel, stream);
    flow_move(flow, FLOW_EVENT_ASKED);
    return ERR_OK;
}

// ---- inbound

// Refuses on the stream; the flow goes.
static void refuse_request(struct flow *flow, const char *status, const char *told, const char *reason)
{
    flow_set_reason(flow, reason);
    flow_count_refusal(flow);
    flow_answer_no(flow, status, told, reason);
}

static void on_reached(uv_connect_t *request, int status)
{
    struct flow *flow = request->data;
    if (flow->state == FLOW_CLOSING) {
        return;
    }
    if (status != 0) {
        char reason[FLOW_REASON_BYTES];
        char text[IP_ENDPOINT_TEXT_BYTES];
        ip_endpoint_format(&flow->record.destination, text);
        if (status == UV_ECONNREFUSED) {
            snprintf(reason, sizeof(reason), "connection refused by %s", text);
        } else {
            snprintf(reason, sizeof(reason), "%s cannot be reached: %s", text, uv_strerror(status));
        }
        flow_answer_no(flow, "503", reason, reason);
        return;
    }
    const struct h2_header headers[] = {{":status", "200"}};
    if (h2_respond(flow->stream, headers, 1, false) != ERR_OK) {
        flow_cut(flow, "the tunnel ended before the answer");
        return;
    }
    uv_tcp_nodelay(&flow->app, 1);
    flow_move(flow, FLOW_EVENT_REACHED);
    flow->https->counters.flows_carried++;
    pump_flush(flow);
    pump_update_reading(flow);
}

static void reach(struct flow *flow)
{
    struct sockaddr_storage address;
    ip_endpoint_to_sockaddr(&flow->record.destination, &address);
    flow->connect.data = flow;
    int status = uv_tcp_connect(&flow->connect, &flow->app, (const struct sockaddr *)&address, on_reached);
    if (status != 0) {
        flow_answer_no(flow, "503", "this host cannot connect to its application", uv_strerror(status));
    }
}

// Where the flow comes from: the tunnel's far end, and with its port when the peer says it.
static bool set_source(struct flow *flow, const struct tunnel *tunnel, const struct connect_request *request)
{
    flow->record.source = (struct ip_endpoint){.ip = tunnel->remote.ip};
    if (!request->has_source) {
        return true;
    }
    if (ip_compare(&request->source.ip, &tunnel->remote.ip) != 0) {
        return false;
    }
    flow->record.source.port = request->source.port;
    return true;
}

void flow_receive(struct tunnel *tunnel, struct h2_stream *stream, const struct h2_headers *headers, bool end)
{
    struct https *https = tunnel->https;
    struct flow *flow = flow_new(https, TWOFOLD__V1__DIRECTION__DIRECTION_IN, FLOW_REACHING);
    if (!flow) {
        h2_stream_set_owner(stream, NULL);
        h2_reset(stream, H2_CONNECT_ERROR);
        return;
    }
    flow_attach(flow, tunnel, stream);
    struct connect_request request = {0};
    struct note note = {0};
    enum err err = connect_parse(headers, end, &request, &note);
    flow->record.destination = request.authority;
    if (err) {
        flow->record.source = (struct ip_endpoint){.ip = tunnel->remote.ip};
        refuse_request(flow, "400", note.text, note.text);
        return;
    }
    if (!set_source(flow, tunnel, &request)) {
        const char *reason = "the forwarded header names another address than the tunnel comes from";
        refuse_request(flow, "400", reason, reason);
        return;
    }
    struct table_caller caller = tunnel_caller(tunnel);
    struct verdict verdict = {.told = "this host has no policy yet", .reason = "no policy has reached this host yet"};
    if (https->table) {
        table_inbound(https->table, &caller, &request.authority, &verdict);
    }
    if (verdict.allowed && !tunnel->is_admitted) {
        verdict.allowed = false;
        snprintf(verdict.reason, sizeof(verdict.reason), "%s", tunnel->reason);
        snprintf(verdict.told, sizeof(verdict.told),
                 "the certificate of the tunnel does not name the address that it comes from");
    }
    flow_record_judge(&flow->record, &verdict);
    if (!verdict.allowed) {
        refuse_request(flow, "401", verdict.told, verdict.reason);
        return;
    }
    if (https->flow_count > https_limit(https, HTTPS_LIMIT_FLOWS)) {
        char reason[FLOW_REASON_BYTES];
        https_limit_sentence(https, HTTPS_LIMIT_FLOWS, reason, sizeof(reason));
        refuse_request(flow, "503", reason, reason);
        return;
    }
    flow->record.verdict = TWOFOLD__V1__VERDICT__VERDICT_ALLOWED;
    reach(flow);
}
