// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/unit/controller_client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/wire/message.h"
#include "proto/wire/slice.h"

// ---- waiting

static void on_deadline(uv_timer_t *timer)
{
    *(bool *)timer->data = true;
}

struct wanted {
    const bool *flag;
    const unsigned *count;
    unsigned at_least;
};

static bool is_there(const struct wanted *wanted)
{
    return wanted->flag != NULL ? *wanted->flag : *wanted->count >= wanted->at_least;
}

static bool run_until(uv_loop_t *loop, const struct wanted *wanted)
{
    uv_timer_t *timer = malloc(sizeof(*timer));
    bool *over = calloc(1, sizeof(*over));
    uv_timer_init(loop, timer);
    timer->data = over;
    uv_timer_start(timer, on_deadline, 5000, 0);
    while (!is_there(wanted) && !*over)
        uv_run(loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *)timer, (uv_close_cb)free);
    uv_run(loop, UV_RUN_NOWAIT);
    free(over);
    return is_there(wanted);
}

bool client_wait(uv_loop_t *loop, const bool *flag)
{
    struct wanted wanted = {.flag = flag};
    return run_until(loop, &wanted);
}

bool client_wait_count(uv_loop_t *loop, const unsigned *count, unsigned at_least)
{
    struct wanted wanted = {.count = count, .at_least = at_least};
    return run_until(loop, &wanted);
}

// ---- connections

static void on_open(void *owner, struct grpc_channel *channel)
{
    (void)channel;
    struct client *client = owner;
    client->open = true;
}

static void on_gone(void *owner, struct grpc_channel *channel, enum err err, const struct note *note)
{
    (void)channel;
    (void)note;
    struct client *client = owner;
    client->gone = client->open = true; // whoever waits for either goes on
    client->err = err != ERR_OK ? err : ERR_CLOSED;
    client->channel = NULL;
}

static const struct grpc_channel_events channel_events = {.on_open = on_open, .on_gone = on_gone};

enum err client_connect(struct client *client, uv_loop_t *loop, const struct ip_endpoint *controller,
                        const struct client_identity *identity)
{
    struct note note = {0};
    *client = (struct client){.loop = loop};
    if (trust_new(&client->trust) != ERR_OK ||
        trust_add(client->trust, identity->root, identity->root_len, &note) != ERR_OK)
        abort();
    struct tls_config config = {
        .side = TLS_CLIENT,
        .peer_check = TLS_PEER_REQUIRED,
        .key = identity->key,
        .certificate = identity->certificate,
        .certificate_len = identity->certificate_len,
        .trust = client->trust,
        .alpn = "h2",
        .clock = &clock_system,
    };
    if (tls_context_new(&config, &client->context, &note) != ERR_OK)
        abort();
    enum err err =
        grpc_connect(loop, controller, NULL, client->context, 5000, &channel_events, client, &client->channel);
    if (err != ERR_OK)
        return err;
    client_wait(loop, &client->open);
    return client->gone ? client->err : client->open ? ERR_OK : ERR_TIMEOUT;
}

void client_close(struct client *client)
{
    if (client->channel != NULL) {
        grpc_channel_close(client->channel);
        client_wait(client->loop, &client->gone);
    }
    tls_context_drop(client->context);
    trust_free(client->trust);
    client->context = NULL;
    client->trust = NULL;
}

// ---- unary calls

struct answer {
    uint8_t *bytes;
    size_t len;
    bool done;
    enum grpc_status status;
    char *text;
};

static void on_answer(void *owner, struct grpc_call *call, const uint8_t *bytes, size_t len)
{
    (void)call;
    struct answer *answer = owner;
    answer->bytes = malloc(len + 1);
    memcpy(answer->bytes, bytes, len);
    answer->len = len;
}

static void on_answered(void *owner, struct grpc_call *call, enum grpc_status status, const char *text)
{
    (void)call;
    struct answer *answer = owner;
    answer->done = true;
    answer->status = status;
    snprintf(answer->text, 256, "%s", text);
}

static const struct grpc_call_events answer_events = {.on_message = on_answer, .on_done = on_answered};

enum grpc_status client_call_bytes(struct client *client, const char *path, const void *request, size_t len, int count,
                                   uint8_t **ret_bytes, size_t *ret_len, char text[256])
{
    struct answer answer = {.status = GRPC_UNKNOWN, .text = text};
    struct grpc_call *call = NULL;
    text[0] = '\0';
    if (client->channel == NULL || grpc_call_start(client->channel, path, 0, &answer_events, &answer, &call) != ERR_OK)
        return GRPC_UNAVAILABLE;
    for (int i = 0; i < count; i++) {
        if (grpc_call_send(call, request, len) != ERR_OK)
            abort();
    }
    if (grpc_call_half_close(call) != ERR_OK)
        abort();
    if (!client_wait(client->loop, &answer.done))
        abort();
    *ret_bytes = answer.bytes;
    *ret_len = answer.len;
    return answer.status;
}

enum grpc_status client_call(struct client *client, const char *path, const ProtobufCMessage *request,
                             const ProtobufCMessageDescriptor *type, void *ret_answer, char text[256])
{
    uint8_t *bytes = NULL, *answer = NULL;
    size_t len = 0, answer_len = 0;
    *(ProtobufCMessage **)ret_answer = NULL;
    if (message_encode(request, &bytes, &len) != ERR_OK)
        abort();
    enum grpc_status status = client_call_bytes(client, path, bytes, len, 1, &answer, &answer_len, text);
    free(bytes);
    if (status == GRPC_OK && message_decode(type, answer, answer_len, ret_answer) != ERR_OK)
        abort();
    free(answer);
    return status;
}

// ---- an agent

static void send_message(struct net_agent *agent, const Twofold__V1__AgentMessage *message)
{
    uint8_t *bytes = NULL;
    size_t len = 0;
    if (message_encode(&message->base, &bytes, &len) != ERR_OK || grpc_call_send(agent->call, bytes, len) != ERR_OK)
        abort();
    free(bytes);
}

static void apply(struct net_agent *agent, const Twofold__V1__SliceDelta *delta)
{
    Twofold__V1__Slice *next = NULL;
    Twofold__V1__SliceResult result = TWOFOLD__V1__SLICE_RESULT__INIT;
    Twofold__V1__AgentMessage message = TWOFOLD__V1__AGENT_MESSAGE__INIT;
    struct note note = {0};
    if (slice_patch(delta->from.len > 0 ? agent->slice : NULL, delta, &next, &note) != ERR_OK)
        abort();
    message_free(agent->slice);
    agent->slice = next;
    if (slice_digest(next, agent->digest) != ERR_OK)
        abort();
    result.nonce = delta->nonce;
    result.generation = next->settings->generation;
    result.digest = (ProtobufCBinaryData){DIGEST_BYTES, agent->digest};
    result.applied = true;
    message.body_case = TWOFOLD__V1__AGENT_MESSAGE__BODY_RESULT;
    message.result = &result;
    send_message(agent, &message);
}

static void on_message(void *owner, struct grpc_call *call, const uint8_t *bytes, size_t len)
{
    (void)call;
    struct net_agent *agent = owner;
    Twofold__V1__ControllerMessage *message = NULL;
    if (message_decode(&twofold__v1__controller_message__descriptor, bytes, len, (ProtobufCMessage **)&message) !=
        ERR_OK)
        abort();
    agent->bundles += message->body_case == TWOFOLD__V1__CONTROLLER_MESSAGE__BODY_BUNDLE;
    agent->publishes += message->body_case == TWOFOLD__V1__CONTROLLER_MESSAGE__BODY_PUBLISH;
    if (message->body_case == TWOFOLD__V1__CONTROLLER_MESSAGE__BODY_DELTA) {
        agent->deltas++;
        if (!agent->hold)
            apply(agent, message->delta);
    }
    message_free(message);
}

static void on_session_done(void *owner, struct grpc_call *call, enum grpc_status status, const char *text)
{
    (void)call;
    struct net_agent *agent = owner;
    agent->call = NULL;
    agent->done = true;
    agent->status = status;
    snprintf(agent->text, sizeof(agent->text), "%s", text);
}

static const struct grpc_call_events session_events = {.on_message = on_message, .on_done = on_session_done};

static void say_hello(struct net_agent *agent)
{
    Twofold__V1__Hello hello = TWOFOLD__V1__HELLO__INIT;
    Twofold__V1__AgentMessage message = TWOFOLD__V1__AGENT_MESSAGE__INIT;
    hello.version = (char *)"0.1.0";
    if (agent->slice != NULL) {
        hello.generation = agent->slice->settings->generation;
        hello.digest = (ProtobufCBinaryData){DIGEST_BYTES, agent->digest};
    }
    message.body_case = TWOFOLD__V1__AGENT_MESSAGE__BODY_HELLO;
    message.hello = &hello;
    send_message(agent, &message);
}

enum err net_agent_start(struct net_agent *agent, uv_loop_t *loop, const struct ip_endpoint *controller,
                         const struct client_identity *identity)
{
    agent->done = false;
    agent->deltas = agent->bundles = agent->publishes = 0;
    enum err err = client_connect(&agent->client, loop, controller, identity);
    if (err == ERR_OK)
        err = grpc_call_start(agent->client.channel, "/twofold.v1.Control/Session", 0, &session_events, agent,
                              &agent->call);
    if (err == ERR_OK)
        say_hello(agent);
    return err;
}

void net_agent_stop(struct net_agent *agent)
{
    client_close(&agent->client);
}

void net_agent_free(struct net_agent *agent)
{
    message_free(agent->slice);
    agent->slice = NULL;
}

void client_identity_free(struct client_identity *identity)
{
    key_free(identity->key);
    free(identity->certificate);
    free(identity->root);
    *identity = (struct client_identity){0};
}
