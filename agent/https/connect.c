// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/https/connect.h"

#include <stdio.h>
#include <string.h>

#include "proto/base/text.h"

static enum err count_headers(const struct h2_headers *headers, struct note *note)
{
    static const char *const once[] = {":method", ":authority", "forwarded"};
    static const char *const never[] = {":scheme", ":path", ":protocol", ":status"};
    for (size_t i = 0; i < sizeof(never) / sizeof(never[0]); i++) {
        if (h2_header(headers, never[i])) {
            return note_set(note, ERR_MALFORMED, "a CONNECT request for TCP carries no %s", never[i]);
        }
    }
    for (size_t i = 0; i < sizeof(once) / sizeof(once[0]); i++) {
        size_t count = 0;
        for (size_t j = 0; j < headers->count; j++) {
            count += strcmp(headers->items[j].name, once[i]) == 0;
        }
        if (count > 1) {
            return note_set(note, ERR_MALFORMED, "the request has %s more than once", once[i]);
        }
    }
    return ERR_OK;
}

static enum err parse_authority(const char *text, struct ip_endpoint *ret_authority, struct note *note)
{
    if (!text) {
        return note_set(note, ERR_MALFORMED, "the request has no :authority");
    }
    char shown[80];
    connect_printable(text, shown, sizeof(shown));
    enum err err = authority_parse(text, ret_authority);
    if (err == ERR_UNSUPPORTED) {
        return note_set(note, err, "the authority \"%s\" is a host name; name the address and the port", shown);
    }
    if (err) {
        return note_set(note, err, "the authority \"%s\" is not address:port", shown);
    }
    return ERR_OK;
}

static enum err parse_source(const char *text, struct connect_request *request, struct note *note)
{
    enum err err = text ? forwarded_parse(text, &request->source) : ERR_NOT_FOUND;
    if (err == ERR_NOT_FOUND || err == ERR_UNSUPPORTED) {
        return ERR_OK; // it does not say where the flow comes from, and need not
    }
    if (err) {
        return note_set(note, err, "the forwarded header is malformed (RFC 7239)");
    }
    request->has_source = true;
    return ERR_OK;
}

enum err connect_parse(const struct h2_headers *headers, bool end, struct connect_request *ret_request,
                       struct note *note)
{
    struct connect_request request = {0};
    const char *method = h2_header(headers, ":method");
    if (!method || strcmp(method, "CONNECT") != 0) {
        return note_set(note, ERR_UNSUPPORTED, "tunnels answer the method CONNECT only");
    }
    enum err err = count_headers(headers, note);
    if (err) {
        return err;
    }
    if (end) {
        return note_set(note, ERR_MALFORMED, "the request ends its stream, so there is nothing to carry");
    }
    err = parse_authority(h2_header(headers, ":authority"), &request.authority, note);
    if (err) {
        return err;
    }
    err = parse_source(h2_header(headers, "forwarded"), &request, note);
    if (err) {
        return err;
    }
    *ret_request = request;
    return ERR_OK;
}

void connect_format(const struct ip_endpoint *destination, const struct ip_endpoint *source,
                    struct connect_headers *ret_headers)
{
    ip_endpoint_format(destination, ret_headers->authority);
    forwarded_format(source, ret_headers->forwarded);
    ret_headers->items[0] = (struct h2_header){.name = ":method", .value = "CONNECT"};
    ret_headers->items[1] = (struct h2_header){.name = ":authority", .value = ret_headers->authority};
    ret_headers->items[2] = (struct h2_header){.name = "forwarded", .value = ret_headers->forwarded};
}

enum err connect_parse_answer(const struct h2_headers *headers, struct connect_answer *ret_answer)
{
    const char *text = h2_header(headers, ":status");
    uint64_t status = 0;
    if (!text || strlen(text) != 3 || decimal_parse(text, 599, &status) != ERR_OK || status < 100) {
        return ERR_MALFORMED;
    }
    const char *reason = h2_header(headers, CONNECT_REASON_HEADER);
    ret_answer->status = (unsigned)status;
    if (reason && reason[0]) {
        connect_printable(reason, ret_answer->reason, sizeof(ret_answer->reason));
    } else {
        snprintf(ret_answer->reason, sizeof(ret_answer->reason), "the peer answered %u and gave no reason",
                 ret_answer->status);
    }
    return ERR_OK;
}

void connect_printable(const char *text, char *ret_text, size_t room)
{
    size_t len = 0;
    for (; text[len] && len + 1 < room; len++) {
        unsigned char byte = (unsigned char)text[len];
        ret_text[len] = byte >= 0x20 && byte < 0x7f ? (char)byte : '?';
    }
    ret_text[len] = '\0';
}
