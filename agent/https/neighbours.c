// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/https/neighbours.h"

#include <stdlib.h>
#include <string.h>

#include "agent/https/credentials.h"
#include "agent/https/flow.h"
#include "agent/https/status.h"
#include "agent/https/tunnel.h"
#include "proto/base/log.h"
#include "proto/link/channel.h"
#include "proto/wire/message.h"

// Nothing more is said or heard; the owner ends the role.
static void lost(struct neighbours *neighbours)
{
    if (!neighbours->is_closing) {
        neighbours_close(neighbours);
        neighbours->on_lost(neighbours->owner);
    }
}

// ---- answers

static void send_bytes(struct neighbours *neighbours, enum err err, uint8_t *bytes, size_t len)
{
    if (!err) {
        err = channel_send(neighbours->control, bytes, len);
    }
    free(bytes);
    if (err) {
        log_event(LOG_LEVEL_ERROR, "role.answer_failed", LOG_STR("cause", err_text(err)));
        lost(neighbours);
    }
}

static void send_message(struct neighbours *neighbours, const Twofold__V1__RoleMessage *message)
{
    uint8_t *bytes = NULL;
    size_t len = 0;
    enum err err = message_encode(&message->base, &bytes, &len);
    send_bytes(neighbours, err, bytes, len);
}

static void send_answer(struct neighbours *neighbours, uint64_t generation, enum err err, const char *reason)
{
    Twofold__V1__RoleAnswer answer = TWOFOLD__V1__ROLE_ANSWER__INIT;
    Twofold__V1__RoleMessage message = TWOFOLD__V1__ROLE_MESSAGE__INIT;
    answer.generation = generation;
    answer.ok = err == ERR_OK;
    answer.reason = (char *)(err ? reason : "");
    message.body_case = TWOFOLD__V1__ROLE_MESSAGE__BODY_ANSWER;
    message.answer = &answer;
    send_message(neighbours, &message);
}

static void send_flows(struct neighbours *neighbours, uint32_t limit)
{
    struct https *https = neighbours->https;
    Twofold__V1__Flows *report = NULL;
    uint64_t most = https_limit(https, HTTPS_LIMIT_FLOWS_REPORTED);
    enum err err = flows_report(https->records, credentials_identity(https->credentials),
                                limit > 0 && limit < most ? limit : most, &report);
    if (err) {
        send_bytes(neighbours, err, NULL, 0);
        return;
    }
    Twofold__V1__RoleMessage message = TWOFOLD__V1__ROLE_MESSAGE__INIT;
    message.body_case = TWOFOLD__V1__ROLE_MESSAGE__BODY_FLOWS;
    message.flows = report;
    send_message(neighbours, &message);
    free(report);
}

// ---- slices and SAs

static void recheck_all(struct https *https)
{
    struct flow *flow;
    struct tunnel *tunnel;
    LIST_FOREACH(flow, &https->flows, all)
    {
        flow_recheck(flow);
    }
    LIST_FOREACH(tunnel, &https->tunnels, all)
    {
        tunnel_recheck(tunnel);
    }
}

static enum err check_domain(const struct https *https, const Twofold__V1__Slice *slice, struct note *note)
{
    if (!credentials_are_ready(https->credentials)) {
        return ERR_OK;
    }
    const char *own = credentials_own(https->credentials)->id.trust_domain;
    if (strcmp(own, slice->settings->trust_domain) != 0) {
        return note_set(note, ERR_INVALID, "the slice is for the trust domain %s, the workload's certificate is of %s",
                        slice->settings->trust_domain, own);
    }
    return ERR_OK;
}

// Before the IPsec layer lets the peer go, so that the end of each flow still reaches it: afterwards it would wait in vain. Right
// even if the slice is not committed: a revoked host stays revoked.
static void cut_revoked(struct https *https, const struct table *staged)
{
    struct flow *flow;
    LIST_FOREACH(flow, &https->flows, all)
    {
        flow_cut_revoked(flow, staged);
    }
}

static void on_prepare(struct neighbours *neighbours, const Twofold__V1__Slice *slice)
{
    struct note note = {0};
    struct table *table = NULL;
    const struct role_start *start = neighbours->https->start;
    enum err err = table_new(slice, start->outbound_port, start->tunnel_port, &table, &note);
    if (!err) {
        err = check_domain(neighbours->https, slice, &note);
    }
    if (err) {
        table_free(table);
    } else {
        table_free(neighbours->staged);
        neighbours->staged = table;
        cut_revoked(neighbours->https, table);
    }
    send_answer(neighbours, slice->settings ? slice->settings->generation : 0, err, note.text);
}

static void on_commit(struct neighbours *neighbours, uint64_t generation)
{
    if (!neighbours->staged || table_slice(neighbours->staged)->settings->generation != generation) {
        send_answer(neighbours, generation, ERR_NOT_FOUND, "the generation to commit was not prepared");
        return;
    }
    enum err err = neighbours->report ? table_set_sas(neighbours->staged, neighbours->report) : ERR_OK;
    if (err) {
        send_answer(neighbours, generation, err, "no memory for the state of the IPsec layer");
        return;
    }
    table_free(neighbours->https->table);
    neighbours->https->table = neighbours->staged;
    neighbours->staged = NULL;
    recheck_all(neighbours->https);
    log_event(LOG_LEVEL_INFO, "slice.committed", LOG_U64("generation", generation));
    send_answer(neighbours, generation, ERR_OK, "");
}

static void on_abort(struct neighbours *neighbours, uint64_t generation)
{
    if (neighbours->staged && table_slice(neighbours->staged)->settings->generation == generation) {
        table_free(neighbours->staged);
        neighbours->staged = NULL;
    }
}

static void on_sa_report(struct neighbours *neighbours, const Twofold__V1__SaReport *report)
{
    ProtobufCMessage *copy = NULL;
    enum err err = message_copy(&report->base, &copy);
    message_free(neighbours->report);
    neighbours->report = (Twofold__V1__SaReport *)copy;
    if (!err && neighbours->https->table) {
        err = table_set_sas(neighbours->https->table, report);
    }
    if (err) { // then no pair counts as installed any more
        log_event(LOG_LEVEL_ERROR, "sa.report_failed", LOG_STR("cause", err_text(err)));
    }
    if (neighbours->https->table) {
        recheck_all(neighbours->https);
    }
}

// ---- renewal

static void on_renewal(struct neighbours *neighbours)
{
    struct note note = {0};
    uint8_t *request = NULL;
    size_t len = 0;
    if (credentials_request(neighbours->https->credentials, &request, &len, &note) != ERR_OK) {
        log_event(LOG_LEVEL_ERROR, "certificate.request_failed", LOG_STR("cause", note.text));
    }
    Twofold__V1__CertificateRequest answer = TWOFOLD__V1__CERTIFICATE_REQUEST__INIT;
    answer.request.data = request;
    answer.request.len = len;
    answer.reason = note.text;
    Twofold__V1__RoleMessage message = TWOFOLD__V1__ROLE_MESSAGE__INIT;
    message.body_case = TWOFOLD__V1__ROLE_MESSAGE__BODY_REQUEST;
    message.request = &answer;
    send_message(neighbours, &message);
    free(request);
}

static void on_certificate(struct neighbours *neighbours, const Twofold__V1__Certificate *certificate)
{
    struct note note = {0};
    enum err err = credentials_renew(neighbours->https->credentials, certificate->certificate.data,
                                     certificate->certificate.len, certificate->ca.data, certificate->ca.len, &note);
    if (err) {
        log_event(LOG_LEVEL_ERROR, "certificate.refused", LOG_STR("cause", note.text));
        return;
    }
    log_event(LOG_LEVEL_INFO, "certificate.renewed",
              LOG_STR("identity", credentials_identity(neighbours->https->credentials)),
              LOG_U64("not_after", credentials_own(neighbours->https->credentials)->not_after));
    // New flows take new tunnels, which prove the new certificate; the present ones live until their flows end or they expire.
    struct tunnel *tunnel;
    LIST_FOREACH(tunnel, &neighbours->https->tunnels, all)
    {
        if (tunnel->direction == TWOFOLD__V1__DIRECTION__DIRECTION_OUT) {
            tunnel_retire(tunnel);
        }
    }
}

// ---- messages

static void protocol_fault(struct neighbours *neighbours, const char *neighbour, const char *cause)
{
    log_event(LOG_LEVEL_ERROR, "role.protocol", LOG_STR("neighbour", neighbour), LOG_STR("cause", cause));
    lost(neighbours);
}

static void on_status_request(struct neighbours *neighbours)
{
    uint8_t *bytes = NULL;
    size_t len = 0;
    enum err err = status_encode(neighbours->https, &bytes, &len);
    send_bytes(neighbours, err, bytes, len);
}

static void dispatch_control(struct neighbours *neighbours, const Twofold__V1__RoleMessage *message)
{
    switch (message->body_case) {
    case TWOFOLD__V1__ROLE_MESSAGE__BODY_PREPARE:
        on_prepare(neighbours, message->prepare);
        return;
    case TWOFOLD__V1__ROLE_MESSAGE__BODY_COMMIT:
        on_commit(neighbours, message->commit->generation);
        return;
    case TWOFOLD__V1__ROLE_MESSAGE__BODY_ABORT:
        on_abort(neighbours, message->abort->generation);
        return;
    case TWOFOLD__V1__ROLE_MESSAGE__BODY_STATUS_REQUEST:
        on_status_request(neighbours);
        return;
    case TWOFOLD__V1__ROLE_MESSAGE__BODY_FLOWS_REQUEST:
        send_flows(neighbours, message->flows_request->limit);
        return;
    case TWOFOLD__V1__ROLE_MESSAGE__BODY_RENEWAL_START:
        on_renewal(neighbours);
        return;
    case TWOFOLD__V1__ROLE_MESSAGE__BODY_CERTIFICATE:
        on_certificate(neighbours, message->certificate);
        return;
    default:
        protocol_fault(neighbours, "control", "a message that is not for this role");
    }
}

static Twofold__V1__RoleMessage *decode(struct neighbours *neighbours, const char *neighbour, const uint8_t *bytes,
                                        size_t len)
{
    ProtobufCMessage *message = NULL;
    enum err err = message_decode(&twofold__v1__role_message__descriptor, bytes, len, &message);
    if (err) {
        protocol_fault(neighbours, neighbour, err_text(err));
        return NULL;
    }
    return (Twofold__V1__RoleMessage *)message;
}

static void on_control_message(void *owner, struct channel *channel, const uint8_t *bytes, size_t len)
{
    struct neighbours *neighbours = owner;
    (void)channel;
    if (neighbours->is_closing) {
        return;
    }
    Twofold__V1__RoleMessage *message = decode(neighbours, "control", bytes, len);
    if (message) {
        dispatch_control(neighbours, message);
        message_free(message);
    }
}

static void on_network_message(void *owner, struct channel *channel, const uint8_t *bytes, size_t len)
{
    struct neighbours *neighbours = owner;
    (void)channel;
    if (neighbours->is_closing) {
        return;
    }
    Twofold__V1__RoleMessage *message = decode(neighbours, "network", bytes, len);
    if (!message) {
        return;
    }
    if (message->body_case == TWOFOLD__V1__ROLE_MESSAGE__BODY_SA) {
        on_sa_report(neighbours, message->sa);
    } else {
        protocol_fault(neighbours, "network", "a message that is not for this role");
    }
    message_free(message);
}

static void on_channel_close(void *owner, struct channel *channel, enum err err)
{
    struct neighbours *neighbours = owner;
    const char *neighbour = channel == neighbours->control ? "control" : "network";
    if (channel == neighbours->control) {
        neighbours->control = NULL;
    } else {
        neighbours->network = NULL;
    }
    if (!neighbours->is_closing) {
        log_event(LOG_LEVEL_WARNING, "role.neighbour_gone", LOG_STR("neighbour", neighbour),
                  LOG_STR("cause", err_text(err)));
        lost(neighbours);
    }
}

static const struct channel_events control_events = {.on_message = on_control_message, .on_close = on_channel_close};
static const struct channel_events network_events = {.on_message = on_network_message, .on_close = on_channel_close};

// ---- beginning and end

enum err neighbours_open(struct neighbours *neighbours, struct https *https, void (*on_lost)(void *owner), void *owner,
                         struct note *note)
{
    const struct role_start *start = https->start;
    neighbours->https = https;
    neighbours->on_lost = on_lost;
    neighbours->owner = owner;
    enum err err = channel_open(&https->loop, start->control_fd, CHANNEL_FRAME_BYTES_MAX, &control_events, neighbours,
                                &neighbours->control);
    if (!err) {
        err = channel_open(&https->loop, start->network_fd, CHANNEL_FRAME_BYTES_MAX, &network_events, neighbours,
                           &neighbours->network);
    }
    return err ? note_set(note, err, "cannot open the channel to a neighbour: %s", err_text(err)) : ERR_OK;
}

void neighbours_close(struct neighbours *neighbours)
{
    if (neighbours->is_closing) {
        return;
    }
    neighbours->is_closing = true;
    if (neighbours->control) {
        channel_close(neighbours->control);
    }
    if (neighbours->network) {
        channel_close(neighbours->network);
    }
}

void neighbours_free(struct neighbours *neighbours)
{
    table_free(neighbours->staged);
    message_free(neighbours->report);
}
