// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/network/policies.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "agent/network/keying.h"
#include "proto/wire/slice.h"

enum { MASK_ALL = 0xffff };

struct list {
    struct spd_policy *items;
    size_t count;
    size_t capacity;
    enum err err; // the first failure; further policies are ignored then
};

static void list_add(struct list *list, const struct spd_policy *policy)
{
    if (list->err != ERR_OK)
        return;
    // Twice what may stay: duplicates fall away later.
    if (list->count == (size_t)POLICIES_MAX * 2) {
        list->err = ERR_LIMIT;
        return;
    }
    if (list->count == list->capacity) {
        size_t capacity = list->capacity == 0 ? 64 : list->capacity * 2;
        struct spd_policy *items = realloc(list->items, capacity * sizeof(*items));
        if (items == NULL) {
            list->err = ERR_NOMEM;
            return;
        }
        list->items = items;
        list->capacity = capacity;
    }
    list->items[list->count++] = *policy;
}

static struct ip_prefix any(int family)
{
    return (struct ip_prefix){.ip = {.len = family == AF_INET ? 4 : 16}};
}

static struct ip_prefix single(const struct ip *ip)
{
    return (struct ip_prefix){.ip = *ip, .bits = (uint8_t)(ip->len * 8)};
}

// ---- the far end's and our ports, seen from us

struct ports {
    uint16_t port;
    uint16_t mask;
};

static const struct ports ports_any = {0, 0};

// One policy for one direction between this host (whatever its address) and `remote`.
static void add_allow(struct list *list, enum spd_direction direction, uint32_t priority,
                      const struct ip_prefix *remote, uint8_t protocol, struct ports remote_ports,
                      struct ports local_ports)
{
    struct ip_prefix local = any(ip_family(&remote->ip));
    bool out = direction == SPD_OUT;
    struct ports source = out ? local_ports : remote_ports;
    struct ports destination = out ? remote_ports : local_ports;
    struct spd_policy policy = {
        .direction = direction,
        .selector = {.source = out ? local : *remote,
                     .destination = out ? *remote : local,
                     .protocol = protocol,
                     .source_port = source.port,
                     .source_mask = source.mask,
                     .destination_port = destination.port,
                     .destination_mask = destination.mask},
        .action = SPD_ALLOW,
        .priority = priority,
    };
    list_add(list, &policy);
}

static void add_both(struct list *list, uint32_t priority, const struct ip_prefix *remote, uint8_t protocol,
                     struct ports remote_ports, struct ports local_ports)
{
    add_allow(list, SPD_IN, priority, remote, protocol, remote_ports, local_ports);
    add_allow(list, SPD_OUT, priority, remote, protocol, remote_ports, local_ports);
}

// A range as blocks of (value, mask), the largest that fit: at most 30.
static void add_range(struct list *list, uint32_t priority, const struct ip_prefix *remote,
                      const Twofold__V1__PortRange *range, bool inbound)
{
    uint32_t first = range->first;
    while (first <= range->last) {
        uint32_t size = first == 0 ? 65536 : first & (~first + 1);
        while (first + size - 1 > range->last)
            size /= 2;
        struct ports block = {(uint16_t)first, (uint16_t)(MASK_ALL & ~(size - 1))};
        add_both(list, priority, remote, (uint8_t)range->protocol, inbound ? ports_any : block,
                 inbound ? block : ports_any);
        first += size;
    }
}

// ---- link

static void add_icmp(struct list *list, enum spd_direction direction, uint32_t priority, int family, uint8_t type)
{
    struct ip_prefix everyone = any(family);
    struct spd_policy policy = {
        .direction = direction,
        .selector = {.source = everyone,
                     .destination = everyone,
                     .protocol = family == AF_INET ? IPPROTO_ICMP : IPPROTO_ICMPV6,
                     .source_port = type,
                     .source_mask = MASK_ALL},
        .action = SPD_ALLOW,
        .priority = priority,
    };
    list_add(list, &policy);
}

static void add_out_between(struct list *list, const struct ip_prefix *source, const struct ip_prefix *destination)
{
    struct spd_policy policy = {
        .direction = SPD_OUT,
        .selector = {.source = *source, .destination = *destination},
        .action = SPD_ALLOW,
        .priority = SPD_PRIORITY_LINK,
    };
    list_add(list, &policy);
}

// The host's IPv6 traffic with itself. What goes to an own address does not leave; what comes in is known by its mark.
static void add_own_traffic(struct list *list, const struct policies_input *input)
{
    struct ip loopback = {.len = 16, .bytes = {[15] = 1}};
    struct ip_prefix self = single(&loopback);
    struct ip_prefix everyone = any(AF_INET6);
    struct spd_policy in = {
        .direction = SPD_IN,
        .selector = {.source = everyone, .destination = everyone},
        .own_traffic = true,
        .action = SPD_ALLOW,
        .priority = SPD_PRIORITY_LINK,
    };
    list_add(list, &in);
    add_out_between(list, &self, &everyone);
    add_out_between(list, &everyone, &self);
    for (size_t i = 0; i < input->own6_count; i++) {
        struct ip_prefix own = single(&input->own6[i]);
        add_out_between(list, &everyone, &own);
    }
}

static void add_link(struct list *list, const struct policies_input *input)
{
    // Multicast listener discovery 130-132, 143 (RFC 2710, RFC 3810); neighbour discovery 133-137 (RFC 4861).
    static const uint8_t types[] = {130, 131, 132, 133, 134, 135, 136, 137, 143};
    for (size_t i = 0; i < sizeof(types); i++) {
        add_icmp(list, SPD_IN, SPD_PRIORITY_LINK, AF_INET6, types[i]);
        add_icmp(list, SPD_OUT, SPD_PRIORITY_LINK, AF_INET6, types[i]);
    }
    add_own_traffic(list, input);
}

static void add_dhcp(struct list *list)
{
    static const struct ports server4 = {67, MASK_ALL}, client4 = {68, MASK_ALL};
    static const struct ports server6 = {547, MASK_ALL}, client6 = {546, MASK_ALL};
    struct ip_prefix all4 = any(AF_INET);
    struct ip_prefix all6 = any(AF_INET6);
    add_both(list, SPD_PRIORITY_PINHOLE, &all4, IPPROTO_UDP, server4, client4);
    add_both(list, SPD_PRIORITY_PINHOLE, &all6, IPPROTO_UDP, server6, client6);
}

// Path MTU and unreachability as routers on the way tell it (RFC 1191, RFC 8201). Below the pairs: a peer with SAs has to send even
// these in ESP.
static void add_errors(struct list *list)
{
    static const uint8_t types4[] = {3, 11, 12};
    static const uint8_t types6[] = {1, 2, 3, 4};
    for (size_t i = 0; i < sizeof(types4); i++)
        add_icmp(list, SPD_IN, SPD_PRIORITY_ERROR, AF_INET, types4[i]);
    for (size_t i = 0; i < sizeof(types6); i++)
        add_icmp(list, SPD_IN, SPD_PRIORITY_ERROR, AF_INET6, types6[i]);
}

static void add_floor(struct list *list)
{
    static const int families[] = {AF_INET, AF_INET6};
    static const enum spd_direction directions[] = {SPD_IN, SPD_FWD, SPD_OUT};
    for (size_t f = 0; f < 2; f++) {
        for (size_t d = 0; d < 3; d++) {
            bool out = directions[d] == SPD_OUT;
            struct spd_policy policy = {
                .direction = directions[d],
                .selector = {.source = any(families[f]), .destination = any(families[f])},
                .action = out ? SPD_PROTECT : SPD_BLOCK,
                .priority = SPD_PRIORITY_FLOOR,
                .reqid = out ? REQID_BASE : 0,
            };
            list_add(list, &policy);
        }
    }
}

// ---- pairs

static struct spd_policy pair_policy(const struct address_pair *pair, enum spd_direction direction)
{
    bool out = direction == SPD_OUT;
    return (struct spd_policy){
        .direction = direction,
        .selector = {.source = single(out ? &pair->local : &pair->remote),
                     .destination = single(out ? &pair->remote : &pair->local)},
        .action = SPD_PROTECT,
        .priority = SPD_PRIORITY_PAIR,
        .reqid = pair->reqid,
        .spi = out ? pair->outbound_spi : 0,
    };
}

struct spd_policy policies_pair_in(const struct address_pair *pair)
{
    return pair_policy(pair, SPD_IN);
}

struct spd_policy policies_pair_out(const struct address_pair *pair)
{
    return pair_policy(pair, SPD_OUT);
}

static void add_pairs(struct list *list, const struct address_pairs *pairs)
{
    for (size_t i = 0; pairs != NULL && i < pairs->count; i++) {
        const struct address_pair *pair = &pairs->items[i];
        struct spd_policy in = policies_pair_in(pair);
        struct spd_policy out = policies_pair_out(pair);
        if (pair->inbound > 0 || pair->outbound_spi != 0)
            list_add(list, &in);
        if (pair->outbound_spi != 0)
            list_add(list, &out);
    }
}

// ---- from the slice

static enum err prefix_from_slice(const Twofold__V1__Prefix *prefix, struct ip_prefix *ret_prefix)
{
    struct ip_prefix parsed = {.bits = (uint8_t)prefix->bits};
    enum err err = ip_from_bytes(prefix->address.data, prefix->address.len, &parsed.ip);
    if (err != ERR_OK)
        return err;
    if (prefix->bits > parsed.ip.len * 8u)
        return ERR_MALFORMED;
    *ret_prefix = parsed;
    return ERR_OK;
}

static void add_pinholes(struct list *list, const Twofold__V1__Slice *slice)
{
    for (size_t i = 0; i < slice->n_pinholes; i++) {
        const Twofold__V1__Pinhole *pinhole = slice->pinholes[i];
        for (size_t p = 0; p < pinhole->n_prefixes; p++) {
            struct ip_prefix prefix;
            enum err err = prefix_from_slice(pinhole->prefixes[p], &prefix);
            if (err != ERR_OK && list->err == ERR_OK)
                list->err = err;
            for (size_t r = 0; err == ERR_OK && r < pinhole->n_ports; r++)
                add_range(list, SPD_PRIORITY_PINHOLE, &prefix, pinhole->ports[r],
                          pinhole->direction == TWOFOLD__V1__DIRECTION__DIRECTION_IN);
        }
    }
}

static void add_tunnels(struct list *list, const Twofold__V1__Slice *slice, uint16_t tunnel_port)
{
    struct ports tunnel = {tunnel_port, MASK_ALL};
    for (size_t i = 0; i < slice->n_rules; i++) {
        const Twofold__V1__Rule *rule = slice->rules[i];
        if (rule->ipsec || !rule->https)
            continue;
        bool inbound = rule->direction == TWOFOLD__V1__DIRECTION__DIRECTION_IN;
        for (size_t p = 0; p < rule->n_peers; p++) {
            const Twofold__V1__Peer *peer = slice_peer(slice, rule->peers[p]);
            for (size_t a = 0; peer != NULL && a < peer->n_addresses; a++) {
                struct ip ip;
                enum err err = ip_from_bytes(peer->addresses[a].data, peer->addresses[a].len, &ip);
                if (err != ERR_OK && list->err == ERR_OK)
                    list->err = err;
                if (err != ERR_OK)
                    continue;
                struct ip_prefix remote = single(&ip);
                add_both(list, SPD_PRIORITY_TUNNEL, &remote, IPPROTO_TCP, inbound ? ports_any : tunnel,
                         inbound ? tunnel : ports_any);
            }
        }
    }
}

static void add_controller(struct list *list, const struct ip_endpoint *controller)
{
    struct ip_prefix remote = single(&controller->ip);
    struct ports port = {controller->port, MASK_ALL};
    add_both(list, SPD_PRIORITY_CONTROLLER, &remote, IPPROTO_TCP, port, ports_any);
}

// ---- the whole

static int compare_with_priority(const void *left, const void *right)
{
    const struct spd_policy *a = left;
    const struct spd_policy *b = right;
    int order = spd_compare_key(a, b);
    return order != 0 ? order : (a->priority > b->priority) - (a->priority < b->priority);
}

// Of several with one selector the one that would win stays.
static size_t drop_duplicates(struct spd_policy *items, size_t count)
{
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        if (kept == 0 || spd_compare_key(&items[kept - 1], &items[i]) != 0)
            items[kept++] = items[i];
    }
    return kept;
}

enum err policies_make(const struct policies_input *input, struct spd_policy **ret_policies, size_t *ret_count,
                       struct note *note)
{
    struct list list = {.err = ERR_OK};
    add_floor(&list);
    add_link(&list, input);
    add_errors(&list);
    if (input->controller != NULL)
        add_controller(&list, input->controller);
    if (input->slice != NULL) {
        add_pinholes(&list, input->slice);
        add_tunnels(&list, input->slice, input->tunnel_port);
        add_pairs(&list, input->pairs);
    } else {
        add_dhcp(&list);
    }
    if (list.err == ERR_OK) {
        qsort(list.items, list.count, sizeof(*list.items), compare_with_priority);
        list.count = drop_duplicates(list.items, list.count);
        if (list.count > POLICIES_MAX)
            list.err = ERR_LIMIT;
    }
    if (list.err != ERR_OK) {
        free(list.items);
        return note_set(note, list.err,
                        list.err == ERR_LIMIT ? "the slice needs more than %d IPsec policies: use fewer pinhole "
                                                "prefixes or port ranges that begin and end at powers of two"
                                              : "the slice's IPsec policies (limit %d) could not be made",
                        POLICIES_MAX);
    }
    *ret_policies = list.items;
    *ret_count = list.count;
    return ERR_OK;
}
