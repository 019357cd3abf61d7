// SPDX-License-Identifier: GPL-2.0-or-later
// An asker: connected -> request -> inquiry -> answer -> next request …, until it closes, breaks the protocol or is idle for too long.
#include "agent/control/local.h"

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "agent/control/flow_list.h"
#include "proto/base/log.h"
#include "proto/link/channel.h"
#include "proto/wire/message.h"

struct asker {
    struct inquiry_waiter waiter; // first
    struct local *local;
    struct asker *next;
    struct channel *channel;
    struct inquiry *asked; // NULL: nothing under way
    uint32_t limit;        // of the flows asked for
    uint64_t idle_at_boot_ms;
};

struct local {
    struct local_config config;
    struct channel_listener *listener; // NULL: closed
    struct asker *askers;
};

// ---- answers

static void send_and_free(struct asker *asker, uint8_t *bytes, size_t len)
{
    if (channel_send(asker->channel, bytes, len) != ERR_OK)
        channel_close(asker->channel);
    free(bytes);
}

static void send_error(struct asker *asker, const char *text)
{
    Twofold__V1__LocalResponse response = TWOFOLD__V1__LOCAL_RESPONSE__INIT;
    uint8_t *bytes;
    size_t len;

    response.body_case = TWOFOLD__V1__LOCAL_RESPONSE__BODY_ERROR;
    response.error = (char *)text;
    if (message_encode(&response.base, &bytes, &len) != ERR_OK)
        channel_close(asker->channel);
    else
        send_and_free(asker, bytes, len);
}

static void answer(struct asker *asker, enum err err, uint8_t *bytes, size_t len)
{
    asker->asked = NULL;
    asker->idle_at_boot_ms = clock_boot_ms(asker->local->config.clock) + LOCAL_IDLE_MS;
    if (err)
        send_error(asker, err_text(err));
    else
        send_and_free(asker, bytes, len);
}

static void on_status(struct inquiry_waiter *waiter, const struct inquiry_answers *answers)
{
    struct asker *asker = (struct asker *)waiter;
    const struct local_config *config = &asker->local->config;
    uint8_t *bytes = NULL;
    size_t len = 0;

    enum err err = config->make_status(config->context, answers, &bytes, &len);
    answer(asker, err, bytes, len);
}

static void on_flows(struct inquiry_waiter *waiter, const struct inquiry_answers *answers)
{
    struct asker *asker = (struct asker *)waiter;
    const Twofold__V1__RoleMessage *network = answers->of[ROLE_NETWORK];
    const Twofold__V1__RoleMessage *https = answers->of[ROLE_HTTPS];
    uint8_t *bytes = NULL;
    size_t len = 0;

    enum err err =
        flow_list_merge(network ? network->flows : NULL, https ? https->flows : NULL, asker->limit, &bytes, &len);
    answer(asker, err, bytes, len);
}

// ---- requests

enum err local_request_decode(const uint8_t *bytes, size_t len, Twofold__V1__LocalRequest **ret_request)
{
    ProtobufCMessage *message;

    enum err err = message_decode(&twofold__v1__local_request__descriptor, bytes, len, &message);
    if (err)
        return err;
    Twofold__V1__LocalRequest *request = (Twofold__V1__LocalRequest *)message;
    if (request->body_case != TWOFOLD__V1__LOCAL_REQUEST__BODY_STATUS &&
        request->body_case != TWOFOLD__V1__LOCAL_REQUEST__BODY_FLOWS) {
        message_free(message);
        return ERR_MALFORMED;
    }
    *ret_request = request;
    return ERR_OK;
}

static void ask(struct asker *asker, const Twofold__V1__LocalRequest *request)
{
    const struct local_config *config = &asker->local->config;
    bool is_flows = request->body_case == TWOFOLD__V1__LOCAL_REQUEST__BODY_FLOWS;

    asker->asked = is_flows ? config->flows : config->status;
    asker->limit = is_flows ? request->flows->limit : 0;
    asker->waiter.on_answer = is_flows ? on_flows : on_status;
    asker->idle_at_boot_ms = UINT64_MAX;
    enum err err = inquiry_ask(asker->asked, &asker->waiter);
    if (err)
        answer(asker, err, NULL, 0);
}

static void on_message(void *owner, struct channel *channel, const uint8_t *bytes, size_t len)
{
    struct asker *asker = owner;
    Twofold__V1__LocalRequest *request;

    // One question at a time; a second one before the answer is not what the protocol allows.
    if (asker->asked || local_request_decode(bytes, len, &request) != ERR_OK) {
        log_event(LOG_LEVEL_WARNING, "local.bad_request", LOG_U64("bytes", len));
        channel_close(channel);
        return;
    }
    ask(asker, request);
    message_free(request);
}

static void local_free_when_empty(struct local *local)
{
    if (!local->listener && !local->askers)
        free(local);
}

static void on_close(void *owner, struct channel *channel, enum err err)
{
    struct asker *asker = owner;
    struct local *local = asker->local;
    struct asker **at = &local->askers;

    (void)channel;
    if (err == ERR_LIMIT || err == ERR_MALFORMED)
        log_event(LOG_LEVEL_WARNING, "local.bad_request",
                  LOG_STR("cause", err == ERR_LIMIT ? "its frame is too long" : "its frame is cut short"));
    if (asker->asked)
        inquiry_withdraw(asker->asked, &asker->waiter);
    while (*at != asker)
        at = &(*at)->next;
    *at = asker->next;
    free(asker);
    local_free_when_empty(local);
}

static const struct channel_events ASKER_EVENTS = {.on_message = on_message, .on_close = on_close};

static void on_unowned_message(void *owner, struct channel *channel, const uint8_t *bytes, size_t len)
{
    (void)owner;
    (void)channel;
    (void)bytes;
    (void)len;
}

static void on_unowned_close(void *owner, struct channel *channel, enum err err)
{
    (void)owner;
    (void)channel;
    (void)err;
}

// Of a connection that is refused at once.
static const struct channel_events REFUSED_EVENTS = {.on_message = on_unowned_message, .on_close = on_unowned_close};

static void on_channel(void *owner, struct channel *channel)
{
    struct local *local = owner;
    uid_t uid = (uid_t)-1;
    pid_t pid = 0;
    struct asker *asker = calloc(1, sizeof(*asker));

    if (!asker || channel_peer_credentials(channel, &uid, &pid) != ERR_OK) {
        free(asker);
        channel_set_owner(channel, &REFUSED_EVENTS, NULL);
        channel_close(channel);
        return;
    }
    log_event(LOG_LEVEL_INFO, "local.asker", LOG_U64("uid", uid), LOG_U64("pid", (uint64_t)pid));
    asker->local = local;
    asker->channel = channel;
    asker->idle_at_boot_ms = clock_boot_ms(local->config.clock) + LOCAL_IDLE_MS;
    asker->next = local->askers;
    local->askers = asker;
    channel_set_owner(channel, &ASKER_EVENTS, asker);
}

// ---- life

enum err local_new(const struct local_config *config, struct local **ret_local, struct note *note)
{
    char path[PATH_MAX];

    if (snprintf(path, sizeof(path), "%s/agent.sock", config->folder) >= (int)sizeof(path))
        return note_set(note, ERR_INVALID, "%s: the path is too long", config->folder);
    struct local *local = calloc(1, sizeof(*local));
    if (!local)
        return note_set(note, ERR_NOMEM, "out of memory");
    local->config = *config;
    enum err err = channel_listen(config->loop, path, config->admin_gid, LOCAL_REQUEST_BYTES_MAX, LOCAL_ASKERS_MAX,
                                  on_channel, local, &local->listener, note);
    if (err) {
        free(local);
        return err;
    }
    *ret_local = local;
    return ERR_OK;
}

void local_close(struct local *local)
{
    channel_listener_close(local->listener);
    local->listener = NULL;
    for (struct asker *asker = local->askers; asker; asker = asker->next)
        channel_close(asker->channel);
    local_free_when_empty(local);
}

void local_tick(struct local *local)
{
    uint64_t now = clock_boot_ms(local->config.clock);

    for (struct asker *asker = local->askers; asker; asker = asker->next) {
        if (now < asker->idle_at_boot_ms)
            continue;
        asker->idle_at_boot_ms = UINT64_MAX;
        channel_close(asker->channel);
    }
}

uint64_t local_deadline(const struct local *local)
{
    uint64_t deadline = UINT64_MAX;

    for (const struct asker *asker = local->askers; asker; asker = asker->next) {
        if (asker->idle_at_boot_ms < deadline)
            deadline = asker->idle_at_boot_ms;
    }
    return deadline;
}
