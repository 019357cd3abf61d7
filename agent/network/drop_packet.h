// SPDX-License-Identifier: GPL-2.0-or-later
// The head of a refused packet: addresses, protocol, ports (RFC 791, RFC 8200). Hostile bytes, read strictly inside their length. Pure.
#ifndef TWOFOLD_AGENT_NETWORK_DROP_PACKET_H
#define TWOFOLD_AGENT_NETWORK_DROP_PACKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/base/err.h"
#include "proto/base/ip.h"

struct drop_packet {
    struct ip source;
    struct ip destination;
    uint8_t protocol;
    bool has_ports; // false for protocols without, later fragments, and heads that were cut
    uint16_t source_port;
    uint16_t destination_port;
};

// At most 8 IPv6 extension headers are walked; a packet with more has no ports. ERR_MALFORMED.
MUST_USE enum err drop_packet_parse(const uint8_t *bytes, size_t len, struct drop_packet *ret_packet);

#endif
