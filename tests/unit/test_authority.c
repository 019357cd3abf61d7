// SPDX-License-Identifier: GPL-2.0-or-later
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "proto/wire/authority.h"

static void expect_endpoint(const struct ip_endpoint *endpoint, const char *text)
{
    char shown[IP_ENDPOINT_TEXT_BYTES];
    ip_endpoint_format(endpoint, shown);
    cr_expect_str_eq(shown, text);
}

static enum err authority(const char *text)
{
    struct ip_endpoint endpoint;
    return authority_parse(text, &endpoint);
}

Test(authority, addresses)
{
    static const char *const good[][2] = {
        {"192.0.2.1:80", "192.0.2.1:80"},           {"192.0.2.1:65535", "192.0.2.1:65535"},
        {"[2001:db8::1]:443", "[2001:db8::1]:443"}, {"[2001:DB8:0::0:1]:443", "[2001:db8::1]:443"},
        {"[::ffff:192.0.2.1]:80", "192.0.2.1:80"}, // never kept as such
    };
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        struct ip_endpoint endpoint;
        cr_assert_eq(authority_parse(good[i][0], &endpoint), ERR_OK, "%s", good[i][0]);
        expect_endpoint(&endpoint, good[i][1]);
    }
}

Test(authority, host_names_are_another_thing)
{
    cr_expect_eq(authority("api.example.org:80"), ERR_UNSUPPORTED);
    cr_expect_eq(authority("API:80"), ERR_UNSUPPORTED);
    cr_expect_eq(authority("localhost:65535"), ERR_UNSUPPORTED);
    cr_expect_eq(authority("192.0.2.1.example.org:80"), ERR_UNSUPPORTED);
}

Test(authority, the_rest_is_malformed)
{
    static const char *const bad[] = {
        "",
        ":",
        ":80",
        "192.0.2.1",
        "192.0.2.1:",
        "192.0.2.1:0",
        "192.0.2.1:65536",
        "192.0.2.1:+80",
        "192.0.2.1:80 ",
        " 192.0.2.1:80",
        "192.0.2.1:80:80",
        "192.0.2.1:8o",
        "192.0.2.256:80",
        "192.0.2:80",
        "192.0.2.01:80",
        "3221225985:80",
        "2001:db8::1:80",
        "[2001:db8::1]",
        "[2001:db8::1]80",
        "[2001:db8::1:80",
        "2001:db8::1]:80",
        "[]:80",
        "[:80",
        "]:80",
        "[192.0.2.1]:80",
        "[fe80::1%eth0]:80",
        "[fe80::1%25eth0]:80",
        "[[::1]]:80",
        "user@192.0.2.1:80",
        "http://192.0.2.1:80",
        "192.0.2.1:80/",
        "192.0.2.1:99999999999999999999",
        "api:0",
        "api:65536",
        "api:",
        "api",
        "-api:80",
        "api..org:80",
        "a b:80",
        "1234:80",
        "api\n:80",
        "192.0.2.1\t:80",
        "\xc3\xbc.example.org:80",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        cr_expect_eq(authority(bad[i]), ERR_MALFORMED, "'%s'", bad[i]);
    char longest[70000];
    memset(longest, 'a', sizeof(longest));
    memcpy(longest + sizeof(longest) - 4, ":80", 4);
    cr_expect_eq(authority(longest), ERR_MALFORMED);
    memset(longest, '1', sizeof(longest) - 4);
    cr_expect_eq(authority(longest), ERR_MALFORMED);
}

Test(forwarded, round_trip)
{
    static const char *const endpoints[] = {"192.0.2.1:40000", "[2001:db8::1]:1",
                                            "[2001:db8:ffff:ffff:ffff:ffff:ffff:ffff]:65535"};
    for (size_t i = 0; i < sizeof(endpoints) / sizeof(endpoints[0]); i++) {
        struct ip_endpoint endpoint, back;
        char text[FORWARDED_TEXT_BYTES];
        cr_assert_eq(ip_endpoint_parse(endpoints[i], &endpoint), ERR_OK);
        forwarded_format(&endpoint, text);
        cr_assert_eq(forwarded_parse(text, &back), ERR_OK, "%s", text);
        expect_endpoint(&back, endpoints[i]);
    }
}

Test(forwarded, as_others_write_it)
{
    static const char *const good[] = {
        "for=\"192.0.2.1:40000\"",
        "For=\"192.0.2.1:40000\"",
        "for=192.0.2.1:40000",
        "  for=\"192.0.2.1:40000\"  ",
        "by=192.0.2.9;for=\"192.0.2.1:40000\";proto=https",
        "by=\"a\\\"b;c\" ; for=\"192.0.2.1:40000\" ; host=example.org",
        "x-1_y=z;for=192.0.2.1:40000",
        "for=\"192.0.2.1:40000\", for=\"198.51.100.1:1\"",
        "for=\"192.0.2.1:40000\",,, garbage \x01",
        "for=\"192.0.2\\.1:40000\"",
        ";for=192.0.2.1:40000;;proto=http;",
    };
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        struct ip_endpoint endpoint;
        cr_assert_eq(forwarded_parse(good[i], &endpoint), ERR_OK, "%s", good[i]);
        expect_endpoint(&endpoint, "192.0.2.1:40000");
    }
}

Test(forwarded, what_names_no_endpoint)
{
    struct ip_endpoint endpoint;
    static const char *const unsupported[] = {
        "for=_hidden",           "for=unknown",   "for=Unknown",           "for=\"unknown:1\"",
        "for=\"_hidden:_port\"", "for=192.0.2.1", "for=\"[2001:db8::1]\"",
    };
    for (size_t i = 0; i < sizeof(unsupported) / sizeof(unsupported[0]); i++)
        cr_expect_eq(forwarded_parse(unsupported[i], &endpoint), ERR_UNSUPPORTED, "%s", unsupported[i]);
    cr_expect_eq(forwarded_parse("", &endpoint), ERR_NOT_FOUND);
    cr_expect_eq(forwarded_parse(" ; ", &endpoint), ERR_NOT_FOUND);
    cr_expect_eq(forwarded_parse(",for=192.0.2.1:1", &endpoint), ERR_NOT_FOUND);
    cr_expect_eq(forwarded_parse("proto=https", &endpoint), ERR_NOT_FOUND);
    cr_expect_eq(forwarded_parse("proto=https, for=192.0.2.1:1", &endpoint), ERR_NOT_FOUND);
}

Test(forwarded, the_rest_is_malformed)
{
    struct ip_endpoint endpoint = {.port = 77};
    static const char *const bad[] = {
        "for",
        "for=",
        "=x",
        "for=;",
        "for=\"",
        "for=\"192.0.2.1:1",
        "for=\"\\",
        "for=\"\"",
        "for =192.0.2.1:1",
        "for= 192.0.2.1:1",

        "for=192.0.2.1:1 proto=http",
        "for=192.0.2.1:0",
        "for=192.0.2.1:70000",
        "for=2001:db8::1",
        "for=\"2001:db8::1\"",
        "for=\"[192.0.2.1]:1\"",
        "for=192.0.2.1:1;for=192.0.2.2:1",
        "for=192.0.2.1:1;For=192.0.2.1:1",
        "for=example.org:1",
        "for=\"unknownx:1\"",
        "averyveryverylongname=1;for=192.0.2.1:1",
        "for=192.0.2.1:1\x01",
        "f\xc3\xbcr=192.0.2.1:1",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        cr_expect_eq(forwarded_parse(bad[i], &endpoint), ERR_MALFORMED, "'%s'", bad[i]);
    cr_expect_eq(endpoint.port, 77);
    // A value at and past its room.
    char text[256] = "by=";
    memset(text + 3, 'a', 127);
    strcpy(text + 3 + 127, ";for=192.0.2.1:1");
    cr_expect_eq(forwarded_parse(text, &endpoint), ERR_OK);
    memset(text + 3, 'a', 128);
    strcpy(text + 3 + 128, ";for=192.0.2.1:1");
    cr_expect_eq(forwarded_parse(text, &endpoint), ERR_MALFORMED);
    memset(text, 0, sizeof(text));
    strcpy(text, "for=\"");
    memset(text + 5, '1', 200);
    strcat(text, "\"");
    cr_expect_eq(forwarded_parse(text, &endpoint), ERR_MALFORMED);
}
