// SPDX-License-Identifier: GPL-2.0-or-later
// The head of a refused packet, as anybody on the network can send it, and the sentence that is made of it.
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "agent/network/drop_reason.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

// One peer with one rule each way; built once, never freed.
static const Twofold__V1__Slice *slice(void)
{
    static Twofold__V1__Slice slice = TWOFOLD__V1__SLICE__INIT;
    static Twofold__V1__Settings settings = TWOFOLD__V1__SETTINGS__INIT;
    static Twofold__V1__Peer peer = TWOFOLD__V1__PEER__INIT, *peers = &peer;
    static Twofold__V1__Rule in = TWOFOLD__V1__RULE__INIT, out = TWOFOLD__V1__RULE__INIT, *rules[] = {&in, &out};
    static Twofold__V1__PortRange range = TWOFOLD__V1__PORT_RANGE__INIT, *ranges = &range;
    static uint8_t address[] = {192, 0, 2, 1};
    static ProtobufCBinaryData addresses = {4, address};
    static char *hosts = (char *)"api";
    if (slice.settings != NULL)
        return &slice;
    settings.host = (char *)"web";
    slice.settings = &settings;
    peer.host = hosts;
    peer.addresses = &addresses;
    peer.n_addresses = 1;
    slice.peers = &peers;
    slice.n_peers = 1;
    range.protocol = TWOFOLD__V1__PROTOCOL__PROTOCOL_TCP;
    range.first = 80;
    range.last = 9000;
    for (int i = 0; i < 2; i++) {
        rules[i]->name = (char *)(i == 0 ? "in" : "out");
        rules[i]->direction = i == 0 ? TWOFOLD__V1__DIRECTION__DIRECTION_IN : TWOFOLD__V1__DIRECTION__DIRECTION_OUT;
        rules[i]->peers = &hosts;
        rules[i]->n_peers = 1;
        rules[i]->ports = &ranges;
        rules[i]->n_ports = 1;
        rules[i]->ipsec = true;
    }
    slice.rules = rules;
    slice.n_rules = 2;
    return &slice;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct nflog_event event = {.reason = NFT_REASON_IN_RULE};
    struct drop_verdict verdict;
    if (drop_packet_parse(bytes, len, &event.packet) != ERR_OK)
        return 0;
    assert(event.packet.source.len == 4 || event.packet.source.len == 16);
    assert(event.packet.has_ports || (event.packet.source_port == 0 && event.packet.destination_port == 0));
    for (int reason = 0; reason < NFT_REASON_COUNT; reason++) {
        event.reason = (enum nft_reason)reason;
        drop_reason(slice(), &event, 15008, &verdict);
        assert(verdict.reason[0] != '\0');
        drop_reason(NULL, &event, 15008, &verdict);
        assert(verdict.reason[0] != '\0');
    }
    return 0;
}
