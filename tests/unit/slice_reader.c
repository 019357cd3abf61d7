// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/unit/slice_reader.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/ip.h"
#include "proto/wire/slice.h"

static void give_up(const char *what)
{
    fprintf(stderr, "slice text: bad %s\n", what);
    abort();
}

static void *grow(void *list, size_t count, void *item)
{
    void **items = realloc(list, (count + 1) * sizeof(*items));
    if (!items)
        give_up("memory");
    items[count] = item;
    return items;
}

static void *make(size_t size, void (*init)(void *))
{
    void *message = malloc(size);
    if (!message)
        give_up("memory");
    init(message);
    return message;
}

#define MAKE(type, name) ((type *)make(sizeof(type), (void (*)(void *))name##__init))

static ProtobufCBinaryData read_address(const char *text)
{
    struct ip ip;
    if (ip_parse(text, &ip) != ERR_OK)
        give_up(text);
    ProtobufCBinaryData bytes = {.len = ip.len, .data = malloc(ip.len)};
    memcpy(bytes.data, ip.bytes, ip.len);
    return bytes;
}

static Twofold__V1__PortRange *read_ports(const char *text)
{
    Twofold__V1__PortRange *range = MAKE(Twofold__V1__PortRange, twofold__v1__port_range);
    unsigned first = 0, last = 0;
    int fields = sscanf(text + 4, "%u-%u", &first, &last);
    if (strncmp(text, "tcp/", 4) == 0)
        range->protocol = TWOFOLD__V1__PROTOCOL__PROTOCOL_TCP;
    else if (strncmp(text, "udp/", 4) == 0)
        range->protocol = TWOFOLD__V1__PROTOCOL__PROTOCOL_UDP;
    else
        give_up(text);
    range->first = first;
    range->last = fields == 2 ? last : first;
    return range;
}

static void read_settings(Twofold__V1__Slice *slice, char **rest)
{
    Twofold__V1__Settings *settings = slice->settings;
    const char *word = strtok_r(NULL, " ", rest);
    settings->host = strdup(word);
    while ((word = strtok_r(NULL, " ", rest))) {
        const char *value = strtok_r(NULL, " ", rest);
        if (strcmp(word, "generation") == 0)
            settings->generation = strtoull(value, NULL, 10);
        else if (strcmp(word, "trust-domain") == 0)
            settings->trust_domain = strdup(value);
        else if (strcmp(word, "rekey") == 0)
            settings->rekey_seconds = (uint32_t)strtoul(value, NULL, 10);
        else if (strcmp(word, "independence") == 0)
            settings->independence_required = strcmp(value, "required") == 0;
        else
            give_up(word);
    }
}

static void read_peer(Twofold__V1__Slice *slice, char **rest)
{
    Twofold__V1__Peer *peer = MAKE(Twofold__V1__Peer, twofold__v1__peer);
    const char *part = "", *word;
    peer->host = strdup(strtok_r(NULL, " ", rest));
    while ((word = strtok_r(NULL, " ", rest))) {
        if (strcmp(word, "slot") == 0 || strcmp(word, "addresses") == 0 || strcmp(word, "workloads") == 0) {
            part = word;
        } else if (strcmp(part, "slot") == 0) {
            peer->slot = (uint32_t)strtoul(word, NULL, 10);
        } else if (strcmp(part, "addresses") == 0) {
            peer->addresses = realloc(peer->addresses, (peer->n_addresses + 1) * sizeof(*peer->addresses));
            peer->addresses[peer->n_addresses++] = read_address(word);
        } else {
            peer->workloads = grow(peer->workloads, peer->n_workloads, strdup(word));
            peer->n_workloads++;
        }
    }
    slice->peers = grow(slice->peers, slice->n_peers++, peer);
}

static Twofold__V1__Direction read_direction(const char *word)
{
    return strcmp(word, "in") == 0 ? TWOFOLD__V1__DIRECTION__DIRECTION_IN : TWOFOLD__V1__DIRECTION__DIRECTION_OUT;
}

static void read_rule(Twofold__V1__Slice *slice, char **rest)
{
    Twofold__V1__Rule *rule = MAKE(Twofold__V1__Rule, twofold__v1__rule);
    const char *part = "", *word;
    rule->name = strdup(strtok_r(NULL, " ", rest));
    rule->direction = read_direction(strtok_r(NULL, " ", rest));
    while ((word = strtok_r(NULL, " ", rest))) {
        if (strcmp(word, "ports") == 0 || strcmp(word, "layers") == 0 || strcmp(word, "peers") == 0) {
            part = word;
        } else if (strcmp(part, "ports") == 0) {
            rule->ports = grow(rule->ports, rule->n_ports++, read_ports(word));
        } else if (strcmp(part, "layers") == 0) {
            rule->ipsec |= strcmp(word, "ipsec") == 0;
            rule->https |= strcmp(word, "https") == 0;
        } else {
            rule->peers = grow(rule->peers, rule->n_peers++, strdup(word));
        }
    }
    slice->rules = grow(slice->rules, slice->n_rules++, rule);
}

static Twofold__V1__Prefix *read_prefix(const char *text)
{
    struct ip_prefix parsed;
    Twofold__V1__Prefix *prefix = MAKE(Twofold__V1__Prefix, twofold__v1__prefix);
    if (ip_prefix_parse(text, &parsed) != ERR_OK)
        give_up(text);
    prefix->bits = parsed.bits;
    prefix->address = (ProtobufCBinaryData){.len = parsed.ip.len, .data = malloc(parsed.ip.len)};
    memcpy(prefix->address.data, parsed.ip.bytes, parsed.ip.len);
    return prefix;
}

static void read_pinhole(Twofold__V1__Slice *slice, char **rest)
{
    Twofold__V1__Pinhole *pinhole = MAKE(Twofold__V1__Pinhole, twofold__v1__pinhole);
    const char *part = "", *word;
    pinhole->name = strdup(strtok_r(NULL, " ", rest));
    pinhole->direction = read_direction(strtok_r(NULL, " ", rest));
    while ((word = strtok_r(NULL, " ", rest))) {
        if (strcmp(word, "ports") == 0 || strcmp(word, "prefixes") == 0)
            part = word;
        else if (strcmp(part, "ports") == 0)
            pinhole->ports = grow(pinhole->ports, pinhole->n_ports++, read_ports(word));
        else
            pinhole->prefixes = grow(pinhole->prefixes, pinhole->n_prefixes++, read_prefix(word));
    }
    slice->pinholes = grow(slice->pinholes, slice->n_pinholes++, pinhole);
}

static void read_line(Twofold__V1__Slice *slice, char *line)
{
    char *rest;
    const char *word = strtok_r(line, " ", &rest);
    if (!word)
        return;
    if (strcmp(word, "slice") == 0)
        read_settings(slice, &rest);
    else if (strcmp(word, "peer") == 0)
        read_peer(slice, &rest);
    else if (strcmp(word, "rule") == 0)
        read_rule(slice, &rest);
    else if (strcmp(word, "pinhole") == 0)
        read_pinhole(slice, &rest);
    else if (strcmp(word, "revoked") == 0)
        slice->revoked = grow(slice->revoked, slice->n_revoked++, strdup(strtok_r(NULL, " ", &rest)));
    else
        give_up(word);
}

Twofold__V1__Slice *slice_from_text(const char *text)
{
    Twofold__V1__Slice *slice = MAKE(Twofold__V1__Slice, twofold__v1__slice);
    slice->settings = MAKE(Twofold__V1__Settings, twofold__v1__settings);
    char *copy = strdup(text), *rest;
    for (char *line = strtok_r(copy, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
        read_line(slice, line);
    free(copy);
    slice_sort(slice);
    return slice;
}
