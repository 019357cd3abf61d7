// SPDX-License-Identifier: GPL-2.0-or-later
#include "controller/session.h"

#include <stdlib.h>
#include <string.h>

#include "controller/limiter.h"
#include "controller/push.h"
#include "controller/relay.h"
#include "controller/sentence.h"
#include "proto/base/log.h"
#include "proto/wire/message.h"

enum session_state { SESSION_NEW, SESSION_LIVE, SESSION_ENDED };

// What an agent may send. A bundle is due once per epoch (2 s at the least), a pair message for each peer and epoch; a result
// only for a slice that was sent.
static const struct rate bundle_rate = {.interval_ms = 500, .burst = 16};
static const struct rate pair_rate = {.interval_ms = 1, .burst = 65536};
static const struct rate opening_rate = {.interval_ms = 1000, .burst = 16};
static const struct rate status_rate = {.interval_ms = 500, .burst = 16};

struct session {
    struct agent *agent;
    enum session_state state;
    const struct session_port *port;
    void *context;
    uint64_t opened_ms;
    struct bucket bundles, pairs, statuses;
    uint64_t dropped; // messages beyond the rates
};

static const char *state_name(enum session_state state)
{
    switch (state) {
    case SESSION_NEW:
        return "new";
    case SESSION_LIVE:
        return "live";
    case SESSION_ENDED:
        return "ended";
    }
    abort();
}

static void move(struct session *session, enum session_state state, const char *event)
{
    log_event(LOG_LEVEL_INFO, "session.state", LOG_STR("host", session->agent->host),
              LOG_STR("old", state_name(session->state)), LOG_STR("event", event), LOG_STR("new", state_name(state)));
    session->state = state;
}

// After this the agent has no session, unless a new one took its place before.
static void leave(struct session *session, const char *event)
{
    struct agent *agent = session->agent;
    move(session, SESSION_ENDED, event);
    if (agent->session == session) {
        agent->session = NULL;
        push_on_disconnect(agent);
    }
}

enum err session_open(struct fleet *fleet, const char *host, const struct session_port *port, void *context,
                      struct session **ret_session)
{
    struct session *session = calloc(1, sizeof(*session));
    if (session == NULL)
        return ERR_NOMEM;
    enum err err = fleet_agent(fleet, host, &session->agent);
    if (err == ERR_OK && !bucket_take(&session->agent->openings, &opening_rate, clock_boot_ms(fleet->clock)))
        err = ERR_LIMIT;
    if (err != ERR_OK) {
        free(session);
        return err;
    }
    session->port = port;
    session->context = context;
    session->opened_ms = clock_boot_ms(fleet->clock);
    if (session->agent->session != NULL)
        session_end(session->agent->session, GRPC_ABORTED, "replaced by a newer session of this host");
    session->agent->session = session;
    *ret_session = session;
    return ERR_OK;
}

void session_gone(struct session *session)
{
    if (session->state != SESSION_ENDED)
        leave(session, "gone");
    free(session);
}

bool session_is_live(const struct session *session)
{
    return session->state == SESSION_LIVE;
}

void session_end(struct session *session, enum grpc_status status, const char *text)
{
    if (session->state == SESSION_ENDED)
        return;
    leave(session, text);
    session->port->end(session->context, status, text);
}

void session_cut(struct session *session, const char *text)
{
    if (session->state == SESSION_ENDED)
        return;
    leave(session, text);
    session->port->cut(session->context, text);
}

void session_tick(struct session *session)
{
    if (session->state == SESSION_NEW &&
        clock_boot_ms(session->agent->fleet->clock) - session->opened_ms >= SESSION_HELLO_MS)
        session_end(session, GRPC_DEADLINE_EXCEEDED, "no Hello came");
}

// ---- out

static enum err send_bytes(struct session *session, const uint8_t *bytes, size_t len)
{
    if (session->state == SESSION_ENDED)
        return ERR_CLOSED;
    enum err err = session->port->send(session->context, bytes, len);
    if (err != ERR_OK)
        session_cut(session, "it reads too slowly: too much waits for it");
    return err;
}

void session_send_bytes(struct session *session, const uint8_t *bytes, size_t len)
{
    (void)send_bytes(session, bytes, len); // a session that fails has ended, and is known to have
}

enum err session_send(struct session *session, const Twofold__V1__ControllerMessage *message)
{
    uint8_t *bytes = NULL;
    size_t len = 0;
    enum err err = message_encode(&message->base, &bytes, &len);
    if (err != ERR_OK)
        return err;
    err = send_bytes(session, bytes, len);
    free(bytes);
    return err;
}

// ---- in

static enum err ask_for_bundle(struct session *session)
{
    Twofold__V1__BundleRequest request = TWOFOLD__V1__BUNDLE_REQUEST__INIT;
    Twofold__V1__ControllerMessage message = TWOFOLD__V1__CONTROLLER_MESSAGE__INIT;
    message.body_case = TWOFOLD__V1__CONTROLLER_MESSAGE__BODY_PUBLISH;
    message.publish = &request;
    return session_send(session, &message);
}

static enum err on_hello(struct session *session, const Twofold__V1__Hello *hello, struct note *note)
{
    struct agent *agent = session->agent;
    if (session->state != SESSION_NEW)
        return note_set(note, ERR_PROTOCOL, "a second Hello came");
    move(session, SESSION_LIVE, "hello");
    sentence_set(agent->version, sizeof(agent->version), "%s", hello->version);
    enum err err = push_on_hello(agent, hello, note);
    if (err == ERR_OK && agent->bundle == NULL && session->state == SESSION_LIVE)
        err = ask_for_bundle(session);
    return err;
}

static bool within(struct session *session, struct bucket *bucket, const struct rate *rate)
{
    if (bucket_take(bucket, rate, clock_boot_ms(session->agent->fleet->clock)))
        return true;
    if (session->dropped++ % 1024 == 0)
        log_event(LOG_LEVEL_WARNING, "session.too_fast", LOG_STR("host", session->agent->host),
                  LOG_U64("dropped", session->dropped));
    return false;
}

static enum err act(struct session *session, Twofold__V1__AgentMessage **message_slot, struct note *note)
{
    Twofold__V1__AgentMessage *message = *message_slot;
    struct agent *agent = session->agent;
    switch (message->body_case) {
    case TWOFOLD__V1__AGENT_MESSAGE__BODY_HELLO:
        return on_hello(session, message->hello, note);
    case TWOFOLD__V1__AGENT_MESSAGE__BODY_RESULT:
        return push_on_result(agent, message->result, note);
    case TWOFOLD__V1__AGENT_MESSAGE__BODY_BUNDLE:
        return within(session, &session->bundles, &bundle_rate) ? relay_bundle(agent, message->bundle, note) : ERR_OK;
    case TWOFOLD__V1__AGENT_MESSAGE__BODY_PAIR:
        return within(session, &session->pairs, &pair_rate) ? relay_pair(agent, message->pair, note) : ERR_OK;
    case TWOFOLD__V1__AGENT_MESSAGE__BODY_STATUS:
        if (!within(session, &session->statuses, &status_rate))
            return ERR_OK;
        message_free(agent->status);
        agent->status = message;
        *message_slot = NULL;
        return ERR_OK;
    default: // a field of a newer protocol reads as not set
        return note_set(note, ERR_PROTOCOL, "a message of an unknown kind came");
    }
}

static enum err check_turn(const struct session *session, const Twofold__V1__AgentMessage *message, size_t len,
                           struct note *note)
{
    if (len > SESSION_MESSAGE_BYTES_MAX && message->body_case != TWOFOLD__V1__AGENT_MESSAGE__BODY_STATUS)
        return note_set(note, ERR_PROTOCOL, "a message of %zu bytes came: only a status may have more than %d", len,
                        SESSION_MESSAGE_BYTES_MAX);
    if (session->state != SESSION_LIVE && message->body_case != TWOFOLD__V1__AGENT_MESSAGE__BODY_HELLO)
        return note_set(note, ERR_PROTOCOL, "a message came before the Hello");
    return ERR_OK;
}

static void refuse(struct session *session, enum err err, const struct note *note)
{
    enum grpc_status status = err == ERR_NOMEM   ? GRPC_UNAVAILABLE
                              : err == ERR_LIMIT ? GRPC_RESOURCE_EXHAUSTED
                                                 : GRPC_INVALID_ARGUMENT;
    session_end(session, status, note->text[0] != '\0' ? note->text : err_text(err));
}

void session_on_message(struct session *session, const uint8_t *bytes, size_t len)
{
    if (session->state == SESSION_ENDED)
        return;
    struct note note = {0};
    if (len > SESSION_STATUS_BYTES_MAX) {
        refuse(session,
               note_set(&note, ERR_LIMIT, "a message of %zu bytes came: at most %u are taken", len,
                        SESSION_STATUS_BYTES_MAX),
               &note);
        return;
    }
    ProtobufCMessage *decoded = NULL;
    enum err err = message_decode(&twofold__v1__agent_message__descriptor, bytes, len, &decoded);
    if (err != ERR_OK) {
        refuse(session, note_set(&note, err, "a message cannot be decoded: %s", err_text(err)), &note);
        return;
    }
    Twofold__V1__AgentMessage *message = (Twofold__V1__AgentMessage *)decoded;
    err = check_turn(session, message, len, &note);
    if (err == ERR_OK)
        err = act(session, &message, &note);
    message_free(message);
    if (err != ERR_OK)
        refuse(session, err, &note);
}
