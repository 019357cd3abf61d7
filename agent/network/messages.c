// SPDX-License-Identifier: GPL-2.0-or-later
// What the control role says: slices in two steps, bundles and acknowledgements of peers, renewal, questions.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/network/network.h"
#include "proto/base/log.h"
#include "proto/wire/message.h"
#include "proto/wire/slice.h"

static void answer(struct network *network, uint64_t generation, enum err err, const struct note *note)
{
    Twofold__V1__RoleAnswer body = TWOFOLD__V1__ROLE_ANSWER__INIT;
    Twofold__V1__RoleMessage message = TWOFOLD__V1__ROLE_MESSAGE__INIT;
    body.generation = generation;
    body.ok = err == ERR_OK;
    body.reason = (char *)(err == ERR_OK ? "" : note->text[0] != '\0' ? note->text : err_text(err));
    message.body_case = TWOFOLD__V1__ROLE_MESSAGE__BODY_ANSWER;
    message.answer = &body;
    network_send(network, network->control, &message);
}

// ---- slices

static enum err prepare(struct network *network, const Twofold__V1__Slice *slice, struct note *note)
{
    ProtobufCMessage *copy;
    enum err err = slice_check(slice, note);
    if (err == ERR_OK && strcmp(slice->settings->host, network->identity->facts.id.name) != 0)
        err = note_set(note, ERR_IDENTITY, "the slice is for host '%s', and this is '%s'", slice->settings->host,
                       network->identity->facts.id.name);
    if (err == ERR_OK && network->keying != NULL)
        err = keying_check(network->keying, slice, note);
    if (err == ERR_OK)
        err = dataplane_check(network->dataplane, slice, note);
    if (err != ERR_OK)
        return err;
    err = message_copy(&slice->base, &copy);
    if (err != ERR_OK)
        return note_set(note, err, "%s", err_text(err));
    message_free(network->prepared);
    network->prepared = (Twofold__V1__Slice *)copy;
    return ERR_OK;
}

static void on_prepare(struct network *network, const Twofold__V1__Slice *slice)
{
    struct note note = {0};
    enum err err = prepare(network, slice, &note);
    answer(network, slice->settings != NULL ? slice->settings->generation : 0, err, &note);
}

// At the first slice of this life: the SAs of the one before go on carrying traffic.
static enum err adopt(struct network *network, const Twofold__V1__Slice *slice, struct note *note)
{
    struct sa *sas;
    size_t count;
    enum err err = dataplane_adopt(network->dataplane, slice, &sas, &count, note);
    if (err != ERR_OK)
        return err;
    if (network->keying != NULL)
        err = keying_adopt(network->keying, sas, count);
    free(sas);
    if (err == ERR_OK)
        log_event(LOG_LEVEL_INFO, "sa.adopted", LOG_U64("count", count));
    return err;
}

enum err network_commit(struct network *network, Twofold__V1__Slice *slice, struct note *note)
{
    enum err err = ERR_OK;
    if (!network->adopted) {
        err = adopt(network, slice, note);
        if (err != ERR_OK)
            return err;
        network->adopted = true;
    }
    err = dataplane_commit(network->dataplane, slice, note);
    if (err != ERR_OK)
        return err;
    if (network->keying != NULL)
        err = keying_set_slice(network->keying, slice, note);
    if (err != ERR_OK && network->slice != NULL) {
        struct note undo = {0};
        if (dataplane_commit(network->dataplane, network->slice, &undo) != ERR_OK ||
            keying_set_slice(network->keying, network->slice, &undo) != ERR_OK) {
            // Half of each: the supervisor starts all roles again, and the stored slice is applied whole.
            note_prefix(note, "the old slice could not be put back (%.100s): ", undo.text);
            network_end(network, 1);
        }
        return err;
    }
    if (err != ERR_OK) {
        // Nothing to go back to: start again, with everything refused but what the kernel holds.
        network_end(network, 1);
        return err;
    }
    message_free(network->slice);
    network->slice = slice;
    network->sas_changed = true;
    return ERR_OK;
}

static void on_commit(struct network *network, uint64_t generation)
{
    struct note note = {0};
    enum err err;
    if (network->prepared == NULL || network->prepared->settings->generation != generation) {
        err = note_set(&note, ERR_PROTOCOL, "generation %llu was not prepared", (unsigned long long)generation);
    } else {
        Twofold__V1__Slice *slice = network->prepared;
        network->prepared = NULL;
        err = network_commit(network, slice, &note);
        if (err != ERR_OK && network->is_ending)
            return; // the dataplane may still point at it
        if (err != ERR_OK)
            message_free(slice);
    }
    if (err == ERR_OK)
        log_event(LOG_LEVEL_INFO, "slice.applied", LOG_U64("generation", generation),
                  LOG_U64("peers", network->slice->n_peers), LOG_U64("rules", network->slice->n_rules));
    else
        log_event(LOG_LEVEL_ERROR, "slice.failed", LOG_U64("generation", generation), LOG_STR("cause", note.text));
    answer(network, generation, err, &note);
}

static void on_abort(struct network *network, uint64_t generation)
{
    if (network->prepared != NULL && network->prepared->settings->generation == generation) {
        message_free(network->prepared);
        network->prepared = NULL;
    }
}

static void on_controller(struct network *network, const Twofold__V1__ControllerEndpoint *endpoint)
{
    struct note note = {0};
    struct ip_endpoint controller = {.port = (uint16_t)endpoint->port};
    enum err err = ip_from_bytes(endpoint->address.data, endpoint->address.len, &controller.ip);
    if (err == ERR_OK && (endpoint->port == 0 || endpoint->port > 65535))
        err = ERR_MALFORMED;
    if (err == ERR_OK)
        err = dataplane_set_controller(network->dataplane, &controller, &note);
    if (err != ERR_OK)
        network_trouble(network, "controller.pinhole_failed", "controller", &note);
}

// ---- keys

// What a peer sent through the controller: hostile. Keying counts what it refuses. Stale is what honest peers send too, when both rotate at
// once or the controller repeats itself.
static void log_refusal(const char *event, const char *peer, enum err err, const struct note *note)
{
    if (err != ERR_OK)
        log_event(err == ERR_STALE ? LOG_LEVEL_DEBUG : LOG_LEVEL_WARNING, event, LOG_STR("peer", peer),
                  LOG_STR("error", err_name(err)), LOG_STR("cause", note->text));
}

static void on_bundle(struct network *network, const Twofold__V1__Bundle *bundle)
{
    struct note note = {0};
    if (network->keying != NULL)
        log_refusal("bundle.refused", bundle->host, keying_on_bundle(network->keying, bundle, &note), &note);
}

static void on_pair(struct network *network, const Twofold__V1__PairMessage *pair)
{
    struct note note = {0};
    if (network->keying != NULL)
        log_refusal("pair.refused", pair->from,
                    keying_on_pair(network->keying, pair->from, pair->body.data, pair->body.len, &note), &note);
}

static void on_renewal_start(struct network *network)
{
    struct note note = {0};
    uint8_t *request = NULL;
    size_t len = 0;
    Twofold__V1__CertificateRequest body = TWOFOLD__V1__CERTIFICATE_REQUEST__INIT;
    Twofold__V1__RoleMessage message = TWOFOLD__V1__ROLE_MESSAGE__INIT;
    enum err err = identity_begin(network->identity, &request, &len, &note);
    if (err != ERR_OK)
        log_event(LOG_LEVEL_ERROR, "certificate.request_failed", LOG_STR("cause", note.text));
    body.request.data = request;
    body.request.len = err == ERR_OK ? len : 0;
    body.reason = (char *)(err == ERR_OK ? "" : note.text[0] != '\0' ? note.text : err_text(err));
    message.body_case = TWOFOLD__V1__ROLE_MESSAGE__BODY_REQUEST;
    message.request = &body;
    network_send(network, network->control, &message);
    free(request);
}

static void on_certificate(struct network *network, const Twofold__V1__Certificate *certificate)
{
    struct note note = {0};
    uint64_t now = clock_unix_ms(&clock_system) / 1000;
    struct identity *identity = network->identity;
    enum err err = identity_finish(identity, certificate->certificate.data, certificate->certificate.len,
                                   certificate->ca.data, certificate->ca.len, now, &note);
    if (err != ERR_OK) {
        log_event(LOG_LEVEL_ERROR, "certificate.refused", LOG_STR("cause", note.text));
        snprintf(network->certificate_problem, sizeof(network->certificate_problem), "%.250s", note.text);
        return;
    }
    network->certificate_problem[0] = '\0';
    // The old key is gone: keying must not go on with it.
    if (network->keying != NULL)
        err = keying_set_identity(network->keying, identity->key, identity->certificate, identity->certificate_len,
                                  &note);
    if (err != ERR_OK) {
        log_event(LOG_LEVEL_ERROR, "certificate.unusable", LOG_STR("cause", note.text));
        network_end(network, 1);
        return;
    }
    log_event(LOG_LEVEL_INFO, "certificate.renewed", LOG_U64("not_after", identity->facts.not_after));
}

// ---- all

void network_on_control(struct network *network, const Twofold__V1__RoleMessage *message)
{
    switch (message->body_case) {
    case TWOFOLD__V1__ROLE_MESSAGE__BODY_PREPARE:
        on_prepare(network, message->prepare);
        return;
    case TWOFOLD__V1__ROLE_MESSAGE__BODY_COMMIT:
        on_commit(network, message->commit->generation);
        return;
    case TWOFOLD__V1__ROLE_MESSAGE__BODY_ABORT:
        on_abort(network, message->abort->generation);
        return;
    case TWOFOLD__V1__ROLE_MESSAGE__BODY_CONTROLLER:
        on_controller(network, message->controller);
        return;
    case TWOFOLD__V1__ROLE_MESSAGE__BODY_BUNDLE:
        on_bundle(network, message->bundle);
        return;
    case TWOFOLD__V1__ROLE_MESSAGE__BODY_PAIR:
        on_pair(network, message->pair);
        return;
    case TWOFOLD__V1__ROLE_MESSAGE__BODY_PUBLISH:
        if (network->keying != NULL)
            keying_publish_again(network->keying);
        return;
    case TWOFOLD__V1__ROLE_MESSAGE__BODY_STATUS_REQUEST:
        network_send_status(network);
        return;
    case TWOFOLD__V1__ROLE_MESSAGE__BODY_FLOWS_REQUEST:
        network_send_flows(network, message->flows_request->limit);
        return;
    case TWOFOLD__V1__ROLE_MESSAGE__BODY_RENEWAL_START:
        on_renewal_start(network);
        return;
    case TWOFOLD__V1__ROLE_MESSAGE__BODY_CERTIFICATE:
        on_certificate(network, message->certificate);
        return;
    default:
        log_event(LOG_LEVEL_ERROR, "role.protocol", LOG_STR("neighbour", "control"),
                  LOG_STR("cause", "a message that is not for this role"));
        network_end(network, 1);
    }
}
