// SPDX-License-Identifier: GPL-2.0-or-later
#include "controller/relay.h"

#include <stdlib.h>
#include <string.h>

#include "controller/session.h"
#include "proto/base/log.h"
#include "proto/link/cert.h"
#include "proto/link/key.h"
#include "proto/wire/bundle.h"
#include "proto/wire/message.h"

static enum err check_bundle(const struct agent *agent, const Twofold__V1__Bundle *bundle, struct note *note)
{
    struct bundle facts;
    if (bundle->blob.len > BUNDLE_BLOB_BYTES_MAX || bundle->signature.len != KEY_SIGNATURE_BYTES ||
        bundle->certificate.len == 0 || bundle->certificate.len > CERT_DER_BYTES_MAX ||
        bundle_decode(bundle->blob.data, bundle->blob.len, &facts) != ERR_OK)
        return note_set(note, ERR_PROTOCOL, "a malformed bundle came");
    if (strcmp(facts.host, agent->host) != 0)
        return note_set(note, ERR_PROTOCOL, "a bundle came that names another host: %s", facts.host);
    return ERR_OK;
}

enum err relay_bundle(struct agent *agent, const Twofold__V1__Bundle *bundle, struct note *note)
{
    enum err err = check_bundle(agent, bundle, note);
    if (err != ERR_OK)
        return err;
    Twofold__V1__Bundle routed = *bundle;
    routed.host = agent->host;
    Twofold__V1__ControllerMessage message = TWOFOLD__V1__CONTROLLER_MESSAGE__INIT;
    message.body_case = TWOFOLD__V1__CONTROLLER_MESSAGE__BODY_BUNDLE;
    message.bundle = &routed;
    uint8_t *bytes = NULL;
    size_t len = 0;
    err = message_encode(&message.base, &bytes, &len);
    if (err != ERR_OK)
        return err;
    free(agent->bundle);
    agent->bundle = bytes;
    agent->bundle_len = len;

    struct fleet *fleet = agent->fleet;
    for (size_t i = 0; i < fleet->agent_count; i++) {
        struct agent *peer = fleet->agents[i];
        if (peer->session != NULL && held_connects(&peer->applied, agent->host))
            session_send_bytes(peer->session, agent->bundle, agent->bundle_len);
    }
    return ERR_OK;
}

enum err relay_pair(struct agent *agent, const Twofold__V1__PairMessage *pair, struct note *note)
{
    if (pair->body.len == 0 || pair->body.len > PAIR_BODY_BYTES_MAX || !name_is_valid(pair->to))
        return note_set(note, ERR_PROTOCOL, "a malformed pair message came");
    struct agent *peer = fleet_find(agent->fleet, pair->to);
    if (peer == NULL || peer->session == NULL || !held_connects(&agent->applied, peer->host) ||
        !held_connects(&peer->applied, agent->host)) {
        log_event(LOG_LEVEL_DEBUG, "pair.dropped", LOG_STR("from", agent->host), LOG_STR("to", pair->to));
        return ERR_OK;
    }
    Twofold__V1__PairMessage routed = *pair;
    routed.from = agent->host;
    Twofold__V1__ControllerMessage message = TWOFOLD__V1__CONTROLLER_MESSAGE__INIT;
    message.body_case = TWOFOLD__V1__CONTROLLER_MESSAGE__BODY_PAIR;
    message.pair = &routed;
    enum err err = session_send(peer->session, &message);
    return err == ERR_NOMEM ? err : ERR_OK; // the peer's slow session is not the sender's fault
}

void relay_introduce(struct agent *agent, const struct held *before)
{
    const struct held *now = &agent->applied;
    for (size_t i = 0; now->slice != NULL && i < now->slice->n_peers; i++) {
        if (agent->session == NULL) // it may end while we send
            return;
        const char *host = now->slice->peers[i]->host;
        if (!now->ipsec[i] || held_connects(before, host))
            continue;
        const struct agent *peer = fleet_find(agent->fleet, host);
        if (peer != NULL && peer->bundle != NULL)
            session_send_bytes(agent->session, peer->bundle, peer->bundle_len);
    }
}
