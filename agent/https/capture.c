// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/https/capture.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "agent/https/flow.h"
#include "agent/https/tunnel.h"
#include "proto/base/log.h"

#define BACKLOG 1024
// linux/netfilter_ipv4.h and linux/netfilter_ipv6/ip6_tables.h clash with the C library's headers; both name 80.
#define ORIGINAL_DESTINATION 80

enum err capture_original(const uv_tcp_t *socket, struct ip_endpoint *ret_destination)
{
    uv_os_fd_t fd;
    struct sockaddr_storage local;
    struct sockaddr_storage original;
    socklen_t local_len = sizeof(local);
    socklen_t original_len = sizeof(original);
    struct ip_endpoint listener;
    struct ip_endpoint destination;
    if (uv_fileno((const uv_handle_t *)socket, &fd) != 0 ||
        getsockname(fd, (struct sockaddr *)&local, &local_len) != 0) {
        return ERR_IO;
    }
    int level = local.ss_family == AF_INET6 ? IPPROTO_IPV6 : IPPROTO_IP;
    if (getsockopt(fd, level, ORIGINAL_DESTINATION, &original, &original_len) != 0) {
        return ERR_NOT_FOUND;
    }
    enum err err = ip_endpoint_from_sockaddr((const struct sockaddr *)&local, &listener);
    if (!err) {
        err = ip_endpoint_from_sockaddr((const struct sockaddr *)&original, &destination);
    }
    if (err) {
        return err;
    }
    // A connection that connection tracking knows but nothing has redirected is answered with its own destination: ours.
    if (ip_compare(&destination.ip, &listener.ip) == 0 && destination.port == listener.port) {
        return ERR_NOT_FOUND;
    }
    *ret_destination = destination;
    return ERR_OK;
}

static enum err source_of(const uv_tcp_t *socket, struct ip_endpoint *ret_source)
{
    struct sockaddr_storage address;
    int len = sizeof(address);
    if (uv_tcp_getpeername(socket, (struct sockaddr *)&address, &len) != 0) {
        return ERR_CLOSED;
    }
    return ip_endpoint_from_sockaddr((const struct sockaddr *)&address, ret_source);
}

static void log_failed_accept(struct https *https, const char *event, int status)
{
    if (https_may_log(https)) {
        log_event(LOG_LEVEL_WARNING, event, LOG_STR("cause", uv_strerror(status)));
    }
}

static void on_captured(uv_stream_t *listener, int status)
{
    struct listeners *listeners = listener->data;
    if (status != 0) {
        log_failed_accept(listeners->https, "capture.accept_failed", status);
        return;
    }
    struct flow *flow = flow_accept(listeners->https, listener);
    if (!flow) {
        return;
    }
    struct ip_endpoint source;
    struct ip_endpoint destination;
    if (source_of(&flow->app, &source) != ERR_OK) {
        flow_cut(flow, "reset by the local application");
        return;
    }
    flow->record.source = source;
    if (capture_original(&flow->app, &destination) != ERR_OK) {
        flow_refuse(flow,
                    "it was opened to the capture port itself, which only carries flows that the kernel redirects");
        return;
    }
    flow_open(flow, &source, &destination);
}

static void on_tunnel(uv_stream_t *listener, int status)
{
    struct listeners *listeners = listener->data;
    if (status != 0) {
        log_failed_accept(listeners->https, "tunnel.accept_failed", status);
        return;
    }
    tunnel_accept(listeners->https, listener);
}

static void on_reset(uv_handle_t *handle)
{
    free(handle);
}

void listener_reset_one(uv_stream_t *listener)
{
    uv_tcp_t *socket = malloc(sizeof(*socket));
    if (!socket || uv_tcp_init(listener->loop, socket) != 0) {
        free(socket);
        return;
    }
    if (uv_accept(listener, (uv_stream_t *)socket) != 0 || uv_tcp_close_reset(socket, on_reset) != 0) {
        uv_close((uv_handle_t *)socket, on_reset);
    }
}

static enum err open_one(struct listeners *listeners, const struct ip_endpoint *endpoint,
                         uv_connection_cb on_connection, struct note *note)
{
    uv_tcp_t *socket = &listeners->sockets[listeners->count];
    struct sockaddr_storage address;
    bool is_v6 = endpoint->ip.len == 16;
    ip_endpoint_to_sockaddr(endpoint, &address);
    int status = uv_tcp_init(&listeners->https->loop, socket);
    if (status != 0) {
        return note_set(note, ERR_NOMEM, "cannot make a socket: %s", uv_strerror(status));
    }
    socket->data = listeners;
    listeners->count++; // closed with the others from here on
    status = uv_tcp_bind(socket, (const struct sockaddr *)&address, is_v6 ? UV_TCP_IPV6ONLY : 0);
    if (status == 0) {
        status = uv_listen((uv_stream_t *)socket, BACKLOG, on_connection);
    }
    if (status == 0) {
        return ERR_OK;
    }
    char text[IP_ENDPOINT_TEXT_BYTES];
    ip_endpoint_format(endpoint, text);
    if (is_v6 && (status == UV_EADDRNOTAVAIL || status == UV_EAFNOSUPPORT)) {
        log_event(LOG_LEVEL_WARNING, "listen.no_ipv6", LOG_STR("address", text));
        return ERR_OK;
    }
    return note_set(note, err_from_errno(-status), "cannot listen on %s: %s. Is another program using the port?", text,
                    uv_strerror(status));
}

enum err listeners_open(struct https *https, struct listeners *listeners, struct note *note)
{
    const struct role_start *start = https->start;
    const struct ip_endpoint outbound[2] = {
        {.ip = {.len = 4, .bytes = {127, 0, 0, 1}}, .port = start->outbound_port},
        {.ip = {.len = 16, .bytes = {[15] = 1}}, .port = start->outbound_port},
    };
    const struct ip_endpoint inbound[2] = {
        {.ip = {.len = 4}, .port = start->tunnel_port},
        {.ip = {.len = 16}, .port = start->tunnel_port},
    };
    listeners->https = https;
    listeners->count = 0;
    enum err err = ERR_OK;
    for (size_t i = 0; i < 2 && !err; i++) {
        err = open_one(listeners, &outbound[i], on_captured, note);
        if (!err) {
            err = open_one(listeners, &inbound[i], on_tunnel, note);
        }
    }
    if (err) {
        listeners_close(listeners);
    }
    return err;
}

void listeners_close(struct listeners *listeners)
{
    for (size_t i = 0; i < listeners->count; i++) {
        uv_close((uv_handle_t *)&listeners->sockets[i], NULL);
    }
    listeners->count = 0;
}
