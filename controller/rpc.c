// SPDX-License-Identifier: GPL-2.0-or-later
#include "controller/rpc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin.pb-c.h"
#include "control.pb-c.h"
#include "controller/audit.h"
#include "controller/handlers.h"
#include "controller/store/admins.h"
#include "controller/stream.h"
#include "proto/base/log.h"
#include "proto/wire/message.h"

enum caller { CALLER_ANYONE, CALLER_AGENT, CALLER_ADMIN };

struct method {
    const char *path;
    enum caller caller;
    const ProtobufCMessageDescriptor *request;
    void (*handle)(struct call *call, const ProtobufCMessage *request); // NULL: Session, a stream
    const char *action; // name in the audit log of a method that changes something
};

#define ADMIN "/twofold.v1.Admin/"

static const struct method methods[] = {
    {"/twofold.v1.Enrolment/Enrol", CALLER_ANYONE, &twofold__v1__enrol_request__descriptor, handle_enrol, NULL},
    {"/twofold.v1.Enrolment/Renew", CALLER_AGENT, &twofold__v1__renew_request__descriptor, handle_renew, NULL},
    {"/twofold.v1.Control/Session", CALLER_AGENT, NULL, NULL, NULL},
    {ADMIN "CreateToken", CALLER_ADMIN, &twofold__v1__create_token_request__descriptor, handle_create_token,
     "token.create"},
    {ADMIN "CheckPolicy", CALLER_ADMIN, &twofold__v1__check_policy_request__descriptor, handle_check_policy, NULL},
    {ADMIN "ApplyPolicy", CALLER_ADMIN, &twofold__v1__apply_policy_request__descriptor, handle_apply_policy,
     "policy.apply"},
    {ADMIN "ShowPolicy", CALLER_ADMIN, &twofold__v1__show_policy_request__descriptor, handle_show_policy, NULL},
    {ADMIN "ListHosts", CALLER_ADMIN, &twofold__v1__list_hosts_request__descriptor, handle_list_hosts, NULL},
    {ADMIN "RevokeHost", CALLER_ADMIN, &twofold__v1__revoke_host_request__descriptor, handle_revoke_host,
     "host.revoke"},
    {ADMIN "GetStatus", CALLER_ADMIN, &twofold__v1__get_status_request__descriptor, handle_get_status, NULL},
    {ADMIN "Explain", CALLER_ADMIN, &twofold__v1__explain_request__descriptor, handle_explain, NULL},
    {ADMIN "ListAudit", CALLER_ADMIN, &twofold__v1__list_audit_request__descriptor, handle_list_audit, NULL},
};

static const struct rate denial_rate = {.interval_ms = 1000, .burst = 60};

enum grpc_status rpc_status(enum err err)
{
    switch (err) {
    case ERR_OK:
        return GRPC_OK;
    case ERR_AGAIN:
    case ERR_CLOSED:
    case ERR_UNREACHABLE:
    case ERR_NOMEM:
        return GRPC_UNAVAILABLE;
    case ERR_TIMEOUT:
        return GRPC_DEADLINE_EXCEEDED;
    case ERR_FULL:
    case ERR_LIMIT:
        return GRPC_RESOURCE_EXHAUSTED;
    case ERR_CORRUPT:
        return GRPC_DATA_LOSS;
    case ERR_MALFORMED:
    case ERR_PROTOCOL:
    case ERR_INVALID:
    case ERR_USAGE:
    case ERR_CRYPTO: // of a request's signature: what ours does wrong is ERR_IO and kin
        return GRPC_INVALID_ARGUMENT;
    case ERR_IDENTITY:
        return GRPC_UNAUTHENTICATED;
    case ERR_DENIED:
    case ERR_REVOKED:
    case ERR_EXPIRED:
    case ERR_STALE:
        return GRPC_PERMISSION_DENIED;
    case ERR_NOT_FOUND:
        return GRPC_NOT_FOUND;
    case ERR_EXISTS:
        return GRPC_ALREADY_EXISTS;
    case ERR_UNSUPPORTED:
        return GRPC_UNIMPLEMENTED;
    case ERR_IO:
    case ERR_KERNEL:
        return GRPC_INTERNAL;
    }
    abort();
}

// ---- answers

void call_answer(struct call *call, const ProtobufCMessage *response)
{
    uint8_t *bytes = NULL;
    size_t len = 0;
    enum err err = message_encode(response, &bytes, &len);
    if (err == ERR_OK)
        err = grpc_call_send(call->grpc, bytes, len);
    free(bytes);
    call->answered = true;
    grpc_call_finish(call->grpc, rpc_status(err), err == ERR_OK ? "" : "the answer could not be sent");
}

void call_audit_refusal(struct call *call, const char *outcome)
{
    struct daemon *daemon = call->daemon;
    if (call->method->action == NULL)
        return;
    struct audit_event event = {
        .actor = call->caller, .action = call->method->action, .object = call->object, .outcome = outcome};
    audit_refused(daemon->state.store, daemon->clock, &event);
}

// Anyone can fill a log by failing.
static bool may_log(const struct call *call)
{
    struct daemon *daemon = call->daemon;
    return call->method->caller != CALLER_ANYONE ||
           bucket_take(&daemon->denials, &denial_rate, clock_boot_ms(daemon->clock));
}

void call_refuse_text(struct call *call, enum err err, const char *text)
{
    call_audit_refusal(call, text);
    if (may_log(call))
        log_event(LOG_LEVEL_WARNING, "call.refused", LOG_STR("method", call->method->path),
                  LOG_STR("caller", call->caller), LOG_STR("error", err_name(err)), LOG_STR("reason", text));
    call->answered = true;
    grpc_call_finish(call->grpc, rpc_status(err), text);
}

void call_refuse(struct call *call, enum err err, const struct note *note)
{
    call_refuse_text(call, err, note->text[0] != '\0' ? note->text : err_text(err));
}

enum err call_audit(struct call *call, struct note *note)
{
    struct audit_event event = {
        .actor = call->caller, .action = call->method->action, .object = call->object, .outcome = "ok"};
    return audit_write(call->daemon->state.store, call->daemon->clock, &event, note);
}

// ---- who may call

static enum err check_kind(const struct daemon *daemon, const struct method *method, const struct cert_facts *peer,
                           struct note *note)
{
    enum spiffe_kind kind = method->caller == CALLER_AGENT ? SPIFFE_AGENT : SPIFFE_ADMIN;
    if (peer == NULL)
        return note_set(note, ERR_IDENTITY, "this needs a client certificate: show that of an %s",
                        kind == SPIFFE_AGENT ? "agent" : "administrator");
    if (peer->id.kind != kind || strcmp(peer->id.trust_domain, daemon->state.config.trust_domain) != 0) {
        return note_set(note, ERR_DENIED, "this needs the certificate of an %s of %s",
                        kind == SPIFFE_AGENT ? "agent" : "administrator", daemon->state.config.trust_domain);
    }
    return ERR_OK;
}

static enum err check_admin(const struct daemon *daemon, const struct cert_facts *peer, struct note *note)
{
    bool known = false;
    enum err err =
        store_admin_is_known(daemon->state.store, peer->id.name, peer->serial, peer->serial_len, &known, note);
    if (err == ERR_OK && !known)
        return note_set(note, ERR_DENIED, "administrator %s was removed or has a newer certificate", peer->id.name);
    return err;
}

static enum err check_caller(struct daemon *daemon, const struct method *method, const struct cert_facts *peer,
                             struct note *note)
{
    if (method->caller == CALLER_ANYONE)
        return ERR_OK;
    enum err err = check_kind(daemon, method, peer, note);
    if (err != ERR_OK)
        return err;
    if (method->caller == CALLER_ADMIN)
        return check_admin(daemon, peer, note);
    struct host_record host;
    return enrol_check_agent(&daemon->enrolment, peer, &host, note);
}

static void deny(struct daemon *daemon, struct grpc_call *grpc, const struct method *method, const char *caller,
                 const struct ip_endpoint *remote, enum err err, const struct note *note)
{
    char source[IP_ENDPOINT_TEXT_BYTES];
    ip_endpoint_format(remote, source);
    if (bucket_take(&daemon->denials, &denial_rate, clock_boot_ms(daemon->clock))) {
        struct audit_event event = {.actor = caller[0] != '\0' ? caller : source,
                                    .action = "call.denied",
                                    .object = method->path,
                                    .outcome = note->text};
        if (method->caller == CALLER_ADMIN)
            audit_refused(daemon->state.store, daemon->clock, &event);
        else
            log_event(LOG_LEVEL_WARNING, "call.denied", LOG_STR("method", method->path), LOG_STR("caller", caller),
                      LOG_STR("source", source), LOG_STR("reason", note->text));
    }
    grpc_call_finish(grpc, rpc_status(err), note->text);
}

// ---- one call

static void on_message(void *owner, struct grpc_call *grpc, const uint8_t *bytes, size_t len)
{
    (void)grpc;
    struct call *call = owner;
    if (call->answered)
        return;
    if (call->request != NULL) {
        call_refuse_text(call, ERR_PROTOCOL, "one message was expected, and two came");
        return;
    }
    enum err err = message_decode(call->method->request, bytes, len, &call->request);
    if (err != ERR_OK)
        call_refuse_text(call, err, "the request cannot be decoded");
}

static void on_half_close(void *owner, struct grpc_call *grpc)
{
    (void)grpc;
    struct call *call = owner;
    if (call->answered)
        return;
    if (call->request == NULL)
        call_refuse_text(call, ERR_PROTOCOL, "one message was expected, and none came");
    else
        call->method->handle(call, call->request);
}

static void on_done(void *owner, struct grpc_call *grpc, enum grpc_status status, const char *text)
{
    (void)grpc;
    struct call *call = owner;
    if (!call->answered && call->on_gone != NULL)
        call->on_gone(call);
    // A caller that hangs up is none to be told of.
    if (!call->answered && status != GRPC_CANCELLED && status != GRPC_UNAVAILABLE && may_log(call))
        log_event(LOG_LEVEL_INFO, "call.failed", LOG_STR("method", call->method->path), LOG_STR("caller", call->caller),
                  LOG_STR("reason", text));
    message_free(call->request);
    free(call);
}

static const struct grpc_call_events events = {
    .on_message = on_message, .on_half_close = on_half_close, .on_done = on_done};

static void take(struct daemon *daemon, struct grpc_call *grpc, const struct method *method, const char *caller,
                 const struct cert_facts *peer, const struct ip_endpoint *remote)
{
    struct call *call = calloc(1, sizeof(*call));
    if (call == NULL) {
        grpc_call_finish(grpc, GRPC_UNAVAILABLE, "the controller is out of memory");
        return;
    }
    call->daemon = daemon;
    call->grpc = grpc;
    call->method = method;
    snprintf(call->caller, sizeof(call->caller), "%s", caller);
    if (peer != NULL)
        call->peer = *peer;
    call->remote = *remote;
    grpc_call_set_owner(grpc, &events, call);
}

static const struct method *find_method(const char *path)
{
    for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
        if (strcmp(methods[i].path, path) == 0)
            return &methods[i];
    }
    return NULL;
}

void rpc_on_call(void *owner, struct grpc_call *grpc, const char *path, const struct cert_facts *peer,
                 const struct ip_endpoint *remote)
{
    struct daemon *daemon = owner;
    const struct method *method = find_method(path);
    if (method == NULL) {
        grpc_call_finish(grpc, GRPC_UNIMPLEMENTED, "there is no such method");
        return;
    }
    char caller[SPIFFE_TEXT_BYTES] = "";
    if (peer != NULL)
        spiffe_format(&peer->id, caller);
    struct note note = {0};
    enum err err = check_caller(daemon, method, peer, &note);
    if (err != ERR_OK)
        deny(daemon, grpc, method, caller, remote, err, &note);
    else if (method->handle == NULL)
        stream_open(daemon, grpc, peer->id.name);
    else
        take(daemon, grpc, method, caller, peer, remote);
}
