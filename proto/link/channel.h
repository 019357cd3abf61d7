// SPDX-License-Identifier: GPL-2.0-or-later
// Framed messages between processes of one host: a stream socket (socketpair or Unix listener) on a libuv loop. Each frame is a
// 32-bit length in network order and that many bytes. The process must ignore SIGPIPE.
//
// on_message* -> on_close once, last, never from inside a call of the owner; the channel frees itself behind it.
#ifndef TWOFOLD_LINK_CHANNEL_H
#define TWOFOLD_LINK_CHANNEL_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <uv.h>

#include "proto/base/err.h"
#include "proto/base/note.h"

#define CHANNEL_FRAME_BYTES_MAX (16u << 20) // larger ones end the channel

struct channel;

struct channel_events {
    void (*on_message)(void *owner, struct channel *channel, const uint8_t *bytes, size_t len);
    void (*on_close)(void *owner, struct channel *channel, enum err err);
};

// Takes over the descriptor. `frame_bytes_max` bounds what is accepted from the other end.
MUST_USE enum err channel_open(uv_loop_t *loop, int fd, size_t frame_bytes_max, const struct channel_events *events,
                               void *owner, struct channel **ret_channel);
MUST_USE enum err channel_send(struct channel *channel, const void *bytes, size_t len); // ERR_LIMIT when 32 MiB wait
void channel_close(struct channel *channel);                                            // behind what is queued
void channel_set_owner(struct channel *channel, const struct channel_events *events, void *owner);

// Unix listener: each connection is given as a channel that waits for channel_set_owner. A stale socket file of a dead process is
// replaced; mode 0660 and `gid` (-1: as it is) are set.
struct channel_listener;
MUST_USE enum err channel_listen(uv_loop_t *loop, const char *path, gid_t gid, size_t frame_bytes_max,
                                 size_t max_connections, void (*on_channel)(void *owner, struct channel *channel),
                                 void *owner, struct channel_listener **ret_listener, struct note *note);
void channel_listener_close(struct channel_listener *listener);

// Who is at the other end of a Unix socket (SO_PEERCRED: as it was at connect). ERR_IO when the kernel does not say.
MUST_USE enum err channel_peer_credentials(const struct channel *channel, uid_t *ret_uid, pid_t *ret_pid);

// Blocking client for the command line: one request, one answer, within `timeout_ms`. free() the answer.
MUST_USE enum err channel_ask(const char *path, const void *request, size_t len, uint64_t timeout_ms,
                              size_t answer_bytes_max, uint8_t **ret_answer, size_t *ret_len, struct note *note);

#endif
