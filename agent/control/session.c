// SPDX-License-Identifier: GPL-2.0-or-later
// To and from the controller, over the uplink; and the renewal of the certificates, which goes through it.
#include "agent/control/control.h"

#include "proto/base/log.h"
#include "proto/wire/slice.h"

// ---- the session's callbacks

static void fill_hello(void *owner, Twofold__V1__Hello *hello)
{
    struct control *control = owner;
    const Twofold__V1__Slice *slice = intake_slice(control->intake);

    hello->version = (char *)TWOFOLD_VERSION;
    if (slice) {
        hello->generation = slice->settings->generation;
        hello->digest.data = (uint8_t *)intake_digest(control->intake);
        hello->digest.len = DIGEST_BYTES;
    }
}

static void on_session_open(void *owner)
{
    struct control *control = owner;

    log_event(LOG_LEVEL_INFO, "session.open", LOG_STR("controller", control->controller_text));
    control->reported_boot_ms = 0;
    // The controller may never have seen it, or has lost it.
    control_send_publish(control);
    control_report(control);
}

static void on_session_lost(void *owner, const char *why)
{
    struct control *control = owner;

    (void)why; // logged by the uplink and told in the status
    intake_on_session_lost(control->intake);
}

static void on_bundle(struct control *control, const Twofold__V1__Bundle *bundle)
{
    const Twofold__V1__Slice *slice = intake_slice(control->intake);

    if (slice && !intake_is_busy(control->intake) && slice_peer(slice, bundle->host)) {
        control_send_bundle(control, bundle);
        return;
    }
    enum err err = early_keep(control->early, bundle);
    if (err)
        log_event(LOG_LEVEL_WARNING, "relay.dropped", LOG_STR("what", "bundle"), LOG_STR("host", bundle->host),
                  LOG_STR("cause", err_text(err)));
}

static void on_controller_message(void *owner, const Twofold__V1__ControllerMessage *message)
{
    struct control *control = owner;

    switch (message->body_case) {
    case TWOFOLD__V1__CONTROLLER_MESSAGE__BODY_DELTA:
        intake_on_delta(control->intake, message->delta);
        return;
    case TWOFOLD__V1__CONTROLLER_MESSAGE__BODY_BUNDLE:
        on_bundle(control, message->bundle);
        return;
    case TWOFOLD__V1__CONTROLLER_MESSAGE__BODY_PAIR:
        control_send_pair(control, message->pair);
        return;
    case TWOFOLD__V1__CONTROLLER_MESSAGE__BODY_PUBLISH:
        control_send_publish(control);
        return;
    default:
        // A newer controller may say more than this agent knows.
        log_event(LOG_LEVEL_WARNING, "session.unknown_message", LOG_U64("kind", (uint64_t)message->body_case));
        return;
    }
}

static void on_renewed_answer(void *owner, const Twofold__V1__EnrolResponse *response, const char *why)
{
    struct control *control = owner;

    renewal_on_response(control->renewal, response, why);
}

const struct uplink_events control_uplink_events = {
    .hello = fill_hello,
    .on_open = on_session_open,
    .on_message = on_controller_message,
    .on_lost = on_session_lost,
    .on_renewed = on_renewed_answer,
};

// ---- renewal's actions

static enum err ask_role_for_request(void *context, enum role role)
{
    Twofold__V1__RoleMessage message = TWOFOLD__V1__ROLE_MESSAGE__INIT;
    Twofold__V1__RenewalStart start = TWOFOLD__V1__RENEWAL_START__INIT;

    message.body_case = TWOFOLD__V1__ROLE_MESSAGE__BODY_RENEWAL_START;
    message.renewal_start = &start;
    return control_send(context, role, &message);
}

static enum err make_own_request(void *context, uint8_t **ret_request, size_t *ret_len, struct note *note)
{
    struct control *control = context;

    return identity_begin(control->identity, ret_request, ret_len, note);
}

static enum err call_renew(void *context, const Twofold__V1__RenewRequest *request)
{
    struct control *control = context;

    return uplink_renew(control->uplink, request);
}

static enum err install_own(void *context, const Twofold__V1__EnrolResponse *response, struct note *note)
{
    struct control *control = context;

    enum err err =
        identity_finish(control->identity, response->agent.data, response->agent.len, response->network_ca.data,
                        response->network_ca.len, clock_unix_ms(&clock_system) / 1000, note);
    if (!err)
        control_use_identity(control);
    return err;
}

static enum err deliver_certificate(void *context, enum role role, const Twofold__V1__Certificate *certificate)
{
    Twofold__V1__RoleMessage message = TWOFOLD__V1__ROLE_MESSAGE__INIT;

    message.body_case = TWOFOLD__V1__ROLE_MESSAGE__BODY_CERTIFICATE;
    message.certificate = (Twofold__V1__Certificate *)certificate;
    return control_send(context, role, &message);
}

static void on_certificates_renewed(void *context, uint64_t not_after)
{
    (void)context;
    log_event(LOG_LEVEL_INFO, "certificates.renewed", LOG_U64("not_after", not_after));
}

static void on_renewal_failed(void *context, const char *why, uint64_t retry_ms)
{
    struct control *control = context;

    log_event(LOG_LEVEL_WARNING, "certificates.not_renewed", LOG_STR("cause", why), LOG_U64("retry_ms", retry_ms),
              LOG_U64("not_after", control->identity->facts.not_after));
}

const struct renewal_actions control_renewal_actions = {
    .ask_role = ask_role_for_request,
    .own_request = make_own_request,
    .call = call_renew,
    .install = install_own,
    .deliver = deliver_certificate,
    .renewed = on_certificates_renewed,
    .failed = on_renewal_failed,
};
