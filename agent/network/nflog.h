// SPDX-License-Identifier: GPL-2.0-or-later
// Refused packets from the kernel: a non-blocking netlink socket on NFLOG group NFT_LOG_GROUP.
#ifndef TWOFOLD_AGENT_NETWORK_NFLOG_H
#define TWOFOLD_AGENT_NETWORK_NFLOG_H

#include <linux/netlink.h>
#include <stdint.h>

#include "agent/network/drop_packet.h"
#include "agent/network/nft_text.h"
#include "proto/base/err.h"
#include "proto/base/note.h"

struct nflog_event {
    enum nft_reason reason;
    struct drop_packet packet;
};

struct nflog;
// ERR_UNSUPPORTED with a sentence when the kernel has no NFLOG or another program holds the group.
MUST_USE enum err nflog_open(struct nflog **ret_nflog, struct note *note);
void nflog_close(struct nflog *nflog); // NULL is fine
int nflog_fd(const struct nflog *nflog);

// Reads up to 64 datagrams. *ret_lost grows by the times that the kernel ran out of room for us. ERR_IO: the socket is of no more use.
MUST_USE enum err nflog_read(struct nflog *nflog, void (*each)(void *context, const struct nflog_event *event),
                             void *context, uint64_t *lost);

// One NFULNL_MSG_PACKET. ERR_MALFORMED, ERR_NOT_FOUND (not one of our prefixes). Pure.
MUST_USE enum err nflog_parse(const struct nlmsghdr *header, struct nflog_event *ret_event);

#endif
