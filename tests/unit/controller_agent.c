// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/unit/controller_agent.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/link/key.h"
#include "proto/wire/bundle.h"
#include "proto/wire/message.h"
#include "proto/wire/slice.h"

// ---- what the controller sends

static void take_delta(struct fake_agent *agent, const Twofold__V1__SliceDelta *delta)
{
    ProtobufCMessage *copy = NULL;
    if (agent->pending != NULL || message_copy(&delta->base, &copy) != ERR_OK)
        abort(); // two in flight
    agent->pending = (Twofold__V1__SliceDelta *)copy;
    agent->last_from_bytes = delta->from.len;
    agent->deltas++;
}

static enum err port_send(void *context, const uint8_t *bytes, size_t len)
{
    struct fake_agent *agent = context;
    ProtobufCMessage *decoded = NULL;
    if (agent->jammed)
        return ERR_LIMIT;
    if (message_decode(&twofold__v1__controller_message__descriptor, bytes, len, &decoded) != ERR_OK)
        abort();
    Twofold__V1__ControllerMessage *message = (Twofold__V1__ControllerMessage *)decoded;
    if (message->body_case == TWOFOLD__V1__CONTROLLER_MESSAGE__BODY_DELTA) {
        take_delta(agent, message->delta);
    } else if (message->body_case == TWOFOLD__V1__CONTROLLER_MESSAGE__BODY_BUNDLE) {
        agent->bundles++;
        snprintf(agent->last_bundle_from, sizeof(agent->last_bundle_from), "%s", message->bundle->host);
    } else if (message->body_case == TWOFOLD__V1__CONTROLLER_MESSAGE__BODY_PAIR) {
        agent->pairs++;
        snprintf(agent->last_pair_from, sizeof(agent->last_pair_from), "%s", message->pair->from);
    } else if (message->body_case == TWOFOLD__V1__CONTROLLER_MESSAGE__BODY_PUBLISH) {
        agent->publishes++;
    } else {
        abort();
    }
    message_free(message);
    return ERR_OK;
}

static void port_end(void *context, enum grpc_status status, const char *text)
{
    struct fake_agent *agent = context;
    agent->ended = true;
    agent->status = status;
    snprintf(agent->text, sizeof(agent->text), "%s", text);
}

static void port_cut(void *context, const char *text)
{
    struct fake_agent *agent = context;
    agent->ended = agent->cut = true;
    snprintf(agent->text, sizeof(agent->text), "%s", text);
}

static const struct session_port port = {.send = port_send, .end = port_end, .cut = port_cut};

// ---- what it does

void fake_agent_connect(struct fake_agent *agent, struct fleet *fleet, const char *host)
{
    snprintf(agent->host, sizeof(agent->host), "%s", host);
    agent->ended = agent->cut = agent->jammed = false;
    agent->text[0] = '\0';
    message_free(agent->pending);
    agent->pending = NULL;
    if (session_open(fleet, host, &port, agent, &agent->session) != ERR_OK)
        abort();
}

void fake_agent_send(struct fake_agent *agent, const Twofold__V1__AgentMessage *message)
{
    uint8_t *bytes = NULL;
    size_t len = 0;
    if (message_encode(&message->base, &bytes, &len) != ERR_OK)
        abort();
    session_on_message(agent->session, bytes, len);
    free(bytes);
}

void fake_agent_hello(struct fake_agent *agent)
{
    Twofold__V1__Hello hello = TWOFOLD__V1__HELLO__INIT;
    Twofold__V1__AgentMessage message = TWOFOLD__V1__AGENT_MESSAGE__INIT;
    hello.version = (char *)"0.1.0";
    if (agent->has_digest)
        hello.digest = (ProtobufCBinaryData){DIGEST_BYTES, agent->digest};
    if (agent->slice != NULL)
        hello.generation = agent->slice->settings->generation;
    message.body_case = TWOFOLD__V1__AGENT_MESSAGE__BODY_HELLO;
    message.hello = &hello;
    fake_agent_send(agent, &message);
}

static void send_result(struct fake_agent *agent, uint64_t nonce, bool applied, const char *reason)
{
    Twofold__V1__SliceResult result = TWOFOLD__V1__SLICE_RESULT__INIT;
    Twofold__V1__AgentMessage message = TWOFOLD__V1__AGENT_MESSAGE__INIT;
    result.nonce = nonce;
    result.applied = applied;
    result.reason = (char *)reason;
    if (agent->has_digest)
        result.digest = (ProtobufCBinaryData){DIGEST_BYTES, agent->digest};
    if (agent->slice != NULL)
        result.generation = agent->slice->settings->generation;
    message.body_case = TWOFOLD__V1__AGENT_MESSAGE__BODY_RESULT;
    message.result = &result;
    fake_agent_send(agent, &message);
}

static uint64_t forget_pending(struct fake_agent *agent)
{
    uint64_t nonce = agent->pending->nonce;
    message_free(agent->pending);
    agent->pending = NULL;
    return nonce;
}

void fake_agent_ack(struct fake_agent *agent)
{
    Twofold__V1__Slice *next = NULL;
    struct note note = {0};
    if (agent->pending == NULL)
        abort();
    bool whole = agent->pending->from.len == 0;
    enum err err = slice_patch(whole ? NULL : agent->slice, agent->pending, &next, &note);
    if (err != ERR_OK) {
        fprintf(stderr, "%s: %s\n", agent->host, note.text);
        abort();
    }
    message_free(agent->slice);
    agent->slice = next;
    if (slice_digest(next, agent->digest) != ERR_OK)
        abort();
    agent->has_digest = true;
    send_result(agent, forget_pending(agent), true, "");
}

void fake_agent_nack(struct fake_agent *agent, const char *reason)
{
    send_result(agent, forget_pending(agent), false, reason);
}

void fake_agent_bundle(struct fake_agent *agent, const char *named, uint64_t epoch)
{
    struct bundle facts = {
        .suite = BUNDLE_SUITE_ECP384_AES256GCM16, .epoch = epoch, .slot = 1, .not_before = 1, .not_after = 2};
    snprintf(facts.host, sizeof(facts.host), "%s", named);
    facts.point[0] = 4;
    uint8_t blob[BUNDLE_BLOB_BYTES_MAX], signature[KEY_SIGNATURE_BYTES] = {1}, certificate[32] = {2};
    Twofold__V1__Bundle bundle = TWOFOLD__V1__BUNDLE__INIT;
    Twofold__V1__AgentMessage message = TWOFOLD__V1__AGENT_MESSAGE__INIT;
    size_t len = 0;
    if (bundle_encode(&facts, blob, sizeof(blob), &len) != ERR_OK)
        abort();
    bundle.host = (char *)"somebody-else"; // a hint that must not be believed
    bundle.blob = (ProtobufCBinaryData){len, blob};
    bundle.signature = (ProtobufCBinaryData){sizeof(signature), signature};
    bundle.certificate = (ProtobufCBinaryData){sizeof(certificate), certificate};
    message.body_case = TWOFOLD__V1__AGENT_MESSAGE__BODY_BUNDLE;
    message.bundle = &bundle;
    fake_agent_send(agent, &message);
}

void fake_agent_pair(struct fake_agent *agent, const char *to)
{
    uint8_t body[PAIR_ACK_BYTES] = {3};
    Twofold__V1__PairMessage pair = TWOFOLD__V1__PAIR_MESSAGE__INIT;
    Twofold__V1__AgentMessage message = TWOFOLD__V1__AGENT_MESSAGE__INIT;
    pair.from = (char *)"somebody-else";
    pair.to = (char *)to;
    pair.body = (ProtobufCBinaryData){sizeof(body), body};
    message.body_case = TWOFOLD__V1__AGENT_MESSAGE__BODY_PAIR;
    message.pair = &pair;
    fake_agent_send(agent, &message);
}

void fake_agent_disconnect(struct fake_agent *agent)
{
    if (agent->session != NULL)
        session_gone(agent->session);
    agent->session = NULL;
}

void fake_agent_free(struct fake_agent *agent)
{
    fake_agent_disconnect(agent);
    message_free(agent->slice);
    message_free(agent->pending);
    *agent = (struct fake_agent){0};
}
