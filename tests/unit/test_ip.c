// SPDX-License-Identifier: GPL-2.0-or-later
#include <criterion/criterion.h>
#include <string.h>

#include "proto/base/ip.h"

static struct ip parsed(const char *text)
{
    struct ip ip = {0};
    cr_assert_eq(ip_parse(text, &ip), ERR_OK, "%s", text);
    return ip;
}

Test(ip, text_comes_back)
{
    static const char *const texts[] = {"192.0.2.1", "0.0.0.0", "255.255.255.255", "2001:db8::1", "::", "fe80::1"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct ip ip = parsed(texts[i]);
        char text[IP_TEXT_BYTES];
        ip_format(&ip, text);
        cr_assert_str_eq(text, texts[i]);
    }
}

Test(ip, refuses_what_is_no_address)
{
    static const char *const texts[] = {"",      "1.2.3",        "1.2.3.4.5",    "01.2.3.4", "1.2.3.256", " 1.2.3.4",
                                        "[::1]", "2001:db8::1%", "192.0.2.1/24", "::1::",    "host"};
    struct ip ip;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        cr_assert_eq(ip_parse(texts[i], &ip), ERR_MALFORMED, "%s", texts[i]);
    cr_assert_eq(ip_from_bytes("12345", 5, &ip), ERR_MALFORMED);
}

Test(ip, mapped_addresses_become_ipv4)
{
    struct ip mapped = parsed("::ffff:192.0.2.1"), plain = parsed("192.0.2.1");
    cr_assert_eq(ip_compare(&mapped, &plain), 0);
    cr_assert_eq(ip_family(&mapped), AF_INET);
}

Test(ip, order_is_ipv4_first_then_bytes)
{
    struct ip a = parsed("192.0.2.1"), b = parsed("192.0.2.2"), c = parsed("::1");
    cr_assert_lt(ip_compare(&a, &b), 0);
    cr_assert_lt(ip_compare(&b, &c), 0);
    cr_assert_gt(ip_compare(&c, &a), 0);
}

Test(ip, kinds)
{
    struct ip ip;
    ip = parsed("127.9.9.9");
    cr_assert(ip_is_loopback(&ip));
    ip = parsed("::1");
    cr_assert(ip_is_loopback(&ip));
    ip = parsed("::");
    cr_assert(ip_is_unspecified(&ip) && !ip_is_loopback(&ip));
    ip = parsed("224.0.0.1");
    cr_assert(ip_is_multicast(&ip));
    ip = parsed("ff02::1");
    cr_assert(ip_is_multicast(&ip));
    ip = parsed("169.254.1.1");
    cr_assert(ip_is_link_local(&ip));
    ip = parsed("febf::1");
    cr_assert(ip_is_link_local(&ip));
    ip = parsed("fec0::1");
    cr_assert(!ip_is_link_local(&ip));
}

Test(ip, prefixes)
{
    struct ip_prefix prefix, other;
    struct ip ip = parsed("192.0.2.130");
    char text[IP_PREFIX_TEXT_BYTES];

    cr_assert_eq(ip_prefix_parse("192.0.2.128/25", &prefix), ERR_OK);
    cr_assert(ip_prefix_contains(&prefix, &ip));
    ip = parsed("192.0.2.1");
    cr_assert(!ip_prefix_contains(&prefix, &ip));
    ip_prefix_format(&prefix, text);
    cr_assert_str_eq(text, "192.0.2.128/25");
    cr_assert_eq(ip_prefix_parse("192.0.2.0/24", &other), ERR_OK);
    cr_assert(ip_prefix_overlaps(&prefix, &other) && ip_prefix_overlaps(&other, &prefix));
    cr_assert_eq(ip_prefix_parse("192.0.2.0/25", &other), ERR_OK);
    cr_assert(!ip_prefix_overlaps(&prefix, &other));
    cr_assert_eq(ip_prefix_parse("::/0", &other), ERR_OK);
    cr_assert(!ip_prefix_overlaps(&prefix, &other));
    cr_assert_eq(ip_prefix_parse("2001:db8::1", &prefix), ERR_OK);
    cr_assert_eq(prefix.bits, 128);
    cr_assert_eq(ip_prefix_parse("192.0.2.1/24", &prefix), ERR_INVALID);
    cr_assert_eq(ip_prefix_parse("192.0.2.0/33", &prefix), ERR_MALFORMED);
    cr_assert_eq(ip_prefix_parse("192.0.2.0/", &prefix), ERR_MALFORMED);
    cr_assert_eq(ip_prefix_parse("192.0.2.0/+8", &prefix), ERR_MALFORMED);
}

Test(ip, endpoints)
{
    struct ip_endpoint endpoint, back;
    struct sockaddr_storage address;
    char text[IP_ENDPOINT_TEXT_BYTES];
    static const char *const good[] = {"192.0.2.1:80", "[2001:db8::1]:65535"};
    static const char *const bad[] = {"192.0.2.1",      "192.0.2.1:0",    "192.0.2.1:65536",
                                      "[192.0.2.1]:80", "2001:db8::1:80", "[2001:db8::1]80:",
                                      "[2001:db8::1]:", "host:80",        ":80",
                                      "[]:80"};

    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        cr_assert_eq(ip_endpoint_parse(good[i], &endpoint), ERR_OK, "%s", good[i]);
        ip_endpoint_format(&endpoint, text);
        cr_assert_str_eq(text, good[i]);
        ip_endpoint_to_sockaddr(&endpoint, &address);
        cr_assert_eq(ip_endpoint_from_sockaddr((struct sockaddr *)&address, &back), ERR_OK);
        cr_assert_eq(ip_compare(&endpoint.ip, &back.ip), 0);
        cr_assert_eq(endpoint.port, back.port);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        cr_assert_eq(ip_endpoint_parse(bad[i], &endpoint), ERR_MALFORMED, "%s", bad[i]);
    address.ss_family = AF_UNIX;
    cr_assert_eq(ip_endpoint_from_sockaddr((struct sockaddr *)&address, &back), ERR_MALFORMED);
}
