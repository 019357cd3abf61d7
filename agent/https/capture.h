// SPDX-License-Identifier: GPL-2.0-or-later
// The role's listeners: the capture of local flows, which nftables redirects to it, and the port of tunnels from peers.
#ifndef TWOFOLD_AGENT_HTTPS_CAPTURE_H
#define TWOFOLD_AGENT_HTTPS_CAPTURE_H

#include <stddef.h>
#include <uv.h>

#include "agent/https/https.h"
#include "proto/base/ip.h"

#define LISTENERS_MAX 4

struct listeners {
    struct https *https;
    size_t count;
    uv_tcp_t sockets[LISTENERS_MAX];
};

// Listens on the outbound port of 127.0.0.1 and ::1 and on the tunnel port of all addresses. A host without IPv6 has the IPv4 ones
// only. On failure nothing is open, after the loop has run once more.
MUST_USE enum err listeners_open(struct https *https, struct listeners *listeners, struct note *note);
void listeners_close(struct listeners *listeners);

// Takes a waiting connection off the listener and resets it.
void listener_reset_one(uv_stream_t *listener);

// Where a redirected connection wanted to go (SO_ORIGINAL_DST). ERR_NOT_FOUND: it was not redirected.
MUST_USE enum err capture_original(const uv_tcp_t *socket, struct ip_endpoint *ret_destination);

#endif
