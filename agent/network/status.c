// SPDX-License-Identifier: GPL-2.0-or-later
// What the network role says of itself: peers, warnings with cause and remedy, counters with what they mean, refused flows.
#include <fcntl.h>
#include <glob.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/network/network.h"
#include "proto/base/text.h"
#include "proto/wire/message.h"

enum {
    WARNINGS_MAX = 16,
    WARNING_BYTES = 400,
    COUNTERS_MAX = XFRM_STAT_COUNT + NFT_REASON_COUNT + 16,
    COUNTER_NAME_BYTES = 40,
    DEVICES_MAX = 4, // of which a warning names the switches
};

// Everything that a status points at; one allocation.
struct room {
    char warnings[WARNINGS_MAX][WARNING_BYTES];
    char *warning_pointers[WARNINGS_MAX];
    size_t warning_count;
    Twofold__V1__Counter counters[COUNTERS_MAX];
    Twofold__V1__Counter *counter_pointers[COUNTERS_MAX];
    char counter_names[COUNTERS_MAX][COUNTER_NAME_BYTES];
    size_t counter_count;
    char key[DIGEST_HEX_BYTES];
    char ca[DIGEST_HEX_BYTES];
};

// ---- warnings

__attribute__((format(printf, 2, 3))) static void warn(struct room *room, const char *format, ...)
{
    if (room->warning_count == WARNINGS_MAX)
        return;
    char *text = room->warnings[room->warning_count];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, WARNING_BYTES, format, arguments);
    va_end(arguments);
    room->warning_pointers[room->warning_count++] = text;
}

static bool is_on(const char *path)
{
    char value = '0';
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t n = read(fd, &value, 1);
    close(fd);
    return n == 1 && value != '0';
}

// disable_xfrm and disable_policy switch IPsec off without a word. The loopback device has them on, as it should.
static void warn_of_switches(struct room *room, const char *pattern, const char *effect)
{
    glob_t found;
    unsigned named = 0;
    if (glob(pattern, GLOB_NOSORT, NULL, &found) != 0)
        return;
    for (size_t i = 0; i < found.gl_pathc && named < DEVICES_MAX; i++) {
        const char *path = found.gl_pathv[i];
        if (strstr(path, "/lo/") != NULL || !is_on(path))
            continue;
        warn(room, "%s is on: %s. Set it to 0.", path, effect);
        named++;
    }
    globfree(&found);
}

static bool needs_ipsec(const Twofold__V1__Slice *slice)
{
    for (size_t i = 0; slice != NULL && i < slice->n_rules; i++) {
        if (slice->rules[i]->ipsec)
            return true;
    }
    return false;
}

static void find_warnings(const struct network *network, struct room *room)
{
    const struct sad_support *support = dataplane_support(network->dataplane);
    if (support->problem[0] != '\0' && needs_ipsec(network->slice))
        warn(room, "%s", support->problem);
    if (network->trouble[0] != '\0')
        warn(room, "the kernel refused a change: %s", network->trouble);
    if (network->certificate_problem[0] != '\0')
        warn(room, "a new certificate was refused and the old one stays in use: %s", network->certificate_problem);
    if (network->list_problem[0] != '\0')
        warn(room, "%s", network->list_problem);
    if (clock_unix_ms(&clock_system) / 1000 >= network->identity->facts.not_after)
        warn(room,
             "the host's certificate has expired, so peers refuse its bundles: set the clock right if it is wrong, "
             "otherwise enrol the host again");
    if (network->start->export_folder != NULL)
        warn(room,
             "the keys of all SAs are written to a file (--export-secrets): for proofs only, never in production");
    warn_of_switches(room, "/proc/sys/net/ipv[46]/conf/*/disable_xfrm", "packets leave this device without IPsec");
    warn_of_switches(room, "/proc/sys/net/ipv[46]/conf/*/disable_policy",
                     "packets that arrive here are not checked against IPsec policies");
}

// ---- counters

static void count(struct room *room, uint64_t value, const char *meaning, const char *format, const char *name)
{
    if (room->counter_count == COUNTERS_MAX)
        return;
    size_t i = room->counter_count++;
    Twofold__V1__Counter *counter = &room->counters[i];
    snprintf(room->counter_names[i], COUNTER_NAME_BYTES, "%s.%s", format, name);
    twofold__v1__counter__init(counter);
    counter->name = room->counter_names[i];
    counter->value = value;
    counter->meaning = (char *)meaning;
    room->counter_pointers[i] = counter;
}

static void count_keying(const struct network *network, struct room *room)
{
    if (network->keying == NULL)
        return;
    const struct keying_counters *counters = keying_counters(network->keying);
    count(room, counters->epochs_published, "own epochs whose bundle went out", "keying", "epochs_published");
    count(room, counters->rekeys_done, "pairs of hosts that moved to new keys", "keying", "rekeys_done");
    count(room, counters->bundles_accepted, "bundles of peers taken", "keying", "bundles_accepted");
    count(room, counters->bundles_refused, "bundles refused: not proven or malformed", "keying", "bundles_refused");
    count(room, counters->bundles_stale, "bundles refused: older than what is known", "keying", "bundles_stale");
    count(room, counters->acks_accepted, "acknowledgements of peers taken", "keying", "acks_accepted");
    count(room, counters->acks_refused, "acknowledgements refused", "keying", "acks_refused");
    count(room, counters->pairs_burned, "pairs of epochs that will never carry keys again", "keying", "pairs_burned");
}

static void find_counters(struct network *network, struct room *room)
{
    uint64_t refused[NFT_REASON_COUNT];
    struct xfrm_stat stat;
    dataplane_refused(network->dataplane, refused);
    for (int i = 0; i < NFT_REASON_COUNT; i++)
        count(room, refused[i], nft_reason_meaning((enum nft_reason)i), "refused", nft_reason_text((enum nft_reason)i));
    count(room, network->drops_lost, "times that refused packets came faster than they could be listed", "refused",
          "not_listed");
    count_keying(network, room);
    count(room, network->repaired_policies, "IPsec policies that someone else changed, put right", "repaired",
          "policies");
    count(room, network->restored_tables, "times that the nftables table was gone or changed, and was put back",
          "repaired", "tables");
    count(room, network->removed_strays, "unknown SAs in Twofold's range, removed", "repaired", "stray_sas");
    count(room, network->lost_sas, "SAs that someone else removed, or that reached the kernel's hard limit", "repaired",
          "lost_sas");
    if (!network->has_stat || xfrm_stat_read(&stat) != ERR_OK)
        return;
    for (int i = 0; i < XFRM_STAT_COUNT; i++) {
        if (stat.values[i] > network->stat_base.values[i])
            count(room, stat.values[i] - network->stat_base.values[i], xfrm_stat_meaning((enum xfrm_stat_name)i),
                  "xfrm", xfrm_stat_text((enum xfrm_stat_name)i));
    }
}

// ---- peers

struct peers {
    Twofold__V1__PeerState *items;
    Twofold__V1__PeerState **pointers;
    struct keying_peer_state *states; // their problems' texts
    size_t count;
};

static void free_peers(struct peers *peers)
{
    for (size_t i = 0; i < peers->count; i++)
        free(peers->items[i].rules);
    free(peers->items);
    free(peers->pointers);
    free(peers->states);
}

static void fill_state(const struct network *network, struct keying_peer_state *state, Twofold__V1__PeerState *peer)
{
    const struct sad_support *support = dataplane_support(network->dataplane);
    if (!peer->ipsec_needed)
        return;
    if (network->keying == NULL) {
        peer->problem = (char *)support->problem;
        return;
    }
    if (keying_peer_state(network->keying, peer->host, state) != ERR_OK)
        return;
    peer->ipsec_up = state->up;
    peer->local_epoch = state->local_epoch;
    peer->peer_epoch = state->peer_epoch;
    peer->problem = state->problem;
    if (state->up) {
        peer->suite = (char *)NETWORK_SUITE;
        uint64_t now = clock_boot_ms(&clock_system);
        peer->age_seconds =
            now > state->outbound_since_boot_ms ? (uint32_t)((now - state->outbound_since_boot_ms) / 1000) : 0;
    }
}

static int compare_host(const void *host, const void *peer)
{
    return strcmp(host, ((const Twofold__V1__PeerState *)peer)->host);
}

static bool add_rules(const Twofold__V1__Slice *slice, struct peers *peers)
{
    for (size_t r = 0; r < slice->n_rules; r++) {
        Twofold__V1__Rule *rule = slice->rules[r];
        for (size_t p = 0; p < rule->n_peers; p++) {
            Twofold__V1__PeerState *peer =
                bsearch(rule->peers[p], peers->items, peers->count, sizeof(*peers->items), compare_host);
            if (peer == NULL)
                continue;
            peer->ipsec_needed |= rule->ipsec;
            peer->https_needed |= rule->https;
            // A rule for both directions stands there twice, next to each other.
            if (peer->n_rules > 0 && strcmp(peer->rules[peer->n_rules - 1], rule->name) == 0)
                continue;
            char **rules = realloc(peer->rules, (peer->n_rules + 1) * sizeof(*rules));
            if (rules == NULL)
                return false;
            rules[peer->n_rules++] = rule->name;
            peer->rules = rules;
        }
    }
    return true;
}

static bool make_peers(const struct network *network, struct peers *peers)
{
    size_t count = network->slice != NULL ? network->slice->n_peers : 0;
    peers->items = calloc(count + 1, sizeof(*peers->items));
    peers->pointers = calloc(count + 1, sizeof(*peers->pointers));
    peers->states = calloc(count + 1, sizeof(*peers->states));
    if (peers->items == NULL || peers->pointers == NULL || peers->states == NULL)
        return false;
    for (size_t i = 0; i < count; i++) {
        twofold__v1__peer_state__init(&peers->items[i]);
        peers->items[i].host = network->slice->peers[i]->host;
        peers->pointers[i] = &peers->items[i];
        peers->count++;
    }
    if (count > 0 && !add_rules(network->slice, peers))
        return false;
    for (size_t i = 0; i < count; i++)
        fill_state(network, &peers->states[i], &peers->items[i]);
    return true;
}

// ---- sending

static void fill(struct network *network, struct room *room, const struct peers *peers, Twofold__V1__RoleStatus *status)
{
    const struct identity *identity = network->identity;
    find_warnings(network, room);
    find_counters(network, room);
    hex_encode(identity->facts.spki_sha384, DIGEST_BYTES, room->key);
    hex_encode(identity->ca_facts.spki_sha384, DIGEST_BYTES, room->ca);
    status->role = (char *)"network";
    status->n_peers = peers->count;
    status->peers = peers->pointers;
    status->dataplane = (char *)(network->keying != NULL ? "kernel" : "none");
    status->n_warnings = room->warning_count;
    status->warnings = room->warning_pointers;
    status->secrets_exported = network->start->export_folder != NULL;
    status->cipher_code = (char *)"Linux kernel";
    status->uid = getuid();
    status->pid = (uint32_t)getpid();
    status->key_sha384 = room->key;
    status->ca_sha384 = room->ca;
    status->n_counters = room->counter_count;
    status->counters = room->counter_pointers;
}

void network_send_status(struct network *network)
{
    struct peers peers = {0};
    struct room *room = calloc(1, sizeof(*room));
    if (room == NULL || !make_peers(network, &peers)) {
        network_end(network, 1);
    } else {
        Twofold__V1__RoleStatus status = TWOFOLD__V1__ROLE_STATUS__INIT;
        Twofold__V1__RoleMessage message = TWOFOLD__V1__ROLE_MESSAGE__INIT;
        fill(network, room, &peers, &status);
        message.body_case = TWOFOLD__V1__ROLE_MESSAGE__BODY_STATUS;
        message.status = &status;
        network_send(network, network->control, &message);
    }
    free_peers(&peers);
    free(room);
}

void network_send_flows(struct network *network, uint32_t limit)
{
    Twofold__V1__RoleMessage message = TWOFOLD__V1__ROLE_MESSAGE__INIT;
    Twofold__V1__Flows *flows = malloc(sizeof(*flows));
    if (flows == NULL) {
        network_end(network, 1);
        return;
    }
    twofold__v1__flows__init(flows);
    if (drops_fill(network->drops, limit, flows) == ERR_OK) {
        message.body_case = TWOFOLD__V1__ROLE_MESSAGE__BODY_FLOWS;
        message.flows = flows;
        network_send(network, network->control, &message);
    } else {
        network_end(network, 1);
    }
    message_free(flows);
}
