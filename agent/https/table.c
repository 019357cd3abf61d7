// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/https/table.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/wire/message.h"
#include "proto/wire/slice.h"

struct address {
    struct ip ip;
    const Twofold__V1__Peer *peer;
};

struct table {
    Twofold__V1__Slice *slice;
    Twofold__V1__SaReport *sas; // NULL: none yet
    uint16_t outbound_port;
    uint16_t tunnel_port;
    size_t address_count;
    struct address *addresses; // ascending
};

static int compare_addresses(const void *left, const void *right)
{
    const struct address *a = left;
    const struct address *b = right;
    return ip_compare(&a->ip, &b->ip);
}

static enum err index_addresses(struct table *table)
{
    const Twofold__V1__Slice *slice = table->slice;
    size_t count = 0;
    for (size_t i = 0; i < slice->n_peers; i++) {
        count += slice->peers[i]->n_addresses;
    }
    table->addresses = calloc(count + 1, sizeof(*table->addresses));
    if (!table->addresses) {
        return ERR_NOMEM;
    }
    for (size_t i = 0; i < slice->n_peers; i++) {
        const Twofold__V1__Peer *peer = slice->peers[i];
        for (size_t j = 0; j < peer->n_addresses; j++) {
            struct address *address = &table->addresses[table->address_count];
            enum err err = ip_from_bytes(peer->addresses[j].data, peer->addresses[j].len, &address->ip);
            if (err) {
                return err;
            }
            address->peer = peer;
            table->address_count++;
        }
    }
    qsort(table->addresses, table->address_count, sizeof(*table->addresses), compare_addresses);
    return ERR_OK;
}

enum err table_new(const Twofold__V1__Slice *slice, uint16_t outbound_port, uint16_t tunnel_port,
                   struct table **ret_table, struct note *note)
{
    enum err err = slice_check(slice, note);
    if (err) {
        return err;
    }
    struct table *table = calloc(1, sizeof(*table));
    if (!table) {
        return note_set(note, ERR_NOMEM, "no memory for the admission table");
    }
    table->outbound_port = outbound_port;
    table->tunnel_port = tunnel_port;
    ProtobufCMessage *copy = NULL;
    err = message_copy(&slice->base, &copy);
    if (err) {
        goto err_after_alloc;
    }
    table->slice = (Twofold__V1__Slice *)copy;
    err = index_addresses(table);
    if (err) {
        goto err_after_alloc;
    }
    *ret_table = table;
    return ERR_OK;

err_after_alloc:
    table_free(table);
    return note_set(note, err, "cannot build the admission table: %s", err_text(err));
}

void table_free(struct table *table)
{
    if (!table) {
        return;
    }
    message_free(table->slice);
    message_free(table->sas);
    free(table->addresses);
    free(table);
}

const Twofold__V1__Slice *table_slice(const struct table *table)
{
    return table->slice;
}

enum err table_set_sas(struct table *table, const Twofold__V1__SaReport *report)
{
    message_free(table->sas);
    table->sas = NULL;
    ProtobufCMessage *copy = NULL;
    enum err err = message_copy(&report->base, &copy);
    if (err) {
        return err;
    }
    table->sas = (Twofold__V1__SaReport *)copy;
    return ERR_OK;
}

// ---- what is known

const Twofold__V1__Peer *table_peer_at(const struct table *table, const struct ip *ip)
{
    struct address wanted = {.ip = *ip};
    const struct address *found =
        bsearch(&wanted, table->addresses, table->address_count, sizeof(*table->addresses), compare_addresses);
    return found ? found->peer : NULL;
}

// The installed SA pair with this peer that covers this address of it.
static const Twofold__V1__SaPair *installed_pair(const struct table *table, const char *host, const struct ip *ip)
{
    for (size_t i = 0; table->sas && i < table->sas->n_pairs; i++) {
        const Twofold__V1__SaPair *pair = table->sas->pairs[i];
        if (strcmp(pair->host, host) != 0) {
            continue;
        }
        for (size_t j = 0; j < pair->n_addresses; j++) {
            if (pair->addresses[j].len == ip->len && memcmp(pair->addresses[j].data, ip->bytes, ip->len) == 0) {
                return pair;
            }
        }
    }
    return NULL;
}

static int compare_text(const void *left, const void *right)
{
    return strcmp(left, *(char *const *)right);
}

static bool contains_text(char *const *texts, size_t count, const char *text)
{
    return count > 0 && bsearch(text, texts, count, sizeof(*texts), compare_text);
}

bool table_is_revoked(const struct table *table, const char *host)
{
    return contains_text(table->slice->revoked, table->slice->n_revoked, host);
}

bool table_peer_has_workload(const Twofold__V1__Peer *peer, const char *identity)
{
    return contains_text(peer->workloads, peer->n_workloads, identity);
}

static unsigned distance_to_port(const Twofold__V1__PortRange *range, uint16_t port)
{
    if (port < range->first) {
        return range->first - port;
    }
    return port > range->last ? port - range->last : 0;
}

// The rule with the same peer and direction whose TCP ports come nearest.
static const Twofold__V1__Rule *nearest_rule(const struct table *table, Twofold__V1__Direction direction,
                                             const char *host, uint16_t port, const Twofold__V1__PortRange **ret_range)
{
    const Twofold__V1__Rule *nearest = NULL;
    unsigned nearest_distance = UINT32_MAX;
    for (size_t i = 0; i < table->slice->n_rules; i++) {
        const Twofold__V1__Rule *rule = table->slice->rules[i];
        if (rule->direction != direction || !contains_text(rule->peers, rule->n_peers, host)) {
            continue;
        }
        for (size_t j = 0; j < rule->n_ports; j++) {
            const Twofold__V1__PortRange *range = rule->ports[j];
            unsigned distance = distance_to_port(range, port);
            if (range->protocol == TWOFOLD__V1__PROTOCOL__PROTOCOL_TCP && distance < nearest_distance) {
                nearest = rule;
                nearest_distance = distance;
                *ret_range = range;
            }
        }
    }
    return nearest;
}

// ---- decisions

static void refuse(struct verdict *verdict, const char *told, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void refuse(struct verdict *verdict, const char *told, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(verdict->reason, sizeof(verdict->reason), format, arguments);
    va_end(arguments);
    snprintf(verdict->told, sizeof(verdict->told), "%s", told ? told : verdict->reason);
    verdict->allowed = false;
}

static void refuse_without_rule(const struct table *table, Twofold__V1__Direction direction, uint16_t port,
                                struct verdict *verdict)
{
    const char *self = table->slice->settings->host;
    const char *peer = verdict->peer->host;
    bool outbound = direction == TWOFOLD__V1__DIRECTION__DIRECTION_OUT;
    const char *from = outbound ? self : peer;
    const char *to = outbound ? peer : self;
    const Twofold__V1__PortRange *range = NULL;
    const Twofold__V1__Rule *nearest = nearest_rule(table, direction, peer, port, &range);
    char told[NOTE_TEXT_BYTES];
    snprintf(told, sizeof(told), "no rule lets %s reach %s on tcp/%u", from, to, port);
    if (!nearest) {
        refuse(verdict, told, "%s; no rule from %s to %s has a TCP port. Add one to the policy if this flow is wanted",
               told, from, to);
        return;
    }
    char ports[32];
    if (range->first == range->last) {
        snprintf(ports, sizeof(ports), "tcp/%u", range->first);
    } else {
        snprintf(ports, sizeof(ports), "tcp/%u-%u", range->first, range->last);
    }
    refuse(verdict, told, "%s; the nearest rule, %s, allows %s. Add tcp/%u to it if this flow is wanted", told,
           nearest->name, ports, port);
}

// The layers that the rule needs, and whether they are up.
static void decide_layers(struct verdict *verdict, const struct ip *address)
{
    const Twofold__V1__Rule *rule = verdict->rule;
    const char *peer = verdict->peer->host;
    if (!rule->https) {
        refuse(verdict, "the rule for this flow does not use the HTTPS layer",
               "rule %s carries this flow in the IPsec layer alone, so it does not belong into a tunnel", rule->name);
        return;
    }
    if (rule->ipsec && !verdict->pair) {
        char text[IP_TEXT_BYTES];
        char told[NOTE_TEXT_BYTES];
        ip_format(address, text);
        snprintf(told, sizeof(told), "the IPsec layer between %s and this host is not up", peer);
        refuse(
            verdict, told,
            "rule %s needs the IPsec layer, and no SA pair with %s (%s) is installed. `twofold status` names the cause",
            rule->name, peer, text);
        return;
    }
    verdict->allowed = true;
}

static bool is_own_port(const struct table *table, uint16_t port)
{
    return port == 0 || port == table->outbound_port || port == table->tunnel_port;
}

void table_outbound(const struct table *table, const struct ip_endpoint *destination, struct verdict *ret_verdict)
{
    memset(ret_verdict, 0, sizeof(*ret_verdict));
    char text[IP_ENDPOINT_TEXT_BYTES];
    ip_endpoint_format(destination, text);
    ret_verdict->peer = table_peer_at(table, &destination->ip);
    if (!ret_verdict->peer) {
        refuse(ret_verdict, NULL, "%s belongs to no host that the policy lets %s reach", text,
               table->slice->settings->host);
        return;
    }
    ret_verdict->pair = installed_pair(table, ret_verdict->peer->host, &destination->ip);
    if (is_own_port(table, destination->port)) {
        refuse(ret_verdict, NULL, "port %u is Twofold's own and carries no flow of an application", destination->port);
        return;
    }
    ret_verdict->rule = slice_rule(table->slice, TWOFOLD__V1__DIRECTION__DIRECTION_OUT, ret_verdict->peer->host,
                                   TWOFOLD__V1__PROTOCOL__PROTOCOL_TCP, destination->port);
    if (!ret_verdict->rule) {
        refuse_without_rule(table, TWOFOLD__V1__DIRECTION__DIRECTION_OUT, destination->port, ret_verdict);
        return;
    }
    decide_layers(ret_verdict, &destination->ip);
}

// Finds the peer of a caller; refuses one whose address and identity do not belong together.
static bool know_caller(const struct table *table, const struct table_caller *caller, struct verdict *verdict)
{
    char text[IP_TEXT_BYTES];
    ip_format(&caller->remote, text);
    const Twofold__V1__Peer *peer = table_peer_at(table, &caller->remote);
    if (!peer) {
        refuse(verdict, "this host has no rule with the host at that address",
               "%s comes from %s, an address of no host that a rule connects with %s", caller->identity, text,
               table->slice->settings->host);
        return false;
    }
    verdict->peer = peer;
    verdict->pair = installed_pair(table, peer->host, &caller->remote);
    if (!table_peer_has_workload(peer, caller->identity)) {
        refuse(verdict, "the identity of the certificate is not one of that address",
               "%s is not an identity of %s, which has the address %s", caller->identity, peer->host, text);
        return false;
    }
    return true;
}

void table_inbound(const struct table *table, const struct table_caller *caller, const struct ip_endpoint *authority,
                   struct verdict *ret_verdict)
{
    memset(ret_verdict, 0, sizeof(*ret_verdict));
    if (!know_caller(table, caller, ret_verdict)) {
        return;
    }
    if (ip_compare(&authority->ip, &caller->local) != 0) {
        char wanted[IP_TEXT_BYTES];
        char local[IP_TEXT_BYTES];
        ip_format(&authority->ip, wanted);
        ip_format(&caller->local, local);
        refuse(ret_verdict, NULL, "the tunnel leads to %s, and a flow in it cannot go on to %s", local, wanted);
        return;
    }
    if (is_own_port(table, authority->port)) {
        refuse(ret_verdict, NULL, "port %u is Twofold's own and carries no flow of an application", authority->port);
        return;
    }
    ret_verdict->rule = slice_rule(table->slice, TWOFOLD__V1__DIRECTION__DIRECTION_IN, ret_verdict->peer->host,
                                   TWOFOLD__V1__PROTOCOL__PROTOCOL_TCP, authority->port);
    if (!ret_verdict->rule) {
        refuse_without_rule(table, TWOFOLD__V1__DIRECTION__DIRECTION_IN, authority->port, ret_verdict);
        return;
    }
    decide_layers(ret_verdict, &caller->remote);
}

void table_tunnel(const struct table *table, const struct table_caller *caller, Twofold__V1__Direction direction,
                  struct verdict *ret_verdict)
{
    memset(ret_verdict, 0, sizeof(*ret_verdict));
    if (!know_caller(table, caller, ret_verdict)) {
        return;
    }
    const char *host = ret_verdict->peer->host;
    refuse(ret_verdict, NULL, "no rule with %s uses the HTTPS layer in this direction", host);
    for (size_t i = 0; i < table->slice->n_rules && !ret_verdict->allowed; i++) {
        const Twofold__V1__Rule *rule = table->slice->rules[i];
        if (rule->direction == direction && rule->https && contains_text(rule->peers, rule->n_peers, host)) {
            ret_verdict->rule = rule;
            decide_layers(ret_verdict, &caller->remote);
        }
    }
    if (ret_verdict->allowed) {
        ret_verdict->reason[0] = '\0';
        ret_verdict->told[0] = '\0';
    }
}
