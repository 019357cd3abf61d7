// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/https/status.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/https/flow.h"
#include "agent/https/tunnel.h"
#include "proto/base/digest.h"
#include "proto/base/text.h"
#include "proto/link/tls.h"
#include "proto/wire/message.h"
#include "role.pb-c.h"

#define WARNINGS_MAX 4

enum {
#define COUNTER_NUMBER(name, meaning) COUNTER_##name,
    HTTPS_COUNTERS(COUNTER_NUMBER)
#undef COUNTER_NUMBER
        COUNTER_COUNT
};

static struct https_problem *problem_of(struct https *https, const struct ip *destination)
{
    for (size_t i = 0; i < HTTPS_PROBLEMS; i++) {
        if (ip_compare(&https->problems[i].destination, destination) == 0) {
            return &https->problems[i];
        }
    }
    return NULL;
}

void status_set_problem(struct https *https, const struct ip *destination, const char *reason)
{
    struct https_problem *problem = problem_of(https, destination);
    if (!problem) {
        problem = &https->problems[https->next_problem++ % HTTPS_PROBLEMS];
        problem->destination = *destination;
    }
    snprintf(problem->reason, sizeof(problem->reason), "%s", reason);
}

void status_clear_problem(struct https *https, const struct ip *destination)
{
    struct https_problem *problem = problem_of(https, destination);
    if (problem) {
        memset(problem, 0, sizeof(*problem));
    }
}

// ---- peers

// The peers of the slice, in its order, with what is filled in.
struct peers {
    const Twofold__V1__Slice *slice;
    size_t count;
    Twofold__V1__PeerState *states;
    Twofold__V1__PeerState **pointers;
    char **rules; // one piece of memory, cut up for the peers
};

static int compare_host(const void *host, const void *peer)
{
    return strcmp(host, (*(Twofold__V1__Peer *const *)peer)->host);
}

static Twofold__V1__PeerState *state_of(const struct peers *peers, const char *host)
{
    if (peers->count == 0) {
        return NULL;
    }
    Twofold__V1__Peer **found = bsearch(host, peers->slice->peers, peers->count, sizeof(*found), compare_host);
    return found ? &peers->states[found - peers->slice->peers] : NULL;
}

static void free_peers(struct peers *peers)
{
    free(peers->states);
    free(peers->pointers);
    free(peers->rules);
}

// A rule that concerns a peer both ways is named once; rules come sorted by name.
static void name_rule(Twofold__V1__PeerState *state, const Twofold__V1__Rule *rule)
{
    state->https_needed |= rule->https;
    state->ipsec_needed |= rule->ipsec;
    if (state->n_rules == 0 || strcmp(state->rules[state->n_rules - 1], rule->name) != 0) {
        state->rules[state->n_rules++] = rule->name;
    }
}

static enum err add_rules(struct peers *peers)
{
    const Twofold__V1__Slice *slice = peers->slice;
    size_t total = 0;
    size_t *counts = calloc(peers->count + 1, sizeof(*counts));
    if (!counts) {
        return ERR_NOMEM;
    }
    for (size_t i = 0; i < slice->n_rules; i++) {
        for (size_t j = 0; j < slice->rules[i]->n_peers; j++) {
            counts[state_of(peers, slice->rules[i]->peers[j]) - peers->states]++;
            total++;
        }
    }
    peers->rules = calloc(total + 1, sizeof(*peers->rules));
    if (!peers->rules) {
        free(counts);
        return ERR_NOMEM;
    }
    char **next = peers->rules;
    for (size_t i = 0; i < peers->count; i++) {
        peers->states[i].rules = next;
        next += counts[i];
    }
    free(counts);
    for (size_t i = 0; i < slice->n_rules; i++) {
        for (size_t j = 0; j < slice->rules[i]->n_peers; j++) {
            name_rule(state_of(peers, slice->rules[i]->peers[j]), slice->rules[i]);
        }
    }
    return ERR_OK;
}

static Twofold__V1__PeerState *state_at(const struct https *https, const struct peers *peers, const struct ip *address)
{
    const Twofold__V1__Peer *peer = table_peer_at(https->table, address);
    return peer ? state_of(peers, peer->host) : NULL;
}

static void add_tunnels(const struct https *https, struct peers *peers)
{
    struct tunnel *tunnel;
    LIST_FOREACH(tunnel, &https->tunnels, all)
    {
        Twofold__V1__PeerState *state = state_at(https, peers, &tunnel->remote.ip);
        if (!state || !tunnel->is_admitted || tunnel->state == TUNNEL_CLOSING) {
            continue;
        }
        state->tunnels++;
        state->flows += (uint32_t)tunnel->flow_count;
        state->https_suite = tunnel->suite;
    }
    for (size_t i = 0; i < HTTPS_PROBLEMS; i++) {
        const struct https_problem *problem = &https->problems[i];
        Twofold__V1__PeerState *state = problem->destination.len ? state_at(https, peers, &problem->destination) : NULL;
        if (state) {
            state->problem = (char *)problem->reason;
        }
    }
}

static enum err make_peers(const struct https *https, struct peers *ret_peers)
{
    struct peers peers = {0};
    if (https->table) {
        peers.slice = table_slice(https->table);
        peers.count = peers.slice->n_peers;
    }
    peers.states = calloc(peers.count + 1, sizeof(*peers.states));
    peers.pointers = calloc(peers.count + 1, sizeof(*peers.pointers));
    if (!peers.states || !peers.pointers) {
        free_peers(&peers);
        return ERR_NOMEM;
    }
    for (size_t i = 0; i < peers.count; i++) {
        twofold__v1__peer_state__init(&peers.states[i]);
        peers.states[i].host = peers.slice->peers[i]->host;
        peers.pointers[i] = &peers.states[i];
    }
    enum err err = peers.count > 0 ? add_rules(&peers) : ERR_OK;
    if (err) {
        free_peers(&peers);
        return err;
    }
    if (https->table) {
        add_tunnels(https, &peers);
    }
    *ret_peers = peers;
    return ERR_OK;
}

// ---- the whole

struct warnings {
    size_t count;
    char *pointers[WARNINGS_MAX];
    char texts[WARNINGS_MAX][NOTE_TEXT_BYTES];
};

static void warn(struct warnings *warnings, const char *text)
{
    char *room = warnings->texts[warnings->count];
    snprintf(room, NOTE_TEXT_BYTES, "%s", text);
    warnings->pointers[warnings->count++] = room;
}

static void find_warnings(const struct https *https, struct warnings *warnings)
{
    if (credentials_problem(https->credentials)[0]) {
        warn(warnings, credentials_problem(https->credentials));
    }
    if (credentials_are_ready(https->credentials) &&
        credentials_own(https->credentials)->not_after * 1000 <= clock_unix_ms(https->clock)) {
        warn(warnings,
             "the workload's certificate has expired, so peers refuse its tunnels: set the clock right if it is "
             "wrong, otherwise enrol the host again");
    }
    if (https->start->export_folder) {
        warn(warnings, "the secrets of all tunnels are written to a file (--export-secrets): for proofs only, never in "
                       "production");
    }
}

static void fill_counters(const struct https *https, Twofold__V1__Counter counters[COUNTER_COUNT],
                          Twofold__V1__Counter *pointers[COUNTER_COUNT])
{
    for (size_t i = 0; i < COUNTER_COUNT; i++) {
        twofold__v1__counter__init(&counters[i]);
        pointers[i] = &counters[i];
    }
#define COUNTER_FILL(counter, text)                      \
    counters[COUNTER_##counter].name = (char *)#counter; \
    counters[COUNTER_##counter].meaning = (char *)text;  \
    counters[COUNTER_##counter].value = https->counters.counter;
    HTTPS_COUNTERS(COUNTER_FILL)
#undef COUNTER_FILL
}

enum err status_encode(const struct https *https, uint8_t **ret_bytes, size_t *ret_len)
{
    struct peers peers;
    struct warnings warnings = {0};
    Twofold__V1__Counter counters[COUNTER_COUNT];
    Twofold__V1__Counter *counter_pointers[COUNTER_COUNT];
    char key[DIGEST_HEX_BYTES] = "";
    char ca[DIGEST_HEX_BYTES] = "";
    enum err err = make_peers(https, &peers);
    if (err) {
        return err;
    }
    find_warnings(https, &warnings);
    fill_counters(https, counters, counter_pointers);
    if (credentials_are_ready(https->credentials)) {
        hex_encode(credentials_own(https->credentials)->spki_sha384, DIGEST_BYTES, key);
        hex_encode(credentials_ca(https->credentials)->spki_sha384, DIGEST_BYTES, ca);
    }
    Twofold__V1__RoleStatus status = TWOFOLD__V1__ROLE_STATUS__INIT;
    status.role = (char *)"https";
    status.n_peers = peers.count;
    status.peers = peers.pointers;
    status.n_warnings = warnings.count;
    status.warnings = warnings.pointers;
    status.secrets_exported = https->start->export_folder != NULL;
    status.cipher_code = (char *)tls_library_name();
    status.uid = getuid();
    status.pid = (uint32_t)getpid();
    status.key_sha384 = key;
    status.ca_sha384 = ca;
    status.n_counters = COUNTER_COUNT;
    status.counters = counter_pointers;
    Twofold__V1__RoleMessage message = TWOFOLD__V1__ROLE_MESSAGE__INIT;
    message.body_case = TWOFOLD__V1__ROLE_MESSAGE__BODY_STATUS;
    message.status = &status;
    err = message_encode(&message.base, ret_bytes, ret_len);
    free_peers(&peers);
    return err;
}
