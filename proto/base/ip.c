// SPDX-License-Identifier: GPL-2.0-or-later
#include "proto/base/ip.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "proto/base/text.h"

static const uint8_t mapped_prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

enum err ip_from_bytes(const void *bytes, size_t len, struct ip *ret_ip)
{
    struct ip ip = {0};

    if (len != 4 && len != 16)
        return ERR_MALFORMED;
    if (len == 16 && memcmp(bytes, mapped_prefix, sizeof(mapped_prefix)) == 0) {
        bytes = (const uint8_t *)bytes + sizeof(mapped_prefix);
        len = 4;
    }
    ip.len = (uint8_t)len;
    memcpy(ip.bytes, bytes, len);
    *ret_ip = ip;
    return ERR_OK;
}

enum err ip_parse(const char *text, struct ip *ret_ip)
{
    uint8_t bytes[16];

    if (inet_pton(AF_INET, text, bytes) == 1)
        return ip_from_bytes(bytes, 4, ret_ip);
    if (inet_pton(AF_INET6, text, bytes) == 1)
        return ip_from_bytes(bytes, 16, ret_ip);
    return ERR_MALFORMED;
}

void ip_format(const struct ip *ip, char ret_text[IP_TEXT_BYTES])
{
    ret_text[0] = '\0';
    if (ip->len)
        inet_ntop(ip_family(ip), ip->bytes, ret_text, IP_TEXT_BYTES);
}

int ip_compare(const struct ip *a, const struct ip *b)
{
    if (a->len != b->len)
        return a->len < b->len ? -1 : 1;
    return memcmp(a->bytes, b->bytes, sizeof(a->bytes));
}

int ip_family(const struct ip *ip)
{
    return ip->len == 4 ? AF_INET : AF_INET6;
}

bool ip_is_unspecified(const struct ip *ip)
{
    static const uint8_t zero[16];
    return memcmp(ip->bytes, zero, sizeof(zero)) == 0;
}

bool ip_is_loopback(const struct ip *ip)
{
    static const uint8_t one[16] = {[15] = 1};
    return ip->len == 4 ? ip->bytes[0] == 127 : memcmp(ip->bytes, one, sizeof(one)) == 0;
}

bool ip_is_multicast(const struct ip *ip)
{
    return ip->len == 4 ? (ip->bytes[0] & 0xf0) == 0xe0 : ip->bytes[0] == 0xff;
}

bool ip_is_link_local(const struct ip *ip)
{
    return ip->len == 4 ? ip->bytes[0] == 169 && ip->bytes[1] == 254
                        : ip->bytes[0] == 0xfe && (ip->bytes[1] & 0xc0) == 0x80;
}

static uint8_t mask_byte(unsigned bits, unsigned index)
{
    if (bits >= 8 * (index + 1))
        return 0xff;
    return bits <= 8 * index ? 0 : (uint8_t)(0xff << (8 * (index + 1) - bits));
}

enum err ip_prefix_parse(const char *text, struct ip_prefix *ret_prefix)
{
    char address[IP_TEXT_BYTES];
    struct ip_prefix prefix;
    const char *slash = strchr(text, '/');
    size_t len = slash ? (size_t)(slash - text) : strlen(text);

    if (len >= sizeof(address))
        return ERR_MALFORMED;
    memcpy(address, text, len);
    address[len] = '\0';
    if (ip_parse(address, &prefix.ip) != ERR_OK)
        return ERR_MALFORMED;
    uint64_t bits = prefix.ip.len * 8u;
    if (slash && decimal_parse(slash + 1, bits, &bits) != ERR_OK)
        return ERR_MALFORMED;
    prefix.bits = (uint8_t)bits;
    for (unsigned i = 0; i < prefix.ip.len; i++) {
        if (prefix.ip.bytes[i] & (uint8_t)~mask_byte(prefix.bits, i))
            return ERR_INVALID;
    }
    *ret_prefix = prefix;
    return ERR_OK;
}

void ip_prefix_format(const struct ip_prefix *prefix, char ret_text[IP_PREFIX_TEXT_BYTES])
{
    char address[IP_TEXT_BYTES];

    ip_format(&prefix->ip, address);
    snprintf(ret_text, IP_PREFIX_TEXT_BYTES, "%s/%u", address, prefix->bits);
}

bool ip_prefix_contains(const struct ip_prefix *prefix, const struct ip *ip)
{
    if (prefix->ip.len != ip->len)
        return false;
    for (unsigned i = 0; i < ip->len; i++) {
        if ((ip->bytes[i] & mask_byte(prefix->bits, i)) != prefix->ip.bytes[i])
            return false;
    }
    return true;
}

bool ip_prefix_overlaps(const struct ip_prefix *a, const struct ip_prefix *b)
{
    return a->bits <= b->bits ? ip_prefix_contains(a, &b->ip) : ip_prefix_contains(b, &a->ip);
}

enum err ip_endpoint_parse(const char *text, struct ip_endpoint *ret_endpoint)
{
    char address[IP_TEXT_BYTES];
    struct ip_endpoint endpoint;
    uint64_t port;
    const char *colon = strrchr(text, ':');

    if (!colon)
        return ERR_MALFORMED;
    const char *begin = text;
    const char *end = colon;
    bool bracketed = *text == '[';
    if (bracketed) {
        begin++;
        if (end == begin || *--end != ']')
            return ERR_MALFORMED;
    }
    size_t len = (size_t)(end - begin);
    if (len >= sizeof(address))
        return ERR_MALFORMED;
    memcpy(address, begin, len);
    address[len] = '\0';
    // Brackets mark IPv6 and nothing else (RFC 3986, 3.2.2).
    if (bracketed != (strchr(address, ':') != NULL) || ip_parse(address, &endpoint.ip) != ERR_OK)
        return ERR_MALFORMED;
    if (decimal_parse(colon + 1, UINT16_MAX, &port) != ERR_OK || port == 0)
        return ERR_MALFORMED;
    endpoint.port = (uint16_t)port;
    *ret_endpoint = endpoint;
    return ERR_OK;
}

void ip_endpoint_format(const struct ip_endpoint *endpoint, char ret_text[IP_ENDPOINT_TEXT_BYTES])
{
    char address[IP_TEXT_BYTES];

    ip_format(&endpoint->ip, address);
    snprintf(ret_text, IP_ENDPOINT_TEXT_BYTES, endpoint->ip.len == 16 ? "[%s]:%u" : "%s:%u", address, endpoint->port);
}

socklen_t ip_endpoint_to_sockaddr(const struct ip_endpoint *endpoint, struct sockaddr_storage *ret_address)
{
    memset(ret_address, 0, sizeof(*ret_address));
    if (endpoint->ip.len == 4) {
        struct sockaddr_in *in = (struct sockaddr_in *)ret_address;
        in->sin_family = AF_INET;
        in->sin_port = htons(endpoint->port);
        memcpy(&in->sin_addr, endpoint->ip.bytes, 4);
        return sizeof(*in);
    }
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)ret_address;
    in6->sin6_family = AF_INET6;
    in6->sin6_port = htons(endpoint->port);
    memcpy(&in6->sin6_addr, endpoint->ip.bytes, 16);
    return sizeof(*in6);
}

enum err ip_endpoint_from_sockaddr(const struct sockaddr *address, struct ip_endpoint *ret_endpoint)
{
    struct ip_endpoint endpoint = {0};
    enum err err;

    if (address->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)address;
        endpoint.port = ntohs(in->sin_port);
        err = ip_from_bytes(&in->sin_addr, 4, &endpoint.ip);
    } else if (address->sa_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)address;
        endpoint.port = ntohs(in6->sin6_port);
        err = ip_from_bytes(&in6->sin6_addr, 16, &endpoint.ip);
    } else {
        err = ERR_MALFORMED;
    }
    if (!err)
        *ret_endpoint = endpoint;
    return err;
}
