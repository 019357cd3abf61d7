// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/control/status.h"

#include <stdlib.h>
#include <string.h>

#include "agent/control/independence.h"
#include "proto/base/digest.h"
#include "proto/wire/message.h"

#define WARNINGS_MAX 256 // of one report

struct status {
    Twofold__V1__RoleStatus *of[ROLE_COUNT]; // owned
};

enum err status_new(struct status **ret_status)
{
    struct status *status = calloc(1, sizeof(*status));

    if (!status)
        return ERR_NOMEM;
    *ret_status = status;
    return ERR_OK;
}

void status_free(struct status *status)
{
    if (!status)
        return;
    for (size_t i = 0; i < ROLE_COUNT; i++)
        message_free(status->of[i]);
    free(status);
}

enum err status_set(struct status *status, enum role role, const Twofold__V1__RoleStatus *role_status)
{
    ProtobufCMessage *copy;

    enum err err = message_copy(&role_status->base, &copy);
    if (err)
        return err;
    message_free(status->of[role]);
    status->of[role] = (Twofold__V1__RoleStatus *)copy;
    return ERR_OK;
}

const Twofold__V1__RoleStatus *status_of(const struct status *status, enum role role)
{
    return status->of[role];
}

// ---- peers

// Its strings belong to the roles' reports.
struct peers {
    Twofold__V1__PeerState *items;
    Twofold__V1__PeerState **pointers;
    size_t count;
};

struct source {
    const Twofold__V1__PeerState *peer;
    enum role role;
};

static int compare_sources(const void *a, const void *b)
{
    const struct source *x = a;
    const struct source *y = b;
    int order = strcmp(x->peer->host, y->peer->host);

    return order ? order : (int)x->role - (int)y->role;
}

// The network role knows the SAs, the https role the tunnels; either may know a problem, and a missing SA is the cause of a missing tunnel.
static void merge_peer(Twofold__V1__PeerState *merged, const struct source *source)
{
    const Twofold__V1__PeerState *peer = source->peer;

    merged->host = peer->host;
    if (source->role == ROLE_NETWORK) {
        merged->ipsec_up = peer->ipsec_up;
        merged->ipsec_needed = peer->ipsec_needed;
        merged->suite = peer->suite;
        merged->local_epoch = peer->local_epoch;
        merged->peer_epoch = peer->peer_epoch;
        merged->age_seconds = peer->age_seconds;
    } else {
        merged->tunnels = peer->tunnels;
        merged->flows = peer->flows;
        merged->https_suite = peer->https_suite;
        merged->https_needed = peer->https_needed;
    }
    if (!merged->problem[0])
        merged->problem = peer->problem;
    if (peer->n_rules > merged->n_rules) {
        merged->n_rules = peer->n_rules;
        merged->rules = peer->rules;
    }
}

static size_t count_peers(const struct status *status)
{
    size_t count = 0;

    for (size_t i = 0; i < ROLE_COUNT; i++)
        count += status->of[i] ? status->of[i]->n_peers : 0;
    return count;
}

static enum err peers_merge(const struct status *status, struct peers *ret_peers)
{
    size_t total = count_peers(status);
    struct peers peers = {
        .items = calloc(total + 1, sizeof(*peers.items)),
        .pointers = calloc(total + 1, sizeof(struct Twofold__V1__PeerState *)),
    };
    struct source *sources = calloc(total + 1, sizeof(*sources));
    size_t n = 0;

    if (!peers.items || !peers.pointers || !sources) {
        free(peers.items);
        free(peers.pointers);
        free(sources);
        return ERR_NOMEM;
    }
    for (enum role role = 0; role < ROLE_COUNT; role++) {
        for (size_t i = 0; status->of[role] && i < status->of[role]->n_peers; i++)
            sources[n++] = (struct source){status->of[role]->peers[i], role};
    }
    qsort(sources, n, sizeof(*sources), compare_sources);
    for (size_t i = 0; i < n; i++) {
        if (!peers.count || strcmp(peers.items[peers.count - 1].host, sources[i].peer->host) != 0) {
            twofold__v1__peer_state__init(&peers.items[peers.count]);
            peers.pointers[peers.count] = &peers.items[peers.count];
            peers.count++;
        }
        merge_peer(&peers.items[peers.count - 1], &sources[i]);
    }
    free(sources);
    *ret_peers = peers;
    return ERR_OK;
}

static void peers_free(struct peers *peers)
{
    free(peers->items);
    free(peers->pointers);
}

// ---- warnings

struct warnings {
    char *items[WARNINGS_MAX];
    size_t count;
    struct notes independence;
};

static void warn(struct warnings *warnings, const char *text)
{
    if (warnings->count < WARNINGS_MAX && text[0])
        warnings->items[warnings->count++] = (char *)text;
}

static void warnings_collect(const struct status *status, const struct status_facts *facts, struct warnings *warnings)
{
    memset(warnings, 0, sizeof(*warnings));
    for (size_t i = 0; i < facts->warnings->count; i++)
        warn(warnings, facts->warnings->items[i].text);
    for (enum role role = 0; role < ROLE_COUNT; role++) {
        const Twofold__V1__RoleStatus *of = status->of[role];

        for (size_t i = 0; of && i < of->n_warnings; i++)
            warn(warnings, of->warnings[i]);
    }
    // The check only says what it finds; here both answers are known.
    bool independent = independence_check(status->of[ROLE_NETWORK], status->of[ROLE_HTTPS], &warnings->independence);
    for (size_t i = 0; !independent && i < warnings->independence.count; i++)
        warn(warnings, warnings->independence.items[i].text);
}

// ---- reports

static void fill_agent(const struct status *status, const struct status_facts *facts, const struct peers *peers,
                       struct warnings *warnings, Twofold__V1__AgentStatus *agent)
{
    agent->generation = facts->generation;
    agent->n_peers = peers->count;
    agent->peers = peers->pointers;
    if (status->of[ROLE_NETWORK])
        agent->dataplane = status->of[ROLE_NETWORK]->dataplane;
    agent->n_warnings = warnings->count;
    agent->warnings = warnings->items;
}

static enum err encode_agent(const struct status *status, const struct status_facts *facts, bool with_ages,
                             uint8_t **ret_bytes, size_t *ret_len)
{
    Twofold__V1__AgentMessage message = TWOFOLD__V1__AGENT_MESSAGE__INIT;
    Twofold__V1__AgentStatus agent = TWOFOLD__V1__AGENT_STATUS__INIT;
    struct warnings *warnings = calloc(1, sizeof(*warnings));
    struct peers peers;

    if (!warnings)
        return ERR_NOMEM;
    enum err err = peers_merge(status, &peers);
    if (err)
        goto err_free_warnings;
    for (size_t i = 0; !with_ages && i < peers.count; i++)
        peers.items[i].age_seconds = 0;
    warnings_collect(status, facts, warnings);
    fill_agent(status, facts, &peers, warnings, &agent);
    message.body_case = TWOFOLD__V1__AGENT_MESSAGE__BODY_STATUS;
    message.status = &agent;
    err = message_encode(&message.base, ret_bytes, ret_len);
    peers_free(&peers);

err_free_warnings:
    free(warnings);
    return err;
}

enum err status_agent(const struct status *status, const struct status_facts *facts, uint8_t **ret_bytes,
                      size_t *ret_len)
{
    return encode_agent(status, facts, true, ret_bytes, ret_len);
}

enum err status_agent_digest(const struct status *status, const struct status_facts *facts, uint8_t ret_digest[48])
{
    uint8_t *bytes;
    size_t len;

    enum err err = encode_agent(status, facts, false, &bytes, &len);
    if (err)
        return err;
    digest_sha384(bytes, len, ret_digest);
    free(bytes);
    return ERR_OK;
}

static void fill_local(const struct status_facts *facts, Twofold__V1__LocalStatus *local)
{
    local->host = (char *)facts->host;
    local->trust_domain = (char *)facts->trust_domain;
    local->version = (char *)TWOFOLD_VERSION;
    local->generation = facts->generation;
    if (facts->digest) {
        local->digest.data = (uint8_t *)facts->digest;
        local->digest.len = DIGEST_BYTES;
    }
    local->controller = (char *)facts->controller;
    local->connected = facts->connected;
    local->connection_problem = (char *)facts->connection_problem;
    local->slice_time = facts->slice_time;
    local->certificate_expires = facts->certificate_expires;
}

enum err status_local(const struct status *status, const struct status_facts *facts, uint8_t **ret_bytes,
                      size_t *ret_len)
{
    Twofold__V1__LocalResponse response = TWOFOLD__V1__LOCAL_RESPONSE__INIT;
    Twofold__V1__LocalStatus local = TWOFOLD__V1__LOCAL_STATUS__INIT;
    Twofold__V1__RoleStatus *roles[ROLE_COUNT];
    struct warnings *warnings = calloc(1, sizeof(*warnings));
    struct peers peers;

    if (!warnings)
        return ERR_NOMEM;
    enum err err = peers_merge(status, &peers);
    if (err)
        goto err_free_warnings;
    warnings_collect(status, facts, warnings);
    fill_local(facts, &local);
    local.roles = roles;
    for (enum role role = 0; role < ROLE_COUNT; role++) {
        if (status->of[role])
            roles[local.n_roles++] = status->of[role];
    }
    local.n_peers = peers.count;
    local.peers = peers.pointers;
    local.n_warnings = warnings->count;
    local.warnings = warnings->items;
    response.body_case = TWOFOLD__V1__LOCAL_RESPONSE__BODY_STATUS;
    response.status = &local;
    err = message_encode(&response.base, ret_bytes, ret_len);
    peers_free(&peers);

err_free_warnings:
    free(warnings);
    return err;
}
