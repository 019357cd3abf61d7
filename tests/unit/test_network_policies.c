// SPDX-License-Identifier: GPL-2.0-or-later
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/network/keying.h"
#include "agent/network/policies.h"
#include "proto/base/buf.h"
#include "proto/wire/message.h"
#include "proto/wire/slice.h"
#include "tests/unit/policy_inventory.h"
#include "tests/unit/slice_reader.h"

static struct ip ip(const char *text)
{
    struct ip parsed;
    cr_assert_eq(ip_parse(text, &parsed), ERR_OK);
    return parsed;
}

static char *write_policies(const struct spd_policy *policies, size_t count)
{
    struct buf text;
    buf_init(&text, 1 << 20);
    for (size_t i = 0; i < count; i++) {
        char line[SPD_TEXT_BYTES];
        spd_format(&policies[i], line);
        cr_assert_eq(buf_append_text(&text, "%s\n", line), ERR_OK);
    }
    cr_assert_eq(buf_append_u8(&text, 0), ERR_OK);
    char *copy = strdup((const char *)buf_bytes(&text));
    buf_free(&text);
    return copy;
}

static void check_golden(const struct policies_input *input, const char *name)
{
    char path[128];
    struct spd_policy *policies;
    size_t count;
    struct note note = {0};
    cr_assert_eq(policies_make(input, &policies, &count, &note), ERR_OK, "%s", note.text);
    char *text = write_policies(policies, count);
    snprintf(path, sizeof(path), "tests/unit/golden/network/%s.policies", name);
    golden_compare(path, text);
    free(text);
    free(policies);
}

static Twofold__V1__Slice *slice_of(const char *name)
{
    char path[128];
    snprintf(path, sizeof(path), "tests/unit/golden/network/%s.slice", name);
    char *text = golden_read(path);
    Twofold__V1__Slice *slice = slice_from_text(text);
    free(text);
    return slice;
}

Test(network_policies, are_those_of_the_golden_files)
{
    struct ip own[] = {ip("2001:db8::1"), ip("fe80::1")};
    struct ip_endpoint controller = {.ip = ip("192.0.2.10"), .port = 7443};
    struct address_pairs pairs = {0};
    struct address_pair *pair;
    struct ip here = ip("192.0.2.1"), there = ip("192.0.2.2"), other = ip("192.0.2.5");
    cr_assert_eq(address_pairs_put(&pairs, &here, &there, REQID_BASE + 2, &pair), ERR_OK);
    pair->inbound = 1;
    pair->outbound_spi = 0x1041;
    cr_assert_eq(address_pairs_put(&pairs, &here, &other, REQID_BASE + 5, &pair), ERR_OK);
    pair->inbound = 2; // the peer may already send; our own outbound SA is not acknowledged yet
    Twofold__V1__Slice *slice = slice_of("web");
    struct policies_input input = {
        .slice = slice, .controller = &controller, .tunnel_port = 15008, .own6 = own, .own6_count = 2, .pairs = &pairs};
    check_golden(&input, "web");
    message_free(slice);
    slice = slice_of("empty");
    input = (struct policies_input){.slice = slice, .controller = &controller, .tunnel_port = 15008};
    check_golden(&input, "empty");
    message_free(slice);
    input = (struct policies_input){.tunnel_port = 15008};
    check_golden(&input, "floor");
    address_pairs_free(&pairs);
}

// Every port of 0..65535 against the blocks that were made of a range.
static void check_range(uint32_t first, uint32_t last)
{
    char text[512];
    snprintf(text, sizeof(text),
             "slice a generation 1 trust-domain example.org rekey 60 independence reported\n"
             "pinhole p out ports tcp/%u-%u prefixes 192.0.2.0/24\n",
             first, last);
    Twofold__V1__Slice *slice = slice_from_text(text);
    struct policies_input input = {.slice = slice};
    struct spd_policy *policies;
    size_t count, blocks = 0;
    cr_assert_eq(policies_make(&input, &policies, &count, NULL), ERR_OK);
    uint8_t *covered = calloc(65536, 1);
    for (size_t i = 0; i < count; i++) {
        const struct spd_selector *selector = &policies[i].selector;
        if (policies[i].priority != SPD_PRIORITY_PINHOLE || policies[i].direction != SPD_OUT)
            continue;
        blocks++;
        for (uint32_t port = 0; port < 65536; port++)
            covered[port] += (port & selector->destination_mask) == selector->destination_port;
    }
    for (uint32_t port = 0; port < 65536; port++)
        cr_assert_eq(covered[port], port >= first && port <= last, "%u-%u: %u", first, last, port);
    cr_assert_leq(blocks, 30);
    free(covered);
    free(policies);
    message_free(slice);
}

Test(network_policies, port_ranges_become_exact_blocks)
{
    check_range(1, 65535);
    check_range(1, 1);
    check_range(22, 25);
    check_range(1023, 1025);
    check_range(3, 65534);
    check_range(32768, 65535);
}

Test(network_policies, a_selector_that_is_opened_twice_stands_once)
{
    Twofold__V1__Slice *slice =
        slice_from_text("slice a generation 1 trust-domain example.org rekey 60 independence reported\n"
                        "pinhole p out ports tcp/7443 prefixes 192.0.2.10/32\n"
                        "pinhole q out ports tcp/7443 prefixes 192.0.2.10/32\n");
    struct ip_endpoint controller = {.ip = ip("192.0.2.10"), .port = 7443};
    struct policies_input input = {.slice = slice, .controller = &controller};
    struct spd_policy *policies;
    size_t count;
    cr_assert_eq(policies_make(&input, &policies, &count, NULL), ERR_OK);
    for (size_t i = 1; i < count; i++)
        cr_assert_lt(spd_compare_key(&policies[i - 1], &policies[i]), 0);
    free(policies);
    message_free(slice);
}

Test(network_policies, too_many_are_refused_with_a_sentence)
{
    Twofold__V1__Slice *slice =
        slice_from_text("slice a generation 1 trust-domain example.org rekey 60 independence reported\n");
    // 256 pinholes of 256 prefixes with one range of 30 blocks: shared objects, freed by hand.
    Twofold__V1__PortRange range = TWOFOLD__V1__PORT_RANGE__INIT, *range_pointer = &range;
    range.protocol = TWOFOLD__V1__PROTOCOL__PROTOCOL_TCP;
    range.first = 1;
    range.last = 65534;
    static uint8_t addresses[256 * 256][4];
    static Twofold__V1__Prefix prefixes[256 * 256], *prefix_pointers[256 * 256];
    static Twofold__V1__Pinhole pinholes[256], *pinhole_pointers[256];
    for (int i = 0; i < 256 * 256; i++) {
        twofold__v1__prefix__init(&prefixes[i]);
        memcpy(addresses[i], (uint8_t[]){10, (uint8_t)(i >> 8), (uint8_t)i, 0}, 4);
        prefixes[i].address = (ProtobufCBinaryData){4, addresses[i]};
        prefixes[i].bits = 24;
        prefix_pointers[i] = &prefixes[i];
    }
    for (int i = 0; i < 256; i++) {
        twofold__v1__pinhole__init(&pinholes[i]);
        pinholes[i].direction = TWOFOLD__V1__DIRECTION__DIRECTION_IN;
        pinholes[i].prefixes = &prefix_pointers[i * 256];
        pinholes[i].n_prefixes = 256;
        pinholes[i].ports = &range_pointer;
        pinholes[i].n_ports = 1;
        pinhole_pointers[i] = &pinholes[i];
    }
    slice->pinholes = pinhole_pointers;
    slice->n_pinholes = 256;
    struct policies_input input = {.slice = slice};
    struct spd_policy *policies;
    size_t count;
    struct note note = {0};
    cr_assert_eq(policies_make(&input, &policies, &count, &note), ERR_LIMIT);
    cr_assert_not_null(strstr(note.text, "pinhole"));
    slice->pinholes = NULL;
    slice->n_pinholes = 0;
    message_free(slice);
}
