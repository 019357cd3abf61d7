// SPDX-License-Identifier: GPL-2.0-or-later
// The kernel's security association database (RFC 4301, 4.4.2): ESP in transport mode with AES-256-GCM and a 16-byte ICV (RFC 4106),
// extended sequence numbers and a window of 4096 (RFC 4303, 2.2.1 and 3.4.3).
#ifndef TWOFOLD_AGENT_NETWORK_XFRM_SAD_H
#define TWOFOLD_AGENT_NETWORK_XFRM_SAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/network/keying.h"
#include "agent/network/xfrm/netlink.h"
#include "proto/base/err.h"
#include "proto/base/ip.h"
#include "proto/base/note.h"

// Backstops in the kernel, far behind keying's own limits (KEYING.md): the longest epoch is one hour, so eight hours are eight epochs,
// and the longest life that reviewers accept for an ESP SA.
#define SAD_HARD_SECONDS  UINT64_C(28800)
#define SAD_HARD_PACKETS  (UINT64_C(1) << 32)
#define SAD_HARD_BYTES    (UINT64_C(1) << 43)
#define SAD_REPLAY_WINDOW 4096

// What the kernel can do; found out by behaviour, once.
struct sad_support {
    bool esp4;
    bool esp6;
    bool direction;    // XFRMA_SA_DIR is known (6.10 and later)
    char problem[256]; // why there is no ESP: a sentence with the remedy; empty when there is
};

// An SA as the kernel holds it, without its key.
struct sad_entry {
    struct ip source;
    struct ip destination;
    uint32_t spi;
    uint32_t reqid;
    bool inbound; // by its SPI: the sender's slot is its upper 20 bits (KEYING.md)
    uint64_t bytes;
    uint64_t packets;
};

// Installs throw-away SAs to loopback addresses and removes them.
void sad_probe(struct netlink *netlink, struct sad_support *ret_support);

// ERR_EXISTS when destination and SPI are taken; ERR_UNSUPPORTED, ERR_KERNEL with the kernel's words.
MUST_USE enum err sad_add(struct netlink *netlink, const struct sad_support *support, const struct sa *sa,
                          struct note *note);

// ERR_NOT_FOUND when there is none.
MUST_USE enum err sad_remove(struct netlink *netlink, const struct ip *destination, uint32_t spi, struct note *note);
MUST_USE enum err sad_get(struct netlink *netlink, const struct ip *destination, uint32_t spi,
                          struct sad_entry *ret_entry, struct note *note);

// Our own SAs (reqid range): a growing list, free() it. ERR_AGAIN: interrupted, ask again.
MUST_USE enum err sad_dump(struct netlink *netlink, struct sad_entry **ret_entries, size_t *ret_count,
                           struct note *note);

// Reads one XFRM_MSG_NEWSA. *ret_own: an ESP transport SA in the own reqid range; only then the entry is filled. ERR_MALFORMED. Pure.
MUST_USE enum err sad_parse(const struct nlmsghdr *header, struct sad_entry *ret_entry, bool *ret_own);

// Writes the request that installs an SA. Holds the key: wipe it. Pure.
void sad_encode(struct netlink_message *message, const struct sad_support *support, const struct sa *sa);

#endif
