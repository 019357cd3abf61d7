// SPDX-License-Identifier: GPL-2.0-or-later
#include "proto/base/secret.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

void secret_wipe(void *bytes, size_t len)
{
    explicit_bzero(bytes, len);
}

bool secret_equal(const void *a, const void *b, size_t len)
{
    const volatile uint8_t *x = a;
    const volatile uint8_t *y = b;
    uint8_t difference = 0;

    for (size_t i = 0; i < len; i++)
        difference |= x[i] ^ y[i];
    return difference == 0;
}

static size_t whole_pages(size_t len)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    return (len + page - 1) / page * page;
}

enum err secret_alloc(size_t len, void **ret_bytes)
{
    size_t size = whole_pages(len);
    void *bytes = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (bytes == MAP_FAILED)
        return ERR_NOMEM;
    if (mlock(bytes, size) < 0 || madvise(bytes, size, MADV_DONTDUMP) < 0 ||
        madvise(bytes, size, MADV_WIPEONFORK) < 0) {
        munmap(bytes, size);
        return ERR_NOMEM;
    }
    *ret_bytes = bytes;
    return ERR_OK;
}

void secret_free(void *bytes, size_t len)
{
    if (!bytes)
        return;
    secret_wipe(bytes, len);
    munmap(bytes, whole_pages(len));
}

void random_bytes(void *bytes, size_t len)
{
    uint8_t *at = bytes;

    while (len) {
        ssize_t got = getrandom(at, len, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            abort();
        at += got;
        len -= (size_t)got;
    }
}
