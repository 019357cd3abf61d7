// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/network/drop_packet.h"

#include <netinet/in.h>

#include "proto/base/buf.h"

enum { IPV6_HEADERS_MAX = 8 };

static void read_ports(struct cursor cursor, struct drop_packet *packet)
{
    uint16_t source, destination;
    if (packet->protocol != IPPROTO_TCP && packet->protocol != IPPROTO_UDP && packet->protocol != IPPROTO_UDPLITE &&
        packet->protocol != IPPROTO_SCTP && packet->protocol != IPPROTO_DCCP)
        return;
    if (cursor_u16(&cursor, &source) != ERR_OK || cursor_u16(&cursor, &destination) != ERR_OK)
        return;
    packet->source_port = source;
    packet->destination_port = destination;
    packet->has_ports = true;
}

static enum err parse_v4(const uint8_t *bytes, size_t len, struct drop_packet *packet)
{
    if (len < 20)
        return ERR_MALFORMED;
    size_t header_len = (size_t)(bytes[0] & 0x0f) * 4;
    if (header_len < 20 || header_len > len)
        return ERR_MALFORMED;
    packet->protocol = bytes[9];
    if (ip_from_bytes(bytes + 12, 4, &packet->source) != ERR_OK ||
        ip_from_bytes(bytes + 16, 4, &packet->destination) != ERR_OK)
        return ERR_MALFORMED;
    unsigned offset = ((unsigned)bytes[6] << 8 | bytes[7]) & 0x1fff;
    if (offset == 0)
        read_ports((struct cursor){bytes + header_len, len - header_len}, packet);
    return ERR_OK;
}

// Steps over one extension header; false: the cursor stands at what the packet carries, or nothing more can be read.
static bool skip_extension(struct cursor *cursor, struct drop_packet *packet, bool *fragment)
{
    uint8_t next, length;
    const uint8_t *rest;
    switch (packet->protocol) {
    case IPPROTO_HOPOPTS:
    case IPPROTO_ROUTING:
    case IPPROTO_DSTOPTS:
    case IPPROTO_FRAGMENT:
        break;
    default:
        return false;
    }
    bool is_fragment = packet->protocol == IPPROTO_FRAGMENT;
    if (cursor_u8(cursor, &next) != ERR_OK || cursor_u8(cursor, &length) != ERR_OK ||
        cursor_bytes(cursor, is_fragment ? 6 : (size_t)length * 8 + 6, &rest) != ERR_OK) {
        cursor->left = 0;
        return false;
    }
    if (is_fragment && (((unsigned)rest[0] << 8 | rest[1]) & 0xfff8) != 0)
        *fragment = true;
    packet->protocol = next;
    return true;
}

static enum err parse_v6(const uint8_t *bytes, size_t len, struct drop_packet *packet)
{
    if (len < 40)
        return ERR_MALFORMED;
    packet->protocol = bytes[6];
    if (ip_from_bytes(bytes + 8, 16, &packet->source) != ERR_OK ||
        ip_from_bytes(bytes + 24, 16, &packet->destination) != ERR_OK)
        return ERR_MALFORMED;
    struct cursor cursor = {bytes + 40, len - 40};
    bool fragment = false;
    for (int i = 0; i < IPV6_HEADERS_MAX; i++) {
        if (!skip_extension(&cursor, packet, &fragment)) {
            if (!fragment)
                read_ports(cursor, packet);
            break;
        }
    }
    return ERR_OK;
}

enum err drop_packet_parse(const uint8_t *bytes, size_t len, struct drop_packet *ret_packet)
{
    struct drop_packet packet = {.protocol = 0};
    if (len == 0)
        return ERR_MALFORMED;
    enum err err = bytes[0] >> 4 == 4   ? parse_v4(bytes, len, &packet)
                   : bytes[0] >> 4 == 6 ? parse_v6(bytes, len, &packet)
                                        : ERR_MALFORMED;
    if (err == ERR_OK)
        *ret_packet = packet;
    return err;
}
