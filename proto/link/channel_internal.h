// SPDX-License-Identifier: GPL-2.0-or-later
// Between channel.c and channel_listen.c only.
#ifndef TWOFOLD_LINK_CHANNEL_INTERNAL_H
#define TWOFOLD_LINK_CHANNEL_INTERNAL_H

#include "proto/link/channel.h"

// A channel whose pipe is not connected yet and which has no owner. `on_free` (may be NULL) when it is freed.
MUST_USE enum err channel_new(uv_loop_t *loop, size_t frame_bytes_max, void (*on_free)(void *context), void *context,
                              struct channel **ret_channel);
uv_pipe_t *channel_pipe(struct channel *channel);
void channel_discard(struct channel *channel); // nobody has seen it

#endif
