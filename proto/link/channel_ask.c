// SPDX-License-Identifier: GPL-2.0-or-later
// The command line's blocking end of a channel.
#include <endian.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "proto/base/clock.h"
#include "proto/link/channel.h"

struct asking {
    const char *path;
    int fd;
    uint64_t deadline_boot_ms;
    struct note *note;
};

static enum err failed_by(const struct asking *asking, int error)
{
    return note_set(asking->note, err_from_errno(error), "%s: %s", asking->path, strerror(error));
}

static enum err wait_for(const struct asking *asking, short events)
{
    for (;;) {
        uint64_t now = clock_boot_ms(&clock_system);
        if (now >= asking->deadline_boot_ms)
            return note_set(asking->note, ERR_TIMEOUT,
                            "%s: no answer in time; the process behind it is alive but busy or stuck", asking->path);
        struct pollfd poll_fd = {.fd = asking->fd, .events = events};
        uint64_t left = asking->deadline_boot_ms - now;
        int ready = poll(&poll_fd, 1, left > 60000 ? 60000 : (int)left);
        if (ready > 0)
            return ERR_OK;
        if (ready < 0 && errno != EINTR)
            return failed_by(asking, errno);
    }
}

static enum err send_all(const struct asking *asking, const void *bytes, size_t len)
{
    const uint8_t *at = bytes;

    while (len > 0) {
        ssize_t sent = send(asking->fd, at, len, MSG_NOSIGNAL);
        if (sent >= 0) {
            at += sent;
            len -= (size_t)sent;
        } else if (errno == EAGAIN) {
            enum err err = wait_for(asking, POLLOUT);
            if (err)
                return err;
        } else if (errno != EINTR) {
            return failed_by(asking, errno);
        }
    }
    return ERR_OK;
}

static enum err receive_all(const struct asking *asking, void *room, size_t len)
{
    uint8_t *at = room;

    while (len > 0) {
        ssize_t got = recv(asking->fd, at, len, 0);
        if (got > 0) {
            at += got;
            len -= (size_t)got;
        } else if (got == 0) {
            return note_set(asking->note, ERR_CLOSED,
                            "%s: the process behind it hung up without an answer; its log says why", asking->path);
        } else if (errno == EAGAIN) {
            enum err err = wait_for(asking, POLLIN);
            if (err)
                return err;
        } else if (errno != EINTR) {
            return failed_by(asking, errno);
        }
    }
    return ERR_OK;
}

static enum err open_socket(struct asking *asking)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    if (strlen(asking->path) >= sizeof(address.sun_path))
        return note_set(asking->note, ERR_INVALID, "%s: the path of a socket has at most %zu bytes", asking->path,
                        sizeof(address.sun_path) - 1);
    strcpy(address.sun_path, asking->path);
    asking->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (asking->fd < 0)
        return failed_by(asking, errno);
    while (connect(asking->fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
        if (errno == ENOENT || errno == ECONNREFUSED)
            return note_set(asking->note, ERR_UNREACHABLE, "%s: nobody listens there; is the service running?",
                            asking->path);
        if (errno == EACCES || errno == EPERM)
            return note_set(asking->note, ERR_DENIED,
                            "%s: you may not use this socket: run this as root or as a member of its group",
                            asking->path);
        if (errno != EAGAIN && errno != EINTR) // EAGAIN: its backlog is full, and poll cannot tell when it is not
            return failed_by(asking, errno);
        if (clock_boot_ms(&clock_system) >= asking->deadline_boot_ms)
            return note_set(asking->note, ERR_TIMEOUT, "%s: too many others are waiting there", asking->path);
        poll(NULL, 0, 10);
    }
    return ERR_OK;
}

static enum err exchange(struct asking *asking, const void *request, size_t len, size_t answer_bytes_max,
                         uint8_t **ret_answer, size_t *ret_len)
{
    uint32_t header = htobe32((uint32_t)len);

    if (len > CHANNEL_FRAME_BYTES_MAX)
        return note_set(asking->note, ERR_LIMIT, "%s: the request is too large", asking->path);
    enum err err = open_socket(asking);
    if (!err)
        err = send_all(asking, &header, sizeof(header));
    if (!err)
        err = send_all(asking, request, len);
    if (!err)
        err = receive_all(asking, &header, sizeof(header));
    if (err)
        return err;
    size_t answer_len = be32toh(header);
    if (answer_len > answer_bytes_max)
        return note_set(asking->note, ERR_LIMIT, "%s: the answer is larger than %zu bytes", asking->path,
                        answer_bytes_max);
    uint8_t *answer = malloc(answer_len + 1);
    if (!answer)
        return note_set(asking->note, ERR_NOMEM, "%s: out of memory", asking->path);
    err = receive_all(asking, answer, answer_len);
    if (err) {
        free(answer);
        return err;
    }
    *ret_answer = answer;
    *ret_len = answer_len;
    return ERR_OK;
}

enum err channel_ask(const char *path, const void *request, size_t len, uint64_t timeout_ms, size_t answer_bytes_max,
                     uint8_t **ret_answer, size_t *ret_len, struct note *note)
{
    struct asking asking = {
        .path = path, .fd = -1, .deadline_boot_ms = clock_boot_ms(&clock_system) + timeout_ms, .note = note};

    enum err err = exchange(&asking, request, len, answer_bytes_max, ret_answer, ret_len);
    if (asking.fd >= 0)
        close(asking.fd);
    return err;
}
