// SPDX-License-Identifier: GPL-2.0-or-later
#include "proto/base/err.h"

#include <errno.h>

static const struct {
    const char *name;
    const char *text;
    enum err_category category;
} errors[] = {
#define ERR_ROW(name, category, text) [ERR_##name] = {#name, text, ERR_CATEGORY_##category},
    ERR_LIST(ERR_ROW)
#undef ERR_ROW
};

const char *err_name(enum err err)
{
    return errors[err].name;
}

const char *err_text(enum err err)
{
    return errors[err].text;
}

enum err_category err_category(enum err err)
{
    return errors[err].category;
}

enum err err_from_errno(int error)
{
    switch (error) {
    case 0:
        return ERR_OK;
    case ENOMEM:
    case ENOBUFS:
        return ERR_NOMEM;
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return ERR_FULL;
    case ENOENT:
    case ESRCH:
        return ERR_NOT_FOUND;
    case EEXIST:
        return ERR_EXISTS;
    case EAGAIN:
    case EINTR:
        return ERR_AGAIN;
    case EACCES:
    case EPERM:
        return ERR_DENIED;
    case ETIMEDOUT:
        return ERR_TIMEOUT;
    case ECONNRESET:
    case EPIPE:
    case ENOTCONN:
    case ESHUTDOWN:
        return ERR_CLOSED;
    case ECONNREFUSED:
    case EHOSTUNREACH:
    case ENETUNREACH:
    case EHOSTDOWN:
    case ENETDOWN:
        return ERR_UNREACHABLE;
    case ENOSYS:
    case EOPNOTSUPP:
    case EPROTONOSUPPORT:
    case EAFNOSUPPORT:
        return ERR_UNSUPPORTED;
    default:
        return ERR_IO;
    }
}
