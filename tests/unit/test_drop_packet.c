// SPDX-License-Identifier: GPL-2.0-or-later
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "agent/network/drop_packet.h"

static const uint8_t tcp4[] = {0x45, 0, 0, 40, 0,   0, 0x40, 0, 64,   6,    0,    0,
                               192,  0, 2, 1,  192, 0, 2,    2, 0x9c, 0x40, 0x27, 0x0f};

// Each length on the heap, so that a read behind the end shows.
static enum err parse(const uint8_t *bytes, size_t len, struct drop_packet *packet)
{
    uint8_t *copy = malloc(len + 1);
    memcpy(copy, bytes, len);
    copy = realloc(copy, len > 0 ? len : 1);
    enum err err = drop_packet_parse(copy, len, packet);
    free(copy);
    return err;
}

Test(drop_packet, reads_ipv4)
{
    struct drop_packet packet;
    cr_assert_eq(parse(tcp4, sizeof(tcp4), &packet), ERR_OK);
    cr_assert_eq(packet.protocol, IPPROTO_TCP);
    cr_assert(packet.has_ports);
    cr_assert_eq(packet.source_port, 40000);
    cr_assert_eq(packet.destination_port, 9999);
    char text[IP_TEXT_BYTES];
    ip_format(&packet.destination, text);
    cr_assert_str_eq(text, "192.0.2.2");
}

Test(drop_packet, every_cut_is_survived)
{
    struct drop_packet packet;
    for (size_t len = 0; len < sizeof(tcp4); len++) {
        enum err err = parse(tcp4, len, &packet);
        cr_assert_eq(err, len < 20 ? ERR_MALFORMED : ERR_OK, "%zu", len);
        if (err == ERR_OK)
            cr_assert_not(packet.has_ports);
    }
}

Test(drop_packet, a_later_fragment_has_no_ports)
{
    uint8_t bytes[sizeof(tcp4)];
    struct drop_packet packet;
    memcpy(bytes, tcp4, sizeof(bytes));
    bytes[7] = 1;
    cr_assert_eq(parse(bytes, sizeof(bytes), &packet), ERR_OK);
    cr_assert_not(packet.has_ports);
}

Test(drop_packet, options_that_lie_about_their_length_are_refused)
{
    uint8_t bytes[sizeof(tcp4)];
    struct drop_packet packet;
    memcpy(bytes, tcp4, sizeof(bytes));
    bytes[0] = 0x44; // shorter than a header
    cr_assert_eq(parse(bytes, sizeof(bytes), &packet), ERR_MALFORMED);
    bytes[0] = 0x4f; // longer than the packet
    cr_assert_eq(parse(bytes, sizeof(bytes), &packet), ERR_MALFORMED);
    bytes[0] = 0x55; // no such version
    cr_assert_eq(parse(bytes, sizeof(bytes), &packet), ERR_MALFORMED);
}

static size_t ipv6(uint8_t *room, uint8_t next)
{
    memset(room, 0, 40);
    room[0] = 0x60;
    room[6] = next;
    memcpy(room + 8, (uint8_t[]){0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}, 16);
    memcpy(room + 24, (uint8_t[]){0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2}, 16);
    return 40;
}

Test(drop_packet, walks_ipv6_headers)
{
    uint8_t bytes[256];
    struct drop_packet packet;
    size_t len = ipv6(bytes, IPPROTO_HOPOPTS);
    memcpy(bytes + len, (uint8_t[]){IPPROTO_DSTOPTS, 0, 1, 4, 0, 0, 0, 0}, 8);
    len += 8;
    memcpy(bytes + len, (uint8_t[]){IPPROTO_UDP, 1, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 16);
    len += 16;
    memcpy(bytes + len, (uint8_t[]){0x14, 0xe9, 0x00, 0x35}, 4);
    len += 4;
    cr_assert_eq(parse(bytes, len, &packet), ERR_OK);
    cr_assert_eq(packet.protocol, IPPROTO_UDP);
    cr_assert(packet.has_ports);
    cr_assert_eq(packet.destination_port, 53);
    for (size_t cut = 40; cut < len; cut++) {
        cr_assert_eq(parse(bytes, cut, &packet), ERR_OK);
        cr_assert_not(packet.has_ports, "%zu", cut);
    }
}

Test(drop_packet, a_later_ipv6_fragment_has_no_ports)
{
    uint8_t bytes[64];
    struct drop_packet packet;
    size_t len = ipv6(bytes, IPPROTO_FRAGMENT);
    memcpy(bytes + len, (uint8_t[]){IPPROTO_TCP, 0, 0, 8, 0, 0, 0, 1, 0, 22, 0, 23}, 12);
    cr_assert_eq(parse(bytes, len + 12, &packet), ERR_OK);
    cr_assert_eq(packet.protocol, IPPROTO_TCP);
    cr_assert_not(packet.has_ports);
}

Test(drop_packet, endless_headers_end)
{
    uint8_t bytes[40 + 8 * 100];
    struct drop_packet packet;
    size_t len = ipv6(bytes, IPPROTO_HOPOPTS);
    for (int i = 0; i < 100; i++, len += 8)
        memcpy(bytes + len, (uint8_t[]){IPPROTO_HOPOPTS, 0, 1, 4, 0, 0, 0, 0}, 8);
    cr_assert_eq(parse(bytes, len, &packet), ERR_OK);
    cr_assert_not(packet.has_ports);
}
