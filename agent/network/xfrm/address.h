// SPDX-License-Identifier: GPL-2.0-or-later
// XFRM's addresses as ours and back. Pure.
#ifndef TWOFOLD_AGENT_NETWORK_XFRM_ADDRESS_H
#define TWOFOLD_AGENT_NETWORK_XFRM_ADDRESS_H

#include <linux/xfrm.h>
#include <string.h>
#include <sys/socket.h>

#include "proto/base/err.h"
#include "proto/base/ip.h"

static inline xfrm_address_t address_to_xfrm(const struct ip *ip)
{
    xfrm_address_t address;
    memset(&address, 0, sizeof(address));
    memcpy(&address, ip->bytes, ip->len);
    return address;
}

// ERR_UNSUPPORTED for other families. An IPv4-mapped address stays what the kernel says it is.
MUST_USE static inline enum err address_from_xfrm(const xfrm_address_t *address, uint16_t family, struct ip *ret_ip)
{
    if (family != AF_INET && family != AF_INET6)
        return ERR_UNSUPPORTED;
    struct ip ip = {.len = family == AF_INET ? 4 : 16};
    memcpy(ip.bytes, address, ip.len);
    *ret_ip = ip;
    return ERR_OK;
}

#endif
