// SPDX-License-Identifier: GPL-2.0-or-later
// The server's end: listeners, their connections, and the calls on them.
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "proto/link/grpc_internal.h"

enum grpc_server_limit {
    // Connections whose handshake is not done: of one source, and of all. Beyond the latter the oldest goes, not the newest: an honest
    // handshake takes milliseconds, and who just holds places holds the oldest.
    GRPC_HALF_OPEN_SOURCE_MAX = 64,
    GRPC_HALF_OPEN_MAX = 1024,
    GRPC_HANDSHAKE_MS = 10000,
    GRPC_STREAMS_MAX = 64, // calls at once on one connection
    GRPC_BACKLOG = 512,
    // Clients without a certificate only enrol: they must not take the places of those that have one.
    GRPC_STRANGERS_SHARE = 8, // of all connections
    GRPC_STRANGERS_MIN = 8,
    GRPC_STRANGERS_SOURCE_MAX = 64, // of one source, so that it cannot keep all others from enrolling
    GRPC_STRANGER_MS = 30000,
    GRPC_SWEEP_MS = 5000,
};

struct listener {
    struct grpc_server *server;
    uv_tcp_t tcp;
};

struct connection {
    struct grpc_server *server;
    struct h2_session *session;
    bool is_open;
    bool is_stranger;   // open, without a client certificate
    uint64_t opened_ms; // of the loop
    size_t input_bytes; // of unfinished messages
    struct connection *previous;
    struct connection *next;
    TAILQ_ENTRY(connection) of_half_open; // until is_open
};

TAILQ_HEAD(connection_queue, connection);

struct grpc_server {
    uv_loop_t *loop;
    struct tls_context *context;
    const struct grpc_server_events *events;
    void *owner;
    size_t max_connections;
    size_t connection_count;
    size_t stranger_count;
    struct connection *connections;
    struct connection_queue half_open; // newest first
    size_t half_open_count;
    size_t listener_count;
    struct listener *listeners;
    size_t open_handles; // listeners and `sweep`: not closed yet
    uv_timer_t sweep;    // ends what strangers leave open
    bool closing;
    void (*on_gone)(void *owner);
};

// Frees the server when nothing of it is left.
static void finish_close(struct grpc_server *server)
{
    if (!server->closing || server->connection_count || server->open_handles)
        return;
    if (server->on_gone)
        server->on_gone(server->owner);
    tls_context_drop(server->context);
    free(server->listeners);
    free(server);
}

// ---- calls

static void on_headers(void *session_owner, struct h2_stream *stream, const struct h2_headers *headers, bool end)
{
    struct connection *connection = session_owner;
    struct grpc_server *server = connection->server;
    struct conn *conn = h2_conn(connection->session);
    struct grpc_call *call;

    (void)end; // on_end follows
    const char *method = h2_header(headers, ":method");
    const char *path = h2_header(headers, ":path");
    if (!method || strcmp(method, "POST") != 0 || !path ||
        !grpc_content_type_is_good(h2_header(headers, "content-type"))) {
        static const struct h2_header refusal[] = {{":status", "415"}};
        h2_stream_set_owner(stream, NULL);
        if (h2_respond(stream, refusal, 1, true) != ERR_OK)
            h2_reset(stream, H2_INTERNAL_ERROR);
        else
            h2_end_early(stream);
        return;
    }
    if (grpc_call_new(true, conn_peer(conn) ? GRPC_MESSAGE_BYTES_MAX : GRPC_STRANGER_MESSAGE_BYTES_MAX, &call) !=
        ERR_OK) {
        h2_stream_set_owner(stream, NULL);
        h2_reset(stream, H2_ENHANCE_YOUR_CALM);
        return;
    }
    call->in_total = &connection->input_bytes;
    call->stream = stream;
    h2_stream_set_owner(stream, call);
    if (server->closing)
        grpc_call_finish(call, GRPC_UNAVAILABLE, "the server is stopping");
    else
        server->events->on_call(server->owner, call, path, conn_peer(conn), conn_remote(conn));
}

static void on_data(void *session_owner, struct h2_stream *stream, const uint8_t *bytes, size_t len)
{
    struct grpc_call *call = h2_stream_owner(stream);

    (void)session_owner;
    if (call)
        grpc_call_on_data(call, bytes, len);
    else
        h2_consume(stream, len);
}

static void on_end(void *session_owner, struct h2_stream *stream, const struct h2_headers *trailers)
{
    struct grpc_call *call = h2_stream_owner(stream);

    (void)session_owner;
    (void)trailers;
    if (!call || call->has_status)
        return;
    if (call->in.len)
        grpc_call_finish(call, GRPC_INTERNAL, "the last message is cut short");
    else if (call->events)
        call->events->on_half_close(call->owner, call);
}

static void on_writable(void *session_owner, struct h2_stream *stream)
{
    (void)session_owner;
    if (h2_stream_owner(stream))
        grpc_call_on_writable(h2_stream_owner(stream));
}

static void on_gone(void *session_owner, struct h2_stream *stream, uint32_t code)
{
    (void)session_owner;
    if (h2_stream_owner(stream))
        grpc_call_on_gone(h2_stream_owner(stream), code);
}

// ---- connections

static void set_open(struct connection *connection)
{
    if (connection->is_open)
        return;
    connection->is_open = true;
    TAILQ_REMOVE(&connection->server->half_open, connection, of_half_open);
    connection->server->half_open_count--;
}

// One subscriber has a whole /64 to pick addresses from.
static bool is_same_source(const struct ip *a, const struct ip *b)
{
    return a->len == b->len && memcmp(a->bytes, b->bytes, a->len == 16 ? 8 : 4) == 0;
}

static bool is_stranger_of_crowd(const struct connection *newest)
{
    const struct ip *source = &conn_remote(h2_conn(newest->session))->ip;
    size_t count = 0;

    for (const struct connection *connection = newest->server->connections; connection; connection = connection->next)
        count += connection->is_stranger && is_same_source(&conn_remote(h2_conn(connection->session))->ip, source);
    return count > GRPC_STRANGERS_SOURCE_MAX;
}

static size_t strangers_max(const struct grpc_server *server)
{
    size_t share = server->max_connections / GRPC_STRANGERS_SHARE;
    return share > GRPC_STRANGERS_MIN ? share : GRPC_STRANGERS_MIN;
}

static void on_session_open(void *session_owner, struct h2_session *session)
{
    struct connection *connection = session_owner;
    struct grpc_server *server = connection->server;

    set_open(connection);
    if (conn_peer(h2_conn(session)))
        return;
    connection->is_stranger = true;
    connection->opened_ms = uv_now(server->loop);
    if (++server->stranger_count > strangers_max(server) || is_stranger_of_crowd(connection))
        h2_shutdown(session, 0);
}

static void on_sweep(uv_timer_t *timer)
{
    struct grpc_server *server = timer->data;

    for (struct connection *connection = server->connections; connection;) {
        struct connection *next = connection->next;
        if (connection->is_stranger && uv_now(server->loop) - connection->opened_ms >= GRPC_STRANGER_MS)
            h2_shutdown(connection->session, 0);
        connection = next;
    }
}

static void on_session_goaway(void *session_owner, struct h2_session *session)
{
    // The client opens no more calls; those that live go on.
    (void)session_owner;
    (void)session;
}

static void on_session_gone(void *session_owner, struct h2_session *session, enum err err, const struct note *note)
{
    struct connection *connection = session_owner;
    struct grpc_server *server = connection->server;

    bool is_fault = !connection->is_open || err_category(err) == ERR_CATEGORY_PEER;
    if (err && is_fault && server->events->on_refused)
        server->events->on_refused(server->owner, conn_remote(h2_conn(session)), err, note);
    set_open(connection);
    server->stranger_count -= connection->is_stranger;
    if (connection->previous)
        connection->previous->next = connection->next;
    else
        server->connections = connection->next;
    if (connection->next)
        connection->next->previous = connection->previous;
    server->connection_count--;
    free(connection);
    finish_close(server);
}

static const struct h2_events server_events = {
    .on_headers = on_headers,
    .on_data = on_data,
    .on_end = on_end,
    .on_writable = on_writable,
    .on_gone = on_gone,
    .on_session_open = on_session_open,
    .on_session_goaway = on_session_goaway,
    .on_session_gone = on_session_gone,
};

static const struct h2_settings server_settings = {
    .stream_window_bytes = 1u << 20,
    .connection_window_bytes = 4u << 20,
    .max_concurrent_streams = GRPC_STREAMS_MAX,
    .ping_interval_ms = 10000,
};

static void on_discarded(uv_handle_t *handle)
{
    free(handle);
}

// Takes a connection off the backlog and drops it.
static void discard(struct listener *listener)
{
    uv_tcp_t *tcp = malloc(sizeof(*tcp));

    if (!tcp)
        return;
    if (uv_tcp_init(listener->server->loop, tcp) < 0) {
        free(tcp);
        return;
    }
    if (uv_accept((uv_stream_t *)&listener->tcp, (uv_stream_t *)tcp) < 0 || uv_tcp_close_reset(tcp, on_discarded) < 0)
        uv_close((uv_handle_t *)tcp, on_discarded);
}

static bool is_source_over_limit(const struct grpc_server *server, const struct ip *source)
{
    const struct connection *connection;
    size_t count = 0;

    TAILQ_FOREACH(connection, &server->half_open, of_half_open)
    {
        count += is_same_source(&conn_remote(h2_conn(connection->session))->ip, source);
    }
    return count > GRPC_HALF_OPEN_SOURCE_MAX;
}

static void end_half_open(struct connection *connection, const char *what)
{
    struct grpc_server *server = connection->server;
    struct note note = {0};

    enum err err = note_set(&note, ERR_LIMIT, "too many connections %s have not finished the TLS handshake", what);
    if (server->events->on_refused)
        server->events->on_refused(server->owner, conn_remote(h2_conn(connection->session)), err, &note);
    set_open(connection); // its place is free at once
    h2_shutdown(connection->session, 0);
}

static void limit_half_open(struct connection *newest)
{
    struct grpc_server *server = newest->server;

    if (is_source_over_limit(server, &conn_remote(h2_conn(newest->session))->ip))
        end_half_open(newest, "of this address");
    else if (server->half_open_count > GRPC_HALF_OPEN_MAX)
        end_half_open(TAILQ_LAST(&server->half_open, connection_queue), "of all addresses");
}

static void on_connection(uv_stream_t *stream, int status)
{
    struct listener *listener = stream->data;
    struct grpc_server *server = listener->server;

    if (status < 0)
        return;
    struct connection *connection = NULL;
    if (server->connection_count < server->max_connections)
        connection = calloc(1, sizeof(*connection));
    if (!connection) {
        discard(listener);
        return;
    }
    connection->server = server;
    if (h2_accept(stream, server->context, GRPC_HANDSHAKE_MS, &server_settings, &server_events, connection,
                  &connection->session) != ERR_OK) {
        free(connection);
        return;
    }
    TAILQ_INSERT_HEAD(&server->half_open, connection, of_half_open);
    server->half_open_count++;
    server->connection_count++;
    connection->next = server->connections;
    if (connection->next)
        connection->next->previous = connection;
    server->connections = connection;
    limit_half_open(connection);
}

// ---- the server

static void on_listener_closed(uv_handle_t *handle)
{
    struct listener *listener = handle->data;

    listener->server->open_handles--;
    finish_close(listener->server);
}

static void on_sweep_closed(uv_handle_t *handle)
{
    struct grpc_server *server = handle->data;

    server->open_handles--;
    finish_close(server);
}

static int listen_on(struct grpc_server *server, struct listener *listener, const struct ip_endpoint *address)
{
    struct sockaddr_storage socket_address;

    listener->server = server;
    int status = uv_tcp_init(server->loop, &listener->tcp);
    if (status < 0)
        return status;
    listener->tcp.data = listener;
    server->listener_count++;
    server->open_handles++;
    ip_endpoint_to_sockaddr(address, &socket_address);
    status = uv_tcp_bind(&listener->tcp, (struct sockaddr *)&socket_address, UV_TCP_IPV6ONLY * (address->ip.len == 16));
    return status < 0 ? status : uv_listen((uv_stream_t *)&listener->tcp, GRPC_BACKLOG, on_connection);
}

static const char *listen_remedy(int status)
{
    switch (status) {
    case UV_EADDRINUSE:
        return "; end the program that holds the port (`ss -ltnp` names it), or listen elsewhere";
    case UV_EADDRNOTAVAIL:
        return "; this machine has no such address (`ip address` lists those it has)";
    case UV_EACCES:
        return "; ports below 1024 are for root";
    default:
        return "";
    }
}

enum err grpc_server_new(uv_loop_t *loop, const struct ip_endpoint *addresses, size_t count,
                         struct tls_context *context, size_t max_connections, const struct grpc_server_events *events,
                         void *owner, struct grpc_server **ret_server, struct note *note)
{
    struct grpc_server *server = calloc(1, sizeof(*server));
    if (!server)
        return note_set(note, ERR_NOMEM, "out of memory");
    server->listeners = calloc(count, sizeof(*server->listeners));
    if (!server->listeners) {
        free(server);
        return note_set(note, ERR_NOMEM, "out of memory");
    }
    server->loop = loop;
    server->context = tls_context_hold(context);
    server->events = events;
    server->owner = owner;
    server->max_connections = max_connections;
    TAILQ_INIT(&server->half_open);
    server->sweep.data = server;
    server->open_handles = 1;
    uv_timer_init(loop, &server->sweep);
    uv_timer_start(&server->sweep, on_sweep, GRPC_SWEEP_MS, GRPC_SWEEP_MS);
    for (size_t i = 0; i < count; i++) {
        int status = listen_on(server, &server->listeners[i], &addresses[i]);
        if (status < 0) {
            char text[IP_ENDPOINT_TEXT_BYTES];
            ip_endpoint_format(&addresses[i], text);
            grpc_server_close(server, NULL);
            return note_set(note, err_from_errno(-status), "cannot listen on %s: %s%s", text, uv_strerror(status),
                            listen_remedy(status));
        }
    }
    *ret_server = server;
    return ERR_OK;
}

void grpc_server_set_context(struct grpc_server *server, struct tls_context *context)
{
    tls_context_hold(context);
    tls_context_drop(server->context);
    server->context = context;
}

struct ip_endpoint grpc_server_address(const struct grpc_server *server, size_t index)
{
    struct ip_endpoint endpoint = {0};
    struct sockaddr_storage address;
    int len = sizeof(address);

    if (uv_tcp_getsockname(&server->listeners[index].tcp, (struct sockaddr *)&address, &len) < 0 ||
        ip_endpoint_from_sockaddr((struct sockaddr *)&address, &endpoint) != ERR_OK)
        return (struct ip_endpoint){0};
    return endpoint;
}

void grpc_server_close(struct grpc_server *server, void (*on_gone_)(void *owner))
{
    server->closing = true;
    server->on_gone = on_gone_;
    for (size_t i = 0; i < server->listener_count; i++)
        uv_close((uv_handle_t *)&server->listeners[i].tcp, on_listener_closed);
    uv_close((uv_handle_t *)&server->sweep, on_sweep_closed);
    // Each session ends its calls; its on_session_gone takes it off the list.
    for (struct connection *connection = server->connections; connection;) {
        struct connection *next = connection->next;
        h2_shutdown(connection->session, 0);
        connection = next;
    }
    finish_close(server);
}
