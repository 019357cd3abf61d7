// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/network/export.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "proto/base/secret.h"
#include "proto/base/text.h"

void export_line(const struct sa *sa, char ret_line[EXPORT_LINE_BYTES])
{
    char source[IP_TEXT_BYTES], destination[IP_TEXT_BYTES], key[2 * SA_KEY_BYTES + 1];
    ip_format(&sa->source, source);
    ip_format(&sa->destination, destination);
    hex_encode(sa->key, SA_KEY_BYTES, key);
    snprintf(ret_line, EXPORT_LINE_BYTES,
             "\"%s\",\"%s\",\"%s\",\"0x%08x\",\"AES-GCM with 16 octet ICV [RFC4106]\",\"0x%s\",\"NULL\",\"\"\n",
             sa->source.len == 4 ? "IPv4" : "IPv6", source, destination, sa->spi, key);
    secret_wipe(key, sizeof(key));
}

enum err export_sa(const char *folder, const struct sa *sa, struct note *note)
{
    char path[PATH_MAX];
    char line[EXPORT_LINE_BYTES];
    if (snprintf(path, sizeof(path), "%s/esp_sa", folder) >= (int)sizeof(path))
        return note_set(note, ERR_LIMIT, "%s: the path is too long", folder);
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return note_set(note, err_from_errno(errno), "%s: %s", path, strerror(errno));
    export_line(sa, line);
    // One write of a short line to a file opened for appending is whole or not at all.
    ssize_t written = write(fd, line, strlen(line));
    enum err err = written == (ssize_t)strlen(line) ? ERR_OK : note_set(note, ERR_IO, "%s: could not be written", path);
    secret_wipe(line, sizeof(line));
    close(fd);
    return err;
}
