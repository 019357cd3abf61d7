// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/network/nft_text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/network/peer_sets.h"
#include "agent/network/xfrm/spd.h"
#include "proto/wire/slice.h"

#define IN  TWOFOLD__V1__DIRECTION__DIRECTION_IN
#define OUT TWOFOLD__V1__DIRECTION__DIRECTION_OUT
#define TCP TWOFOLD__V1__PROTOCOL__PROTOCOL_TCP
#define UDP TWOFOLD__V1__PROTOCOL__PROTOCOL_UDP

// A socket that its process has closed has no uid any more: what follows the first packet is known by its flow.
#define GOES_ON      "ct direction original ct state established "
#define ANSWER       "ct direction reply ct state established "
#define CAME_BY_SA   "meta secpath exists "
#define LEAVES_BY_SA "rt ipsec exists "

static const char *const reason_texts[] = {
#define NFT_REASON_TEXT(name, text, meaning) [NFT_REASON_##name] = text,
    NFT_REASONS(NFT_REASON_TEXT)
#undef NFT_REASON_TEXT
};

static const char *const reason_meanings[] = {
#define NFT_REASON_MEANING(name, text, meaning) [NFT_REASON_##name] = meaning,
    NFT_REASONS(NFT_REASON_MEANING)
#undef NFT_REASON_MEANING
};

const char *nft_reason_text(enum nft_reason reason)
{
    return reason_texts[reason];
}

const char *nft_reason_meaning(enum nft_reason reason)
{
    return reason_meanings[reason];
}

// ---- writing

struct ordered_rule {
    const Twofold__V1__Rule *rule;
    size_t set; // of its peers
};

struct writer {
    const struct nft_input *input;
    struct buf *text;
    enum err err; // the first failure; nothing is written behind it
    struct peer_sets sets;
    struct ordered_rule *rules; // of both directions, in winning order
    size_t rule_count;
    size_t ipsec;           // set of peers with a rule that needs IPsec
    size_t tunnel_ipsec[2]; // [out]: peers with a rule that needs both layers
    size_t tunnel_plain[2]; // [out]: peers with a rule that needs https only
};

__attribute__((format(printf, 2, 3))) static void put(struct writer *writer, const char *format, ...)
{
    if (writer->err != ERR_OK)
        return;
    char line[1024];
    va_list arguments;
    va_start(arguments, format);
    int len = vsnprintf(line, sizeof(line), format, arguments);
    va_end(arguments);
    writer->err = len < 0 || (size_t)len >= sizeof(line) ? ERR_LIMIT : buf_append(writer->text, line, (size_t)len);
}

// " tcp dport { 80, 9000-9010 }"-style list of one protocol; false when the rule has none of it.
static bool format_ports(Twofold__V1__PortRange *const *ports, size_t count, Twofold__V1__Protocol protocol, char *room,
                         size_t len)
{
    size_t used = 0;
    for (size_t i = 0; i < count; i++) {
        if (ports[i]->protocol != protocol)
            continue;
        const char *separator = used == 0 ? "" : ", ";
        int n = ports[i]->first == ports[i]->last
                    ? snprintf(room + used, len - used, "%s%u", separator, ports[i]->first)
                    : snprintf(room + used, len - used, "%s%u-%u", separator, ports[i]->first, ports[i]->last);
        used += (size_t)n;
    }
    return used > 0;
}

// 64 ranges of "65535-65535, ".
#define PORTS_TEXT_BYTES 896

static const char *protocol_name(Twofold__V1__Protocol protocol)
{
    return protocol == TCP ? "tcp" : "udp";
}

// ---- preparation

// What a peer is needed for, over all rules that name it.
enum peer_mark {
    MARK_IPSEC = 1, // at least one rule needs IPsec
    MARK_TUNNEL_IPSEC_IN = 2,
    MARK_TUNNEL_IPSEC_OUT = 4, // at least one rule needs both layers
    MARK_TUNNEL_PLAIN_IN = 8,
    MARK_TUNNEL_PLAIN_OUT = 16, // at least one rule needs https only
};

static uint8_t rule_marks(const Twofold__V1__Rule *rule)
{
    bool out = rule->direction == OUT;
    uint8_t marks = rule->ipsec ? MARK_IPSEC : 0;
    if (rule->https && rule->ipsec)
        marks |= out ? MARK_TUNNEL_IPSEC_OUT : MARK_TUNNEL_IPSEC_IN;
    else if (rule->https)
        marks |= out ? MARK_TUNNEL_PLAIN_OUT : MARK_TUNNEL_PLAIN_IN;
    return marks;
}

static int compare_peer(const void *host, const void *peer)
{
    return strcmp(host, (*(Twofold__V1__Peer *const *)peer)->host);
}

// One mark byte for each of the slice's peers, in their order; free() them.
static uint8_t *make_marks(const Twofold__V1__Slice *slice)
{
    uint8_t *marks = calloc(slice->n_peers + 1, 1);
    for (size_t i = 0; marks != NULL && i < slice->n_rules; i++) {
        const Twofold__V1__Rule *rule = slice->rules[i];
        for (size_t p = 0; p < rule->n_peers; p++) {
            Twofold__V1__Peer **peer =
                bsearch(rule->peers[p], slice->peers, slice->n_peers, sizeof(*slice->peers), compare_peer);
            if (peer != NULL)
                marks[peer - slice->peers] |= rule_marks(rule);
        }
    }
    return marks;
}

static int compare_rules(const void *left, const void *right)
{
    const Twofold__V1__Rule *a = ((const struct ordered_rule *)left)->rule;
    const Twofold__V1__Rule *b = ((const struct ordered_rule *)right)->rule;
    int layers = (b->ipsec + b->https) - (a->ipsec + a->https);
    if (layers != 0)
        return layers;
    int order = strcmp(a->name, b->name);
    return order != 0 ? order : (int)a->direction - (int)b->direction;
}

static void prepare(struct writer *writer)
{
    const Twofold__V1__Slice *slice = writer->input->slice;
    const struct {
        enum peer_mark mark;
        size_t *set;
    } wanted[] = {
        {MARK_IPSEC, &writer->ipsec},
        {MARK_TUNNEL_IPSEC_IN, &writer->tunnel_ipsec[0]},
        {MARK_TUNNEL_IPSEC_OUT, &writer->tunnel_ipsec[1]},
        {MARK_TUNNEL_PLAIN_IN, &writer->tunnel_plain[0]},
        {MARK_TUNNEL_PLAIN_OUT, &writer->tunnel_plain[1]},
    };
    peer_sets_init(&writer->sets, slice);
    uint8_t *marks = make_marks(slice);
    writer->err = marks == NULL ? ERR_NOMEM : ERR_OK;
    for (size_t i = 0; writer->err == ERR_OK && i < sizeof(wanted) / sizeof(wanted[0]); i++)
        writer->err = peer_sets_select(&writer->sets, marks, wanted[i].mark, wanted[i].set);
    free(marks);
    if (writer->err != ERR_OK)
        return;
    writer->rules = calloc(slice->n_rules + 1, sizeof(*writer->rules));
    if (writer->rules == NULL) {
        writer->err = ERR_NOMEM;
        return;
    }
    writer->rule_count = slice->n_rules;
    for (size_t i = 0; writer->err == ERR_OK && i < slice->n_rules; i++) {
        const Twofold__V1__Rule *rule = slice->rules[i];
        writer->rules[i].rule = rule;
        writer->err = peer_sets_add(&writer->sets, rule->peers, rule->n_peers, &writer->rules[i].set);
    }
    qsort(writer->rules, writer->rule_count, sizeof(*writer->rules), compare_rules);
}

// ---- statements

// One statement per family that the set has: "ip saddr @p0v4 <rest>".
__attribute__((format(printf, 4, 5))) static void put_for_set(struct writer *writer, size_t set, const char *side,
                                                              const char *format, ...)
{
    char rest[PORTS_TEXT_BYTES + 200];
    va_list arguments;
    va_start(arguments, format);
    int len = vsnprintf(rest, sizeof(rest), format, arguments);
    va_end(arguments);
    if (len < 0 || (size_t)len >= sizeof(rest)) {
        writer->err = ERR_LIMIT;
        return;
    }
    if (writer->err != ERR_OK)
        return;
    const struct peer_set *peers = &writer->sets.items[set];
    for (int six = 0; six < 2; six++) {
        if (peers->has[six])
            put(writer, "        %s %s @p%zuv%c %s\n", six ? "ip6" : "ip", side, set, six ? '6' : '4', rest);
    }
}

static void put_controller_out(struct writer *writer, const char *family, const char *address, unsigned port)
{
    put(writer, "        meta skuid %u %s daddr %s tcp dport %u accept comment \"controller\"\n",
        (unsigned)writer->input->control_uid, family, address, port);
    put(writer, "        %s daddr %s tcp dport %u " GOES_ON "accept comment \"controller\"\n", family, address, port);
}

static void put_controller(struct writer *writer, bool out)
{
    const struct ip_endpoint *controller = writer->input->controller;
    if (controller == NULL)
        return;
    char address[IP_TEXT_BYTES];
    ip_format(&controller->ip, address);
    const char *family = controller->ip.len == 4 ? "ip" : "ip6";
    if (out)
        put_controller_out(writer, family, address, controller->port);
    else
        put(writer, "        %s saddr %s tcp sport %u " ANSWER "accept comment \"controller\"\n", family, address,
            controller->port);
}

static void put_prefix_statement(struct writer *writer, const Twofold__V1__Pinhole *pinhole, bool six, const char *side,
                                 const char *rest)
{
    const char *separator = "";
    bool any = false;
    for (size_t i = 0; writer->err == ERR_OK && i < pinhole->n_prefixes; i++) {
        const Twofold__V1__Prefix *prefix = pinhole->prefixes[i];
        if ((prefix->address.len == 16) != six)
            continue;
        struct ip_prefix parsed = {.bits = (uint8_t)prefix->bits};
        writer->err = ip_from_bytes(prefix->address.data, prefix->address.len, &parsed.ip);
        if (writer->err != ERR_OK)
            return;
        char text[IP_PREFIX_TEXT_BYTES];
        ip_prefix_format(&parsed, text);
        if (!any)
            put(writer, "        %s %s { ", six ? "ip6" : "ip", side);
        put(writer, "%s%s", separator, text);
        separator = ", ";
        any = true;
    }
    if (any)
        put(writer, " } %s comment \"pinhole %s\"\n", rest, pinhole->name);
}

// In the direction in which the pinhole opens, and for its answers.
static void put_pinholes(struct writer *writer, bool out)
{
    const Twofold__V1__Slice *slice = writer->input->slice;
    for (size_t i = 0; i < slice->n_pinholes; i++) {
        const Twofold__V1__Pinhole *pinhole = slice->pinholes[i];
        bool opens = (pinhole->direction == OUT) == out;
        for (int p = 0; p < 2; p++) {
            Twofold__V1__Protocol protocol = p == 0 ? TCP : UDP;
            char ports[PORTS_TEXT_BYTES];
            char rest[PORTS_TEXT_BYTES + 128];
            if (!format_ports(pinhole->ports, pinhole->n_ports, protocol, ports, sizeof(ports)))
                continue;
            snprintf(rest, sizeof(rest), "%s %s { %s } %saccept", protocol_name(protocol), opens ? "dport" : "sport",
                     ports, opens ? "" : ANSWER);
            put_prefix_statement(writer, pinhole, false, out ? "daddr" : "saddr", rest);
            put_prefix_statement(writer, pinhole, true, out ? "daddr" : "saddr", rest);
        }
    }
}

// The https role's tunnels: in `input` or `output`, for those that this host opens and for those that it accepts.
static void put_tunnels(struct writer *writer, bool out)
{
    unsigned port = writer->input->tunnel_port;
    const char *side = out ? "daddr" : "saddr";
    const char *by_sa = out ? LEAVES_BY_SA : CAME_BY_SA;
    for (int plain = 0; plain < 2; plain++) {
        const size_t *sets = plain ? writer->tunnel_plain : writer->tunnel_ipsec;
        const char *needs = plain ? "" : by_sa;
        if (out) {
            put_for_set(writer, sets[1], side, "meta skuid %u tcp dport %u %saccept comment \"tunnels\"",
                        (unsigned)writer->input->https_uid, port, needs);
            put_for_set(writer, sets[1], side, "tcp dport %u " GOES_ON "%saccept comment \"tunnels\"", port, needs);
            put_for_set(writer, sets[0], side, "tcp sport %u " ANSWER "%saccept comment \"tunnels\"", port, needs);
        } else {
            put_for_set(writer, sets[0], side, "tcp dport %u %saccept comment \"tunnels\"", port, needs);
            put_for_set(writer, sets[1], side, "tcp sport %u " ANSWER "%saccept comment \"tunnels\"", port, needs);
        }
    }
}

// Ports of rules: those that need IPsec alone pass by an SA, those that need https are refused here (only the tunnel carries them), and
// stand before weaker rules with the same ports. What a rule covers is decided here: no pinhole behind takes it outside its layers.
static void put_rules(struct writer *writer, bool out)
{
    const char *side = out ? "daddr" : "saddr";
    const char *refuse = out ? "goto refuse_out" : "goto refuse_in";
    for (size_t i = 0; i < writer->rule_count; i++) {
        const Twofold__V1__Rule *rule = writer->rules[i].rule;
        bool opens = (rule->direction == OUT) == out;
        if (rule->https && !opens)
            continue;
        for (int p = 0; p < 2; p++) {
            Twofold__V1__Protocol protocol = p == 0 ? TCP : UDP;
            char ports[PORTS_TEXT_BYTES];
            if (!format_ports(rule->ports, rule->n_ports, protocol, ports, sizeof(ports)))
                continue;
            if (rule->https)
                put_for_set(writer, writer->rules[i].set, side, "%s dport { %s } %s comment \"%s\"",
                            protocol_name(protocol), ports, refuse, rule->name);
            else
                put_for_set(writer, writer->rules[i].set, side, "%s %s { %s } %s%saccept comment \"%s\"",
                            protocol_name(protocol), opens ? "dport" : "sport", ports, opens ? "" : ANSWER,
                            out ? LEAVES_BY_SA : CAME_BY_SA, rule->name);
            if (!rule->https && opens)
                put_for_set(writer, writer->rules[i].set, side, "%s dport { %s } %s comment \"%s\"",
                            protocol_name(protocol), ports, refuse, rule->name);
        }
    }
}

// ---- chains

static void put_capture(struct writer *writer)
{
    put(writer,
        "    chain capture {\n"
        "        type nat hook output priority -100; policy accept;\n"
        "        meta skuid %u accept\n"
        "        fib daddr type local accept\n",
        (unsigned)writer->input->https_uid);
    put_controller(writer, true);
    for (size_t i = 0; i < writer->rule_count; i++) {
        const Twofold__V1__Rule *rule = writer->rules[i].rule;
        char ports[PORTS_TEXT_BYTES];
        if (rule->direction != OUT || !format_ports(rule->ports, rule->n_ports, TCP, ports, sizeof(ports)))
            continue;
        if (rule->https)
            put_for_set(writer, writer->rules[i].set, "daddr", "tcp dport { %s } redirect to :%u comment \"%s\"", ports,
                        writer->input->outbound_port, rule->name);
        else
            put_for_set(writer, writer->rules[i].set, "daddr", "tcp dport { %s } accept comment \"%s\"", ports,
                        rule->name);
    }
    put(writer, "    }\n");
}

static void put_link(struct writer *writer)
{
    put(writer,
        "        icmpv6 type { 133, 134, 135, 136, 137 } ip6 hoplimit 255 accept comment \"neighbour discovery\"\n"
        "        icmpv6 type { 130, 131, 132, 143 } ip6 hoplimit 1 accept comment \"multicast listener discovery\"\n");
}

static void put_input(struct writer *writer)
{
    put(writer, "    chain input {\n"
                "        type filter hook input priority filter; policy drop;\n"
                "        meta iiftype loopback accept\n");
    put_link(writer);
    put(writer,
        "        ct state related icmp type { 3, 11, 12 } accept comment \"errors of flows that are let pass\"\n"
        "        ct state related icmpv6 type { 1, 2, 3, 4 } accept comment \"errors of flows that are let pass\"\n");
    if (writer->input->slice != NULL)
        put_for_set(writer, writer->ipsec, "saddr", "meta l4proto esp accept");
    put_controller(writer, false);
    if (writer->input->slice != NULL) {
        put_tunnels(writer, false);
        put_rules(writer, false);
        put_pinholes(writer, false);
    } else {
        put(writer, "        udp sport 67 udp dport 68 accept comment \"DHCP\"\n"
                    "        ip6 saddr fe80::/10 udp sport 547 udp dport 546 accept comment \"DHCPv6\"\n");
    }
    put(writer, "        goto refuse_in\n    }\n");
}

static void put_output(struct writer *writer)
{
    // "local" is more than the loopback device: captured flows still carry their old device here, and the SPD's trap shows loopback
    // as the device of packets that it will discard. The mark shows the SPD what is the host's own (spd.h).
    put(writer,
        "    chain output {\n"
        "        type filter hook output priority filter; policy drop;\n"
        "        meta nfproto ipv6 fib daddr type local meta mark set meta mark | 0x%08x accept\n"
        "        fib daddr type local accept\n",
        SPD_OWN_MARK);
    put_link(writer);
    put(writer,
        "        ct state related icmp type { 3, 11, 12 } accept comment \"errors of flows that are let pass\"\n"
        "        ct state related icmpv6 type { 1, 2, 3, 4 } accept comment \"errors of flows that are let pass\"\n");
    if (writer->input->slice != NULL)
        put_for_set(writer, writer->ipsec, "daddr", "meta l4proto esp accept");
    put_controller(writer, true);
    if (writer->input->slice != NULL) {
        put_tunnels(writer, true);
        put_rules(writer, true);
        put_pinholes(writer, true);
    } else {
        put(writer, "        udp sport 68 udp dport 67 accept comment \"DHCP\"\n"
                    "        udp sport 546 udp dport 547 accept comment \"DHCPv6\"\n");
    }
    put(writer, "        goto refuse_out\n    }\n");
}

static void put_log(struct writer *writer, enum nft_reason reason)
{
    put(writer, "        limit rate 100/second burst 200 packets log group %d prefix \"tf:%s\" snaplen 96\n",
        NFT_LOG_GROUP, nft_reason_text(reason));
}

static void put_refusals(struct writer *writer)
{
    put(writer, "    chain refuse_in {\n"
                "        meta pkttype { broadcast, multicast } counter name \"in-noise\" drop\n"
                "        meta l4proto esp goto refuse_esp\n");
    if (writer->input->slice != NULL)
        put_for_set(writer, writer->ipsec, "saddr", "meta secpath missing goto refuse_plain");
    put(writer, "        ct state invalid counter name \"in-invalid\" drop\n");
    put_log(writer, NFT_REASON_IN_RULE);
    put(writer, "        counter name \"in-rule\" drop\n    }\n    chain refuse_esp {\n");
    put_log(writer, NFT_REASON_IN_ESP);
    put(writer, "        counter name \"in-esp\" drop\n    }\n    chain refuse_plain {\n");
    put_log(writer, NFT_REASON_IN_PLAIN);
    put(writer, "        counter name \"in-plain\" drop\n    }\n"
                "    chain refuse_out {\n"
                "        fib daddr type { broadcast, multicast } counter name \"out-noise\" drop\n"
                "        ct state invalid counter name \"out-invalid\" drop\n");
    put_log(writer, NFT_REASON_OUT_RULE);
    // A flow that was allowed once ends at once; a new one learns that it is not permitted.
    put(writer, "        meta l4proto tcp ct state established counter name \"out-rule\" reject with tcp reset\n"
                "        counter name \"out-rule\" reject with icmpx admin-prohibited\n"
                "    }\n"
                "    chain forward {\n"
                "        type filter hook forward priority filter; policy drop;\n");
    put_log(writer, NFT_REASON_FORWARD);
    put(writer, "        counter name \"forward\" drop\n    }\n");
}

static void put_table(struct writer *writer)
{
    // The first line makes the second one succeed when there is no table yet.
    put(writer, "table " NFT_TABLE "\ndelete table " NFT_TABLE "\ntable " NFT_TABLE " {\n");
    for (int i = 0; i < NFT_REASON_COUNT; i++)
        put(writer, "    counter %s { }\n", nft_reason_text((enum nft_reason)i));
    if (writer->input->slice != NULL && writer->err == ERR_OK)
        writer->err = peer_sets_write(&writer->sets, writer->text);
    put_refusals(writer);
    put_input(writer);
    put_output(writer);
    if (writer->input->slice != NULL)
        put_capture(writer);
    put(writer, "}\n");
}

enum err nft_text(const struct nft_input *input, struct buf *text)
{
    struct writer writer = {.input = input, .text = text};
    if (input->slice != NULL)
        prepare(&writer);
    put_table(&writer);
    free(writer.rules);
    peer_sets_free(&writer.sets);
    return writer.err;
}
