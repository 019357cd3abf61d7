// SPDX-License-Identifier: GPL-2.0-or-later
//
//   NEW --context--> CONNECTING --TLS, controller checked, stream open--> OPEN
//                     ^      |                                             |
//                     |      +-------- failed, closed, refused ------------+
//                     |                          v
//                     +------ timer ---------- WAITING          any --uplink_close--> CLOSING
//
// Order of events of one connection: grpc on_open -> call on_message* -> call on_done -> channel on_gone. The connection is over at
// on_gone only; everything before it just asks for the end and says why.
#include "agent/control/uplink.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/backoff.h"
#include "proto/base/log.h"
#include "proto/link/conn.h"
#include "proto/link/grpc.h"
#include "proto/wire/message.h"

enum {
    CONNECT_MS = 10000,
    RENEW_MS = 30000,
    RETRY_MIN_MS = 500,
    RETRY_MAX_MS = 30000,
};

enum uplink_state { NEW, CONNECTING, OPEN, WAITING, CLOSING };

static const char *const STATE_NAMES[] = {"new", "connecting", "open", "waiting", "closing"};

struct uplink {
    struct uplink_config config;
    enum uplink_state state;
    uv_timer_t timer;
    struct tls_context *context;  // held
    struct grpc_channel *channel; // until its on_gone
    struct grpc_call *stream;     // until its on_done
    struct grpc_call *renewal;    // until its on_done
    bool renewal_answered;
    bool reconnect_now;
    struct backoff backoff;
    char problem[NOTE_TEXT_BYTES];      // of the connection under way
    char last_problem[NOTE_TEXT_BYTES]; // of the one before, told while the next is tried
    bool timer_closed;
    void (*on_closed)(void *owner);
};

static void connect_now(struct uplink *uplink);

static void move(struct uplink *uplink, enum uplink_state state, const char *event)
{
    log_event(LOG_LEVEL_DEBUG, "session.state", LOG_STR("old", STATE_NAMES[uplink->state]), LOG_STR("event", event),
              LOG_STR("new", STATE_NAMES[state]));
    uplink->state = state;
}

// The first cause of an end is the one to be told.
static void set_problem(struct uplink *uplink, const char *text)
{
    if (!uplink->problem[0])
        snprintf(uplink->problem, sizeof(uplink->problem), "%s", text);
}

static void free_when_closed(struct uplink *uplink)
{
    if (uplink->state != CLOSING || uplink->channel || !uplink->timer_closed)
        return;
    void (*on_closed)(void *) = uplink->on_closed;
    void *owner = uplink->config.owner;

    tls_context_drop(uplink->context);
    free(uplink);
    on_closed(owner);
}

static void on_timer(uv_timer_t *timer)
{
    struct uplink *uplink = timer->data;

    if (uplink->state == WAITING)
        connect_now(uplink);
}

static void wait_and_retry(struct uplink *uplink, uint64_t wait_ms, const char *event)
{
    move(uplink, WAITING, event);
    if (uv_timer_start(&uplink->timer, on_timer, wait_ms, 0) < 0)
        abort(); // only with a closing timer, and then the state is CLOSING
}

// Asks for the end of the connection; on_gone is what ends it.
static void give_up(struct uplink *uplink, const char *why)
{
    set_problem(uplink, why);
    if (uplink->channel)
        grpc_channel_close(uplink->channel);
}

// ---- the stream

static void on_stream_message(void *owner, struct grpc_call *call, const uint8_t *bytes, size_t len)
{
    struct uplink *uplink = owner;
    ProtobufCMessage *message;

    (void)call;
    if (uplink->state != OPEN)
        return;
    enum err err = message_decode(&twofold__v1__controller_message__descriptor, bytes, len, &message);
    if (err) {
        give_up(uplink, "the controller sent a message that cannot be read");
        return;
    }
    // What it says proves a session that works; being accepted does not.
    backoff_reset(&uplink->backoff);
    uplink->config.events->on_message(uplink->config.owner, (Twofold__V1__ControllerMessage *)message);
    message_free(message);
}

static void on_stream_done(void *owner, struct grpc_call *call, enum grpc_status status, const char *text)
{
    struct uplink *uplink = owner;
    char why[NOTE_TEXT_BYTES];

    (void)call;
    uplink->stream = NULL;
    if (status == GRPC_OK)
        snprintf(why, sizeof(why), "the controller ended the session");
    else if (status == GRPC_PERMISSION_DENIED || status == GRPC_UNAUTHENTICATED)
        snprintf(why, sizeof(why), "the controller refused this host: %s",
                 text && text[0] ? text : "it gave no reason");
    else
        snprintf(why, sizeof(why), "the session ended: %s", text && text[0] ? text : "it gave no reason");
    give_up(uplink, why);
}

static const struct grpc_call_events STREAM_EVENTS = {.on_message = on_stream_message, .on_done = on_stream_done};

static enum err send_hello(struct uplink *uplink)
{
    Twofold__V1__AgentMessage message = TWOFOLD__V1__AGENT_MESSAGE__INIT;
    Twofold__V1__Hello hello = TWOFOLD__V1__HELLO__INIT;

    uplink->config.events->hello(uplink->config.owner, &hello);
    message.body_case = TWOFOLD__V1__AGENT_MESSAGE__BODY_HELLO;
    message.hello = &hello;
    return uplink_send(uplink, &message);
}

// ---- the connection

static bool is_controller(const struct uplink *uplink)
{
    const struct cert_facts *peer = conn_peer(grpc_channel_conn(uplink->channel));

    return peer && peer->id.kind == SPIFFE_CONTROLLER &&
           strcmp(peer->id.trust_domain, uplink->config.trust_domain) == 0;
}

static void on_channel_open(void *owner, struct grpc_channel *channel)
{
    struct uplink *uplink = owner;

    if (uplink->state != CONNECTING)
        return;
    if (!is_controller(uplink)) {
        give_up(uplink, "what answers at the controller's address is not a controller of this trust domain");
        return;
    }
    enum err err = grpc_call_start(channel, "/twofold.v1.Control/Session", 0, &STREAM_EVENTS, uplink, &uplink->stream);
    if (err) {
        give_up(uplink, err_text(err));
        return;
    }
    if ((err = send_hello(uplink))) {
        give_up(uplink, err_text(err));
        return;
    }
    move(uplink, OPEN, "opened");
    uplink->problem[0] = '\0';
    uplink->config.events->on_open(uplink->config.owner);
}

static void on_channel_gone(void *owner, struct grpc_channel *channel, enum err err, const struct note *note)
{
    struct uplink *uplink = owner;
    bool was_open = uplink->state == OPEN;

    (void)channel;
    uplink->channel = NULL;
    uplink->stream = NULL;
    if (uplink->state == CLOSING) {
        free_when_closed(uplink);
        return;
    }
    set_problem(uplink, note && note->text[0] ? note->text : err_text(err ? err : ERR_CLOSED));
    bool wanted = uplink->reconnect_now;
    uint64_t wait_ms = wanted ? 0 : backoff_next_ms(&uplink->backoff);
    uplink->reconnect_now = false;
    wait_and_retry(uplink, wait_ms, was_open ? "lost" : "failed");
    log_event(wanted ? LOG_LEVEL_INFO : LOG_LEVEL_WARNING, was_open ? "session.lost" : "session.failed",
              LOG_STR("cause", uplink->problem), LOG_U64("retry_ms", wait_ms));
    if (was_open)
        uplink->config.events->on_lost(uplink->config.owner, uplink->problem);
}

static const struct grpc_channel_events CHANNEL_EVENTS = {.on_open = on_channel_open, .on_gone = on_channel_gone};

static void connect_now(struct uplink *uplink)
{
    move(uplink, CONNECTING, "connect");
    memcpy(uplink->last_problem, uplink->problem, sizeof(uplink->last_problem));
    uplink->problem[0] = '\0';
    enum err err = grpc_connect(uplink->config.loop, &uplink->config.controller, NULL, uplink->context, CONNECT_MS,
                                &CHANNEL_EVENTS, uplink, &uplink->channel);
    if (err) {
        set_problem(uplink, err_text(err));
        wait_and_retry(uplink, backoff_next_ms(&uplink->backoff), "failed");
    }
}

// ---- for the owner

enum err uplink_new(const struct uplink_config *config, struct uplink **ret_uplink)
{
    struct uplink *uplink = calloc(1, sizeof(*uplink));

    if (!uplink)
        return ERR_NOMEM;
    if (uv_timer_init(config->loop, &uplink->timer) < 0) {
        free(uplink);
        return ERR_NOMEM;
    }
    uplink->timer.data = uplink;
    uplink->config = *config;
    backoff_init(&uplink->backoff, RETRY_MIN_MS, RETRY_MAX_MS);
    *ret_uplink = uplink;
    return ERR_OK;
}

void uplink_set_context(struct uplink *uplink, struct tls_context *context)
{
    struct tls_context *old = uplink->context;

    uplink->context = tls_context_hold(context);
    if (old)
        tls_context_drop(old);
    if (uplink->channel) {
        uplink->reconnect_now = true;
        give_up(uplink, "reconnecting with the renewed certificate");
    } else if (uplink->state == NEW || uplink->state == WAITING) {
        wait_and_retry(uplink, 0, "context");
    }
}

bool uplink_is_open(const struct uplink *uplink)
{
    return uplink->state == OPEN;
}

const char *uplink_problem(const struct uplink *uplink)
{
    if (uplink->state == OPEN)
        return "";
    if (uplink->problem[0])
        return uplink->problem;
    return uplink->last_problem[0] ? uplink->last_problem : "connecting for the first time";
}

enum err uplink_send_bytes(struct uplink *uplink, const uint8_t *bytes, size_t len)
{
    return uplink->stream ? grpc_call_send(uplink->stream, bytes, len) : ERR_CLOSED;
}

enum err uplink_send(struct uplink *uplink, const Twofold__V1__AgentMessage *message)
{
    uint8_t *bytes;
    size_t len;

    enum err err = message_encode(&message->base, &bytes, &len);
    if (err)
        return err;
    err = uplink_send_bytes(uplink, bytes, len);
    free(bytes);
    return err;
}

// ---- renewal

static void on_renewal_message(void *owner, struct grpc_call *call, const uint8_t *bytes, size_t len)
{
    struct uplink *uplink = owner;
    ProtobufCMessage *message;

    if (uplink->renewal_answered || uplink->state == CLOSING)
        return;
    if (message_decode(&twofold__v1__enrol_response__descriptor, bytes, len, &message) != ERR_OK) {
        grpc_call_cancel(call);
        return;
    }
    uplink->renewal_answered = true;
    uplink->config.events->on_renewed(uplink->config.owner, (Twofold__V1__EnrolResponse *)message, "");
    message_free(message);
}

static void on_renewal_done(void *owner, struct grpc_call *call, enum grpc_status status, const char *text)
{
    struct uplink *uplink = owner;

    (void)call;
    uplink->renewal = NULL;
    if (uplink->renewal_answered || uplink->state == CLOSING)
        return;
    uplink->renewal_answered = true;
    if (text && text[0])
        uplink->config.events->on_renewed(uplink->config.owner, NULL, text);
    else
        uplink->config.events->on_renewed(uplink->config.owner, NULL,
                                          status == GRPC_OK ? "the controller answered without certificates"
                                                            : "the controller gave no reason");
}

static const struct grpc_call_events RENEWAL_EVENTS = {.on_message = on_renewal_message, .on_done = on_renewal_done};

enum err uplink_renew(struct uplink *uplink, const Twofold__V1__RenewRequest *request)
{
    uint8_t *bytes;
    size_t len;

    if (uplink->state != OPEN)
        return ERR_CLOSED;
    if (uplink->renewal)
        return ERR_AGAIN;
    enum err err = message_encode(&request->base, &bytes, &len);
    if (err)
        return err;
    err = grpc_call_start(uplink->channel, "/twofold.v1.Enrolment/Renew", RENEW_MS, &RENEWAL_EVENTS, uplink,
                          &uplink->renewal);
    if (!err) {
        uplink->renewal_answered = false;
        if ((err = grpc_call_send(uplink->renewal, bytes, len)) || (err = grpc_call_half_close(uplink->renewal))) {
            // The caller is told here.
            uplink->renewal_answered = true;
            grpc_call_cancel(uplink->renewal);
        }
    }
    free(bytes);
    return err;
}

// ---- the end

static void on_timer_closed(uv_handle_t *handle)
{
    struct uplink *uplink = handle->data;

    uplink->timer_closed = true;
    free_when_closed(uplink);
}

void uplink_close(struct uplink *uplink, void (*on_closed)(void *owner))
{
    uplink->on_closed = on_closed;
    move(uplink, CLOSING, "close");
    uv_close((uv_handle_t *)&uplink->timer, on_timer_closed);
    if (uplink->channel)
        grpc_channel_close(uplink->channel);
}
