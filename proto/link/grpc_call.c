// SPDX-License-Identifier: GPL-2.0-or-later
// One call, either end. Order: bytes of the stream -> whole messages -> on_message; messages of the owner -> `out` -> the stream as it takes
// them, then the end. The call lives until its stream is gone; on_done comes from there, so never from inside a call of the owner.
#include <endian.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/link/grpc_internal.h"

#define PART_BYTES 65536 // of what came, at most this much at once

enum err grpc_call_new(bool is_server, size_t message_bytes_max, struct grpc_call **ret_call)
{
    struct grpc_call *call = calloc(1, sizeof(*call));
    if (!call)
        return ERR_NOMEM;
    call->is_server = is_server;
    call->message_bytes_max = message_bytes_max;
    buf_init(&call->in, message_bytes_max + GRPC_PREFIX_BYTES + PART_BYTES);
    buf_init(&call->out, GRPC_QUEUE_BYTES_MAX);
    *ret_call = call;
    return ERR_OK;
}

void grpc_call_free(struct grpc_call *call)
{
    buf_free(&call->in);
    buf_free(&call->out);
    free(call);
}

void *grpc_call_owner(const struct grpc_call *call)
{
    return call->owner;
}

void grpc_call_set_owner(struct grpc_call *call, const struct grpc_call_events *events, void *owner)
{
    call->events = events;
    call->owner = owner;
}

void grpc_call_set_status(struct grpc_call *call, enum grpc_status status, const char *text)
{
    if (call->has_status)
        return;
    call->has_status = true;
    call->status = status;
    snprintf(call->text, sizeof(call->text), "%s", text);
}

// ---- out

static void send_end(struct grpc_call *call)
{
    char status[8], text[3 * GRPC_TEXT_BYTES];
    struct h2_header trailers[] = {{"grpc-status", status}, {"grpc-message", text}};
    size_t count = 0;

    call->ended = true;
    if (call->is_server) {
        snprintf(status, sizeof(status), "%d", (int)call->status);
        grpc_text_encode(call->text, text, sizeof(text));
        count = call->text[0] ? 2 : 1;
    }
    if (h2_send_end(call->stream, trailers, count) != ERR_OK)
        h2_reset(call->stream, H2_CANCEL);
    else if (call->is_server)
        h2_end_early(call->stream); // what the client may still send is of no use
}

static void flush(struct grpc_call *call)
{
    while (call->out.len) {
        size_t taken;
        if (h2_send(call->stream, buf_bytes(&call->out), call->out.len, &taken) != ERR_OK || taken == 0)
            return;
        buf_consume(&call->out, taken);
    }
    buf_shrink(&call->out);
    if (call->ends && !call->ended)
        send_end(call);
}

static enum err send_headers(struct grpc_call *call)
{
    static const struct h2_header headers[] = {{":status", "200"}, {"content-type", "application/grpc"}};

    if (!call->is_server || call->headers_sent)
        return ERR_OK;
    call->headers_sent = true;
    return h2_respond(call->stream, headers, sizeof(headers) / sizeof(headers[0]), false);
}

enum err grpc_call_send(struct grpc_call *call, const void *bytes, size_t len)
{
    if (!call->stream || call->ends || call->cancelled)
        return ERR_CLOSED;
    if (len > GRPC_MESSAGE_BYTES_MAX || call->out.len + GRPC_PREFIX_BYTES + len > GRPC_QUEUE_BYTES_MAX)
        return ERR_LIMIT;
    enum err err = send_headers(call);
    if (!err)
        err = buf_append_u8(&call->out, 0);
    if (!err)
        err = buf_append_u32(&call->out, (uint32_t)len);
    if (!err)
        err = buf_append(&call->out, bytes, len);
    if (err) {
        // A message that is there in part would be taken for another one.
        grpc_call_cancel(call);
        return err;
    }
    flush(call);
    return ERR_OK;
}

enum err grpc_call_half_close(struct grpc_call *call)
{
    if (!call->stream || call->ends || call->cancelled)
        return ERR_CLOSED;
    call->ends = true;
    flush(call);
    return ERR_OK;
}

void grpc_call_finish(struct grpc_call *call, enum grpc_status status, const char *text)
{
    if (!call->stream || call->ends || call->cancelled)
        return;
    grpc_call_set_status(call, status, text);
    call->ends = true;
    if (send_headers(call) != ERR_OK)
        h2_reset(call->stream, H2_CANCEL);
    else
        flush(call);
}

void grpc_call_cancel(struct grpc_call *call)
{
    if (!call->stream || call->cancelled)
        return;
    call->cancelled = true;
    grpc_call_set_status(call, GRPC_CANCELLED, "cancelled");
    h2_reset(call->stream, H2_CANCEL);
}

void grpc_call_cut_connection(struct grpc_call *call)
{
    if (call->stream)
        conn_abort(h2_conn(h2_stream_session(call->stream)));
}

void grpc_call_on_writable(struct grpc_call *call)
{
    if (!call->cancelled && !call->ended)
        flush(call);
}

// ---- in

// What waits for its rest counts against its connection: many calls together must not hold what one may.
static void count_input(struct grpc_call *call)
{
    if (!call->in_total)
        return;
    *call->in_total += call->in.len;
    *call->in_total -= call->in_counted;
    call->in_counted = call->in.len;
}

static void forget_input(struct grpc_call *call)
{
    buf_free(&call->in);
    count_input(call);
}

// The other side broke the protocol or a bound.
static void fail(struct grpc_call *call, enum grpc_status status, const char *text)
{
    forget_input(call);
    if (call->is_server) {
        grpc_call_finish(call, status, text);
    } else {
        grpc_call_set_status(call, status, text);
        grpc_call_cancel(call);
    }
}

static bool is_over(const struct grpc_call *call)
{
    return !call->stream || call->cancelled || call->has_status;
}

// The first message of `in` when it is whole.
static bool take_message(struct grpc_call *call, size_t *ret_len)
{
    uint32_t len;

    if (call->in.len < GRPC_PREFIX_BYTES)
        return false;
    memcpy(&len, buf_bytes(&call->in) + 1, sizeof(len));
    len = be32toh(len);
    if (buf_bytes(&call->in)[0] != 0) {
        fail(call, GRPC_UNIMPLEMENTED, "compressed messages are not accepted");
        return false;
    }
    if (len > call->message_bytes_max) {
        char text[128];
        snprintf(text, sizeof(text), "the message has %u bytes, and at most %zu are accepted", (unsigned)len,
                 call->message_bytes_max);
        fail(call, GRPC_RESOURCE_EXHAUSTED, text);
        return false;
    }
    *ret_len = len;
    return call->in.len - GRPC_PREFIX_BYTES >= len;
}

void grpc_call_on_data(struct grpc_call *call, const uint8_t *bytes, size_t len)
{
    // What comes after a refusal is only counted.
    h2_consume(call->stream, len);
    while (len && !is_over(call)) {
        size_t part = len < PART_BYTES ? len : PART_BYTES;
        if (buf_append(&call->in, bytes, part) != ERR_OK) {
            fail(call, GRPC_RESOURCE_EXHAUSTED, "no memory for the message");
            return;
        }
        bytes += part;
        len -= part;
        size_t message_len;
        while (!is_over(call) && take_message(call, &message_len)) {
            // The owner may end the call from here, not free it.
            if (call->events)
                call->events->on_message(call->owner, call, buf_bytes(&call->in) + GRPC_PREFIX_BYTES, message_len);
            if (call->in.len)
                buf_consume(&call->in, GRPC_PREFIX_BYTES + message_len);
        }
        count_input(call);
        if (call->in_total && *call->in_total > GRPC_INPUT_BYTES_MAX && !is_over(call))
            fail(call, GRPC_RESOURCE_EXHAUSTED, "too many unfinished messages at once");
    }
    if (is_over(call))
        forget_input(call);
    else
        buf_shrink(&call->in);
}

// RFC 9113 error codes as gRPC's specification maps them.
static enum grpc_status status_of_reset(uint32_t code)
{
    switch (code) {
    case H2_LOST:
    case H2_REFUSED_STREAM:
        return GRPC_UNAVAILABLE;
    case H2_CANCEL:
        return GRPC_CANCELLED;
    case H2_ENHANCE_YOUR_CALM:
        return GRPC_RESOURCE_EXHAUSTED;
    case 0xc: // INADEQUATE_SECURITY
        return GRPC_PERMISSION_DENIED;
    default:
        return GRPC_INTERNAL;
    }
}

static void on_deadline_closed(uv_handle_t *handle)
{
    grpc_call_free(handle->data);
}

void grpc_call_on_gone(struct grpc_call *call, uint32_t code)
{
    call->stream = NULL;
    if (!call->has_status)
        grpc_call_set_status(call, code ? status_of_reset(code) : GRPC_UNKNOWN,
                             code == H2_LOST ? "the connection ended"
                             : code          ? "the stream was reset"
                                             : "the stream ended without a status");
    forget_input(call);
    if (call->events)
        call->events->on_done(call->owner, call, call->status, call->text);
    if (call->has_deadline)
        uv_close((uv_handle_t *)&call->deadline, on_deadline_closed);
    else
        grpc_call_free(call);
}

// ---- text

void grpc_text_encode(const char *text, char *room, size_t room_len)
{
    static const char digits[] = "0123456789ABCDEF";
    size_t len = 0;

    for (; *text && len + 4 <= room_len; text++) {
        unsigned char c = (unsigned char)*text;
        if (c >= ' ' && c <= '~' && c != '%') {
            room[len++] = (char)c;
        } else {
            room[len++] = '%';
            room[len++] = digits[c >> 4];
            room[len++] = digits[c & 15];
        }
    }
    room[len] = '\0';
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return -1;
}

void grpc_text_decode(const char *text, char *room, size_t room_len)
{
    size_t len = 0;

    for (; *text && len + 1 < room_len; text++) {
        int high = *text == '%' ? hex_value(text[1]) : -1;
        int low = high >= 0 ? hex_value(text[2]) : -1;
        unsigned char c = (unsigned char)*text;
        if (low >= 0) {
            c = (unsigned char)(high << 4 | low);
            text += 2;
        }
        room[len++] = c < ' ' || c == 0x7f ? '?' : (char)c;
    }
    room[len] = '\0';
}

bool grpc_content_type_is_good(const char *value)
{
    static const char type[] = "application/grpc";

    if (!value || strncmp(value, type, sizeof(type) - 1) != 0)
        return false;
    const char *rest = value + sizeof(type) - 1;
    return *rest == '\0' || *rest == ';' || strcmp(rest, "+proto") == 0 || strncmp(rest, "+proto;", 7) == 0;
}
