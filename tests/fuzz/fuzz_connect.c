// SPDX-License-Identifier: GPL-2.0-or-later
// Header lists of CONNECT requests and answers: lines "name: value" make the list, as nghttp2 would hand it over (no control bytes). What is
// accepted must come back from its own formatting.
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "agent/https/connect.h"

#define INPUT_BYTES_MAX 8192

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static void split(char *text, struct h2_headers *headers)
{
    char *rest = text;
    for (char *line; headers->count < H2_HEADERS_MAX && (line = strsep(&rest, "\n"));) {
        char *colon = strstr(line, ": ");
        if (!colon)
            continue;
        *colon = '\0';
        headers->items[headers->count++] = (struct h2_header){.name = line, .value = colon + 2};
    }
}

static void check_request(const struct h2_headers *headers)
{
    struct connect_request request, again;
    struct note note = {0};
    if (connect_parse(headers, false, &request, &note) != ERR_OK) {
        assert(note.text[0] != '\0');
        return;
    }
    assert(request.authority.port != 0);
    if (request.has_source && request.source.port != 0) {
        struct connect_headers formatted;
        struct h2_headers list = {.count = CONNECT_HEADERS};
        connect_format(&request.authority, &request.source, &formatted);
        memcpy(list.items, formatted.items, sizeof(formatted.items));
        assert(connect_parse(&list, false, &again, NULL) == ERR_OK);
        assert(again.authority.port == request.authority.port && again.source.port == request.source.port);
        assert(ip_compare(&again.authority.ip, &request.authority.ip) == 0);
        assert(ip_compare(&again.source.ip, &request.source.ip) == 0);
    }
    assert(connect_parse(headers, true, &again, NULL) == ERR_MALFORMED);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    char text[INPUT_BYTES_MAX + 1];
    struct h2_headers headers = {0};
    struct connect_answer answer;
    if (len > INPUT_BYTES_MAX)
        return 0;
    for (size_t i = 0; i < len; i++)
        text[i] = bytes[i] == '\n' || bytes[i] >= 0x20 ? (char)bytes[i] : '?';
    text[len] = '\0';
    split(text, &headers);
    check_request(&headers);
    if (connect_parse_answer(&headers, &answer) == ERR_OK) {
        assert(answer.status >= 100 && answer.status <= 599);
        for (const char *at = answer.reason; *at; at++)
            assert(*at >= 0x20 && *at < 0x7f);
    }
    return 0;
}
