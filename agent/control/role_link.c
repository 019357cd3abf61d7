// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/control/role_link.h"

#include <stdbool.h>
#include <stdlib.h>

#include "proto/base/log.h"
#include "proto/link/channel.h"
#include "proto/wire/message.h"

struct role_link {
    struct channel *channel; // NULL behind on_close
    enum role role;
    const struct role_link_events *events;
    void *owner;
};

static bool may_say(enum role role, const Twofold__V1__RoleMessage *message)
{
    switch (message->body_case) {
    case TWOFOLD__V1__ROLE_MESSAGE__BODY_ANSWER:
    case TWOFOLD__V1__ROLE_MESSAGE__BODY_STATUS:
    case TWOFOLD__V1__ROLE_MESSAGE__BODY_FLOWS:
    case TWOFOLD__V1__ROLE_MESSAGE__BODY_REQUEST:
        return true;
    case TWOFOLD__V1__ROLE_MESSAGE__BODY_BUNDLE:
    case TWOFOLD__V1__ROLE_MESSAGE__BODY_PAIR:
        return role == ROLE_NETWORK;
    default:
        return false;
    }
}

enum err role_message_decode(enum role role, const uint8_t *bytes, size_t len, Twofold__V1__RoleMessage **ret_message)
{
    ProtobufCMessage *message;

    enum err err = message_decode(&twofold__v1__role_message__descriptor, bytes, len, &message);
    if (err)
        return err;
    if (!may_say(role, (Twofold__V1__RoleMessage *)message)) {
        message_free(message);
        return ERR_DENIED;
    }
    *ret_message = (Twofold__V1__RoleMessage *)message;
    return ERR_OK;
}

static void on_message(void *owner, struct channel *channel, const uint8_t *bytes, size_t len)
{
    struct role_link *link = owner;
    Twofold__V1__RoleMessage *message;

    enum err err = role_message_decode(link->role, bytes, len, &message);
    if (err) {
        log_event(LOG_LEVEL_ERROR, "role.bad_message", LOG_STR("from", role_name(link->role)),
                  LOG_STR("cause", err_text(err)), LOG_U64("bytes", len));
        channel_close(channel);
        return;
    }
    link->events->on_message(link->owner, link->role, message);
    message_free(message);
}

static void on_close(void *owner, struct channel *channel, enum err err)
{
    struct role_link *link = owner;

    (void)channel;
    link->events->on_gone(link->owner, link->role, err);
    free(link);
}

static const struct channel_events EVENTS = {.on_message = on_message, .on_close = on_close};

enum err role_link_open(uv_loop_t *loop, int fd, enum role role, const struct role_link_events *events, void *owner,
                        struct role_link **ret_link)
{
    struct role_link *link = calloc(1, sizeof(*link));

    if (!link)
        return ERR_NOMEM;
    link->role = role;
    link->events = events;
    link->owner = owner;
    enum err err = channel_open(loop, fd, CHANNEL_FRAME_BYTES_MAX, &EVENTS, link, &link->channel);
    if (err) {
        free(link);
        return err;
    }
    *ret_link = link;
    return ERR_OK;
}

enum err role_link_send(struct role_link *link, const Twofold__V1__RoleMessage *message)
{
    uint8_t *bytes;
    size_t len;

    enum err err = message_encode(&message->base, &bytes, &len);
    if (err)
        return err;
    err = len > CHANNEL_FRAME_BYTES_MAX ? ERR_LIMIT : channel_send(link->channel, bytes, len);
    free(bytes);
    return err;
}

void role_link_close(struct role_link *link)
{
    channel_close(link->channel);
}
