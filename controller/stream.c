// SPDX-License-Identifier: GPL-2.0-or-later
#include "controller/stream.h"

#include <stdlib.h>

#include "controller/rpc.h"
#include "controller/session.h"

struct stream {
    struct stream *next;
    struct daemon *daemon;
    struct grpc_call *call; // NULL: over
    struct session *session;
};

// ---- out

static enum err port_send(void *context, const uint8_t *bytes, size_t len)
{
    struct stream *stream = context;
    return stream->call != NULL ? grpc_call_send(stream->call, bytes, len) : ERR_CLOSED;
}

static void port_end(void *context, enum grpc_status status, const char *text)
{
    struct stream *stream = context;
    if (stream->call != NULL)
        grpc_call_finish(stream->call, status, text);
}

static void port_cut(void *context, const char *text)
{
    (void)text; // the connection ends before words could arrive; the next attempt is told
    struct stream *stream = context;
    if (stream->call != NULL)
        grpc_call_cut_connection(stream->call);
}

static const struct session_port port = {.send = port_send, .end = port_end, .cut = port_cut};

// ---- in

static void on_message(void *owner, struct grpc_call *call, const uint8_t *bytes, size_t len)
{
    (void)call;
    struct stream *stream = owner;
    session_on_message(stream->session, bytes, len);
}

static void on_half_close(void *owner, struct grpc_call *call)
{
    (void)call;
    struct stream *stream = owner;
    session_end(stream->session, GRPC_OK, "");
}

static void on_done(void *owner, struct grpc_call *call, enum grpc_status status, const char *text)
{
    (void)call;
    struct stream *stream = owner;
    struct daemon *daemon = stream->daemon;
    stream->call = NULL;
    if (text[0] != '\0')
        session_end(stream->session, status, text); // why, for the log; nothing more can be sent
    stream->next = daemon->gone;
    daemon->gone = stream;
    daemon->fleet->on_work(daemon->fleet->context);
}

static const struct grpc_call_events events = {
    .on_message = on_message, .on_half_close = on_half_close, .on_done = on_done};

void stream_open(struct daemon *daemon, struct grpc_call *call, const char *host)
{
    struct stream *stream = calloc(1, sizeof(*stream));
    if (stream == NULL) {
        grpc_call_finish(call, GRPC_UNAVAILABLE, "the controller is out of memory");
        return;
    }
    stream->daemon = daemon;
    stream->call = call;
    enum err err = session_open(daemon->fleet, host, &port, stream, &stream->session);
    if (err != ERR_OK) {
        free(stream);
        grpc_call_finish(call, rpc_status(err),
                         err == ERR_LIMIT ? "too many sessions of this host within a short time: wait a second"
                                          : "the controller is out of memory");
        return;
    }
    grpc_call_set_owner(call, &events, stream);
}

void stream_free_gone(struct daemon *daemon)
{
    while (daemon->gone != NULL) {
        struct stream *stream = daemon->gone;
        daemon->gone = stream->next;
        session_gone(stream->session);
        free(stream);
    }
}
