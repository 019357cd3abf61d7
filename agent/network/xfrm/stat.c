// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/network/xfrm/stat.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const texts[] = {
#define XFRM_STAT_TEXT(name, meaning) #name,
    XFRM_STAT_LIST(XFRM_STAT_TEXT)
#undef XFRM_STAT_TEXT
};

static const char *const meanings[] = {
#define XFRM_STAT_MEANING(name, meaning) "packets " meaning,
    XFRM_STAT_LIST(XFRM_STAT_MEANING)
#undef XFRM_STAT_MEANING
};

const char *xfrm_stat_text(enum xfrm_stat_name name)
{
    return texts[name];
}

const char *xfrm_stat_meaning(enum xfrm_stat_name name)
{
    return meanings[name];
}

static bool parse_line(const char *line, size_t len, struct xfrm_stat *stat)
{
    static const char prefix[] = "Xfrm";
    size_t name_len = strcspn(line, " \t\n");
    if (name_len <= sizeof(prefix) - 1 || name_len >= len || strncmp(line, prefix, sizeof(prefix) - 1) != 0)
        return false;
    const char *number = line + name_len + strspn(line + name_len, " \t");
    char *end;
    errno = 0;
    uint64_t value = strtoull(number, &end, 10);
    if (*number < '0' || *number > '9' || errno != 0 || end > line + len || (*end != '\n' && *end != '\0'))
        return false;
    const char *name = line + sizeof(prefix) - 1;
    name_len -= sizeof(prefix) - 1;
    for (size_t i = 0; i < XFRM_STAT_COUNT; i++) {
        if (strlen(texts[i]) == name_len && strncmp(texts[i], name, name_len) == 0)
            stat->values[i] = value;
    }
    return true;
}

enum err xfrm_stat_parse(const char *text, struct xfrm_stat *ret_stat)
{
    struct xfrm_stat stat = {{0}};
    while (*text != '\0') {
        size_t len = strcspn(text, "\n");
        if (!parse_line(text, len, &stat))
            return ERR_MALFORMED;
        text += len + (text[len] == '\n');
    }
    *ret_stat = stat;
    return ERR_OK;
}

enum err xfrm_stat_read(struct xfrm_stat *ret_stat)
{
    char text[8192];
    size_t used = 0;
    int fd = open("/proc/net/xfrm_stat", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? ERR_UNSUPPORTED : err_from_errno(errno);
    for (;;) {
        ssize_t n = read(fd, text + used, sizeof(text) - 1 - used);
        if (n <= 0)
            break;
        used += (size_t)n;
    }
    close(fd);
    text[used] = '\0';
    return xfrm_stat_parse(text, ret_stat);
}
