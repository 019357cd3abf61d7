// SPDX-License-Identifier: GPL-2.0-or-later
// A negative case for each check and each limit of slice_check.
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/wire/message.h"
#include "proto/wire/slice.h"
#include "tests/unit/slice_fixture.h"

// One fault put into a good slice, and what must be said of it.
struct fault {
    const char *name;
    void (*make)(Twofold__V1__Slice *slice);
    enum err err;
    const char *says;
};

static void try(const struct fault *fault)
{
    struct note note = {0};
    Twofold__V1__Slice *slice = fixture_slice();
    fault->make(slice);
    enum err err = slice_check(slice, &note);
    cr_expect_eq(err, fault->err, "%s: %s (%s)", fault->name, err_name(err), note.text);
    cr_expect(strstr(note.text, fault->says), "%s: says '%s'", fault->name, note.text);
    // Without a note the verdict is the same.
    cr_expect_eq(slice_check(slice, NULL), fault->err, "%s", fault->name);
    message_free(slice);
}

static struct fault faults[128];
static size_t fault_count;

// One test for all of them: a process for each would take most of its time to start under a sanitizer.
#define FAULT(fault_name, fault_err, fault_says, ...)                                                        \
    static void make_##fault_name(Twofold__V1__Slice *slice)                                                 \
    {                                                                                                        \
        __VA_ARGS__                                                                                          \
    }                                                                                                        \
    __attribute__((constructor)) static void add_##fault_name(void)                                          \
    {                                                                                                        \
        faults[fault_count++] = (struct fault){#fault_name, make_##fault_name, ERR_##fault_err, fault_says}; \
    }

Test(slice_check, refuses_each_fault)
{
    cr_assert_gt(fault_count, 70);
    cr_assert_leq(fault_count, sizeof(faults) / sizeof(faults[0]));
    for (size_t i = 0; i < fault_count; i++)
        try(&faults[i]);
}

static void remove_peers_but_first(Twofold__V1__Slice *slice)
{
    while (slice->n_peers > 1)
        message_free(slice->peers[--slice->n_peers]);
}

static void fill_peers(Twofold__V1__Slice *slice, unsigned count)
{
    for (uint32_t n = (uint32_t)slice->n_peers; n < count; n++) {
        char host[16], address[40], workload[64];
        snprintf(host, sizeof(host), "p%05u", n);
        snprintf(address, sizeof(address), "2001:db8:1::%x", n + 1);
        snprintf(workload, sizeof(workload), "spiffe://example.org/ns/default/sa/%s", host);
        fixture_add_peer(slice, host, 100 + n, address, workload);
    }
}

static void fill_rules(Twofold__V1__Slice *slice, unsigned count)
{
    while (slice->n_rules < count) {
        char name[16];
        snprintf(name, sizeof(name), "z%05zu", slice->n_rules);
        Twofold__V1__Rule *rule = fixture_add_rule(slice, name, OUT, true, true);
        fixture_push_text(&rule->peers, &rule->n_peers, "api");
        fixture_add_port(&rule->ports, &rule->n_ports, TCP, 80, 80);
    }
}

static void fill_pinholes(Twofold__V1__Slice *slice, unsigned count)
{
    while (slice->n_pinholes < count) {
        char name[16];
        snprintf(name, sizeof(name), "z%05zu", slice->n_pinholes);
        Twofold__V1__Pinhole *pinhole = fixture_add_pinhole(slice, name, OUT);
        fixture_add_prefix(pinhole, "192.0.2.0/24");
        fixture_add_port(&pinhole->ports, &pinhole->n_ports, TCP, 80, 80);
    }
}

static void fill_revoked(Twofold__V1__Slice *slice, unsigned count)
{
    while (slice->n_revoked < count) {
        char name[16];
        snprintf(name, sizeof(name), "z%05zu", slice->n_revoked);
        fixture_push_text(&slice->revoked, &slice->n_revoked, name);
    }
}

static void fill_ports(Twofold__V1__PortRange ***ports, size_t *count, unsigned wanted)
{
    while (*count < wanted)
        fixture_add_port(ports, count, UDP, 10000 + 2 * (uint32_t)*count, 10000 + 2 * (uint32_t)*count);
}

static void fill_prefixes(Twofold__V1__Pinhole *pinhole, unsigned count)
{
    while (pinhole->n_prefixes < count) {
        char text[48];
        snprintf(text, sizeof(text), "2001:db9:%zx::/48", pinhole->n_prefixes);
        fixture_add_prefix(pinhole, text);
    }
}

static void fill_addresses(Twofold__V1__Peer *peer, unsigned count)
{
    while (peer->n_addresses < count) {
        uint8_t address[16] = {0x20, 0x01, 0x0d, 0xb8, 0xff, [15] = (uint8_t)peer->n_addresses};
        fixture_push_bytes(&peer->addresses, &peer->n_addresses, address, sizeof(address));
    }
}

static void fill_workloads(Twofold__V1__Peer *peer, unsigned count)
{
    while (peer->n_workloads < count) {
        char text[64];
        snprintf(text, sizeof(text), "spiffe://example.org/ns/default/sa/z%03zu", peer->n_workloads);
        fixture_push_text(&peer->workloads, &peer->n_workloads, text);
    }
}

static void set_address(Twofold__V1__Peer *peer, size_t index, const void *bytes, size_t len)
{
    ProtobufCBinaryData *address = &peer->addresses[index];
    free(address->data);
    address->data = malloc(len ? len : 1);
    memcpy(address->data, bytes, len);
    address->len = len;
}

static void swap(void *list, size_t a, size_t b)
{
    void **items = *(void ***)list;
    void *item = items[a];
    items[a] = items[b];
    items[b] = item;
}

static void revoke(Twofold__V1__Slice *slice, const char *name)
{
    fixture_push_text(&slice->revoked, &slice->n_revoked, name);
    slice_sort(slice);
}

// ---- what passes

static void expect_good(const Twofold__V1__Slice *slice)
{
    struct note note = {0};
    cr_expect_eq(slice_check(slice, &note), ERR_OK, "%s", note.text);
    cr_expect_str_eq(note.text, "");
}

Test(slice_check, passes_a_good_one)
{
    Twofold__V1__Slice *slice = fixture_slice();
    expect_good(slice);
    cr_assert_eq(slice_check(slice, NULL), ERR_OK);
    message_free(slice);
}

Test(slice_check, passes_one_without_anything_but_settings)
{
    Twofold__V1__Slice *slice = fixture_slice();
    Twofold__V1__Slice bare = TWOFOLD__V1__SLICE__INIT;
    bare.settings = slice->settings;
    expect_good(&bare);
    message_free(slice);
}

Test(slice_check, passes_every_limit_and_survives_the_wire)
{
    Twofold__V1__Slice *slice = fixture_slice();
    ProtobufCMessage *received;
    uint8_t *bytes;
    size_t len;
    fill_peers(slice, SLICE_PEERS_MAX);
    fill_rules(slice, SLICE_RULES_MAX);
    fill_pinholes(slice, SLICE_PINHOLES_MAX);
    fill_revoked(slice, SLICE_REVOKED_MAX);
    fill_ports(&slice->rules[0]->ports, &slice->rules[0]->n_ports, SLICE_RULE_PORTS_MAX);
    fill_ports(&slice->pinholes[0]->ports, &slice->pinholes[0]->n_ports, SLICE_RULE_PORTS_MAX);
    fill_prefixes(slice->pinholes[0], SLICE_PINHOLE_PREFIXES_MAX);
    fill_addresses(slice->peers[0], SLICE_PEER_ADDRESSES_MAX);
    fill_workloads(slice->peers[0], SLICE_PEER_WORKLOADS_MAX);
    for (size_t i = 3; i < slice->n_peers; i++)
        fixture_push_text(&slice->rules[0]->peers, &slice->rules[0]->n_peers, slice->peers[i]->host);
    slice->settings->rekey_seconds = 2;
    slice->peers[0]->slot = (1u << 20) - 1;
    slice_sort(slice);
    expect_good(slice);
    cr_assert_eq(message_encode(&slice->base, &bytes, &len), ERR_OK);
    cr_assert_eq(message_decode(&twofold__v1__slice__descriptor, bytes, len, &received), ERR_OK);
    expect_good((Twofold__V1__Slice *)received);
    message_free(received);
    free(bytes);
    message_free(slice);
}

// ---- limits

FAULT(too_many_peers, LIMIT, "16385 peers", fill_peers(slice, SLICE_PEERS_MAX + 1);)
FAULT(too_many_rules, LIMIT, "4097 rules", fill_rules(slice, SLICE_RULES_MAX + 1);)
FAULT(too_many_pinholes, LIMIT, "257 pinholes", fill_pinholes(slice, SLICE_PINHOLES_MAX + 1);)
FAULT(too_many_revoked, LIMIT, "65537 revoked", fill_revoked(slice, SLICE_REVOKED_MAX + 1);)
FAULT(too_many_rule_ports, LIMIT, "'gossip' has 65 port ranges",
      fill_ports(&slice->rules[0]->ports, &slice->rules[0]->n_ports, SLICE_RULE_PORTS_MAX + 1);)
FAULT(too_many_pinhole_ports, LIMIT, "'dns' has 65 port ranges",
      fill_ports(&slice->pinholes[0]->ports, &slice->pinholes[0]->n_ports, SLICE_RULE_PORTS_MAX + 1);)
FAULT(too_many_prefixes, LIMIT, "'dns' has 257 prefixes",
      fill_prefixes(slice->pinholes[0], SLICE_PINHOLE_PREFIXES_MAX + 1);)
FAULT(too_many_addresses, LIMIT, "'api' has 17 addresses",
      fill_addresses(slice->peers[0], SLICE_PEER_ADDRESSES_MAX + 1);)
FAULT(too_many_workloads, LIMIT, "65 workloads", fill_workloads(slice->peers[0], SLICE_PEER_WORKLOADS_MAX + 1);)
FAULT(too_many_rule_peers, LIMIT, "16385 peers in one rule",
      for (unsigned i = 1; i <= SLICE_PEERS_MAX; i++)
          fixture_push_text(&slice->rules[0]->peers, &slice->rules[0]->n_peers, "api");)

// ---- unknown fields, at every level

FAULT(unknown_in_slice, UNSUPPORTED, "field 100 of a Slice is not known", fixture_add_unknown(&slice->base);)
FAULT(unknown_in_settings, UNSUPPORTED, "of a Settings", fixture_add_unknown(&slice->settings->base);)
FAULT(unknown_in_peer, UNSUPPORTED, "of a Peer", fixture_add_unknown(&slice->peers[2]->base);)
FAULT(unknown_in_rule, UNSUPPORTED, "of a Rule", fixture_add_unknown(&slice->rules[3]->base);)
FAULT(unknown_in_rule_port, UNSUPPORTED, "of a PortRange", fixture_add_unknown(&slice->rules[2]->ports[1]->base);)
FAULT(unknown_in_pinhole, UNSUPPORTED, "of a Pinhole", fixture_add_unknown(&slice->pinholes[1]->base);)
FAULT(unknown_in_prefix, UNSUPPORTED, "of a Prefix", fixture_add_unknown(&slice->pinholes[1]->prefixes[0]->base);)

// ---- settings

FAULT(no_settings, MALFORMED, "no settings", message_free(slice->settings); slice->settings = NULL;)
FAULT(generation_zero, MALFORMED, "generation is 0", slice->settings->generation = 0;)
FAULT(bad_trust_domain, MALFORMED, "trust domain", fixture_set(&slice->settings->trust_domain, "Example.org");)
FAULT(no_trust_domain, MALFORMED, "trust domain", fixture_set(&slice->settings->trust_domain, "");)
FAULT(bad_host, MALFORMED, "host name", fixture_set(&slice->settings->host, "web/../api");)
FAULT(rekey_too_short, MALFORMED, "1 s", slice->settings->rekey_seconds = 1;)
FAULT(rekey_too_long, MALFORMED, "3601 s", slice->settings->rekey_seconds = 3601;)

// ---- revoked

FAULT(bad_revoked, MALFORMED, "revoked host's name", fixture_set(&slice->revoked[1], "-x");)
FAULT(revoked_out_of_order, MALFORMED, "revoked hosts are not in order", swap(&slice->revoked, 0, 1);)
FAULT(revoked_twice, MALFORMED, "revoked hosts are not in order", revoke(slice, "old");)

// ---- peers

FAULT(peers_out_of_order, MALFORMED, "peers are not in order", swap(&slice->peers, 0, 1);)
FAULT(peer_twice, MALFORMED, "peers are not in order", fixture_set(&slice->peers[1]->host, "api");)
FAULT(bad_peer_name, MALFORMED, "peer's name", fixture_set(&slice->peers[0]->host, "API");)
FAULT(peer_is_self, MALFORMED, "'web' is the host itself", remove_peers_but_first(slice);
      fixture_set(&slice->peers[0]->host, "web");)
FAULT(peer_is_revoked, MALFORMED, "'db' is revoked", revoke(slice, "db");)
FAULT(no_slot, MALFORMED, "slot 0", slice->peers[0]->slot = 0;)
FAULT(slot_too_large, MALFORMED, "slot 1048576", slice->peers[0]->slot = 1u << 20;)
FAULT(slot_of_two, MALFORMED, "have the same slot", slice->peers[2]->slot = slice->peers[0]->slot;)
FAULT(no_address, LIMIT, "'db' has 0 addresses", free(slice->peers[2]->addresses[--slice->peers[2]->n_addresses].data);)
FAULT(address_of_two, MALFORMED, "'api' and 'cache' have the same address",
      set_address(slice->peers[1], 0, "\xc0\0\2\2", 4);)
FAULT(addresses_out_of_order, MALFORMED, "'api': its addresses are not in order",
      ProtobufCBinaryData *a = slice->peers[0]->addresses;
      ProtobufCBinaryData first = a[0]; a[0] = a[1]; a[1] = first;)
FAULT(address_twice, MALFORMED, "addresses are not in order",
      fixture_push_bytes(&slice->peers[1]->addresses, &slice->peers[1]->n_addresses, "\xc0\0\2\3", 4);)
FAULT(address_of_other_length, MALFORMED, "address 1 is not one of a host",
      set_address(slice->peers[1], 0, "\xc0\0\2\3\4", 5);)
FAULT(address_empty, MALFORMED, "address 1 is not one of a host", set_address(slice->peers[1], 0, "", 0);)
FAULT(address_unspecified, MALFORMED, "address 1 is not", set_address(slice->peers[1], 0, "\0\0\0\0", 4);)
FAULT(address_loopback, MALFORMED, "address 1 is not", set_address(slice->peers[1], 0, "\x7f\0\0\1", 4);)
FAULT(address_multicast, MALFORMED, "address 1 is not", set_address(slice->peers[1], 0, "\xe0\0\0\1", 4);)
FAULT(address_broadcast, MALFORMED, "address 1 is not", set_address(slice->peers[1], 0, "\xff\xff\xff\xff", 4);)
FAULT(address_mapped, MALFORMED, "address 1 is not",
      set_address(slice->peers[1], 0, "\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\0\2\3", 16);)
FAULT(workload_no_spiffe, MALFORMED, "not a workload of the trust domain",
      fixture_set(&slice->peers[1]->workloads[0], "cache");)
FAULT(workload_of_a_host, MALFORMED, "not a workload of the trust domain",
      fixture_set(&slice->peers[1]->workloads[0], "spiffe://example.org/host/cache");)
FAULT(workload_of_another_domain, MALFORMED, "not a workload of the trust domain",
      fixture_set(&slice->peers[1]->workloads[0], "spiffe://example.net/ns/default/sa/cache");)
FAULT(workloads_out_of_order, MALFORMED, "workloads are not in order", swap(&slice->peers[0]->workloads, 0, 1);)
FAULT(workload_twice, MALFORMED, "workloads are not in order",
      fixture_push_text(&slice->peers[1]->workloads, &slice->peers[1]->n_workloads, slice->peers[1]->workloads[0]);)

// ---- rules

FAULT(rules_out_of_order, MALFORMED, "rules are not in order", swap(&slice->rules, 0, 1);)
FAULT(rule_twice, MALFORMED, "rules are not in order", slice->rules[1]->direction = IN;)
FAULT(bad_rule_name, MALFORMED, "rule's name", fixture_set(&slice->rules[3]->name, "web-to-api_metrics");)
FAULT(rule_without_direction, MALFORMED, "'gossip' has no direction", slice->rules[0]->direction = 0;)
FAULT(rule_with_unknown_direction, MALFORMED, "'gossip' has no direction", slice->rules[1]->direction = 3;)
FAULT(rule_without_layer, MALFORMED, "'gossip' needs no layer", slice->rules[0]->ipsec = false;)
FAULT(rule_with_stranger, MALFORMED, "names 'stranger', which is not a peer",
      fixture_set(&slice->rules[0]->peers[0], "stranger");)
FAULT(rule_peers_out_of_order, MALFORMED, "'web-to-api': its peers are not in order",
      swap(&slice->rules[2]->peers, 0, 1);)
FAULT(rule_peer_twice, MALFORMED, "'gossip': its peers are not in order",
      fixture_push_text(&slice->rules[0]->peers, &slice->rules[0]->n_peers, "cache");)
FAULT(rule_without_ports, LIMIT, "'gossip' has 0 port ranges",
      message_free(slice->rules[0]->ports[--slice->rules[0]->n_ports]);)
FAULT(rule_with_unknown_protocol, MALFORMED, "protocol 1 is neither", slice->rules[0]->ports[0]->protocol = 1;)
FAULT(rule_with_port_zero, MALFORMED, "0-7946", slice->rules[0]->ports[0]->first = 0;)
FAULT(rule_with_ports_backwards, MALFORMED, "7947-7946", slice->rules[0]->ports[0]->first = 7947;)
FAULT(rule_with_port_too_large, MALFORMED, "7946-65536", slice->rules[0]->ports[0]->last = 65536;)
FAULT(rule_ports_overlap, MALFORMED, "order or overlap", slice->rules[2]->ports[0]->last = 9000;)
FAULT(rule_ports_out_of_order, MALFORMED, "order or overlap", swap(&slice->rules[2]->ports, 0, 1);)
FAULT(https_over_udp, MALFORMED, "https layer carries TCP only", slice->rules[0]->https = true;)

// ---- pinholes

FAULT(pinholes_out_of_order, MALFORMED, "pinholes are not in order", swap(&slice->pinholes, 0, 1);)
FAULT(bad_pinhole_name, MALFORMED, "pinhole's name", fixture_set(&slice->pinholes[0]->name, "");)
FAULT(pinhole_without_direction, MALFORMED, "'dns' has no direction", slice->pinholes[0]->direction = 0;)
FAULT(pinhole_without_prefix, LIMIT, "'dns' has 0 prefixes",
      message_free(slice->pinholes[0]->prefixes[--slice->pinholes[0]->n_prefixes]);)
FAULT(prefix_of_other_length, MALFORMED, "prefix 1 is not valid", slice->pinholes[0]->prefixes[0]->address.len = 3;)
FAULT(prefix_with_host_bits, MALFORMED, "prefix 1 is not valid", slice->pinholes[0]->prefixes[0]->bits = 31;)
FAULT(prefix_with_too_many_bits, MALFORMED, "prefix 1 is not valid", slice->pinholes[0]->prefixes[0]->bits = 33;)
FAULT(prefixes_out_of_order, MALFORMED, "prefixes are not in order", swap(&slice->pinholes[1]->prefixes, 0, 1);)
FAULT(prefix_twice, MALFORMED, "prefixes are not in order", fixture_add_prefix(slice->pinholes[0], "192.0.2.53/32");)
FAULT(pinhole_without_ports, LIMIT, "'ssh' has 0 port ranges",
      message_free(slice->pinholes[1]->ports[--slice->pinholes[1]->n_ports]);)
FAULT(pinhole_ports_overlap, MALFORMED, "order or overlap", slice->pinholes[0]->ports[1]->protocol = TCP;)
