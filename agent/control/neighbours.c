// SPDX-License-Identifier: GPL-2.0-or-later
// To and from the network and https roles.
#include "agent/control/control.h"

#include <stdlib.h>

#include "proto/base/log.h"

// ---- to the roles

enum err control_send(struct control *control, enum role role, const Twofold__V1__RoleMessage *message)
{
    return control->links[role] ? role_link_send(control->links[role], message) : ERR_CLOSED;
}

enum err control_ask_status(void *context, enum role role)
{
    Twofold__V1__RoleMessage message = TWOFOLD__V1__ROLE_MESSAGE__INIT;
    Twofold__V1__StatusRequest request = TWOFOLD__V1__STATUS_REQUEST__INIT;

    message.body_case = TWOFOLD__V1__ROLE_MESSAGE__BODY_STATUS_REQUEST;
    message.status_request = &request;
    return control_send(context, role, &message);
}

// Always all of them: each asker cuts the answer to its own limit.
enum err control_ask_flows(void *context, enum role role)
{
    Twofold__V1__RoleMessage message = TWOFOLD__V1__ROLE_MESSAGE__INIT;
    Twofold__V1__FlowsRequest request = TWOFOLD__V1__FLOWS_REQUEST__INIT;

    request.limit = 1000;
    message.body_case = TWOFOLD__V1__ROLE_MESSAGE__BODY_FLOWS_REQUEST;
    message.flows_request = &request;
    return control_send(context, role, &message);
}

enum err control_send_endpoint(struct control *control)
{
    Twofold__V1__RoleMessage message = TWOFOLD__V1__ROLE_MESSAGE__INIT;
    Twofold__V1__ControllerEndpoint endpoint = TWOFOLD__V1__CONTROLLER_ENDPOINT__INIT;

    endpoint.address.data = control->controller.ip.bytes;
    endpoint.address.len = control->controller.ip.len;
    endpoint.port = control->controller.port;
    message.body_case = TWOFOLD__V1__ROLE_MESSAGE__BODY_CONTROLLER;
    message.controller = &endpoint;
    return control_send(control, ROLE_NETWORK, &message);
}

static void log_dropped(const char *what, const char *host, enum err err)
{
    log_event(LOG_LEVEL_WARNING, "relay.dropped", LOG_STR("what", what), LOG_STR("host", host),
              LOG_STR("cause", err_text(err)));
}

void control_send_bundle(void *context, const Twofold__V1__Bundle *bundle)
{
    Twofold__V1__RoleMessage message = TWOFOLD__V1__ROLE_MESSAGE__INIT;

    message.body_case = TWOFOLD__V1__ROLE_MESSAGE__BODY_BUNDLE;
    message.bundle = (Twofold__V1__Bundle *)bundle;
    enum err err = control_send(context, ROLE_NETWORK, &message);
    if (err)
        log_dropped("bundle", bundle->host, err);
}

void control_send_pair(struct control *control, Twofold__V1__PairMessage *pair)
{
    Twofold__V1__RoleMessage message = TWOFOLD__V1__ROLE_MESSAGE__INIT;

    message.body_case = TWOFOLD__V1__ROLE_MESSAGE__BODY_PAIR;
    message.pair = pair;
    enum err err = control_send(control, ROLE_NETWORK, &message);
    if (err)
        log_dropped("pair message", pair->from, err);
}

void control_send_publish(struct control *control)
{
    Twofold__V1__RoleMessage message = TWOFOLD__V1__ROLE_MESSAGE__INIT;
    Twofold__V1__BundleRequest request = TWOFOLD__V1__BUNDLE_REQUEST__INIT;

    message.body_case = TWOFOLD__V1__ROLE_MESSAGE__BODY_PUBLISH;
    message.publish = &request;
    enum err err = control_send(control, ROLE_NETWORK, &message);
    if (err)
        log_dropped("bundle request", "", err);
}

// ---- from the roles

static void relay_to_controller(struct control *control, const Twofold__V1__AgentMessage *message, const char *what)
{
    enum err err = uplink_send(control->uplink, message);

    // Without a session nothing is lost: the bundle is asked for at the next one, and keying repeats its acknowledgements.
    if (err)
        log_event(LOG_LEVEL_DEBUG, "relay.no_session", LOG_STR("what", what), LOG_STR("cause", err_text(err)));
}

static void keep_status(struct control *control, enum role role, const Twofold__V1__RoleMessage *message)
{
    enum err err = status_set(control->status, role, message->status);

    if (err)
        log_event(LOG_LEVEL_WARNING, "status.not_kept", LOG_STR("cause", err_text(err)));
    inquiry_on_answer(control->ask_status, role, message);
}

static void on_role_message(void *owner, enum role role, const Twofold__V1__RoleMessage *message)
{
    struct control *control = owner;
    Twofold__V1__AgentMessage upwards = TWOFOLD__V1__AGENT_MESSAGE__INIT;

    if (control->closing)
        return;
    switch (message->body_case) {
    case TWOFOLD__V1__ROLE_MESSAGE__BODY_ANSWER:
        intake_on_answer(control->intake, role == ROLE_NETWORK ? APPLY_NETWORK : APPLY_HTTPS, message->answer);
        return;
    case TWOFOLD__V1__ROLE_MESSAGE__BODY_BUNDLE:
        upwards.body_case = TWOFOLD__V1__AGENT_MESSAGE__BODY_BUNDLE;
        upwards.bundle = message->bundle;
        relay_to_controller(control, &upwards, "bundle");
        return;
    case TWOFOLD__V1__ROLE_MESSAGE__BODY_PAIR:
        upwards.body_case = TWOFOLD__V1__AGENT_MESSAGE__BODY_PAIR;
        upwards.pair = message->pair;
        relay_to_controller(control, &upwards, "pair message");
        return;
    case TWOFOLD__V1__ROLE_MESSAGE__BODY_STATUS:
        keep_status(control, role, message);
        return;
    case TWOFOLD__V1__ROLE_MESSAGE__BODY_FLOWS:
        inquiry_on_answer(control->ask_flows, role, message);
        return;
    case TWOFOLD__V1__ROLE_MESSAGE__BODY_REQUEST:
        renewal_on_request(control->renewal, role, message->request);
        return;
    default:
        // role_message_decode lets nothing else through.
        abort();
    }
}

static void on_role_gone(void *owner, enum role role, enum err err)
{
    struct control *control = owner;

    control->links[role] = NULL;
    if (control->closing)
        return;
    log_event(LOG_LEVEL_INFO, "role.gone", LOG_STR("name", role_name(role)), LOG_STR("cause", err_text(err)));
    intake_on_role_gone(control->intake, role == ROLE_NETWORK ? APPLY_NETWORK : APPLY_HTTPS);
    control_shut_down(control, CONTROL_EXIT_FAILED);
}

const struct role_link_events control_link_events = {.on_message = on_role_message, .on_gone = on_role_gone};
