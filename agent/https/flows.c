// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/https/flows.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// The last ones, oldest overwritten.
struct ring {
    size_t room;
    size_t count;
    size_t next;
    struct flow_record *records;
};

struct flows {
    uint64_t last_id;
    size_t live_count;
    struct flow_record *live; // newest first
    struct ring ended;
    struct ring strangers;
};

static enum err ring_init(struct ring *ring, size_t room)
{
    ring->records = calloc(room + 1, sizeof(*ring->records));
    ring->room = room;
    return ring->records ? ERR_OK : ERR_NOMEM;
}

static void ring_add(struct ring *ring, const struct flow_record *record)
{
    if (ring->room == 0) {
        return;
    }
    ring->records[ring->next] = *record;
    ring->next = (ring->next + 1) % ring->room;
    if (ring->count < ring->room) {
        ring->count++;
    }
}

// The newest is number 0.
static const struct flow_record *ring_at(const struct ring *ring, size_t number)
{
    return &ring->records[(ring->next + ring->room - 1 - number) % ring->room];
}

enum err flows_new(size_t ended_max, size_t strangers_max, struct flows **ret_flows)
{
    struct flows *flows = calloc(1, sizeof(*flows));
    if (!flows) {
        return ERR_NOMEM;
    }
    if (ring_init(&flows->ended, ended_max) != ERR_OK || ring_init(&flows->strangers, strangers_max) != ERR_OK) {
        flows_free(flows);
        return ERR_NOMEM;
    }
    *ret_flows = flows;
    return ERR_OK;
}

void flows_free(struct flows *flows)
{
    if (!flows) {
        return;
    }
    assert(flows->live_count == 0);
    free(flows->ended.records);
    free(flows->strangers.records);
    free(flows);
}

void flows_begin(struct flows *flows, struct flow_record *record, uint64_t now_ms)
{
    record->id = ++flows->last_id;
    record->started_ms = now_ms;
    record->ended_ms = 0;
    record->previous = NULL;
    record->next = flows->live;
    if (flows->live) {
        flows->live->previous = record;
    }
    flows->live = record;
    flows->live_count++;
}

void flows_end(struct flows *flows, struct flow_record *record, uint64_t now_ms)
{
    if (record->previous) {
        record->previous->next = record->next;
    } else {
        flows->live = record->next;
    }
    if (record->next) {
        record->next->previous = record->previous;
    }
    record->next = NULL;
    record->previous = NULL;
    record->ended_ms = now_ms;
    flows->live_count--;
    ring_add(&flows->ended, record);
}

void flows_add_stranger(struct flows *flows, const struct flow_record *record, uint64_t now_ms)
{
    struct flow_record copy = *record;
    copy.id = ++flows->last_id;
    copy.started_ms = now_ms;
    copy.ended_ms = now_ms;
    ring_add(&flows->strangers, &copy);
}

size_t flows_live(const struct flows *flows)
{
    return flows->live_count;
}

void flow_record_judge(struct flow_record *record, const struct verdict *verdict)
{
    snprintf(record->peer, sizeof(record->peer), "%s", verdict->peer ? verdict->peer->host : "");
    snprintf(record->rule, sizeof(record->rule), "%s", verdict->rule ? verdict->rule->name : "");
    record->ipsec = verdict->pair != NULL;
    snprintf(record->ipsec_suite, sizeof(record->ipsec_suite), "%s", verdict->pair ? verdict->pair->suite : "");
    if (!verdict->allowed) {
        record->verdict = TWOFOLD__V1__VERDICT__VERDICT_REFUSED;
        snprintf(record->reason, sizeof(record->reason), "%.*s", FLOW_REASON_BYTES - 1, verdict->reason);
    }
}

// ---- report

// One flow of a report, with its texts; the others are borrowed from the record and copied into `text`.
struct item {
    Twofold__V1__Flow flow;
    struct flow_record record;
    char source[IP_ENDPOINT_TEXT_BYTES];
    char destination[IP_ENDPOINT_TEXT_BYTES];
};

static void format_end(const struct ip_endpoint *endpoint, char ret_text[IP_ENDPOINT_TEXT_BYTES])
{
    if (endpoint->ip.len == 0) {
        ret_text[0] = '\0';
    } else if (endpoint->port == 0) {
        ip_format(&endpoint->ip, ret_text);
    } else {
        ip_endpoint_format(endpoint, ret_text);
    }
}

static void fill_item(struct item *item, const struct flow_record *record, char *own_identity)
{
    item->record = *record;
    struct flow_record *copy = &item->record;
    bool outbound = copy->direction == TWOFOLD__V1__DIRECTION__DIRECTION_OUT;
    format_end(&copy->source, item->source);
    format_end(&copy->destination, item->destination);
    Twofold__V1__Flow *flow = &item->flow;
    twofold__v1__flow__init(flow);
    flow->id = copy->id;
    flow->direction = copy->direction;
    flow->source = item->source;
    flow->destination = item->destination;
    flow->source_identity = outbound ? own_identity : copy->peer_identity;
    flow->destination_identity = outbound ? copy->peer_identity : own_identity;
    flow->peer = copy->peer;
    flow->rule = copy->rule;
    flow->verdict = copy->verdict;
    flow->reason = copy->reason;
    flow->ipsec = copy->ipsec;
    flow->https = copy->https;
    flow->ipsec_suite = copy->ipsec_suite;
    flow->https_suite = copy->https_suite;
    flow->bytes_sent = copy->bytes_sent;
    flow->bytes_received = copy->bytes_received;
    flow->started_ms = copy->started_ms;
    flow->ended_ms = copy->ended_ms;
    flow->protocol = TWOFOLD__V1__PROTOCOL__PROTOCOL_TCP;
}

enum err flows_report(const struct flows *flows, const char *own_identity, size_t limit,
                      Twofold__V1__Flows **ret_report)
{
    size_t count = flows->live_count + flows->ended.count + flows->strangers.count;
    if (count > limit) {
        count = limit;
    }
    size_t identity_bytes = strlen(own_identity) + 1;
    size_t bytes =
        sizeof(Twofold__V1__Flows) + count * (sizeof(Twofold__V1__Flow *) + sizeof(struct item)) + identity_bytes;
    Twofold__V1__Flows *report = malloc(bytes);
    if (!report) {
        return ERR_NOMEM;
    }
    twofold__v1__flows__init(report);
    struct item *items = (struct item *)(report + 1);
    Twofold__V1__Flow **pointers = (Twofold__V1__Flow **)(items + count);
    char *identity = (char *)(pointers + count);
    memcpy(identity, own_identity, identity_bytes);

    size_t filled = 0;
    for (const struct flow_record *record = flows->live; record && filled < count; record = record->next) {
        fill_item(&items[filled++], record, identity);
    }
    size_t ended = 0;
    size_t strangers = 0;
    while (filled < count) {
        const struct flow_record *a = ended < flows->ended.count ? ring_at(&flows->ended, ended) : NULL;
        const struct flow_record *b = strangers < flows->strangers.count ? ring_at(&flows->strangers, strangers) : NULL;
        bool take_ended = a && (!b || a->ended_ms >= b->ended_ms);
        fill_item(&items[filled++], take_ended ? a : b, identity);
        ended += take_ended;
        strangers += !take_ended;
    }
    for (size_t i = 0; i < count; i++) {
        pointers[i] = &items[i].flow;
    }
    report->n_flows = count;
    report->flows = pointers;
    *ret_report = report;
    return ERR_OK;
}
