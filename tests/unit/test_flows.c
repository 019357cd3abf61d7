// SPDX-License-Identifier: GPL-2.0-or-later
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "agent/https/flows.h"

#define OWN "spiffe://example.org/ns/default/sa/web"

static struct flows *make(size_t ended, size_t strangers)
{
    struct flows *flows = NULL;
    cr_assert_eq(flows_new(ended, strangers, &flows), ERR_OK);
    return flows;
}

static Twofold__V1__Flows *report_of(const struct flows *flows, size_t limit)
{
    Twofold__V1__Flows *report = NULL;
    cr_assert_eq(flows_report(flows, OWN, limit, &report), ERR_OK);
    return report;
}

Test(flows, a_live_flow_is_reported_and_remembered_when_it_ended)
{
    struct flows *flows = make(10, 10);
    struct flow_record record = {.direction = TWOFOLD__V1__DIRECTION__DIRECTION_OUT, .bytes_sent = 1ull << 40};
    cr_assert_eq(ip_endpoint_parse("192.0.2.1:40000", &record.source), ERR_OK);
    cr_assert_eq(ip_endpoint_parse("[2001:db8::2]:80", &record.destination), ERR_OK);
    strcpy(record.peer_identity, "spiffe://example.org/ns/default/sa/api");
    flows_begin(flows, &record, 1000);
    Twofold__V1__Flows *report = report_of(flows, 100);
    cr_assert_eq(report->n_flows, 1);
    cr_assert_eq(report->flows[0]->ended_ms, 0);
    cr_assert_str_eq(report->flows[0]->source, "192.0.2.1:40000");
    cr_assert_str_eq(report->flows[0]->destination, "[2001:db8::2]:80");
    cr_assert_str_eq(report->flows[0]->source_identity, OWN);
    cr_assert_str_eq(report->flows[0]->destination_identity, record.peer_identity);
    cr_assert_eq(report->flows[0]->bytes_sent, 1ull << 40);
    free(report);
    flows_end(flows, &record, 2000);
    memset(&record, 0xff, sizeof(record)); // the memory goes with its owner
    report = report_of(flows, 100);
    cr_assert_eq(report->n_flows, 1);
    cr_assert_eq(report->flows[0]->ended_ms, 2000);
    free(report);
    flows_free(flows);
}

Test(flows, an_inbound_flow_has_the_peer_as_its_source)
{
    struct flows *flows = make(1, 1);
    struct flow_record record = {.direction = TWOFOLD__V1__DIRECTION__DIRECTION_IN};
    strcpy(record.peer_identity, "spiffe://example.org/ns/default/sa/api");
    flows_begin(flows, &record, 1);
    Twofold__V1__Flows *report = report_of(flows, 1);
    cr_assert_str_eq(report->flows[0]->source_identity, record.peer_identity);
    cr_assert_str_eq(report->flows[0]->destination_identity, OWN);
    free(report);
    flows_end(flows, &record, 2);
    flows_free(flows);
}

Test(flows, only_the_last_ended_ones_are_remembered)
{
    struct flows *flows = make(3, 2);
    for (uint64_t i = 1; i <= 10; i++) {
        struct flow_record record = {0};
        flows_begin(flows, &record, i);
        flows_end(flows, &record, i);
    }
    Twofold__V1__Flows *report = report_of(flows, 100);
    cr_assert_eq(report->n_flows, 3);
    for (size_t i = 0; i < 3; i++) {
        cr_assert_eq(report->flows[i]->id, 10 - i, "the newest first");
    }
    free(report);
    report = report_of(flows, 2);
    cr_assert_eq(report->n_flows, 2);
    free(report);
    flows_free(flows);
}

Test(flows, strangers_push_no_flow_out)
{
    struct flows *flows = make(3, 2);
    struct flow_record record = {0};
    flows_begin(flows, &record, 5);
    flows_end(flows, &record, 5);
    for (uint64_t i = 6; i <= 100; i++) {
        flows_add_stranger(flows, &record, i);
    }
    Twofold__V1__Flows *report = report_of(flows, 100);
    cr_assert_eq(report->n_flows, 3);
    cr_assert_eq(report->flows[0]->ended_ms, 100);
    cr_assert_eq(report->flows[1]->ended_ms, 99);
    cr_assert_eq(report->flows[2]->ended_ms, 5);
    free(report);
    flows_free(flows);
}

Test(flows, live_ones_end_in_any_order)
{
    struct flows *flows = make(8, 0);
    struct flow_record records[4] = {0};
    static const size_t order[] = {2, 0, 3, 1};
    for (size_t i = 0; i < 4; i++) {
        flows_begin(flows, &records[i], i);
    }
    for (size_t i = 0; i < 4; i++) {
        flows_end(flows, &records[order[i]], 10 + i);
        Twofold__V1__Flows *report = report_of(flows, 100);
        cr_assert_eq(report->n_flows, 4);
        cr_assert_eq(flows_live(flows), 3 - i);
        free(report);
    }
    flows_add_stranger(flows, &records[0], 20); // there is no room for them
    flows_free(flows);
}

Test(flows, an_empty_report)
{
    struct flows *flows = make(1, 1);
    Twofold__V1__Flows *report = report_of(flows, 10);
    cr_assert_eq(report->n_flows, 0);
    free(report);
    flows_free(flows);
}
