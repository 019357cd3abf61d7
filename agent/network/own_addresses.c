// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/network/own_addresses.h"

#include <errno.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <stdlib.h>

static int compare(const void *a, const void *b)
{
    return ip_compare(a, b);
}

enum err own_addresses6(struct ip ret_addresses[OWN_ADDRESSES_MAX], size_t *ret_count)
{
    struct ifaddrs *all;
    if (getifaddrs(&all) != 0)
        return err_from_errno(errno);
    size_t count = 0;
    for (const struct ifaddrs *one = all; one != NULL && count < OWN_ADDRESSES_MAX; one = one->ifa_next) {
        if (one->ifa_addr == NULL || one->ifa_addr->sa_family != AF_INET6)
            continue;
        const struct sockaddr_in6 *address = (const void *)one->ifa_addr;
        struct ip ip;
        if (ip_from_bytes(&address->sin6_addr, 16, &ip) == ERR_OK && ip.len == 16 && !ip_is_loopback(&ip))
            ret_addresses[count++] = ip;
    }
    freeifaddrs(all);
    qsort(ret_addresses, count, sizeof(*ret_addresses), compare);
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        if (kept == 0 || ip_compare(&ret_addresses[kept - 1], &ret_addresses[i]) != 0)
            ret_addresses[kept++] = ret_addresses[i];
    }
    *ret_count = kept;
    return ERR_OK;
}
