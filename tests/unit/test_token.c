// SPDX-License-Identifier: GPL-2.0-or-later
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/text.h"
#include "proto/wire/token.h"

#define HEAD_BYTES (TOKEN_ID_BYTES + TOKEN_SECRET_BYTES + DIGEST_BYTES)

static struct token sample(void)
{
    struct token token = {.host = "web", .trust_domain = "example.org"};
    memset(token.id, 1, sizeof(token.id));
    memset(token.secret, 2, sizeof(token.secret));
    memset(token.ca_sha384, 3, sizeof(token.ca_sha384));
    return token;
}

static enum err decode(const char *text)
{
    struct token token, untouched;
    memset(&token, 0x5a, sizeof(token));
    untouched = token;
    enum err err = token_decode(text, &token);
    cr_expect_eq(err == ERR_OK, memcmp(&token, &untouched, sizeof(token)) != 0);
    return err;
}

// A token text around any payload.
static enum err decode_payload(const uint8_t *payload, size_t len)
{
    char text[4096];
    memcpy(text, "tfj1.", 5);
    base64url_encode(payload, len, text + 5);
    return decode(text);
}

// The fixed part and then this tail.
static enum err decode_tail(const char *tail, size_t len)
{
    uint8_t payload[2048] = {0};
    memcpy(payload + HEAD_BYTES, tail, len);
    return decode_payload(payload, HEAD_BYTES + len);
}
#define TAIL(literal) decode_tail(literal, sizeof(literal) - 1)

Test(token, layout_is_as_documented)
{
    char text[TOKEN_TEXT_BYTES];
    uint8_t payload[512];
    size_t len;
    struct token token = sample();
    cr_assert_eq(token_encode(&token, text), ERR_OK);
    cr_assert_eq(memcmp(text, "tfj1.", 5), 0);
    cr_assert_eq(base64url_decode(text + 5, payload, sizeof(payload), &len), ERR_OK);
    cr_assert_eq(len, HEAD_BYTES + 1 + 3 + 1 + 11);
    cr_assert_eq(payload[0], 1);
    cr_assert_eq(payload[TOKEN_ID_BYTES], 2);
    cr_assert_eq(payload[TOKEN_ID_BYTES + TOKEN_SECRET_BYTES], 3);
    cr_assert_eq(memcmp(payload + HEAD_BYTES,
                        "\3web\x0b"
                        "example.org",
                        16),
                 0);
}

Test(token, round_trip)
{
    char text[TOKEN_TEXT_BYTES];
    struct token token = sample(), decoded;
    for (size_t host_len = 1; host_len <= NAME_MAX_BYTES; host_len++) {
        memset(token.host, 0, sizeof(token.host));
        memset(token.host, 'h', host_len);
        cr_assert_eq(token_encode(&token, text), ERR_OK);
        cr_assert_eq(token_decode(text, &decoded), ERR_OK);
        cr_assert_eq(memcmp(&token, &decoded, sizeof(token)), 0);
    }
    // The longest of all still fits its room.
    memset(token.trust_domain, 'd', 255);
    token.trust_domain[255] = '\0';
    cr_assert_eq(token_encode(&token, text), ERR_OK);
    cr_assert_lt(strlen(text), sizeof(text));
    cr_assert_eq(token_decode(text, &decoded), ERR_OK);
    cr_assert_eq(memcmp(&token, &decoded, sizeof(token)), 0);
}

Test(token, white_space_around_it_is_no_part_of_it)
{
    char text[TOKEN_TEXT_BYTES], spaced[2 * TOKEN_TEXT_BYTES + 16];
    struct token token = sample();
    cr_assert_eq(token_encode(&token, text), ERR_OK);
    snprintf(spaced, sizeof(spaced), " \t%s\r\n\n", text);
    cr_assert_eq(decode(spaced), ERR_OK);
    snprintf(spaced, sizeof(spaced), "%s %s", text, text);
    cr_assert_eq(decode(spaced), ERR_MALFORMED);
    snprintf(spaced, sizeof(spaced), "%.20s\n%s", text, text + 20);
    cr_assert_eq(decode(spaced), ERR_MALFORMED);
}

Test(token, other_text_is_refused)
{
    char text[TOKEN_TEXT_BYTES], changed[TOKEN_TEXT_BYTES + 16];
    struct token token = sample();
    cr_assert_eq(token_encode(&token, text), ERR_OK);
    cr_expect_eq(decode(""), ERR_MALFORMED);
    cr_expect_eq(decode(" \n"), ERR_MALFORMED);
    cr_expect_eq(decode("tfj1"), ERR_MALFORMED);
    cr_expect_eq(decode("tfj1."), ERR_MALFORMED);
    snprintf(changed, sizeof(changed), "tfj2.%s", text + 5);
    cr_expect_eq(decode(changed), ERR_MALFORMED);
    snprintf(changed, sizeof(changed), "TFJ1.%s", text + 5);
    cr_expect_eq(decode(changed), ERR_MALFORMED);
    snprintf(changed, sizeof(changed), "%s=", text);
    cr_expect_eq(decode(changed), ERR_MALFORMED);
    snprintf(changed, sizeof(changed), "%s", text);
    changed[30] = '+';
    cr_expect_eq(decode(changed), ERR_MALFORMED);
    for (size_t len = 0; text[len]; len++) {
        snprintf(changed, sizeof(changed), "%.*s", (int)len, text);
        cr_expect_eq(decode(changed), ERR_MALFORMED, "%zu", len);
    }
    char *longest = malloc(100001);
    memset(longest, 'A', 100000);
    longest[100000] = '\0';
    memcpy(longest, "tfj1.", 5);
    cr_expect_eq(decode(longest), ERR_MALFORMED);
    free(longest);
}

Test(token, other_payload_is_refused)
{
    cr_expect_eq(TAIL("\3web\x0b"
                      "example.org"),
                 ERR_OK);
    cr_expect_eq(TAIL("\3web\x0b"
                      "example.orgx"),
                 ERR_MALFORMED); // something behind it
    cr_expect_eq(TAIL("\3web\x0b"
                      "example.or"),
                 ERR_MALFORMED);                  // cut
    cr_expect_eq(TAIL("\3web"), ERR_MALFORMED);   // no trust domain
    cr_expect_eq(TAIL("\3web\0"), ERR_MALFORMED); // an empty one
    cr_expect_eq(TAIL("\0\x0b"
                      "example.org"),
                 ERR_MALFORMED); // no host
    cr_expect_eq(TAIL("\3Web\x0b"
                      "example.org"),
                 ERR_MALFORMED); // no host's name
    cr_expect_eq(TAIL("\3w\0b\x0b"
                      "example.org"),
                 ERR_MALFORMED); // a zero byte in it
    cr_expect_eq(TAIL("\3web\x0b"
                      "Example.org"),
                 ERR_MALFORMED); // no trust domain's name
    cr_expect_eq(TAIL("\3web\x0b"
                      "example\0org"),
                 ERR_MALFORMED);
    cr_expect_eq(TAIL("\x40"
                      "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\x0b"
                      "example.org"),
                 ERR_MALFORMED); // a host of 64 bytes
    uint8_t payload[600] = {0};
    for (size_t len = 0; len < sizeof(payload); len++)
        cr_expect_eq(decode_payload(payload, len), ERR_MALFORMED);
}

Test(token, what_would_be_refused_is_not_encoded)
{
    char text[TOKEN_TEXT_BYTES] = "untouched";
    struct token token = sample();
    strcpy(token.host, "a b");
    cr_expect_eq(token_encode(&token, text), ERR_INVALID);
    token = sample();
    strcpy(token.trust_domain, "");
    cr_expect_eq(token_encode(&token, text), ERR_INVALID);
    cr_expect_str_eq(text, "untouched");
}
