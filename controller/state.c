// SPDX-License-Identifier: GPL-2.0-or-later
#include "controller/state.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

enum err state_path(const char *folder, const char *name, char ret_path[PATH_MAX], struct note *note)
{
    int len = snprintf(ret_path, PATH_MAX, "%s/%s", folder, name);
    return len < PATH_MAX ? ERR_OK : note_set(note, ERR_LIMIT, "the path of the folder is too long: %.64s...", folder);
}

enum err state_open(const char *folder, const struct clock *clock, struct state *ret_state, struct note *note)
{
    struct state state = {.lock_fd = -1};
    char path[PATH_MAX];
    enum err err = state_path(folder, STATE_DATABASE, path, note);
    if (err == ERR_OK)
        err = store_open(path, &state.store, note);
    if (err == ERR_OK)
        err = config_load(state.store, &state.config, note);
    if (err == ERR_OK)
        err = ca_load(folder, state.config.trust_domain, clock_unix_ms(clock) / 1000, &state.ca, note);
    if (err != ERR_OK) {
        state_close(&state);
        return err;
    }
    *ret_state = state;
    return ERR_OK;
}

void state_close(struct state *state)
{
    ca_free(state->ca);
    store_close(state->store);
    if (state->lock_fd >= 0)
        close(state->lock_fd);
    *state = (struct state){.lock_fd = -1};
}

enum err state_lock(const char *folder, struct state *state, struct note *note)
{
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return note_set(note, err_from_errno(errno), "%s: %s", folder, strerror(errno));
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        enum err err =
            errno == EWOULDBLOCK
                ? note_set(note, ERR_EXISTS, "another twofold-controller runs over %s: end that one first", folder)
                : note_set(note, err_from_errno(errno), "%s cannot be locked: %s", folder, strerror(errno));
        close(fd);
        return err;
    }
    state->lock_fd = fd;
    return ERR_OK;
}
