// SPDX-License-Identifier: GPL-2.0-or-later
// What a process at the other end of a local socket can send, in pieces as the first byte says.
#include <assert.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proto/link/channel.h"

#define FRAME_BYTES_MAX 4096
#define INPUT_BYTES_MAX 65536 // fits into the socket

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct owner {
    unsigned closes;
    size_t bytes;
};

static void on_message(void *context, struct channel *channel, const uint8_t *bytes, size_t len)
{
    struct owner *owner = context;

    assert(owner->closes == 0);
    assert(len <= FRAME_BYTES_MAX);
    volatile uint8_t last = len ? bytes[len - 1] : 0;
    owner->bytes += len;
    if (last == 0xcc)
        channel_close(channel);
}

static void on_close(void *context, struct channel *channel, enum err err)
{
    (void)channel;
    (void)err;
    ((struct owner *)context)->closes++;
}

static const struct channel_events events = {on_message, on_close};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct owner owner = {0};
    struct channel *channel;
    uv_loop_t loop;
    int fds[2];

    if (size < 1 || size > INPUT_BYTES_MAX)
        return 0;
    signal(SIGPIPE, SIG_IGN);
    if (uv_loop_init(&loop) || socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds) ||
        channel_open(&loop, fds[0], FRAME_BYTES_MAX, &events, &owner, &channel))
        abort();
    size_t step = data[0] ? (size_t)data[0] * 16 : size;
    for (size_t at = 1; at < size; at += step) {
        size_t len = size - at < step ? size - at : step;
        if (write(fds[1], data + at, len) != (ssize_t)len)
            break; // the channel is closed
        uv_run(&loop, UV_RUN_NOWAIT);
    }
    close(fds[1]);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert(owner.closes == 1);
    assert(owner.bytes <= size);
    if (uv_loop_close(&loop))
        abort();
    return 0;
}
