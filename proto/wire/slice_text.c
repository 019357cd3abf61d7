// SPDX-License-Identifier: GPL-2.0-or-later
#include "proto/wire/slice_text.h"

#include "proto/base/ip.h"

// Appends until something fails, then stays quiet: the first error is the outcome.
struct writer {
    struct buf *buf;
    enum err err;
};

static void put(struct writer *writer, const char *before, const char *text)
{
    if (!writer->err)
        writer->err = buf_append_text(writer->buf, "%s%s", before, text);
}

static void put_number(struct writer *writer, const char *before, uint64_t number)
{
    if (!writer->err)
        writer->err = buf_append_text(writer->buf, "%s%llu", before, (unsigned long long)number);
}

static void put_address(struct writer *writer, const ProtobufCBinaryData *bytes)
{
    struct ip ip;
    char text[IP_TEXT_BYTES];
    if (writer->err || (writer->err = ip_from_bytes(bytes->data, bytes->len, &ip)))
        return;
    ip_format(&ip, text);
    put(writer, " ", text);
}

static void put_direction(struct writer *writer, Twofold__V1__Direction direction)
{
    if (direction == TWOFOLD__V1__DIRECTION__DIRECTION_IN)
        put(writer, " ", "in");
    else if (direction == TWOFOLD__V1__DIRECTION__DIRECTION_OUT)
        put(writer, " ", "out");
    else if (!writer->err)
        writer->err = ERR_MALFORMED;
}

static void put_ports(struct writer *writer, Twofold__V1__PortRange *const *ports, size_t count)
{
    put(writer, " ", "ports");
    for (size_t i = 0; i < count && !writer->err; i++) {
        if (ports[i]->protocol == TWOFOLD__V1__PROTOCOL__PROTOCOL_TCP)
            put(writer, " ", "tcp");
        else if (ports[i]->protocol == TWOFOLD__V1__PROTOCOL__PROTOCOL_UDP)
            put(writer, " ", "udp");
        else
            writer->err = ERR_MALFORMED;
        put_number(writer, "/", ports[i]->first);
        if (ports[i]->last != ports[i]->first)
            put_number(writer, "-", ports[i]->last);
    }
}

static void put_settings(struct writer *writer, const Twofold__V1__Settings *settings)
{
    if (!settings) {
        writer->err = ERR_MALFORMED;
        return;
    }
    put(writer, "slice ", settings->host);
    put_number(writer, " generation ", settings->generation);
    put(writer, " trust-domain ", settings->trust_domain);
    put_number(writer, " rekey ", settings->rekey_seconds);
    put(writer, " independence ", settings->independence_required ? "required\n" : "reported\n");
}

static void put_peer(struct writer *writer, const Twofold__V1__Peer *peer)
{
    put(writer, "peer ", peer->host);
    put_number(writer, " slot ", peer->slot);
    put(writer, " ", "addresses");
    for (size_t i = 0; i < peer->n_addresses; i++)
        put_address(writer, &peer->addresses[i]);
    if (peer->n_workloads)
        put(writer, " ", "workloads");
    for (size_t i = 0; i < peer->n_workloads; i++)
        put(writer, " ", peer->workloads[i]);
    put(writer, "", "\n");
}

static void put_rule(struct writer *writer, const Twofold__V1__Rule *rule)
{
    put(writer, "rule ", rule->name);
    put_direction(writer, rule->direction);
    put_ports(writer, rule->ports, rule->n_ports);
    put(writer, " ", "layers");
    if (rule->ipsec)
        put(writer, " ", "ipsec");
    if (rule->https)
        put(writer, " ", "https");
    put(writer, " ", "peers");
    for (size_t i = 0; i < rule->n_peers; i++)
        put(writer, " ", rule->peers[i]);
    put(writer, "", "\n");
}

static void put_pinhole(struct writer *writer, const Twofold__V1__Pinhole *pinhole)
{
    put(writer, "pinhole ", pinhole->name);
    put_direction(writer, pinhole->direction);
    put_ports(writer, pinhole->ports, pinhole->n_ports);
    put(writer, " ", "prefixes");
    for (size_t i = 0; i < pinhole->n_prefixes; i++) {
        put_address(writer, &pinhole->prefixes[i]->address);
        put_number(writer, "/", pinhole->prefixes[i]->bits);
    }
    put(writer, "", "\n");
}

enum err slice_text(const Twofold__V1__Slice *slice, struct buf *buf)
{
    struct writer writer = {.buf = buf};
    put_settings(&writer, slice->settings);
    for (size_t i = 0; i < slice->n_peers && !writer.err; i++)
        put_peer(&writer, slice->peers[i]);
    for (size_t i = 0; i < slice->n_rules && !writer.err; i++)
        put_rule(&writer, slice->rules[i]);
    for (size_t i = 0; i < slice->n_pinholes && !writer.err; i++)
        put_pinhole(&writer, slice->pinholes[i]);
    for (size_t i = 0; i < slice->n_revoked && !writer.err; i++) {
        put(&writer, "revoked ", slice->revoked[i]);
        put(&writer, "", "\n");
    }
    return writer.err;
}
