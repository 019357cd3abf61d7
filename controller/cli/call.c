// SPDX-License-Identifier: GPL-2.0-or-later
// connect -> on_channel_open (is it a controller?) -> call -> on_message -> on_done -> close -> on_channel_gone. The first thing that
// fails is what is told; what follows from it is not.
#include "controller/cli/call.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "controller/cli/admin_credentials.h"
#include "controller/cli/format.h"
#include "proto/base/clock.h"
#include "proto/link/conn.h"
#include "proto/link/grpc.h"
#include "proto/link/tls.h"
#include "proto/wire/message.h"

struct unary {
    const struct admin_credentials *credentials;
    char path[96];
    const uint8_t *request;
    size_t request_len;
    uint64_t timeout_ms;
    const ProtobufCMessageDescriptor *answer_type;
    ProtobufCMessage *answer;
    struct grpc_channel *channel; // until on_channel_gone
    bool finished;                // `err` and `note` stand
    enum err err;
    struct note *note;
};

static void finish(struct unary *unary, enum err err)
{
    if (unary->finished)
        return;
    unary->finished = true;
    unary->err = err;
}

static enum err err_of_status(enum grpc_status status)
{
    switch (status) {
    case GRPC_OK:
        return ERR_OK;
    case GRPC_DEADLINE_EXCEEDED:
        return ERR_TIMEOUT;
    case GRPC_UNAVAILABLE:
        return ERR_UNREACHABLE;
    case GRPC_PERMISSION_DENIED:
    case GRPC_UNAUTHENTICATED:
        return ERR_DENIED;
    case GRPC_NOT_FOUND:
        return ERR_NOT_FOUND;
    case GRPC_ALREADY_EXISTS:
        return ERR_EXISTS;
    case GRPC_RESOURCE_EXHAUSTED:
        return ERR_LIMIT;
    default:
        return ERR_INVALID;
    }
}

// ---- the call

static void on_message(void *owner, struct grpc_call *call, const uint8_t *bytes, size_t len)
{
    struct unary *unary = owner;
    (void)call;
    enum err err = unary->answer ? ERR_PROTOCOL : message_decode(unary->answer_type, bytes, len, &unary->answer);
    if (!err || unary->finished)
        return;
    note_set(unary->note, err,
             "The controller's answer cannot be read (%s): do `twofold` and the controller have the same version?",
             err_text(err));
    finish(unary, err);
}

static void on_done(void *owner, struct grpc_call *call, enum grpc_status status, const char *text)
{
    struct unary *unary = owner;
    (void)call;
    if (!unary->finished && status == GRPC_OK && !unary->answer)
        note_set(unary->note, ERR_PROTOCOL, "The controller ended the call without an answer.");
    if (!unary->finished && status == GRPC_DEADLINE_EXCEEDED)
        note_set(unary->note, ERR_TIMEOUT,
                 "The controller did not answer in time: is it busy? --timeout waits longer.");
    else if (!unary->finished && status != GRPC_OK) {
        char plain[NOTE_TEXT_BYTES];
        snprintf(plain, sizeof(plain), "%s", text && text[0] ? text : err_text(err_of_status(status)));
        note_set(unary->note, ERR_OK, "The controller refuses: %.400s", format_plain(plain));
    }
    finish(unary, status == GRPC_OK && !unary->answer ? ERR_PROTOCOL : err_of_status(status));
    if (unary->channel)
        grpc_channel_close(unary->channel);
}

static const struct grpc_call_events call_events = {.on_message = on_message, .on_done = on_done};

// ---- the channel

// Every host has a certificate of the same CA: only a controller's will do here.
static enum err check_controller(const struct unary *unary, struct grpc_channel *channel)
{
    const struct cert_facts *peer = conn_peer(grpc_channel_conn(channel));
    if (peer && peer->id.kind == SPIFFE_CONTROLLER &&
        strcmp(peer->id.trust_domain, unary->credentials->facts.id.trust_domain) == 0)
        return ERR_OK;
    return note_set(unary->note, ERR_IDENTITY,
                    "What answers there is no controller of trust domain '%s': check the address in %.200s/controller.",
                    unary->credentials->facts.id.trust_domain, unary->credentials->folder);
}

static enum err start(struct unary *unary, struct grpc_channel *channel)
{
    struct grpc_call *call;
    enum err err;
    if ((err = check_controller(unary, channel)))
        return err;
    if ((err = grpc_call_start(channel, unary->path, unary->timeout_ms, &call_events, unary, &call)) ||
        (err = grpc_call_send(call, unary->request, unary->request_len)) || (err = grpc_call_half_close(call)))
        return note_set(unary->note, err, "The call could not be sent: %s.", err_text(err));
    return ERR_OK;
}

static void on_channel_open(void *owner, struct grpc_channel *channel)
{
    struct unary *unary = owner;
    enum err err = start(unary, channel);
    if (err) {
        finish(unary, err);
        grpc_channel_close(channel);
    }
}

static void on_channel_gone(void *owner, struct grpc_channel *channel, enum err err, const struct note *note)
{
    struct unary *unary = owner;
    char endpoint[IP_ENDPOINT_TEXT_BYTES];
    (void)channel;
    unary->channel = NULL;
    if (unary->finished)
        return;
    ip_endpoint_format(&unary->credentials->controller, endpoint);
    const char *why = note && note->text[0] ? note->text : err_text(err);
    if (err_category(err) == ERR_CATEGORY_PEER)
        note_set(
            unary->note, err,
            "What answers at %s is not accepted as the controller of the credentials in %.100s (%.250s): check the "
            "address, the folder and the clocks.",
            endpoint, unary->credentials->folder, why);
    else
        note_set(unary->note, err,
                 "The controller at %s does not answer (%.300s): is it running, and is the way there open?", endpoint,
                 why);
    finish(unary, err ? err : ERR_CLOSED);
}

static const struct grpc_channel_events channel_events = {.on_open = on_channel_open, .on_gone = on_channel_gone};

static enum err run_loop(struct unary *unary, struct tls_context *context)
{
    uv_loop_t loop;
    if (uv_loop_init(&loop))
        return note_set(unary->note, ERR_NOMEM, "There is not enough memory for the call.");
    enum err err = grpc_connect(&loop, &unary->credentials->controller, NULL, context, unary->timeout_ms,
                                &channel_events, unary, &unary->channel);
    if (err)
        note_set(unary->note, err, "The controller cannot be reached: %s.", err_text(err));
    else
        uv_run(&loop, UV_RUN_DEFAULT);
    while (uv_loop_close(&loop) == UV_EBUSY)
        uv_run(&loop, UV_RUN_NOWAIT);
    return err ? err : unary->err;
}

static enum err make_context(const struct admin_credentials *credentials, struct tls_context **ret_context,
                             struct note *note)
{
    const struct tls_config config = {
        .side = TLS_CLIENT,
        .peer_check = TLS_PEER_REQUIRED,
        .key = credentials->key,
        .certificate = credentials->certificate,
        .certificate_len = credentials->certificate_len,
        .trust = credentials->trust,
        .alpn = "h2",
        .clock = &clock_system,
    };
    return tls_context_new(&config, ret_context, note);
}

static enum err call_with(const struct admin_credentials *credentials, struct unary *unary,
                          const ProtobufCMessage *request)
{
    struct tls_context *context;
    uint8_t *bytes;
    enum err err;

    unary->credentials = credentials;
    if ((err = message_encode(request, &bytes, &unary->request_len)))
        return note_set(unary->note, err, "There is not enough memory for the call.");
    unary->request = bytes;
    if (!(err = make_context(credentials, &context, unary->note))) {
        err = run_loop(unary, context);
        tls_context_drop(context);
    }
    free(bytes);
    return err;
}

enum err call_admin(const struct args *args, const char *method, const ProtobufCMessage *request,
                    const ProtobufCMessageDescriptor *answer_type, uint64_t extra_ms, void *ret_answer,
                    struct note *note)
{
    struct unary unary = {.answer_type = answer_type, .note = note};
    struct admin_credentials credentials;
    uint64_t seconds;
    enum err err;

    if ((err = args_number(args, "timeout", 10, 1, 3600, &seconds, note)) ||
        (err = admin_credentials_load(args, &credentials, note)))
        return err;
    unary.timeout_ms = seconds * 1000 + extra_ms;
    snprintf(unary.path, sizeof(unary.path), "/twofold.v1.Admin/%s", method);
    err = call_with(&credentials, &unary, request);
    admin_credentials_free(&credentials);
    if (err)
        message_free(unary.answer);
    else
        *(ProtobufCMessage **)ret_answer = unary.answer;
    return err;
}
