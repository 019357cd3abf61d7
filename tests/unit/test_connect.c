// SPDX-License-Identifier: GPL-2.0-or-later
#include <criterion/criterion.h>
#include <stdarg.h>
#include <string.h>

#include "agent/https/connect.h"

// Pairs of names and values, ended by NULL.
static struct h2_headers headers_of(const char *name, ...)
{
    struct h2_headers headers = {0};
    va_list arguments;
    va_start(arguments, name);
    while (name) {
        headers.items[headers.count++] = (struct h2_header){.name = name, .value = va_arg(arguments, const char *)};
        name = va_arg(arguments, const char *);
    }
    va_end(arguments);
    return headers;
}

static void assert_refused(struct h2_headers headers, bool end, enum err wanted, const char *words)
{
    struct connect_request request;
    struct note note = {0};
    cr_assert_eq(connect_parse(&headers, end, &request, &note), wanted, "%s", note.text);
    cr_assert_not_null(strstr(note.text, words), "%s", note.text);
}

static void assert_same(const struct ip_endpoint *a, const struct ip_endpoint *b)
{
    cr_assert_eq(ip_compare(&a->ip, &b->ip), 0);
    cr_assert_eq(a->port, b->port);
}

Test(connect, what_is_asked_is_understood)
{
    struct ip_endpoint destination, source;
    cr_assert_eq(ip_endpoint_parse("[2001:db8::2]:80", &destination), ERR_OK);
    cr_assert_eq(ip_endpoint_parse("[2001:db8::1]:40000", &source), ERR_OK);
    struct connect_headers formatted;
    connect_format(&destination, &source, &formatted);
    struct h2_headers headers = {.count = CONNECT_HEADERS};
    memcpy(headers.items, formatted.items, sizeof(formatted.items));
    struct connect_request request;
    cr_assert_eq(connect_parse(&headers, false, &request, NULL), ERR_OK);
    assert_same(&request.authority, &destination);
    cr_assert(request.has_source);
    assert_same(&request.source, &source);
}

Test(connect, forwarded_may_be_absent_or_obfuscated)
{
    struct connect_request request;
    struct h2_headers headers = headers_of(":method", "CONNECT", ":authority", "192.0.2.2:80", NULL);
    cr_assert_eq(connect_parse(&headers, false, &request, NULL), ERR_OK);
    cr_assert_not(request.has_source);
    headers = headers_of(":method", "CONNECT", ":authority", "192.0.2.2:80", "forwarded", "for=unknown", NULL);
    cr_assert_eq(connect_parse(&headers, false, &request, NULL), ERR_OK);
    cr_assert_not(request.has_source);
}

Test(connect, refuses_other_methods)
{
    assert_refused(headers_of(":method", "GET", ":authority", "192.0.2.2:80", NULL), false, ERR_UNSUPPORTED,
                   "CONNECT only");
    assert_refused(headers_of(":authority", "192.0.2.2:80", NULL), false, ERR_UNSUPPORTED, "CONNECT only");
}

Test(connect, refuses_pseudo_headers_that_do_not_belong)
{
    static const char *const names[] = {":scheme", ":path", ":protocol", ":status"};
    for (size_t i = 0; i < 4; i++) {
        assert_refused(headers_of(":method", "CONNECT", ":authority", "192.0.2.2:80", names[i], "x", NULL), false,
                       ERR_MALFORMED, names[i]);
    }
}

Test(connect, refuses_what_is_there_twice)
{
    assert_refused(headers_of(":method", "CONNECT", ":authority", "192.0.2.2:80", ":authority", "192.0.2.3:80", NULL),
                   false, ERR_MALFORMED, "more than once");
    assert_refused(headers_of(":method", "CONNECT", ":authority", "192.0.2.2:80", "forwarded", "for=192.0.2.1",
                              "forwarded", "for=192.0.2.4", NULL),
                   false, ERR_MALFORMED, "more than once");
}

Test(connect, refuses_a_request_that_ends_its_stream)
{
    assert_refused(headers_of(":method", "CONNECT", ":authority", "192.0.2.2:80", NULL), true, ERR_MALFORMED,
                   "nothing to carry");
}

Test(connect, refuses_authorities_that_are_no_address_and_port)
{
    static const char *const bad[] = {"",
                                      "192.0.2.2",
                                      "192.0.2.2:",
                                      "192.0.2.2:0",
                                      "192.0.2.2:65536",
                                      "2001:db8::2:80",
                                      "[2001:db8::2]",
                                      "192.0.2.2:80 ",
                                      "a@192.0.2.2:80",
                                      "192.0.2.2:80\t",
                                      "[::ffff:192.0.2.2:80"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_refused(headers_of(":method", "CONNECT", ":authority", bad[i], NULL), false, ERR_MALFORMED,
                       "not address:port");
    }
    assert_refused(headers_of(":method", "CONNECT", ":authority", "db.example.org:80", NULL), false, ERR_UNSUPPORTED,
                   "host name");
    assert_refused(headers_of(":method", "CONNECT", NULL), false, ERR_MALFORMED, "no :authority");
}

Test(connect, refuses_a_malformed_forwarded)
{
    assert_refused(headers_of(":method", "CONNECT", ":authority", "192.0.2.2:80", "forwarded", "for=\"192.0.2.1", NULL),
                   false, ERR_MALFORMED, "RFC 7239");
}

Test(connect, answers)
{
    struct connect_answer answer;
    struct h2_headers headers = headers_of(":status", "200", NULL);
    cr_assert_eq(connect_parse_answer(&headers, &answer), ERR_OK);
    cr_assert_eq(answer.status, 200);
    headers = headers_of(":status", "401", "twofold-reason", "no rule\xc3\xa9", NULL);
    cr_assert_eq(connect_parse_answer(&headers, &answer), ERR_OK);
    cr_assert_eq(answer.status, 401);
    cr_assert_str_eq(answer.reason, "no rule??");
    static const char *const bad[] = {"", "20", "2000", "099", "600", "2x0", "-20"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        headers = headers_of(":status", bad[i], NULL);
        cr_assert_eq(connect_parse_answer(&headers, &answer), ERR_MALFORMED, "%s", bad[i]);
    }
    headers = headers_of("x", "y", NULL);
    cr_assert_eq(connect_parse_answer(&headers, &answer), ERR_MALFORMED);
}

Test(connect, printable_cuts_to_the_room)
{
    char room[4];
    connect_printable("ab\ncd", room, sizeof(room));
    cr_assert_str_eq(room, "ab?");
}
