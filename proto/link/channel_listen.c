// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "proto/link/channel.h"
#include "proto/link/channel_internal.h"

#define BACKLOG     64
#define SOCKET_MODE 0660

// Freed when it is closed and its last channel is freed.
struct channel_listener {
    uv_pipe_t pipe;
    bool closed;
    size_t connections;
    size_t max_connections;
    size_t frame_bytes_max;
    void (*on_channel)(void *owner, struct channel *channel);
    void *owner;
    char path[sizeof(((struct sockaddr_un *)NULL)->sun_path)];
};

static void free_when_unused(struct channel_listener *listener)
{
    if (listener->closed && listener->connections == 0)
        free(listener);
}

static void on_channel_freed(void *context)
{
    struct channel_listener *listener = context;

    listener->connections--;
    free_when_unused(listener);
}

static void on_connection(uv_stream_t *stream, int status)
{
    struct channel_listener *listener = stream->data;
    struct channel *channel;

    if (status < 0 || channel_new(stream->loop, listener->frame_bytes_max, on_channel_freed, listener, &channel))
        return;
    listener->connections++;
    if (uv_accept(stream, (uv_stream_t *)channel_pipe(channel)) != 0 ||
        listener->connections > listener->max_connections) {
        channel_discard(channel);
        return;
    }
    listener->on_channel(listener->owner, channel);
}

static enum err fill_address(const char *path, struct sockaddr_un *ret_address, struct note *note)
{
    if (strlen(path) >= sizeof(ret_address->sun_path))
        return note_set(note, ERR_INVALID, "%s: the path of a socket has at most %zu bytes", path,
                        sizeof(ret_address->sun_path) - 1);
    *ret_address = (struct sockaddr_un){.sun_family = AF_UNIX};
    strcpy(ret_address->sun_path, path);
    return ERR_OK;
}

// A socket file outlives its process. One that nobody listens to goes; anything else stays.
static enum err remove_stale(const struct sockaddr_un *address, struct note *note)
{
    struct stat status;

    if (lstat(address->sun_path, &status) != 0)
        return ERR_OK;
    if (!S_ISSOCK(status.st_mode))
        return note_set(note, ERR_EXISTS, "%s: there is a file that is not a socket: remove it or choose another path",
                        address->sun_path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return note_set(note, err_from_errno(errno), "%s: %s", address->sun_path, strerror(errno));
    int error = connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 ? 0 : errno;
    close(fd);
    if (error == EACCES || error == EPERM)
        return note_set(
            note, ERR_EXISTS,
            "%s: a socket is there that belongs to somebody else: end the program that listens on it, or remove "
            "the file when none does",
            address->sun_path);
    if (error != ECONNREFUSED)
        return note_set(note, ERR_EXISTS, "%s: another process listens there: is it running already?",
                        address->sun_path);
    unlink(address->sun_path);
    return ERR_OK;
}

static enum err bind_socket(const struct sockaddr_un *address, gid_t gid, int *ret_fd, struct note *note)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0)
        return note_set(note, err_from_errno(errno), "%s: %s", address->sun_path, strerror(errno));
    mode_t umask_before = umask(0777 & ~SOCKET_MODE); // never open wider, not even for a moment
    int failed = bind(fd, (const struct sockaddr *)address, sizeof(*address));
    int error = errno;
    umask(umask_before);
    if (!failed && gid != (gid_t)-1) {
        failed = chown(address->sun_path, (uid_t)-1, gid);
        error = errno;
        if (failed)
            unlink(address->sun_path);
    }
    if (failed) {
        close(fd);
        return note_set(note, err_from_errno(error), "%s: cannot listen there: %s", address->sun_path, strerror(error));
    }
    *ret_fd = fd;
    return ERR_OK;
}

static void on_listener_closed(uv_handle_t *handle)
{
    struct channel_listener *listener = handle->data;

    listener->closed = true;
    free_when_unused(listener);
}

void channel_listener_close(struct channel_listener *listener)
{
    if (!listener || uv_is_closing((uv_handle_t *)&listener->pipe))
        return;
    unlink(listener->path);
    uv_close((uv_handle_t *)&listener->pipe, on_listener_closed);
}

enum err channel_listen(uv_loop_t *loop, const char *path, gid_t gid, size_t frame_bytes_max, size_t max_connections,
                        void (*on_channel)(void *owner, struct channel *channel), void *owner,
                        struct channel_listener **ret_listener, struct note *note)
{
    struct sockaddr_un address;
    int fd = -1;

    enum err err = fill_address(path, &address, note);
    if (!err)
        err = remove_stale(&address, note);
    if (!err)
        err = bind_socket(&address, gid, &fd, note);
    if (err)
        return err;
    struct channel_listener *listener = calloc(1, sizeof(*listener));
    if (!listener) {
        close(fd);
        unlink(path);
        return note_set(note, ERR_NOMEM, "%s: out of memory", path);
    }
    strcpy(listener->path, path);
    listener->frame_bytes_max = frame_bytes_max;
    listener->max_connections = max_connections;
    listener->on_channel = on_channel;
    listener->owner = owner;
    uv_pipe_init(loop, &listener->pipe, 0);
    listener->pipe.data = listener;
    int failed = uv_pipe_open(&listener->pipe, fd);
    if (failed)
        close(fd);
    else
        failed = uv_listen((uv_stream_t *)&listener->pipe, BACKLOG, on_connection);
    if (failed) {
        channel_listener_close(listener);
        return note_set(note, err_from_errno(-failed), "%s: cannot listen there: %s", path, uv_strerror(failed));
    }
    *ret_listener = listener;
    return ERR_OK;
}
