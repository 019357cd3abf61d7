// SPDX-License-Identifier: GPL-2.0-or-later
// IP addresses, prefixes and endpoints as values (RFC 4291, RFC 5952 text for IPv6).
#ifndef TWOFOLD_BASE_IP_H
#define TWOFOLD_BASE_IP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "proto/base/err.h"

#define IP_TEXT_BYTES          46 // longest address text and its end
#define IP_PREFIX_TEXT_BYTES   50
#define IP_ENDPOINT_TEXT_BYTES 56 // "[v6]:65535"

// `len` is 4 or 16; unused bytes are zero, so values compare with ip_compare or memcmp. An IPv4-mapped IPv6 address is never
// kept as such: ip_from_bytes, ip_parse and ip_from_sockaddr turn it into IPv4.
struct ip {
    uint8_t len;
    uint8_t bytes[16];
};

struct ip_prefix {
    struct ip ip; // host bits are zero
    uint8_t bits;
};

struct ip_endpoint {
    struct ip ip;
    uint16_t port; // host order
};

// Text without brackets, zone or port; leading zeros in IPv4 parts are refused. ERR_MALFORMED.
MUST_USE enum err ip_parse(const char *text, struct ip *ret_ip);
MUST_USE enum err ip_from_bytes(const void *bytes, size_t len, struct ip *ret_ip); // ERR_MALFORMED unless 4 or 16 bytes
void ip_format(const struct ip *ip, char ret_text[IP_TEXT_BYTES]);

// IPv4 before IPv6, then by bytes: <0, 0, >0.
int ip_compare(const struct ip *a, const struct ip *b);
int ip_family(const struct ip *ip); // AF_INET or AF_INET6
bool ip_is_unspecified(const struct ip *ip);
bool ip_is_loopback(const struct ip *ip);
bool ip_is_multicast(const struct ip *ip);
bool ip_is_link_local(const struct ip *ip);

// "192.0.2.0/24" or a single address. ERR_MALFORMED; ERR_INVALID when host bits are set.
MUST_USE enum err ip_prefix_parse(const char *text, struct ip_prefix *ret_prefix);
void ip_prefix_format(const struct ip_prefix *prefix, char ret_text[IP_PREFIX_TEXT_BYTES]);
bool ip_prefix_contains(const struct ip_prefix *prefix, const struct ip *ip);
bool ip_prefix_overlaps(const struct ip_prefix *a, const struct ip_prefix *b);

// "192.0.2.1:80", "[2001:db8::1]:80"; port 1..65535. ERR_MALFORMED.
MUST_USE enum err ip_endpoint_parse(const char *text, struct ip_endpoint *ret_endpoint);
void ip_endpoint_format(const struct ip_endpoint *endpoint, char ret_text[IP_ENDPOINT_TEXT_BYTES]);
socklen_t ip_endpoint_to_sockaddr(const struct ip_endpoint *endpoint, struct sockaddr_storage *ret_address);
MUST_USE enum err ip_endpoint_from_sockaddr(const struct sockaddr *address, struct ip_endpoint *ret_endpoint);

#endif
