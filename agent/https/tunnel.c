// SPDX-License-Identifier: GPL-2.0-or-later
// Order of events: tunnel_connect or tunnel_accept -> on_open -> stream events -> on_session_gone once, last: the struct goes with it. A tunnel
// that is CLOSING has no flows and no lane any more and waits only for that.
#include "agent/https/tunnel.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/https/capture.h"
#include "agent/https/flow.h"
#include "agent/https/pool.h"
#include "proto/base/log.h"

#define CLOSE_DRAIN_MS 1000
#define RETIRE_MS_MIN  300000 // certificates that nobody renews end soon, and another tunnel would not live longer

static const struct h2_settings tunnel_settings = {
    .stream_window_bytes = HTTPS_STREAM_WINDOW_BYTES,
    .connection_window_bytes = HTTPS_TUNNEL_WINDOW_BYTES,
    .ping_interval_ms = HTTPS_PING_MS,
};

static bool is_outbound(const struct tunnel *tunnel)
{
    return tunnel->direction == TWOFOLD__V1__DIRECTION__DIRECTION_OUT;
}

static void log_tunnel(enum log_level level, const char *event, const struct tunnel *tunnel, const char *reason)
{
    char remote[IP_ENDPOINT_TEXT_BYTES];
    ip_endpoint_format(&tunnel->remote, remote);
    if (https_may_log(tunnel->https)) {
        log_event(level, event, LOG_STR("direction", is_outbound(tunnel) ? "out" : "in"), LOG_STR("remote", remote),
                  LOG_STR("identity", tunnel->identity), LOG_STR("reason", reason));
    }
}

// ---- beginnings and ends

static struct tunnel *tunnel_new(struct https *https, Twofold__V1__Direction direction)
{
    struct tunnel *tunnel = calloc(1, sizeof(*tunnel));
    if (!tunnel) {
        return NULL;
    }
    tunnel->https = https;
    tunnel->direction = direction;
    tunnel->stream_limit = https_limit(https, HTTPS_LIMIT_STREAMS);
    tunnel->idle_since_ms = clock_boot_ms(https->clock);
    LIST_INIT(&tunnel->flows);
    return tunnel;
}

static void tunnel_free(struct tunnel *tunnel)
{
    struct https *https = tunnel->https;
    assert(tunnel->flow_count == 0 && !tunnel->lane);
    LIST_REMOVE(tunnel, all);
    if (!is_outbound(tunnel)) {
        https->inbound_count--;
    }
    free(tunnel);
}

void tunnel_add_flow(struct tunnel *tunnel, struct flow *flow)
{
    LIST_INSERT_HEAD(&tunnel->flows, flow, of_tunnel);
    tunnel->flow_count++;
}

void tunnel_remove_flow(struct tunnel *tunnel, struct flow *flow)
{
    LIST_REMOVE(flow, of_tunnel);
    tunnel->flow_count--;
    if (tunnel->flow_count == 0) {
        tunnel->idle_since_ms = clock_boot_ms(tunnel->https->clock);
        tunnel->stream_limit = https_limit(tunnel->https, HTTPS_LIMIT_STREAMS);
    }
}

struct table_caller tunnel_caller(const struct tunnel *tunnel)
{
    return (struct table_caller){.identity = tunnel->identity, .remote = tunnel->remote.ip, .local = tunnel->local.ip};
}

// A tunnel that is not to be seen in `handshaking` any more.
static void leave_handshaking(struct tunnel *tunnel)
{
    if (tunnel->state == TUNNEL_CONNECTING && !is_outbound(tunnel)) {
        LIST_REMOVE(tunnel, all);
        LIST_INSERT_HEAD(&tunnel->https->tunnels, tunnel, all);
        tunnel->https->handshaking_count--;
    }
}

// Ends all that depends on the tunnel. What is left waits for on_session_gone.
static void let_go(struct tunnel *tunnel, const char *reason)
{
    leave_handshaking(tunnel);
    tunnel->state = TUNNEL_CLOSING;
    snprintf(tunnel->reason, sizeof(tunnel->reason), "%s", reason);
    while (!LIST_EMPTY(&tunnel->flows)) {
        flow_cut(LIST_FIRST(&tunnel->flows), reason);
    }
    if (tunnel->lane) {
        pool_on_gone(tunnel, reason);
    }
}

void tunnel_close(struct tunnel *tunnel, const char *reason)
{
    if (tunnel->state == TUNNEL_CLOSING) {
        return;
    }
    log_tunnel(LOG_LEVEL_INFO, "tunnel.closed", tunnel, reason);
    let_go(tunnel, reason);
    h2_shutdown(tunnel->session, 0);
}

static void close_idle(struct tunnel *tunnel)
{
    log_tunnel(LOG_LEVEL_DEBUG, "tunnel.idle", tunnel, "");
    let_go(tunnel, "idle");
    h2_shutdown(tunnel->session, CLOSE_DRAIN_MS);
}

void tunnel_retire(struct tunnel *tunnel)
{
    if (tunnel->state == TUNNEL_OPEN) {
        tunnel->state = TUNNEL_RETIRED;
    }
}

// A tunnel attempt by somebody who did not get as far as a flow.
static void record_stranger(struct tunnel *tunnel, const char *reason)
{
    struct https *https = tunnel->https;
    struct flow_record record = {.direction = TWOFOLD__V1__DIRECTION__DIRECTION_IN,
                                 .verdict = TWOFOLD__V1__VERDICT__VERDICT_REFUSED,
                                 .source = tunnel->remote,
                                 .destination = tunnel->local};
    snprintf(record.peer_identity, sizeof(record.peer_identity), "%s", tunnel->identity);
    snprintf(record.reason, sizeof(record.reason), "tunnel refused: %.*s", FLOW_REASON_BYTES - 17, reason);
    flows_add_stranger(https->records, &record, clock_unix_ms(https->clock));
    https->counters.strangers_refused++;
    log_tunnel(LOG_LEVEL_INFO, "tunnel.refused", tunnel, reason);
}

// ---- the session is up

static void learn_peer(struct tunnel *tunnel)
{
    struct conn *conn = h2_conn(tunnel->session);
    const struct cert_facts *facts = conn_peer(conn);
    const struct cert_facts *own = credentials_own(tunnel->https->credentials);
    tunnel->remote = *conn_remote(conn);
    tunnel->local = *conn_local(conn);
    spiffe_format(&facts->id, tunnel->identity);
    snprintf(tunnel->suite, sizeof(tunnel->suite), "%s", tls_suite(conn_tls(conn)));
    tunnel->expires_ms = 1000 * (facts->not_after < own->not_after ? facts->not_after : own->not_after);
    uint64_t now_ms = clock_unix_ms(tunnel->https->clock);
    uint64_t half_ms = tunnel->expires_ms > now_ms ? (tunnel->expires_ms - now_ms) / 2 : 0;
    tunnel->retires_ms = half_ms >= RETIRE_MS_MIN ? now_ms + half_ms : UINT64_MAX;
}

static bool certificate_names(const struct cert_facts *facts, const struct ip *ip)
{
    for (size_t i = 0; i < facts->address_count; i++) {
        if (ip_compare(&facts->addresses[i], ip) == 0) {
            return true;
        }
    }
    return false;
}

// The whole identity of the far end: the certificate's address, and the SPIFFE ID that the slice gives to this address.
static bool check_peer(const struct tunnel *tunnel, char reason[FLOW_REASON_BYTES])
{
    const struct cert_facts *facts = conn_peer(h2_conn(tunnel->session));
    struct table_caller caller = tunnel_caller(tunnel);
    char text[IP_TEXT_BYTES];
    ip_format(&tunnel->remote.ip, text);
    if (!certificate_names(facts, &tunnel->remote.ip)) {
        snprintf(reason, FLOW_REASON_BYTES, "the certificate of %.200s does not name the address %s", tunnel->identity,
                 text);
        return false;
    }
    if (!tunnel->https->table) {
        snprintf(reason, FLOW_REASON_BYTES, "no policy has reached this host yet");
        return false;
    }
    struct verdict verdict;
    table_tunnel(tunnel->https->table, &caller, tunnel->direction, &verdict);
    snprintf(reason, FLOW_REASON_BYTES, "%.*s", FLOW_REASON_BYTES - 1, verdict.reason);
    return verdict.allowed;
}

static void on_session_open(void *owner, struct h2_session *session)
{
    struct tunnel *tunnel = owner;
    (void)session;
    if (tunnel->state != TUNNEL_CONNECTING) {
        return;
    }
    char reason[FLOW_REASON_BYTES];
    learn_peer(tunnel);
    tunnel->is_admitted = check_peer(tunnel, reason);
    if (is_outbound(tunnel)) {
        if (!tunnel->is_admitted) {
            tunnel_close(tunnel, reason);
            return;
        }
        tunnel->state = TUNNEL_OPEN;
        tunnel->https->counters.tunnels_opened++;
        pool_on_tunnel(tunnel);
        return;
    }
    leave_handshaking(tunnel);
    tunnel->state = TUNNEL_OPEN;
    if (tunnel->is_admitted) {
        tunnel->https->counters.tunnels_opened++;
    } else { // it may stay for a moment, so that its flows are refused with a reason
        record_stranger(tunnel, reason);
        snprintf(tunnel->reason, sizeof(tunnel->reason), "%s", reason);
    }
}

static void on_session_goaway(void *owner, struct h2_session *session)
{
    (void)session;
    tunnel_retire(owner);
}

static void on_session_gone(void *owner, struct h2_session *session, enum err err, const struct note *note)
{
    struct tunnel *tunnel = owner;
    (void)session;
    if (tunnel->state != TUNNEL_CLOSING) {
        bool was_open = tunnel->state != TUNNEL_CONNECTING;
        const char *cause = note && note->text[0] ? note->text : err_text(err);
        char reason[FLOW_REASON_BYTES];
        snprintf(reason, sizeof(reason), "%s: %.*s", was_open ? "the tunnel ended" : "no tunnel",
                 FLOW_REASON_BYTES - 20, cause);
        if (!was_open && !is_outbound(tunnel)) {
            record_stranger(tunnel, cause);
        } else if (was_open && err_category(err) == ERR_CATEGORY_PEER) {
            log_tunnel(LOG_LEVEL_WARNING, "tunnel.broken", tunnel, cause);
        }
        let_go(tunnel, reason);
    }
    tunnel_free(tunnel);
}

// ---- streams

static void on_headers(void *owner, struct h2_stream *stream, const struct h2_headers *headers, bool end)
{
    struct tunnel *tunnel = owner;
    if (!is_outbound(tunnel)) {
        if (tunnel->state == TUNNEL_CLOSING) {
            h2_stream_set_owner(stream, NULL);
            h2_reset(stream, H2_CANCEL);
            return;
        }
        flow_receive(tunnel, stream, headers, end);
        return;
    }
    struct flow *flow = h2_stream_owner(stream);
    if (flow) {
        flow_on_answer(flow, headers, end);
    }
}

static void on_data(void *owner, struct h2_stream *stream, const uint8_t *bytes, size_t len)
{
    struct flow *flow = h2_stream_owner(stream);
    (void)owner;
    if (flow) {
        flow_on_data(flow, bytes, len);
        return;
    }
    h2_consume(stream, len); // the tunnel's window stays whole
    h2_reset(stream, H2_CANCEL);
}

static void on_end(void *owner, struct h2_stream *stream, const struct h2_headers *trailers)
{
    struct flow *flow = h2_stream_owner(stream);
    (void)owner;
    (void)trailers;
    if (flow) {
        flow_on_end(flow);
    }
}

static void on_writable(void *owner, struct h2_stream *stream)
{
    struct flow *flow = h2_stream_owner(stream);
    (void)owner;
    if (flow) {
        flow_on_writable(flow);
    }
}

static void on_gone(void *owner, struct h2_stream *stream, uint32_t code)
{
    struct flow *flow = h2_stream_owner(stream);
    (void)owner;
    if (flow && code == H2_LOST) {
        flow->stream = NULL; // on_session_gone follows and knows why
    } else if (flow) {
        flow_on_gone(flow, code);
    }
}

static const struct h2_events tunnel_events = {
    .on_headers = on_headers,
    .on_data = on_data,
    .on_end = on_end,
    .on_writable = on_writable,
    .on_gone = on_gone,
    .on_session_open = on_session_open,
    .on_session_goaway = on_session_goaway,
    .on_session_gone = on_session_gone,
};

// ---- from either side

enum err tunnel_connect(struct https *https, struct lane *lane, const struct ip *source, const struct ip *destination,
                        struct tunnel **ret_tunnel)
{
    struct tunnel *tunnel = tunnel_new(https, TWOFOLD__V1__DIRECTION__DIRECTION_OUT);
    if (!tunnel) {
        return ERR_NOMEM;
    }
    tunnel->remote = (struct ip_endpoint){.ip = *destination, .port = https->start->tunnel_port};
    tunnel->local = (struct ip_endpoint){.ip = *source};
    enum err err = h2_connect(
        &https->loop, &tunnel->remote, source, credentials_context(https->credentials, TLS_CLIENT),
        https_limit(https, HTTPS_LIMIT_CONNECT_MS), &tunnel_settings, &tunnel_events, tunnel, &tunnel->session);
    if (err) {
        free(tunnel);
        return err;
    }
    tunnel->lane = lane;
    LIST_INSERT_HEAD(&https->tunnels, tunnel, all);
    *ret_tunnel = tunnel;
    return ERR_OK;
}

static size_t inbound_of(const struct tunnel_list *tunnels, const struct ip *remote)
{
    const struct tunnel *tunnel;
    size_t count = 0;
    LIST_FOREACH(tunnel, tunnels, all)
    {
        count += !is_outbound(tunnel) && ip_compare(&tunnel->remote.ip, remote) == 0;
    }
    return count;
}

// The same, of what one address may have.
static bool is_address_over_limit(struct https *https, const struct ip *remote, char *ret_text, size_t room)
{
    size_t handshaking = inbound_of(&https->handshaking, remote);
    if (handshaking >= https_limit(https, HTTPS_LIMIT_HANDSHAKES_ADDRESS)) {
        https_limit_sentence(https, HTTPS_LIMIT_HANDSHAKES_ADDRESS, ret_text, room);
        return true;
    }
    if (handshaking + inbound_of(&https->tunnels, remote) >= https_limit(https, HTTPS_LIMIT_TUNNELS_ADDRESS)) {
        https_limit_sentence(https, HTTPS_LIMIT_TUNNELS_ADDRESS, ret_text, room);
        return true;
    }
    return false;
}

// Which limit another inbound tunnel would break, as a sentence; false: none.
static bool is_over_limit(struct https *https, char *ret_text, size_t room)
{
    if (https->inbound_count >= https_limit(https, HTTPS_LIMIT_TUNNELS_IN)) {
        https_limit_sentence(https, HTTPS_LIMIT_TUNNELS_IN, ret_text, room);
        return true;
    }
    if (https->handshaking_count >= https_limit(https, HTTPS_LIMIT_HANDSHAKES)) {
        https_limit_sentence(https, HTTPS_LIMIT_HANDSHAKES, ret_text, room);
        return true;
    }
    return false;
}

void tunnel_accept(struct https *https, uv_stream_t *listener)
{
    char reason[FLOW_REASON_BYTES];
    if (is_over_limit(https, reason, sizeof(reason)) || !credentials_are_ready(https->credentials)) {
        listener_reset_one(listener);
        return;
    }
    struct tunnel *tunnel = tunnel_new(https, TWOFOLD__V1__DIRECTION__DIRECTION_IN);
    if (!tunnel) {
        listener_reset_one(listener);
        return;
    }
    struct h2_settings settings = tunnel_settings;
    settings.max_concurrent_streams = (uint32_t)https_limit(https, HTTPS_LIMIT_STREAMS);
    enum err err =
        h2_accept(listener, credentials_context(https->credentials, TLS_SERVER),
                  https_limit(https, HTTPS_LIMIT_CONNECT_MS), &settings, &tunnel_events, tunnel, &tunnel->session);
    if (err) {
        log_event(LOG_LEVEL_WARNING, "tunnel.accept_failed", LOG_STR("cause", err_text(err)));
        free(tunnel);
        return;
    }
    tunnel->remote = *conn_remote(h2_conn(tunnel->session));
    tunnel->local = *conn_local(h2_conn(tunnel->session));
    bool is_over = is_address_over_limit(https, &tunnel->remote.ip, reason, sizeof(reason));
    LIST_INSERT_HEAD(&https->handshaking, tunnel, all);
    https->handshaking_count++;
    https->inbound_count++;
    if (is_over) {
        record_stranger(tunnel, reason);
        tunnel_close(tunnel, reason);
    }
}

// ---- policy and time

void tunnel_recheck(struct tunnel *tunnel)
{
    if (tunnel->state != TUNNEL_OPEN && tunnel->state != TUNNEL_RETIRED) {
        return;
    }
    char reason[FLOW_REASON_BYTES];
    if (check_peer(tunnel, reason)) {
        tunnel->is_admitted = true;
    } else if (tunnel->is_admitted) {
        tunnel_close(tunnel, reason);
    }
}

void tunnel_tick(struct tunnel *tunnel, uint64_t boot_ms, uint64_t unix_ms)
{
    if (tunnel->state != TUNNEL_OPEN && tunnel->state != TUNNEL_RETIRED) {
        return;
    }
    uint64_t idle_ms = tunnel->flow_count == 0 ? boot_ms - tunnel->idle_since_ms : 0;
    // Ours close first: a peer's request does not meet a tunnel that goes away.
    uint64_t patience_ms = https_limit(tunnel->https, HTTPS_LIMIT_IDLE_MS) * (is_outbound(tunnel) ? 1 : 2);
    if (unix_ms >= tunnel->expires_ms) {
        tunnel_close(tunnel, "its certificate has expired; the application has to connect again");
    } else if (!tunnel->is_admitted && idle_ms >= https_limit(tunnel->https, HTTPS_LIMIT_LINGER_MS)) {
        tunnel_close(tunnel, tunnel->reason);
    } else if (is_outbound(tunnel) && tunnel->state == TUNNEL_OPEN && unix_ms >= tunnel->retires_ms) {
        tunnel_retire(tunnel);
    } else if (tunnel->flow_count == 0 && (tunnel->state == TUNNEL_RETIRED || idle_ms >= patience_ms)) {
        close_idle(tunnel);
    }
}
