// SPDX-License-Identifier: GPL-2.0-or-later
// Order: token -> keys and requests -> connect (pinned) -> Enrol -> answer -> close -> loop ends -> check -> store.
#include "agent/enrol.h"

#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <unistd.h>
#include <uv.h>

#include "agent/folders.h"
#include "agent/identity.h"
#include "agent/user.h"
#include "proto/base/file.h"
#include "proto/base/secret.h"
#include "proto/link/conn.h"
#include "proto/link/grpc.h"
#include "proto/wire/message.h"

enum { CONNECT_MS = 10000, CALL_MS = 20000 };

enum part { PART_AGENT, PART_HOST, PART_WORKLOAD };

#define PARTS 3

static const char *const PART_NAMES[PARTS] = {"agent", "host", "workload"};
static const enum spiffe_kind PART_KINDS[PARTS] = {SPIFFE_AGENT, SPIFFE_HOST, SPIFFE_WORKLOAD};

struct enrolment {
    uv_loop_t loop;
    struct token token;
    struct ip_endpoint controller;
    struct key *keys[PARTS];
    struct grpc_channel *channel; // until on_gone
    uint8_t *request;             // encoded; holds the token's secret
    size_t request_len;
    Twofold__V1__EnrolResponse *response; // NULL: none yet
    enum err err;
    struct note note;
};

// ---- the answer

static enum err check_part(const Twofold__V1__EnrolResponse *response, enum part part, const struct token *token,
                           const struct key *key, uint64_t now, struct cert_facts *ret_facts, struct note *note)
{
    const ProtobufCBinaryData *leaves[PARTS] = {&response->agent, &response->host, &response->workload};
    const ProtobufCBinaryData *ca = part == PART_WORKLOAD ? &response->workload_ca : &response->network_ca;
    uint8_t spki[DIGEST_BYTES];
    struct trust *trust;

    enum err err = trust_new(&trust);
    if (err)
        return note_set(note, err, "%s", err_text(err));
    err = trust_add(trust, ca->data, ca->len, note);
    if (!err)
        err = trust_verify(trust, leaves[part]->data, leaves[part]->len, now, ret_facts, note);
    trust_free(trust);
    if (err) {
        note_prefix(note, "the controller's answer, %s certificate: ", PART_NAMES[part]);
        return err;
    }
    if ((err = key_spki_sha384(key, spki)))
        return note_set(note, err, "cannot read the %s key's public half", PART_NAMES[part]);
    if (memcmp(spki, ret_facts->spki_sha384, sizeof(spki)) != 0)
        return note_set(note, ERR_IDENTITY, "the controller answered with a %s certificate for another key",
                        PART_NAMES[part]);
    if (ret_facts->id.kind != PART_KINDS[part] || strcmp(ret_facts->id.trust_domain, token->trust_domain) != 0)
        return note_set(note, ERR_IDENTITY,
                        "the controller answered with something else than the %s certificate of a host in %s",
                        PART_NAMES[part], token->trust_domain);
    if (part != PART_WORKLOAD && strcmp(ret_facts->id.name, token->host) != 0)
        return note_set(note, ERR_IDENTITY,
                        "the controller answered with the %s certificate of '%s', this host is '%s'", PART_NAMES[part],
                        ret_facts->id.name, token->host);
    return ERR_OK;
}

static enum err check_anchors(const Twofold__V1__EnrolResponse *response, const struct token *token, struct note *note)
{
    struct cert_facts network, workload;
    enum err err;

    if ((err = cert_parse(response->network_ca.data, response->network_ca.len, &network, note)) ||
        (err = cert_parse(response->workload_ca.data, response->workload_ca.len, &workload, note))) {
        note_prefix(note, "the controller's answer, CA certificate: ");
        return err;
    }
    if (!network.is_ca || !workload.is_ca)
        return note_set(note, ERR_IDENTITY, "the controller answered with a CA certificate that is none");
    if (!secret_equal(network.spki_sha384, token->ca_sha384, DIGEST_BYTES))
        return note_set(note, ERR_IDENTITY, "the controller answered with another network CA than the token pins");
    if (memcmp(network.spki_sha384, workload.spki_sha384, DIGEST_BYTES) == 0)
        return note_set(note, ERR_IDENTITY,
                        "the controller uses one CA key for both layers: they would not be independent");
    return ERR_OK;
}

static bool same_addresses(const struct cert_facts *a, const struct cert_facts *b)
{
    return a->slot == b->slot && a->address_count == b->address_count &&
           memcmp(a->addresses, b->addresses, a->address_count * sizeof(a->addresses[0])) == 0;
}

enum err enrol_check(const Twofold__V1__EnrolResponse *response, const struct token *token,
                     const struct key *const keys[3], uint64_t now, struct note *note)
{
    struct cert_facts facts[PARTS];

    enum err err = check_anchors(response, token, note);
    for (enum part part = 0; !err && part < PARTS; part++)
        err = check_part(response, part, token, keys[part], now, &facts[part], note);
    if (err)
        return err;
    if (!same_addresses(&facts[PART_AGENT], &facts[PART_HOST]))
        return note_set(note, ERR_IDENTITY,
                        "the controller's agent and host certificates don't agree on the host's slot and addresses");
    return ERR_OK;
}

// ---- the call

static void end(struct enrolment *enrolment, enum err err, const char *text)
{
    if (!enrolment->err && !enrolment->response)
        enrolment->err = note_set(&enrolment->note, err, "%s", text);
}

static void on_message(void *owner, struct grpc_call *call, const uint8_t *bytes, size_t len)
{
    struct enrolment *enrolment = owner;
    ProtobufCMessage *message;

    if (enrolment->response)
        return end(enrolment, ERR_PROTOCOL, "the controller answered twice");
    enum err err = message_decode(&twofold__v1__enrol_response__descriptor, bytes, len, &message);
    if (err) {
        end(enrolment, err, "the controller's answer cannot be read");
        grpc_call_cancel(call);
        return;
    }
    enrolment->response = (Twofold__V1__EnrolResponse *)message;
}

static void on_done(void *owner, struct grpc_call *call, enum grpc_status status, const char *text)
{
    struct enrolment *enrolment = owner;

    (void)call;
    if (status != GRPC_OK) {
        message_free(enrolment->response);
        enrolment->response = NULL;
        if (!enrolment->err)
            enrolment->err = note_set(&enrolment->note, ERR_DENIED, "the controller refused: %s",
                                      text && text[0] ? text : "it gave no reason");
    } else if (!enrolment->response) {
        end(enrolment, ERR_PROTOCOL, "the controller answered without certificates");
    }
    grpc_channel_close(enrolment->channel);
}

static const struct grpc_call_events CALL_EVENTS = {.on_message = on_message, .on_done = on_done};

static enum err check_controller(const struct enrolment *enrolment, struct note *note)
{
    const struct cert_facts *peer = conn_peer(grpc_channel_conn(enrolment->channel));

    if (!peer || peer->id.kind != SPIFFE_CONTROLLER ||
        strcmp(peer->id.trust_domain, enrolment->token.trust_domain) != 0)
        return note_set(note, ERR_IDENTITY,
                        "what answers there is not a controller of %s, although the token's CA vouches for it",
                        enrolment->token.trust_domain);
    return ERR_OK;
}

static void on_open(void *owner, struct grpc_channel *channel)
{
    struct enrolment *enrolment = owner;
    struct grpc_call *call;

    enum err err = check_controller(enrolment, &enrolment->note);
    if (!err) {
        err = grpc_call_start(channel, "/twofold.v1.Enrolment/Enrol", CALL_MS, &CALL_EVENTS, enrolment, &call);
        if (!err)
            err = grpc_call_send(call, enrolment->request, enrolment->request_len);
        if (!err)
            err = grpc_call_half_close(call);
        if (err)
            note_set(&enrolment->note, err, "the request could not be sent: %s", err_text(err));
    }
    if (err) {
        enrolment->err = err;
        grpc_channel_close(channel);
    }
}

static void on_gone(void *owner, struct grpc_channel *channel, enum err err, const struct note *note)
{
    struct enrolment *enrolment = owner;

    (void)channel;
    enrolment->channel = NULL;
    if (!enrolment->response)
        end(enrolment, err ? err : ERR_CLOSED, note && note->text[0] ? note->text : "the connection was closed");
}

static const struct grpc_channel_events CHANNEL_EVENTS = {.on_open = on_open, .on_gone = on_gone};

static enum err make_context(const struct enrolment *enrolment, struct tls_context **ret_context, struct note *note)
{
    const struct tls_config config = {
        .side = TLS_CLIENT,
        .peer_check = TLS_PEER_PIN,
        .pin = enrolment->token.ca_sha384,
        .alpn = "h2",
        .clock = &clock_system,
    };

    return tls_context_new(&config, ret_context, note);
}

// Where a host is enrolled already, its rules let the control role's user to its controller and nobody else: the socket is
// made as that user.
static enum err connect_as(const struct user *user, struct enrolment *enrolment, struct tls_context *context)
{
    int own = setfsuid(user->uid);
    enum err err = grpc_connect(&enrolment->loop, &enrolment->controller, NULL, context, CONNECT_MS, &CHANNEL_EVENTS,
                                enrolment, &enrolment->channel);

    setfsuid((uid_t)own);
    return err;
}

static const char *connect_remedy(enum err err, const char *state)
{
    if (err != ERR_UNREACHABLE && err != ERR_TIMEOUT)
        return "";
    return folders_is_enrolled(state) ? ": does twofold-controller run there? This host's rules let it reach the "
                                        "controller that it is enrolled "
                                        "with and no other one; 'twofold-agent clear' takes them away"
                                      : ": does twofold-controller run there, and is the way open?";
}

static enum err call_controller(struct enrolment *enrolment, const struct options *options, const struct user *user,
                                struct note *note)
{
    struct tls_context *context;
    char text[IP_ENDPOINT_TEXT_BYTES];

    enum err err = make_context(enrolment, &context, note);
    if (err)
        return err;
    if (uv_loop_init(&enrolment->loop) < 0) {
        tls_context_drop(context);
        return note_set(note, ERR_NOMEM, "cannot start an event loop");
    }
    ip_endpoint_format(&enrolment->controller, text);
    err = connect_as(user, enrolment, context);
    tls_context_drop(context);
    if (err)
        note_set(note, err, "cannot connect to the controller at %s: %s", text, err_text(err));
    uv_run(&enrolment->loop, UV_RUN_DEFAULT);
    uv_loop_close(&enrolment->loop);
    if (!err && enrolment->err) {
        err = enrolment->err;
        note_set(note, err, "controller %s: %s%s", text, enrolment->note.text, connect_remedy(err, options->state));
    }
    return err;
}

// ---- keys, requests and what is kept

static enum err make_request(struct enrolment *enrolment, struct note *note)
{
    Twofold__V1__EnrolRequest request = TWOFOLD__V1__ENROL_REQUEST__INIT;
    Twofold__V1__CertificateRequests requests = TWOFOLD__V1__CERTIFICATE_REQUESTS__INIT;
    ProtobufCBinaryData *slots[PARTS] = {&requests.agent, &requests.host, &requests.workload};
    enum err err = ERR_OK;

    for (enum part part = 0; !err && part < PARTS; part++) {
        err = key_new(&enrolment->keys[part]);
        if (!err)
            err = key_request(enrolment->keys[part], enrolment->token.host, &slots[part]->data, &slots[part]->len);
    }
    request.token_id.data = enrolment->token.id;
    request.token_id.len = sizeof(enrolment->token.id);
    request.token_secret.data = enrolment->token.secret;
    request.token_secret.len = sizeof(enrolment->token.secret);
    request.host = enrolment->token.host;
    request.requests = &requests;
    if (!err)
        err = message_encode(&request.base, &enrolment->request, &enrolment->request_len);
    for (enum part part = 0; part < PARTS; part++)
        free(slots[part]->data);
    return err ? note_set(note, err, "cannot make keys and certificate requests: %s", err_text(err)) : ERR_OK;
}

static enum err save_controller(const struct enrolment *enrolment, const char *folder, struct note *note)
{
    char path[PATH_MAX];
    char text[IP_ENDPOINT_TEXT_BYTES + 1];

    if (snprintf(path, sizeof(path), "%s/controller", folder) >= (int)sizeof(path))
        return note_set(note, ERR_INVALID, "%s: the path is too long", folder);
    ip_endpoint_format(&enrolment->controller, text);
    strcat(text, "\n");
    return file_write(path, text, strlen(text), 0600, note);
}

static enum err save_parts(const struct enrolment *enrolment, const char *staging, struct note *note)
{
    const Twofold__V1__EnrolResponse *response = enrolment->response;
    const ProtobufCBinaryData *leaves[PARTS] = {&response->agent, &response->host, &response->workload};
    static const enum role roles[PARTS] = {ROLE_CONTROL, ROLE_NETWORK, ROLE_HTTPS};
    char folder[PATH_MAX];
    enum err err;

    for (enum part part = 0; part < PARTS; part++) {
        const ProtobufCBinaryData *ca = part == PART_WORKLOAD ? &response->workload_ca : &response->network_ca;

        if ((err = folders_folder(staging, roles[part], folder, sizeof(folder), note)) ||
            (err =
                 identity_save(folder, PART_NAMES[part], part == PART_WORKLOAD ? "workload-ca" : "network-ca",
                               enrolment->keys[part], leaves[part]->data, leaves[part]->len, ca->data, ca->len, note)))
            return err;
    }
    if ((err = folders_folder(staging, ROLE_CONTROL, folder, sizeof(folder), note)))
        return err;
    return save_controller(enrolment, folder, note);
}

static enum err store(const struct enrolment *enrolment, const struct options *options,
                      const struct user users[ROLE_COUNT], struct note *note)
{
    char staging[PATH_MAX];

    enum err err = folders_stage(options->state, staging, sizeof(staging), note);
    if (!err)
        err = save_parts(enrolment, staging, note);
    if (!err)
        err = folders_install(options->state, users, note);
    if (err)
        folders_unstage(options->state);
    return err;
}

static enum err read_token(const char *path, struct token *ret_token, struct note *note)
{
    uint8_t *text;
    size_t len;

    enum err err = file_read(path, TOKEN_TEXT_BYTES + 64, &text, &len, note);
    if (err)
        return err;
    err = strlen((const char *)text) == len ? token_decode((const char *)text, ret_token) : ERR_MALFORMED;
    secret_wipe(text, len);
    free(text);
    return err ? note_set(
                     note, err,
                     "%s holds no join token: it is one line that begins with 'tfj1.', from 'twofold token create'",
                     strcmp(path, "-") == 0 ? "standard input" : path)
               : ERR_OK;
}

static enum err enrol(struct enrolment *enrolment, const struct options *options, const struct user users[ROLE_COUNT],
                      struct note *note)
{
    enum err err;

    if ((err = read_token(options->token_file, &enrolment->token, note)) || (err = make_request(enrolment, note)) ||
        (err = call_controller(enrolment, options, &users[ROLE_CONTROL], note)))
        return err;
    err = enrol_check(enrolment->response, &enrolment->token, (const struct key *const *)enrolment->keys,
                      clock_unix_ms(&clock_system) / 1000, note);
    return err ? err : store(enrolment, options, users, note);
}

static void enrolment_wipe(struct enrolment *enrolment)
{
    for (enum part part = 0; part < PARTS; part++)
        key_free(enrolment->keys[part]);
    if (enrolment->request)
        secret_wipe(enrolment->request, enrolment->request_len);
    free(enrolment->request);
    message_free(enrolment->response);
    secret_wipe(&enrolment->token, sizeof(enrolment->token));
}

enum err enrol_run(const struct options *options, struct note *note)
{
    const char *const names[ROLE_COUNT] = {
        [ROLE_CONTROL] = options->control_user,
        [ROLE_NETWORK] = options->network_user,
        [ROLE_HTTPS] = options->https_user,
    };
    struct enrolment enrolment = {0};
    struct user users[ROLE_COUNT];
    int lock_fd;
    enum err err;

    if (geteuid() != 0)
        return note_set(note, ERR_DENIED, "twofold-agent enrol must be started as root: it gives each role its folder");
    if (ip_endpoint_parse(options->controller, &enrolment.controller) != ERR_OK)
        return note_set(note, ERR_USAGE,
                        "--controller %s is not an address with a port, like 192.0.2.10:7443 or [2001:db8::10]:7443",
                        options->controller);
    if ((err = user_find_roles(names, users, note)) || (err = folders_open(options->state, &lock_fd, note)))
        return err;
    signal(SIGPIPE, SIG_IGN);
    tls_library_start();
    err = folders_reach(options->state, users, note);
    if (!err)
        err = enrol(&enrolment, options, users, note);
    if (!err)
        log_event(LOG_LEVEL_INFO, "host.enrolled", LOG_STR("host", enrolment.token.host),
                  LOG_STR("trust_domain", enrolment.token.trust_domain), LOG_STR("state", options->state));
    enrolment_wipe(&enrolment);
    close(lock_fd);
    return err;
}
