// SPDX-License-Identifier: GPL-2.0-or-later
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/ip.h"
#include "proto/base/spiffe.h"
#include "proto/wire/message.h"
#include "proto/wire/slice.h"
#include "proto/wire/slice_order.h"

#define SLOT_MAX ((1u << 20) - 1)

static enum err check_limit(size_t count, size_t max, const char *what, struct note *note)
{
    if (count > max)
        return note_set(note, ERR_LIMIT, "the slice has %zu %s; at most %zu are taken", count, what, max);
    return ERR_OK;
}

// Strictly ascending: sorted and free of duplicates.
static bool is_ascending(const void *base, size_t count, size_t size, int (*compare)(const void *, const void *))
{
    for (size_t i = 1; i < count; i++) {
        if (compare((const char *)base + (i - 1) * size, (const char *)base + i * size) >= 0)
            return false;
    }
    return true;
}

static int compare_address(const void *a, const void *b)
{
    return slice_compare_bytes(a, b);
}

static enum err check_settings(const Twofold__V1__Settings *settings, struct note *note)
{
    if (!settings)
        return note_set(note, ERR_MALFORMED, "the slice has no settings");
    if (settings->generation == 0)
        return note_set(note, ERR_MALFORMED, "the slice's generation is 0");
    if (!trust_domain_is_valid(settings->trust_domain))
        return note_set(note, ERR_MALFORMED, "the slice's trust domain is not valid");
    if (!name_is_valid(settings->host))
        return note_set(note, ERR_MALFORMED, "the slice's host name is not valid");
    if (settings->rekey_seconds < 2 || settings->rekey_seconds > 3600)
        return note_set(note, ERR_MALFORMED, "the slice's rekey time of %u s is not in 2..3600 s",
                        settings->rekey_seconds);
    return ERR_OK;
}

static bool address_is_usable(const ProtobufCBinaryData *address)
{
    static const uint8_t broadcast[4] = {0xff, 0xff, 0xff, 0xff};
    struct ip ip;

    if (address->len == sizeof(broadcast) && memcmp(address->data, broadcast, sizeof(broadcast)) == 0)
        return false;
    // An IPv4-mapped address comes back shorter than it went in: it would be a second spelling.
    return ip_from_bytes(address->data, address->len, &ip) == ERR_OK && ip.len == address->len &&
           !ip_is_unspecified(&ip) && !ip_is_loopback(&ip) && !ip_is_multicast(&ip);
}

static enum err check_peer(const Twofold__V1__Slice *slice, const Twofold__V1__Peer *peer, struct note *note)
{
    const char *host = peer->host;

    if (!name_is_valid(host))
        return note_set(note, ERR_MALFORMED, "a peer's name is not valid");
    if (strcmp(host, slice->settings->host) == 0)
        return note_set(note, ERR_MALFORMED, "peer '%s' is the host itself", host);
    if (slice_has_text(slice->revoked, slice->n_revoked, host))
        return note_set(note, ERR_MALFORMED, "peer '%s' is revoked", host);
    if (peer->slot == 0 || peer->slot > SLOT_MAX)
        return note_set(note, ERR_MALFORMED, "peer '%s': its slot %u is not in 1..%u", host, peer->slot, SLOT_MAX);
    if (peer->n_addresses == 0 || peer->n_addresses > SLICE_PEER_ADDRESSES_MAX)
        return note_set(note, ERR_LIMIT, "peer '%s' has %zu addresses; 1..%d are taken", host, peer->n_addresses,
                        SLICE_PEER_ADDRESSES_MAX);
    for (size_t i = 0; i < peer->n_addresses; i++) {
        if (!address_is_usable(&peer->addresses[i]))
            return note_set(note, ERR_MALFORMED, "peer '%s': its address %zu is not one of a host", host, i + 1);
    }
    if (!is_ascending(peer->addresses, peer->n_addresses, sizeof(peer->addresses[0]), compare_address))
        return note_set(note, ERR_MALFORMED, "peer '%s': its addresses are not in order", host);
    enum err err = check_limit(peer->n_workloads, SLICE_PEER_WORKLOADS_MAX, "workloads of one peer", note);
    if (err)
        return err;
    for (size_t i = 0; i < peer->n_workloads; i++) {
        struct spiffe_id id;
        if (spiffe_parse(peer->workloads[i], &id) != ERR_OK || id.kind != SPIFFE_WORKLOAD ||
            strcmp(id.trust_domain, slice->settings->trust_domain) != 0)
            return note_set(note, ERR_MALFORMED, "peer '%s': '%s' is not a workload of the trust domain", host,
                            peer->workloads[i]);
    }
    if (!is_ascending(peer->workloads, peer->n_workloads, sizeof(peer->workloads[0]), slice_compare_text))
        return note_set(note, ERR_MALFORMED, "peer '%s': its workloads are not in order", host);
    return ERR_OK;
}

// One thing that must belong to one peer only.
struct claim {
    const ProtobufCBinaryData *address;
    uint32_t slot;
    const char *host;
};

static int compare_claims(const void *a, const void *b)
{
    const struct claim *x = a;
    const struct claim *y = b;
    if (x->address && y->address)
        return slice_compare_bytes(x->address, y->address);
    return (x->slot > y->slot) - (x->slot < y->slot);
}

static enum err check_claims(struct claim *claims, size_t count, const char *what, struct note *note)
{
    if (count > 1)
        qsort(claims, count, sizeof(claims[0]), compare_claims);
    for (size_t i = 1; i < count; i++) {
        if (compare_claims(&claims[i - 1], &claims[i]) == 0)
            return note_set(note, ERR_MALFORMED, "peers '%s' and '%s' have the same %s", claims[i - 1].host,
                            claims[i].host, what);
    }
    return ERR_OK;
}

static enum err check_unique(const Twofold__V1__Slice *slice, struct note *note)
{
    size_t addresses = 0;

    if (slice->n_peers == 0)
        return ERR_OK;
    for (size_t i = 0; i < slice->n_peers; i++)
        addresses += slice->peers[i]->n_addresses;
    struct claim *claims = calloc(addresses, sizeof(*claims));
    if (!claims)
        return note_set(note, ERR_NOMEM, "out of memory");
    for (size_t i = 0; i < slice->n_peers; i++)
        claims[i] = (struct claim){.slot = slice->peers[i]->slot, .host = slice->peers[i]->host};
    enum err err = check_claims(claims, slice->n_peers, "slot", note);
    size_t count = 0;
    for (size_t i = 0; i < slice->n_peers; i++) {
        const Twofold__V1__Peer *peer = slice->peers[i];
        for (size_t k = 0; k < peer->n_addresses; k++)
            claims[count++] = (struct claim){.address = &peer->addresses[k], .host = peer->host};
    }
    if (!err)
        err = check_claims(claims, count, "address", note);
    free(claims);
    return err;
}

static enum err check_ports(Twofold__V1__PortRange **ports, size_t count, const char *owner, const char *name,
                            struct note *note)
{
    if (count == 0 || count > SLICE_RULE_PORTS_MAX)
        return note_set(note, ERR_LIMIT, "%s '%s' has %zu port ranges; 1..%d are taken", owner, name, count,
                        SLICE_RULE_PORTS_MAX);
    for (size_t i = 0; i < count; i++) {
        const Twofold__V1__PortRange *range = ports[i];
        if (range->protocol != TWOFOLD__V1__PROTOCOL__PROTOCOL_TCP &&
            range->protocol != TWOFOLD__V1__PROTOCOL__PROTOCOL_UDP)
            return note_set(note, ERR_MALFORMED, "%s '%s': protocol %d is neither TCP nor UDP", owner, name,
                            (int)range->protocol);
        if (range->first == 0 || range->first > range->last || range->last > UINT16_MAX)
            return note_set(note, ERR_MALFORMED, "%s '%s': %u-%u is not a range of ports", owner, name, range->first,
                            range->last);
        if (i > 0 && (slice_compare_ports(&ports[i - 1], &ports[i]) >= 0 ||
                      (ports[i - 1]->protocol == range->protocol && ports[i - 1]->last >= range->first)))
            return note_set(note, ERR_MALFORMED, "%s '%s': its ports are not in order or overlap", owner, name);
    }
    return ERR_OK;
}

static bool direction_is_valid(Twofold__V1__Direction direction)
{
    return direction == TWOFOLD__V1__DIRECTION__DIRECTION_IN || direction == TWOFOLD__V1__DIRECTION__DIRECTION_OUT;
}

static enum err check_rule(const Twofold__V1__Slice *slice, const Twofold__V1__Rule *rule, struct note *note)
{
    if (!name_is_valid(rule->name))
        return note_set(note, ERR_MALFORMED, "a rule's name is not valid");
    if (!direction_is_valid(rule->direction))
        return note_set(note, ERR_MALFORMED, "rule '%s' has no direction", rule->name);
    if (!rule->ipsec && !rule->https)
        return note_set(note, ERR_MALFORMED, "rule '%s' needs no layer", rule->name);
    enum err err = check_limit(rule->n_peers, SLICE_PEERS_MAX, "peers in one rule", note);
    if (err)
        return err;
    for (size_t i = 0; i < rule->n_peers; i++) {
        if (!slice_peer(slice, rule->peers[i]))
            return note_set(note, ERR_MALFORMED, "rule '%s' names '%s', which is not a peer", rule->name,
                            rule->peers[i]);
    }
    if (!is_ascending(rule->peers, rule->n_peers, sizeof(rule->peers[0]), slice_compare_text))
        return note_set(note, ERR_MALFORMED, "rule '%s': its peers are not in order", rule->name);
    err = check_ports(rule->ports, rule->n_ports, "rule", rule->name, note);
    if (err)
        return err;
    for (size_t i = 0; rule->https && i < rule->n_ports; i++) {
        if (rule->ports[i]->protocol != TWOFOLD__V1__PROTOCOL__PROTOCOL_TCP)
            return note_set(note, ERR_MALFORMED, "rule '%s': the https layer carries TCP only", rule->name);
    }
    return ERR_OK;
}

static enum err check_pinhole(const Twofold__V1__Pinhole *pinhole, struct note *note)
{
    if (!name_is_valid(pinhole->name))
        return note_set(note, ERR_MALFORMED, "a pinhole's name is not valid");
    if (!direction_is_valid(pinhole->direction))
        return note_set(note, ERR_MALFORMED, "pinhole '%s' has no direction", pinhole->name);
    if (pinhole->n_prefixes == 0 || pinhole->n_prefixes > SLICE_PINHOLE_PREFIXES_MAX)
        return note_set(note, ERR_LIMIT, "pinhole '%s' has %zu prefixes; 1..%d are taken", pinhole->name,
                        pinhole->n_prefixes, SLICE_PINHOLE_PREFIXES_MAX);
    for (size_t i = 0; i < pinhole->n_prefixes; i++) {
        const Twofold__V1__Prefix *prefix = pinhole->prefixes[i];
        bool good = (prefix->address.len == 4 || prefix->address.len == 16) && prefix->bits <= prefix->address.len * 8;
        for (size_t bit = prefix->bits; good && bit < prefix->address.len * 8; bit++)
            good = !(prefix->address.data[bit / 8] >> (7 - bit % 8) & 1);
        if (!good)
            return note_set(note, ERR_MALFORMED, "pinhole '%s': its prefix %zu is not valid", pinhole->name, i + 1);
    }
    if (!is_ascending(pinhole->prefixes, pinhole->n_prefixes, sizeof(pinhole->prefixes[0]), slice_compare_prefixes))
        return note_set(note, ERR_MALFORMED, "pinhole '%s': its prefixes are not in order", pinhole->name);
    return check_ports(pinhole->ports, pinhole->n_ports, "pinhole", pinhole->name, note);
}

static enum err check_counts(const Twofold__V1__Slice *slice, struct note *note)
{
    enum err err = check_limit(slice->n_peers, SLICE_PEERS_MAX, "peers", note);
    if (!err)
        err = check_limit(slice->n_rules, SLICE_RULES_MAX, "rules", note);
    if (!err)
        err = check_limit(slice->n_pinholes, SLICE_PINHOLES_MAX, "pinholes", note);
    if (!err)
        err = check_limit(slice->n_revoked, SLICE_REVOKED_MAX, "revoked hosts", note);
    return err;
}

enum err slice_check(const Twofold__V1__Slice *slice, struct note *note)
{
    enum err err = check_counts(slice, note);
    // A field from a newer controller may forbid what the rest allows: fail closed.
    if (!err)
        err = message_check_known(&slice->base, note);
    if (!err)
        err = check_settings(slice->settings, note);
    if (err)
        return err;
    for (size_t i = 0; i < slice->n_revoked; i++) {
        if (!name_is_valid(slice->revoked[i]))
            return note_set(note, ERR_MALFORMED, "a revoked host's name is not valid");
    }
    // The order first: what follows searches the lists by it.
    if (!is_ascending(slice->revoked, slice->n_revoked, sizeof(slice->revoked[0]), slice_compare_text))
        return note_set(note, ERR_MALFORMED, "the revoked hosts are not in order");
    if (!is_ascending(slice->peers, slice->n_peers, sizeof(slice->peers[0]), slice_compare_peers))
        return note_set(note, ERR_MALFORMED, "the peers are not in order");
    if (!is_ascending(slice->rules, slice->n_rules, sizeof(slice->rules[0]), slice_compare_rules))
        return note_set(note, ERR_MALFORMED, "the rules are not in order");
    if (!is_ascending(slice->pinholes, slice->n_pinholes, sizeof(slice->pinholes[0]), slice_compare_pinholes))
        return note_set(note, ERR_MALFORMED, "the pinholes are not in order");
    for (size_t i = 0; !err && i < slice->n_peers; i++)
        err = check_peer(slice, slice->peers[i], note);
    if (!err)
        err = check_unique(slice, note);
    for (size_t i = 0; !err && i < slice->n_rules; i++)
        err = check_rule(slice, slice->rules[i], note);
    for (size_t i = 0; !err && i < slice->n_pinholes; i++)
        err = check_pinhole(slice->pinholes[i], note);
    return err;
}
