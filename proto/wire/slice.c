// SPDX-License-Identifier: GPL-2.0-or-later
// Order and digest of slices. The check is in slice_check.c, deltas in slice_delta.c.
#include "proto/wire/slice.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "proto/wire/message.h"
#include "proto/wire/slice_order.h"

int slice_compare_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

// bsearch refuses a null base even for nothing.
bool slice_has_text(char *const *texts, size_t count, const char *text)
{
    return count && bsearch(&text, texts, count, sizeof(texts[0]), slice_compare_text);
}

int slice_compare_bytes(const ProtobufCBinaryData *a, const ProtobufCBinaryData *b)
{
    if (a->len != b->len)
        return a->len < b->len ? -1 : 1;
    return a->len ? memcmp(a->data, b->data, a->len) : 0;
}

static int compare_address(const void *a, const void *b)
{
    return slice_compare_bytes(a, b);
}

int slice_compare_peers(const void *a, const void *b)
{
    return strcmp((*(Twofold__V1__Peer *const *)a)->host, (*(Twofold__V1__Peer *const *)b)->host);
}

int slice_compare_keys(const char *name_a, Twofold__V1__Direction a, const char *name_b, Twofold__V1__Direction b)
{
    int order = strcmp(name_a, name_b);
    return order ? order : (a > b) - (a < b);
}

int slice_compare_rules(const void *a, const void *b)
{
    const Twofold__V1__Rule *x = *(Twofold__V1__Rule *const *)a;
    const Twofold__V1__Rule *y = *(Twofold__V1__Rule *const *)b;
    return slice_compare_keys(x->name, x->direction, y->name, y->direction);
}

int slice_compare_pinholes(const void *a, const void *b)
{
    const Twofold__V1__Pinhole *x = *(Twofold__V1__Pinhole *const *)a;
    const Twofold__V1__Pinhole *y = *(Twofold__V1__Pinhole *const *)b;
    return slice_compare_keys(x->name, x->direction, y->name, y->direction);
}

int slice_compare_ports(const void *a, const void *b)
{
    const Twofold__V1__PortRange *x = *(Twofold__V1__PortRange *const *)a;
    const Twofold__V1__PortRange *y = *(Twofold__V1__PortRange *const *)b;
    if (x->protocol != y->protocol)
        return x->protocol < y->protocol ? -1 : 1;
    return (x->first > y->first) - (x->first < y->first);
}

int slice_compare_prefixes(const void *a, const void *b)
{
    const Twofold__V1__Prefix *x = *(Twofold__V1__Prefix *const *)a;
    const Twofold__V1__Prefix *y = *(Twofold__V1__Prefix *const *)b;
    int order = slice_compare_bytes(&x->address, &y->address);
    return order ? order : (x->bits > y->bits) - (x->bits < y->bits);
}

// qsort refuses a null base even for nothing.
static void sort(void *base, size_t count, size_t size, int (*compare)(const void *, const void *))
{
    if (count > 1)
        qsort(base, count, size, compare);
}

void slice_sort(Twofold__V1__Slice *slice)
{
    for (size_t i = 0; i < slice->n_peers; i++) {
        Twofold__V1__Peer *peer = slice->peers[i];
        sort(peer->addresses, peer->n_addresses, sizeof(peer->addresses[0]), compare_address);
        sort(peer->workloads, peer->n_workloads, sizeof(peer->workloads[0]), slice_compare_text);
    }
    for (size_t i = 0; i < slice->n_rules; i++) {
        Twofold__V1__Rule *rule = slice->rules[i];
        sort(rule->peers, rule->n_peers, sizeof(rule->peers[0]), slice_compare_text);
        sort(rule->ports, rule->n_ports, sizeof(rule->ports[0]), slice_compare_ports);
    }
    for (size_t i = 0; i < slice->n_pinholes; i++) {
        Twofold__V1__Pinhole *pinhole = slice->pinholes[i];
        sort(pinhole->prefixes, pinhole->n_prefixes, sizeof(pinhole->prefixes[0]), slice_compare_prefixes);
        sort(pinhole->ports, pinhole->n_ports, sizeof(pinhole->ports[0]), slice_compare_ports);
    }
    sort(slice->peers, slice->n_peers, sizeof(slice->peers[0]), slice_compare_peers);
    sort(slice->rules, slice->n_rules, sizeof(slice->rules[0]), slice_compare_rules);
    sort(slice->pinholes, slice->n_pinholes, sizeof(slice->pinholes[0]), slice_compare_pinholes);
    sort(slice->revoked, slice->n_revoked, sizeof(slice->revoked[0]), slice_compare_text);
}

enum err slice_digest(const Twofold__V1__Slice *slice, uint8_t ret_digest[DIGEST_BYTES])
{
    uint8_t *bytes;
    size_t len;

    enum err err = message_encode(&slice->base, &bytes, &len);
    if (err)
        return err;
    digest_sha384(bytes, len, ret_digest);
    free(bytes);
    return ERR_OK;
}

const Twofold__V1__Peer *slice_peer(const Twofold__V1__Slice *slice, const char *host)
{
    size_t low = 0;
    size_t high = slice->n_peers;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(host, slice->peers[middle]->host);
        if (order == 0)
            return slice->peers[middle];
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

static bool has_port(const Twofold__V1__Rule *rule, Twofold__V1__Protocol protocol, uint16_t port)
{
    for (size_t i = 0; i < rule->n_ports; i++) {
        const Twofold__V1__PortRange *range = rule->ports[i];
        if (range->protocol == protocol && range->first <= port && port <= range->last)
            return true;
    }
    return false;
}

static unsigned layers(const Twofold__V1__Rule *rule)
{
    return (unsigned)!!rule->ipsec + (unsigned)!!rule->https;
}

const Twofold__V1__Rule *slice_rule(const Twofold__V1__Slice *slice, Twofold__V1__Direction direction, const char *peer,
                                    Twofold__V1__Protocol protocol, uint16_t port)
{
    const Twofold__V1__Rule *best = NULL;

    for (size_t i = 0; i < slice->n_rules; i++) {
        const Twofold__V1__Rule *rule = slice->rules[i];
        if (rule->direction != direction || !has_port(rule, protocol, port) ||
            !slice_has_text(rule->peers, rule->n_peers, peer))
            continue;
        // The rules are sorted by name: only more layers beat an earlier one.
        if (!best || layers(rule) > layers(best))
            best = rule;
    }
    return best;
}
