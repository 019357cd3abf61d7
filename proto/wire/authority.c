// SPDX-License-Identifier: GPL-2.0-or-later
#include "proto/wire/authority.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "proto/base/spiffe.h"
#include "proto/base/text.h"

// A host name and a port: what HBONE allows beside addresses and Twofold does not resolve.
static bool is_host_name(const char *text)
{
    char host[256];
    uint64_t port;
    const char *colon = strrchr(text, ':');

    if (!colon || (size_t)(colon - text) >= sizeof(host))
        return false;
    memcpy(host, text, (size_t)(colon - text));
    host[colon - text] = '\0';
    if (decimal_parse(colon + 1, UINT16_MAX, &port) != ERR_OK || port == 0)
        return false;
    bool has_letter = false;
    for (char *at = host; *at; at++) {
        has_letter |= isalpha((unsigned char)*at) != 0;
        *at = (char)tolower((unsigned char)*at);
    }
    return has_letter && trust_domain_is_valid(host);
}

enum err authority_parse(const char *text, struct ip_endpoint *ret_endpoint)
{
    enum err err = ip_endpoint_parse(text, ret_endpoint);
    return err && is_host_name(text) ? ERR_UNSUPPORTED : err;
}

void forwarded_format(const struct ip_endpoint *source, char ret_text[FORWARDED_TEXT_BYTES])
{
    char text[IP_ENDPOINT_TEXT_BYTES];

    ip_endpoint_format(source, text);
    snprintf(ret_text, FORWARDED_TEXT_BYTES, "for=\"%s\"", text);
}

// One value: a token or a quoted string, without its quotes. Steps behind it.
static enum err take_value(const char **text, char *room, size_t room_len)
{
    const char *at = *text;
    size_t len = 0;

    if (*at != '"') {
        len = strcspn(at, ";, \t\"");
        if (len == 0 || len >= room_len)
            return ERR_MALFORMED;
        memcpy(room, at, len);
        at += len;
    } else {
        for (at++; *at != '"'; at++) {
            if (*at == '\\')
                at++;
            if (!*at || len + 1 >= room_len)
                return ERR_MALFORMED;
            room[len++] = *at;
        }
        at++;
    }
    room[len] = '\0';
    *text = at;
    return ERR_OK;
}

static enum err parse_node(const char *node, struct ip_endpoint *ret_source)
{
    struct ip_endpoint endpoint;
    char bare[IP_ENDPOINT_TEXT_BYTES];
    size_t len = strlen(node);

    if (node[0] == '_' || strcasecmp(node, "unknown") == 0 || strncasecmp(node, "unknown:", 8) == 0)
        return ERR_UNSUPPORTED;
    if (ip_endpoint_parse(node, ret_source) == ERR_OK)
        return ERR_OK;
    // An address alone is good by RFC 7239 and no endpoint.
    if (len + sizeof(":1") > sizeof(bare))
        return ERR_MALFORMED;
    memcpy(bare, node, len);
    memcpy(bare + len, ":1", sizeof(":1"));
    return ip_endpoint_parse(bare, &endpoint) == ERR_OK ? ERR_UNSUPPORTED : ERR_MALFORMED;
}

// RFC 9110, 5.6.2.
static const char token_bytes[] = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

// Only the first element (the nearest to the client) counts.
enum err forwarded_parse(const char *text, struct ip_endpoint *ret_source)
{
    struct ip_endpoint source;
    bool found = false;

    for (;;) {
        char name[16], value[128];
        // Pairs may be empty.
        text += strspn(text, " \t;");
        if (*text == '\0' || *text == ',')
            break;
        size_t len = strspn(text, token_bytes);
        if (len == 0 || len >= sizeof(name) || text[len] != '=')
            return ERR_MALFORMED;
        memcpy(name, text, len);
        name[len] = '\0';
        text += len + 1;
        enum err err = take_value(&text, value, sizeof(value));
        if (err)
            return err;
        if (strcasecmp(name, "for") == 0) {
            if (found)
                return ERR_MALFORMED;
            found = true;
            err = parse_node(value, &source);
            if (err)
                return err;
        }
        text += strspn(text, " \t");
        if (*text != '\0' && *text != ',' && *text != ';')
            return ERR_MALFORMED;
    }
    if (!found)
        return ERR_NOT_FOUND;
    *ret_source = source;
    return ERR_OK;
}
