// SPDX-License-Identifier: GPL-2.0-or-later
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/network/drop_reason.h"
#include "agent/network/drops.h"
#include "proto/wire/message.h"
#include "tests/unit/slice_reader.h"

static const char text[] = "slice web generation 7 trust-domain example.org rekey 60 independence reported\n"
                           "peer api slot 2 addresses 192.0.2.2 2001:db8::2\n"
                           "peer cache slot 3 addresses 192.0.2.3\n"
                           "rule admin in ports tcp/9100 layers ipsec peers api\n"
                           "rule metrics out ports udp/8125 layers ipsec peers api\n"
                           "rule web-to-api out ports tcp/8080 tcp/9000-9010 layers ipsec https peers api\n"
                           "rule web-to-cache out ports tcp/6379 layers https peers cache\n";

static struct nflog_event event(enum nft_reason reason, const char *source, uint16_t source_port,
                                const char *destination, uint16_t destination_port)
{
    struct nflog_event made = {.reason = reason, .packet = {.protocol = IPPROTO_TCP, .has_ports = true}};
    cr_assert_eq(ip_parse(source, &made.packet.source), ERR_OK);
    cr_assert_eq(ip_parse(destination, &made.packet.destination), ERR_OK);
    made.packet.source_port = source_port;
    made.packet.destination_port = destination_port;
    return made;
}

static void check_reason(struct nflog_event made, const char *rule, const char *reason)
{
    Twofold__V1__Slice *slice = slice_from_text(text);
    struct drop_verdict verdict;
    drop_reason(slice, &made, 15008, &verdict);
    cr_assert_str_eq(verdict.reason, reason);
    cr_assert_str_eq(verdict.rule, rule);
    message_free(slice);
}

Test(drops, reasons_are_sentences)
{
    check_reason(event(NFT_REASON_OUT_RULE, "192.0.2.1", 40000, "192.0.2.2", 9999), "",
                 "no rule allows web -> api tcp/9999; nearest: rule web-to-api (tcp/8080, ...)");
    check_reason(
        event(NFT_REASON_IN_RULE, "192.0.2.3", 40000, "192.0.2.1", 22), "",
        "no rule allows cache -> web tcp/22; nearest: rule web-to-cache (tcp/6379), but only the other way round");
    check_reason(event(NFT_REASON_OUT_RULE, "192.0.2.1", 40000, "198.51.100.7", 443), "",
                 "no rule allows web -> 198.51.100.7 tcp/443: the address belongs to no peer of this host");
    check_reason(event(NFT_REASON_IN_PLAIN, "192.0.2.2", 40000, "192.0.2.1", 9100), "admin",
                 "arrived outside IPsec: tcp/9100 to web by rule admin is taken from api only in ESP");
    check_reason(event(NFT_REASON_OUT_RULE, "192.0.2.1", 40000, "192.0.2.2", 8080), "web-to-api",
                 "rule web-to-api (tcp/8080) needs https, but the flow began before it was captured: open it again");
    check_reason(event(NFT_REASON_IN_RULE, "192.0.2.2", 8080, "192.0.2.1", 40000), "web-to-api",
                 "rule web-to-api (tcp/8080) needs https, but the flow began before it was captured: open it again");
    check_reason(event(NFT_REASON_IN_RULE, "192.0.2.2", 7777, "192.0.2.1", 40000), "",
                 "an answer, and no rule allows web -> api tcp/7777; nearest: rule web-to-api (tcp/8080, ...)");
    check_reason(event(NFT_REASON_IN_ESP, "198.51.100.7", 0, "192.0.2.1", 0), "",
                 "ESP from 198.51.100.7, which is no IPsec peer of this host");
    struct nflog_event udp = event(NFT_REASON_OUT_RULE, "192.0.2.1", 40000, "192.0.2.2", 8125);
    udp.packet.protocol = IPPROTO_UDP;
    check_reason(udp, "metrics", "rule metrics allows udp/8125, but no IPsec SA with api is up");
    struct drop_verdict verdict;
    drop_reason(NULL, &udp, 15008, &verdict);
    cr_assert_str_eq(verdict.reason,
                     "no policy is in force yet: everything is refused until the controller's first slice");
}

Test(drops, a_flow_of_many_packets_is_one_entry)
{
    struct drops *drops;
    Twofold__V1__Slice *slice = slice_from_text(text);
    cr_assert_eq(drops_new(&drops), ERR_OK);
    for (uint16_t i = 0; i < 50; i++) {
        struct nflog_event made = event(NFT_REASON_OUT_RULE, "192.0.2.1", (uint16_t)(40000 + i), "192.0.2.2", 9999);
        drops_add(drops, slice, 15008, &made, 1000 + i);
    }
    struct nflog_event other = event(NFT_REASON_OUT_RULE, "192.0.2.1", 40000, "192.0.2.3", 9999);
    drops_add(drops, slice, 15008, &other, 2000);
    cr_assert_eq(drops_count(drops), 2);
    Twofold__V1__Flows *flows = malloc(sizeof(*flows));
    twofold__v1__flows__init(flows);
    cr_assert_eq(drops_fill(drops, 0, flows), ERR_OK);
    cr_assert_eq(flows->n_flows, 2);
    cr_assert_str_eq(flows->flows[0]->peer, "cache");
    cr_assert_str_eq(flows->flows[1]->source, "192.0.2.1:40049");
    cr_assert_str_eq(flows->flows[1]->destination, "192.0.2.2:9999");
    cr_assert_not_null(strstr(flows->flows[1]->reason, "(50 packets)"));
    cr_assert_eq(flows->flows[1]->verdict, TWOFOLD__V1__VERDICT__VERDICT_REFUSED);
    cr_assert_eq(flows->flows[1]->started_ms, 1000);
    cr_assert_eq(flows->flows[1]->ended_ms, 1049);
    message_free(flows);
    message_free(slice);
    drops_free(drops);
}

Test(drops, the_oldest_make_room)
{
    struct drops *drops;
    cr_assert_eq(drops_new(&drops), ERR_OK);
    for (unsigned i = 0; i < DROPS_MAX + 200; i++) {
        struct nflog_event made = event(NFT_REASON_IN_RULE, "198.51.100.7", 1, "192.0.2.1", (uint16_t)(i + 1));
        drops_add(drops, NULL, 15008, &made, i);
    }
    cr_assert_eq(drops_count(drops), DROPS_MAX);
    Twofold__V1__Flows *flows = malloc(sizeof(*flows));
    twofold__v1__flows__init(flows);
    cr_assert_eq(drops_fill(drops, 10, flows), ERR_OK);
    cr_assert_eq(flows->n_flows, 10);
    cr_assert_str_eq(flows->flows[0]->destination, "192.0.2.1:1200");
    message_free(flows);
    drops_free(drops);
}
