// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/network/drops.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/network/drop_reason.h"

struct drop {
    uint64_t id;
    struct nflog_event event; // the latest packet's
    struct drop_verdict verdict;
    uint64_t packets;
    uint64_t first_ms;
    uint64_t last_ms;
    uint64_t order; // of the last packet: the latest is highest
};

struct drops {
    size_t count;
    uint64_t next_id;
    uint64_t next_order;
    struct drop items[DROPS_MAX];
};

enum err drops_new(struct drops **ret_drops)
{
    struct drops *drops = calloc(1, sizeof(*drops));
    if (drops == NULL)
        return ERR_NOMEM;
    drops->next_id = 1;
    *ret_drops = drops;
    return ERR_OK;
}

void drops_free(struct drops *drops)
{
    free(drops);
}

size_t drops_count(const struct drops *drops)
{
    return drops->count;
}

static bool same_flow(const struct nflog_event *a, const struct nflog_event *b)
{
    return a->reason == b->reason && a->packet.protocol == b->packet.protocol &&
           a->packet.has_ports == b->packet.has_ports && a->packet.destination_port == b->packet.destination_port &&
           ip_compare(&a->packet.source, &b->packet.source) == 0 &&
           ip_compare(&a->packet.destination, &b->packet.destination) == 0;
}

static struct drop *find(struct drops *drops, const struct nflog_event *event)
{
    for (size_t i = 0; i < drops->count; i++) {
        if (same_flow(&drops->items[i].event, event))
            return &drops->items[i];
    }
    return NULL;
}

static struct drop *make_room(struct drops *drops)
{
    if (drops->count < DROPS_MAX)
        return &drops->items[drops->count++];
    struct drop *oldest = &drops->items[0];
    for (size_t i = 1; i < drops->count; i++) {
        if (drops->items[i].order < oldest->order)
            oldest = &drops->items[i];
    }
    return oldest;
}

void drops_add(struct drops *drops, const Twofold__V1__Slice *slice, uint16_t tunnel_port,
               const struct nflog_event *event, uint64_t now_ms)
{
    struct drop *drop = find(drops, event);
    if (drop == NULL) {
        drop = make_room(drops);
        *drop = (struct drop){.id = drops->next_id++, .first_ms = now_ms};
    }
    drop->event = *event;
    drop->packets++;
    drop->last_ms = now_ms;
    drop->order = ++drops->next_order;
    drop_reason(slice, event, tunnel_port, &drop->verdict);
}

static int compare_latest_first(const void *left, const void *right)
{
    const struct drop *a = *(const struct drop *const *)left;
    const struct drop *b = *(const struct drop *const *)right;
    return (a->order < b->order) - (a->order > b->order);
}

// protobuf-c frees every string that is not the shared empty one.
static bool set_text(char **field, const char *text)
{
    *field = strdup(text);
    return *field != NULL;
}

static bool set_end(char **field, const struct ip *ip, bool has_port, uint16_t port)
{
    char text[IP_ENDPOINT_TEXT_BYTES];
    struct ip_endpoint endpoint = {.ip = *ip, .port = port};
    if (has_port)
        ip_endpoint_format(&endpoint, text);
    else
        ip_format(ip, text);
    return set_text(field, text);
}

static bool fill_flow(const struct drop *drop, Twofold__V1__Flow *flow)
{
    const struct drop_packet *packet = &drop->event.packet;
    char reason[DROP_REASON_BYTES + 48];
    snprintf(reason, sizeof(reason), drop->packets > 1 ? "%s (%" PRIu64 " packets)" : "%s", drop->verdict.reason,
             drop->packets);
    flow->id = drop->id;
    flow->direction = drop->event.reason == NFT_REASON_OUT_RULE || drop->event.reason == NFT_REASON_OUT_NOISE
                          ? TWOFOLD__V1__DIRECTION__DIRECTION_OUT
                          : TWOFOLD__V1__DIRECTION__DIRECTION_IN;
    flow->verdict = TWOFOLD__V1__VERDICT__VERDICT_REFUSED;
    flow->ipsec = drop->verdict.ipsec;
    flow->started_ms = drop->first_ms;
    flow->ended_ms = drop->last_ms;
    if (packet->protocol == TWOFOLD__V1__PROTOCOL__PROTOCOL_TCP ||
        packet->protocol == TWOFOLD__V1__PROTOCOL__PROTOCOL_UDP)
        flow->protocol = (Twofold__V1__Protocol)packet->protocol;
    return set_end(&flow->source, &packet->source, packet->has_ports, packet->source_port) &&
           set_end(&flow->destination, &packet->destination, packet->has_ports, packet->destination_port) &&
           set_text(&flow->peer, drop->verdict.peer) && set_text(&flow->rule, drop->verdict.rule) &&
           set_text(&flow->reason, reason);
}

static enum err append(const struct drop *drop, Twofold__V1__Flows *flows)
{
    Twofold__V1__Flow *flow = malloc(sizeof(*flow));
    if (flow == NULL)
        return ERR_NOMEM;
    twofold__v1__flow__init(flow);
    flows->flows[flows->n_flows++] = flow;
    return fill_flow(drop, flow) ? ERR_OK : ERR_NOMEM;
}

enum err drops_fill(const struct drops *drops, uint32_t limit, Twofold__V1__Flows *flows)
{
    size_t count = limit != 0 && limit < drops->count ? limit : drops->count;
    const struct drop **latest = malloc((drops->count + 1) * sizeof(*latest));
    Twofold__V1__Flow **room = realloc(flows->flows, (flows->n_flows + count + 1) * sizeof(*room));
    if (room != NULL)
        flows->flows = room;
    enum err err = latest == NULL || room == NULL ? ERR_NOMEM : ERR_OK;
    for (size_t i = 0; err == ERR_OK && i < drops->count; i++)
        latest[i] = &drops->items[i];
    if (err == ERR_OK)
        qsort(latest, drops->count, sizeof(*latest), compare_latest_first);
    for (size_t i = 0; err == ERR_OK && i < count; i++)
        err = append(latest[i], flows);
    free(latest);
    return err;
}
