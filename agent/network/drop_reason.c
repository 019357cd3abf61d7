// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/network/drop_reason.h"

#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "proto/wire/slice.h"

#define IN  TWOFOLD__V1__DIRECTION__DIRECTION_IN
#define OUT TWOFOLD__V1__DIRECTION__DIRECTION_OUT

#define SERVICE_TEXT_BYTES 24

enum { EPHEMERAL_FIRST = 32768 };

static bool is_departure(enum nft_reason reason)
{
    return reason == NFT_REASON_OUT_RULE || reason == NFT_REASON_OUT_NOISE || reason == NFT_REASON_OUT_INVALID;
}

// By its ports: from a service to a port that clients are given.
static bool looks_like_answer(const struct drop_packet *packet)
{
    return packet->has_ports && packet->destination_port >= EPHEMERAL_FIRST && packet->source_port < EPHEMERAL_FIRST;
}

static void format_service(const struct drop_packet *packet, uint16_t port, char room[SERVICE_TEXT_BYTES])
{
    const char *name = packet->protocol == IPPROTO_TCP      ? "tcp"
                       : packet->protocol == IPPROTO_UDP    ? "udp"
                       : packet->protocol == IPPROTO_ICMP   ? "icmp"
                       : packet->protocol == IPPROTO_ICMPV6 ? "icmpv6"
                       : packet->protocol == IPPROTO_ESP    ? "esp"
                                                            : NULL;
    if (name == NULL)
        snprintf(room, SERVICE_TEXT_BYTES, "protocol %u", packet->protocol);
    else if (packet->has_ports)
        snprintf(room, SERVICE_TEXT_BYTES, "%s/%u", name, port);
    else
        snprintf(room, SERVICE_TEXT_BYTES, "%s", name);
}

static const Twofold__V1__Peer *peer_by_address(const Twofold__V1__Slice *slice, const struct ip *ip)
{
    for (size_t i = 0; i < slice->n_peers; i++) {
        const Twofold__V1__Peer *peer = slice->peers[i];
        for (size_t a = 0; a < peer->n_addresses; a++) {
            if (peer->addresses[a].len == ip->len && memcmp(peer->addresses[a].data, ip->bytes, ip->len) == 0)
                return peer;
        }
    }
    return NULL;
}

static bool names_peer(const Twofold__V1__Rule *rule, const char *host)
{
    for (size_t i = 0; i < rule->n_peers; i++) {
        if (strcmp(rule->peers[i], host) == 0)
            return true;
    }
    return false;
}

// A rule of this direction with that peer, best one with the same protocol.
static const Twofold__V1__Rule *nearest_rule(const Twofold__V1__Slice *slice, int direction, const char *host,
                                             uint8_t protocol)
{
    const Twofold__V1__Rule *nearest = NULL;
    for (size_t i = 0; i < slice->n_rules; i++) {
        const Twofold__V1__Rule *rule = slice->rules[i];
        if ((int)rule->direction != direction || rule->n_ports == 0 || !names_peer(rule, host))
            continue;
        for (size_t p = 0; p < rule->n_ports; p++) {
            if ((int)rule->ports[p]->protocol == protocol)
                return rule;
        }
        if (nearest == NULL)
            nearest = rule;
    }
    return nearest;
}

static void format_first_port(const Twofold__V1__Rule *rule, char room[64])
{
    const Twofold__V1__PortRange *range = rule->ports[0];
    const char *name = range->protocol == TWOFOLD__V1__PROTOCOL__PROTOCOL_TCP ? "tcp" : "udp";
    const char *more = rule->n_ports > 1 ? ", ..." : "";
    if (range->first == range->last)
        snprintf(room, 64, "%s/%u%s", name, range->first, more);
    else
        snprintf(room, 64, "%s/%u-%u%s", name, range->first, range->last, more);
}

struct view {
    const Twofold__V1__Slice *slice;
    const struct drop_packet *packet;
    bool out;    // the flow was opened by this host
    bool answer; // the packet goes the other way
    const Twofold__V1__Peer *peer;
    char far[IP_TEXT_BYTES > NAME_MAX_BYTES ? IP_TEXT_BYTES : NAME_MAX_BYTES + 1];
    char service[SERVICE_TEXT_BYTES];
};

static void say_no_rule(const struct view *view, char *room)
{
    const char *answer = view->answer ? "an answer, and " : "";
    const char *own = view->slice->settings->host;
    const char *from = view->out ? own : view->far;
    const char *to = view->out ? view->far : own;
    char port[64];
    if (view->peer == NULL) {
        snprintf(room, DROP_REASON_BYTES, "%sno rule allows %s -> %s %s: the address belongs to no peer of this host",
                 answer, from, to, view->service);
        return;
    }
    const Twofold__V1__Rule *rule =
        nearest_rule(view->slice, view->out ? OUT : IN, view->peer->host, view->packet->protocol);
    if (rule != NULL) {
        format_first_port(rule, port);
        snprintf(room, DROP_REASON_BYTES, "%sno rule allows %s -> %s %s; nearest: rule %s (%s)", answer, from, to,
                 view->service, rule->name, port);
        return;
    }
    rule = nearest_rule(view->slice, view->out ? IN : OUT, view->peer->host, view->packet->protocol);
    if (rule != NULL) {
        format_first_port(rule, port);
        snprintf(room, DROP_REASON_BYTES,
                 "%sno rule allows %s -> %s %s; nearest: rule %s (%s), but only the other way round", answer, from, to,
                 view->service, rule->name, port);
        return;
    }
    snprintf(room, DROP_REASON_BYTES, "%sno rule allows %s -> %s %s", answer, from, to, view->service);
}

static void say_missing_layer(const struct view *view, const Twofold__V1__Rule *rule, uint16_t tunnel_port, char *room)
{
    if (rule->https && view->out)
        snprintf(room, DROP_REASON_BYTES,
                 "rule %s (%s) needs https, but the flow began before it was captured: open it again", rule->name,
                 view->service);
    else if (rule->https)
        snprintf(
            room, DROP_REASON_BYTES,
            "rule %s (%s) needs https: a flow straight to the port is refused, only a tunnel to port %u carries it",
            rule->name, view->service, tunnel_port);
    else
        snprintf(room, DROP_REASON_BYTES, "rule %s allows %s, but no IPsec SA with %s is up", rule->name, view->service,
                 view->far);
}

static void say(const struct view *view, enum nft_reason reason, const Twofold__V1__Rule *rule, uint16_t tunnel_port,
                char *room)
{
    if (reason == NFT_REASON_FORWARD) {
        snprintf(room, DROP_REASON_BYTES, "this host forwards nothing between others");
    } else if (view->slice == NULL) {
        snprintf(room, DROP_REASON_BYTES,
                 "no policy is in force yet: everything is refused until the controller's first slice");
    } else if (reason == NFT_REASON_IN_ESP) {
        snprintf(room, DROP_REASON_BYTES, "ESP from %s, which is no IPsec peer of this host", view->far);
    } else if (reason == NFT_REASON_IN_PLAIN) {
        snprintf(room, DROP_REASON_BYTES, "arrived outside IPsec: %s to %s%s%s is taken from %s only in ESP",
                 view->service, view->slice->settings->host, rule != NULL ? " by rule " : "",
                 rule != NULL ? rule->name : "", view->far);
    } else if (rule != NULL) {
        say_missing_layer(view, rule, tunnel_port, room);
    } else {
        say_no_rule(view, room);
    }
}

static bool needs_ipsec(const Twofold__V1__Slice *slice, const char *host)
{
    for (size_t i = 0; i < slice->n_rules; i++) {
        if (slice->rules[i]->ipsec && names_peer(slice->rules[i], host))
            return true;
    }
    return false;
}

// The rule for the flow that the packet belongs to; NULL: none.
static const Twofold__V1__Rule *rule_of(const struct view *view)
{
    const struct drop_packet *packet = view->packet;
    if (view->peer == NULL || !packet->has_ports ||
        (packet->protocol != IPPROTO_TCP && packet->protocol != IPPROTO_UDP))
        return NULL;
    return slice_rule(view->slice, view->out ? OUT : IN, view->peer->host, (Twofold__V1__Protocol)packet->protocol,
                      view->answer ? packet->source_port : packet->destination_port);
}

void drop_reason(const Twofold__V1__Slice *slice, const struct nflog_event *event, uint16_t tunnel_port,
                 struct drop_verdict *ret_verdict)
{
    const struct drop_packet *packet = &event->packet;
    struct drop_verdict verdict = {.ipsec = false};
    bool departs = is_departure(event->reason);
    const struct ip *far = departs ? &packet->destination : &packet->source;
    struct view view = {.slice = slice, .packet = packet, .out = departs};
    ip_format(far, view.far);
    view.peer = slice != NULL ? peer_by_address(slice, far) : NULL;
    if (view.peer != NULL) {
        snprintf(view.far, sizeof(view.far), "%s", view.peer->host);
        snprintf(verdict.peer, sizeof(verdict.peer), "%s", view.peer->host);
        verdict.ipsec = event->reason == NFT_REASON_IN_RULE && needs_ipsec(slice, view.peer->host);
    }
    const Twofold__V1__Rule *rule = rule_of(&view);
    if (rule == NULL && looks_like_answer(packet)) {
        view.answer = true;
        view.out = !departs;
        rule = rule_of(&view);
    }
    format_service(packet, view.answer ? packet->source_port : packet->destination_port, view.service);
    if (rule != NULL)
        snprintf(verdict.rule, sizeof(verdict.rule), "%s", rule->name);
    say(&view, event->reason, rule, tunnel_port, verdict.reason);
    *ret_verdict = verdict;
}
