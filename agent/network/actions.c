// SPDX-License-Identifier: GPL-2.0-or-later
// What keying asks for, done in the kernel and told to the neighbours.
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/network/export.h"
#include "agent/network/network.h"
#include "proto/base/log.h"
#include "proto/wire/message.h"

void network_trouble(struct network *network, const char *event, const char *peer, const struct note *note)
{
    log_event(LOG_LEVEL_ERROR, event, LOG_STR("peer", peer), LOG_STR("cause", note->text));
    snprintf(network->trouble, sizeof(network->trouble), "%.250s", note->text);
}

// ERR_EXISTS and ERR_NOT_FOUND are answers that keying expects.
static enum err tell(struct network *network, const char *event, const struct sa *sa, enum err err,
                     const struct note *note)
{
    if (err == ERR_OK)
        log_event(LOG_LEVEL_INFO, event, LOG_STR("peer", sa->peer), LOG_STR("direction", sa->inbound ? "in" : "out"),
                  LOG_HEX32("spi", sa->spi));
    else if (err != ERR_EXISTS && err != ERR_NOT_FOUND)
        network_trouble(network, "sa.failed", sa->peer, note);
    return err;
}

static enum err install(void *context, const struct sa *sa)
{
    struct network *network = context;
    struct note note = {0};
    enum err err = dataplane_install(network->dataplane, sa, &note);
    if (err == ERR_OK && network->start->export_folder != NULL) {
        struct note export_note = {0};
        if (export_sa(network->start->export_folder, sa, &export_note) != ERR_OK)
            network_trouble(network, "export.failed", sa->peer, &export_note);
    }
    return tell(network, "sa.installed", sa, err, &note);
}

static enum err switch_outbound(void *context, const struct sa *sa)
{
    struct network *network = context;
    struct note note = {0};
    enum err err = dataplane_switch_outbound(network->dataplane, sa, &note);
    network->sas_changed = true;
    return tell(network, "sa.switched", sa, err, &note);
}

static enum err remove_sa(void *context, const struct sa *sa)
{
    struct network *network = context;
    struct note note = {0};
    enum err err = dataplane_remove(network->dataplane, sa, &note);
    network->sas_changed = true;
    return tell(network, "sa.removed", sa, err, &note);
}

static enum err usage(void *context, const struct sa *sa, uint64_t *ret_packets, uint64_t *ret_bytes)
{
    struct network *network = context;
    return dataplane_usage(network->dataplane, sa, ret_packets, ret_bytes);
}

static bool inbound_used(void *context, const struct sa *sa)
{
    uint64_t packets, bytes;
    return usage(context, sa, &packets, &bytes) == ERR_OK && packets > 0;
}

void network_send(struct network *network, struct channel *channel, const Twofold__V1__RoleMessage *message)
{
    uint8_t *bytes;
    size_t len;
    if (channel == NULL || network->is_ending)
        return;
    enum err err = message_encode(&message->base, &bytes, &len);
    if (err == ERR_OK) {
        err = channel_send(channel, bytes, len);
        free(bytes);
    }
    // A neighbour that does not read is no neighbour any more: all roles start again.
    if (err != ERR_OK) {
        log_event(LOG_LEVEL_ERROR, "role.send_failed", LOG_STR("cause", err_text(err)));
        network_end(network, 1);
    }
}

static void publish(void *context, const Twofold__V1__Bundle *bundle)
{
    struct network *network = context;
    Twofold__V1__RoleMessage message = TWOFOLD__V1__ROLE_MESSAGE__INIT;
    message.body_case = TWOFOLD__V1__ROLE_MESSAGE__BODY_BUNDLE;
    message.bundle = (Twofold__V1__Bundle *)bundle;
    network_send(network, network->control, &message);
}

static void send_pair(void *context, const char *peer, const uint8_t *body, size_t len)
{
    struct network *network = context;
    Twofold__V1__PairMessage pair = TWOFOLD__V1__PAIR_MESSAGE__INIT;
    Twofold__V1__RoleMessage message = TWOFOLD__V1__ROLE_MESSAGE__INIT;
    pair.from = network->identity->facts.id.name;
    pair.to = (char *)peer;
    pair.body.data = (uint8_t *)body;
    pair.body.len = len;
    message.body_case = TWOFOLD__V1__ROLE_MESSAGE__BODY_PAIR;
    message.pair = &pair;
    network_send(network, network->control, &message);
}

static void changed(void *context, const char *peer)
{
    struct network *network = context;
    (void)peer;
    network->sas_changed = true;
}

const struct keying_actions network_actions = {
    .install = install,
    .switch_outbound = switch_outbound,
    .remove = remove_sa,
    .inbound_used = inbound_used,
    .usage = usage,
    .publish = publish,
    .send_pair = send_pair,
    .changed = changed,
};

enum err network_start_keying(struct network *network, struct note *note)
{
    char path[PATH_MAX];
    struct keying *keying;
    if (snprintf(path, sizeof(path), "%s/epochs", network->start->folder) >= (int)sizeof(path))
        return note_set(note, ERR_LIMIT, "%s: the path is too long", network->start->folder);
    const struct identity *identity = network->identity;
    struct keying_config config = {
        .clock = &clock_system,
        .state_path = path,
        .host = identity->facts.id.name,
        .trust = network->trust,
        .actions = &network_actions,
        .context = network,
    };
    // The old one first: it has a state file to itself.
    keying_free(network->keying);
    network->keying = NULL;
    enum err err = keying_new(&config, &keying, note);
    if (err != ERR_OK)
        return err;
    err = keying_set_identity(keying, identity->key, identity->certificate, identity->certificate_len, note);
    if (err != ERR_OK) {
        keying_free(keying);
        return err;
    }
    network->keying = keying;
    if (network->slice == NULL || !network->adopted)
        return ERR_OK;
    struct sa *sas;
    size_t count;
    err = dataplane_sas(network->dataplane, network->slice, &sas, &count);
    if (err != ERR_OK)
        return err;
    err = keying_adopt(keying, sas, count);
    free(sas);
    return err == ERR_OK ? keying_set_slice(keying, network->slice, note) : err;
}

// ---- the https role

void network_report_sas(struct network *network)
{
    size_t peers = network->slice != NULL && network->keying != NULL ? network->slice->n_peers : 0;
    Twofold__V1__SaPair *pairs = calloc(peers + 1, sizeof(*pairs));
    Twofold__V1__SaPair **pointers = calloc(peers + 1, sizeof(*pointers));
    Twofold__V1__SaReport report = TWOFOLD__V1__SA_REPORT__INIT;
    Twofold__V1__RoleMessage message = TWOFOLD__V1__ROLE_MESSAGE__INIT;
    if (pairs == NULL || pointers == NULL) {
        free(pairs);
        free(pointers);
        network_end(network, 1);
        return;
    }
    for (size_t i = 0; i < peers; i++) {
        const Twofold__V1__Peer *peer = network->slice->peers[i];
        struct keying_peer_state state;
        if (keying_peer_state(network->keying, peer->host, &state) != ERR_OK || !state.up)
            continue;
        Twofold__V1__SaPair *pair = &pairs[report.n_pairs];
        twofold__v1__sa_pair__init(pair);
        pair->host = peer->host;
        pair->n_addresses = peer->n_addresses;
        pair->addresses = peer->addresses;
        pair->suite = (char *)NETWORK_SUITE;
        pair->inbound_spi = state.inbound_spi;
        pair->outbound_spi = state.outbound_spi;
        pointers[report.n_pairs++] = pair;
    }
    report.pairs = pointers;
    message.body_case = TWOFOLD__V1__ROLE_MESSAGE__BODY_SA;
    message.sa = &report;
    network->sas_changed = false;
    network_send(network, network->https, &message);
    free(pairs);
    free(pointers);
}
