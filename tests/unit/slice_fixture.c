// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/unit/slice_fixture.h"

#include <malloc.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/ip.h"
#include "proto/wire/slice.h"

#define NEW(type)                                        \
    ({                                                   \
        Twofold__V1__##type *made = must(sizeof(*made)); \
        made;                                            \
    })

static void *must(size_t size)
{
    void *bytes = calloc(1, size ? size : 1);
    if (!bytes)
        abort();
    return bytes;
}

uint64_t dice_roll(struct dice *dice, uint64_t sides)
{
    uint64_t z = dice->state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return (z ^ z >> 31) % sides;
}

void fixture_set(char **text, const char *value)
{
    if (*text != (const char *)protobuf_c_empty_string)
        free(*text);
    *text = strdup(value);
    if (!*text)
        abort();
}

static void *grow(void *list, size_t count, size_t size)
{
    if ((count + 1) * size <= malloc_usable_size(list))
        return list;
    void *grown = realloc(list, 2 * (count + 1) * size);
    if (!grown)
        abort();
    return grown;
}

void fixture_push(void *list, size_t *count, void *item)
{
    void ***items = list;

    *items = grow(*items, *count, sizeof(void *));
    (*items)[(*count)++] = item;
}

void fixture_push_text(char ***list, size_t *count, const char *text)
{
    char *copy = (char *)protobuf_c_empty_string;
    fixture_set(&copy, text);
    fixture_push(list, count, copy);
}

void fixture_push_bytes(ProtobufCBinaryData **list, size_t *count, const void *bytes, size_t len)
{
    *list = grow(*list, *count, sizeof(**list));
    uint8_t *copy = must(len);
    memcpy(copy, bytes, len);
    (*list)[(*count)++] = (ProtobufCBinaryData){len, copy};
}

static void push_address(ProtobufCBinaryData **list, size_t *count, const char *text)
{
    struct ip ip;
    if (ip_parse(text, &ip) != ERR_OK)
        abort();
    fixture_push_bytes(list, count, ip.bytes, ip.len);
}

Twofold__V1__Peer *fixture_add_peer(Twofold__V1__Slice *slice, const char *host, uint32_t slot, const char *address,
                                    const char *workload)
{
    Twofold__V1__Peer *peer = NEW(Peer);

    twofold__v1__peer__init(peer);
    fixture_set(&peer->host, host);
    peer->slot = slot;
    push_address(&peer->addresses, &peer->n_addresses, address);
    fixture_push_text(&peer->workloads, &peer->n_workloads, workload);
    fixture_push(&slice->peers, &slice->n_peers, peer);
    return peer;
}

Twofold__V1__Rule *fixture_add_rule(Twofold__V1__Slice *slice, const char *name, Twofold__V1__Direction direction,
                                    bool ipsec, bool https)
{
    Twofold__V1__Rule *rule = NEW(Rule);

    twofold__v1__rule__init(rule);
    fixture_set(&rule->name, name);
    rule->direction = direction;
    rule->ipsec = ipsec;
    rule->https = https;
    fixture_push(&slice->rules, &slice->n_rules, rule);
    return rule;
}

Twofold__V1__Pinhole *fixture_add_pinhole(Twofold__V1__Slice *slice, const char *name, Twofold__V1__Direction direction)
{
    Twofold__V1__Pinhole *pinhole = NEW(Pinhole);

    twofold__v1__pinhole__init(pinhole);
    fixture_set(&pinhole->name, name);
    pinhole->direction = direction;
    fixture_push(&slice->pinholes, &slice->n_pinholes, pinhole);
    return pinhole;
}

void fixture_add_port(Twofold__V1__PortRange ***ports, size_t *count, Twofold__V1__Protocol protocol, uint32_t first,
                      uint32_t last)
{
    Twofold__V1__PortRange *range = NEW(PortRange);

    twofold__v1__port_range__init(range);
    range->protocol = protocol;
    range->first = first;
    range->last = last;
    fixture_push(ports, count, range);
}

void fixture_add_prefix(Twofold__V1__Pinhole *pinhole, const char *text)
{
    Twofold__V1__Prefix *prefix = NEW(Prefix);
    struct ip_prefix parsed;

    twofold__v1__prefix__init(prefix);
    if (ip_prefix_parse(text, &parsed) != ERR_OK)
        abort();
    prefix->address.data = must(parsed.ip.len);
    prefix->address.len = parsed.ip.len;
    memcpy(prefix->address.data, parsed.ip.bytes, parsed.ip.len);
    prefix->bits = parsed.bits;
    fixture_push(&pinhole->prefixes, &pinhole->n_prefixes, prefix);
}

void fixture_add_unknown(ProtobufCMessage *message)
{
    ProtobufCMessageUnknownField *field = must(sizeof(*field));

    field->tag = 100;
    field->wire_type = PROTOBUF_C_WIRE_TYPE_VARINT;
    field->len = 1;
    field->data = must(1);
    field->data[0] = 1;
    message->n_unknown_fields = 1;
    message->unknown_fields = field;
}

static Twofold__V1__Slice *new_slice(const char *host, uint64_t generation)
{
    Twofold__V1__Slice *slice = NEW(Slice);

    twofold__v1__slice__init(slice);
    slice->settings = NEW(Settings);
    twofold__v1__settings__init(slice->settings);
    slice->settings->generation = generation;
    fixture_set(&slice->settings->trust_domain, "example.org");
    fixture_set(&slice->settings->host, host);
    slice->settings->rekey_seconds = 3600;
    return slice;
}

Twofold__V1__Slice *fixture_slice(void)
{
    Twofold__V1__Slice *slice = new_slice("web", 7);
    slice->settings->independence_required = true;

    Twofold__V1__Peer *api = fixture_add_peer(slice, "api", 2, "192.0.2.2", "spiffe://example.org/ns/default/sa/api");
    push_address(&api->addresses, &api->n_addresses, "2001:db8::2");
    fixture_push_text(&api->workloads, &api->n_workloads, "spiffe://example.org/ns/default/sa/api-canary");
    fixture_add_peer(slice, "cache", 3, "192.0.2.3", "spiffe://example.org/ns/default/sa/cache");
    fixture_add_peer(slice, "db", 4, "2001:db8::4", "spiffe://example.org/ns/storage/sa/db");

    Twofold__V1__Rule *rule = fixture_add_rule(slice, "gossip", IN, true, false);
    fixture_push_text(&rule->peers, &rule->n_peers, "cache");
    fixture_add_port(&rule->ports, &rule->n_ports, UDP, 7946, 7946);
    rule = fixture_add_rule(slice, "gossip", OUT, true, false);
    fixture_push_text(&rule->peers, &rule->n_peers, "cache");
    fixture_add_port(&rule->ports, &rule->n_ports, UDP, 7946, 7946);
    rule = fixture_add_rule(slice, "web-to-api", OUT, true, true);
    fixture_push_text(&rule->peers, &rule->n_peers, "api");
    fixture_push_text(&rule->peers, &rule->n_peers, "db");
    fixture_add_port(&rule->ports, &rule->n_ports, TCP, 8080, 8080);
    fixture_add_port(&rule->ports, &rule->n_ports, TCP, 9000, 9010);
    rule = fixture_add_rule(slice, "web-to-api-metrics", OUT, false, true);
    fixture_push_text(&rule->peers, &rule->n_peers, "api");
    fixture_add_port(&rule->ports, &rule->n_ports, TCP, 9005, 9005);

    Twofold__V1__Pinhole *pinhole = fixture_add_pinhole(slice, "dns", OUT);
    fixture_add_prefix(pinhole, "192.0.2.53/32");
    fixture_add_port(&pinhole->ports, &pinhole->n_ports, TCP, 53, 53);
    fixture_add_port(&pinhole->ports, &pinhole->n_ports, UDP, 53, 53);
    pinhole = fixture_add_pinhole(slice, "ssh", IN);
    fixture_add_prefix(pinhole, "0.0.0.0/0");
    fixture_add_prefix(pinhole, "2001:db8::/32");
    fixture_add_port(&pinhole->ports, &pinhole->n_ports, TCP, 22, 22);

    fixture_push_text(&slice->revoked, &slice->n_revoked, "intruder");
    fixture_push_text(&slice->revoked, &slice->n_revoked, "old");
    return slice;
}

static void random_ports(struct dice *dice, Twofold__V1__PortRange ***ports, size_t *count, bool udp_too)
{
    uint32_t port = 1 + (uint32_t)dice_roll(dice, 3);

    for (uint64_t left = 1 + dice_roll(dice, 4); left; left--) {
        uint32_t last = port + (uint32_t)dice_roll(dice, 200);
        fixture_add_port(ports, count, TCP, port, last);
        port = last + 1 + (uint32_t)dice_roll(dice, 2000);
    }
    if (udp_too && dice_roll(dice, 2))
        fixture_add_port(ports, count, UDP, 1 + (uint32_t)dice_roll(dice, 65535), 65535);
}

static void random_peers(Twofold__V1__Slice *slice, struct dice *dice)
{
    for (uint32_t n = 1; n <= 40; n++) {
        char host[24], address[24], workload[64];
        uint64_t roll = dice_roll(dice, 4);
        snprintf(host, sizeof(host), "host-%u", n);
        if (roll == 0)
            fixture_push_text(&slice->revoked, &slice->n_revoked, host);
        if (roll < 2)
            continue;
        // Few choices, so that some are the same in another slice.
        snprintf(address, sizeof(address), "192.0.%u.%u", 2 + (unsigned)dice_roll(dice, 2), n);
        snprintf(workload, sizeof(workload), "spiffe://example.org/ns/default/sa/w%u", (unsigned)dice_roll(dice, 3));
        Twofold__V1__Peer *peer = fixture_add_peer(slice, host, n, address, workload);
        if (dice_roll(dice, 2)) {
            snprintf(address, sizeof(address), "2001:db8::%x", n);
            push_address(&peer->addresses, &peer->n_addresses, address);
        }
    }
}

static void random_rules(Twofold__V1__Slice *slice, struct dice *dice)
{
    for (unsigned n = 1; n <= 20; n++) {
        char name[24];
        snprintf(name, sizeof(name), "rule-%u", n);
        for (Twofold__V1__Direction direction = IN; direction <= OUT; direction++) {
            if (dice_roll(dice, 3) == 0)
                continue;
            unsigned layers = 1 + (unsigned)dice_roll(dice, 3);
            Twofold__V1__Rule *rule = fixture_add_rule(slice, name, direction, layers & 1, layers & 2);
            random_ports(dice, &rule->ports, &rule->n_ports, !rule->https);
            for (size_t i = 0; i < slice->n_peers; i++) {
                if (dice_roll(dice, 4) == 0)
                    fixture_push_text(&rule->peers, &rule->n_peers, slice->peers[i]->host);
            }
        }
    }
}

static void random_pinholes(Twofold__V1__Slice *slice, struct dice *dice)
{
    static const char *const prefixes[] = {"0.0.0.0/0", "192.0.2.0/24", "192.0.2.128/25", "::/0", "2001:db8::/32"};

    for (unsigned n = 1; n <= 5; n++) {
        char name[24];
        if (dice_roll(dice, 2))
            continue;
        snprintf(name, sizeof(name), "pinhole-%u", n);
        Twofold__V1__Pinhole *pinhole = fixture_add_pinhole(slice, name, dice_roll(dice, 2) ? IN : OUT);
        size_t first = dice_roll(dice, 5);
        for (size_t i = first; i < 5; i++)
            fixture_add_prefix(pinhole, prefixes[i]);
        random_ports(dice, &pinhole->ports, &pinhole->n_ports, true);
    }
}

Twofold__V1__Slice *fixture_random_slice(struct dice *dice)
{
    Twofold__V1__Slice *slice = new_slice("self", 1 + dice_roll(dice, UINT32_MAX));

    slice->settings->rekey_seconds = 2 + (uint32_t)dice_roll(dice, 3599);
    random_peers(slice, dice);
    random_rules(slice, dice);
    random_pinholes(slice, dice);
    slice_sort(slice);
    return slice;
}

static void shuffle(void *list, size_t count, size_t size, struct dice *dice)
{
    uint8_t *items = list;
    uint8_t spare[sizeof(ProtobufCBinaryData)];

    for (size_t i = count; i > 1; i--) {
        size_t k = dice_roll(dice, i);
        memcpy(spare, items + k * size, size);
        memmove(items + k * size, items + (i - 1) * size, size);
        memcpy(items + (i - 1) * size, spare, size);
    }
}

void fixture_shuffle(Twofold__V1__Slice *slice, struct dice *dice)
{
#define SHUFFLE(owner, field) shuffle((owner)->field, (owner)->n_##field, sizeof((owner)->field[0]), dice)
    for (size_t i = 0; i < slice->n_peers; i++) {
        SHUFFLE(slice->peers[i], addresses);
        SHUFFLE(slice->peers[i], workloads);
    }
    for (size_t i = 0; i < slice->n_rules; i++) {
        SHUFFLE(slice->rules[i], peers);
        SHUFFLE(slice->rules[i], ports);
    }
    for (size_t i = 0; i < slice->n_pinholes; i++) {
        SHUFFLE(slice->pinholes[i], prefixes);
        SHUFFLE(slice->pinholes[i], ports);
    }
    SHUFFLE(slice, peers);
    SHUFFLE(slice, rules);
    SHUFFLE(slice, pinholes);
    SHUFFLE(slice, revoked);
#undef SHUFFLE
}
