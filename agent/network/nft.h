// SPDX-License-Identifier: GPL-2.0-or-later
// The kernel's nftables, through libnftables (docs/adr/0005-libnftables.md; its only owner). Each call is one transaction: all of the
// text takes effect, or nothing. Blocking.
#ifndef TWOFOLD_AGENT_NETWORK_NFT_H
#define TWOFOLD_AGENT_NETWORK_NFT_H

#include <stdbool.h>
#include <stdint.h>

#include "agent/network/nft_text.h"
#include "proto/base/digest.h"
#include "proto/base/err.h"
#include "proto/base/note.h"

struct nft;
MUST_USE enum err nft_new(struct nft **ret_nft, struct note *note);
void nft_free(struct nft *nft); // NULL is fine; leaves the kernel as it is

// Would the kernel take the text? Nothing changes. ERR_KERNEL with nftables' first complaint.
MUST_USE enum err nft_check(struct nft *nft, const char *text, struct note *note);
MUST_USE enum err nft_apply(struct nft *nft, const char *text, struct note *note);

// Removes our table; fine when there is none.
MUST_USE enum err nft_remove(struct nft *nft, struct note *note);

enum nft_presence {
    NFT_ABSENT, // no table of ours
    NFT_FLOOR,  // one without a slice
    NFT_SLICE,  // one of a slice
};
enum nft_presence nft_presence(struct nft *nft);

// A digest of our table as the kernel holds it, without its counters: the same until someone changes it. All zero when there is none.
void nft_digest(struct nft *nft, uint8_t ret_digest[DIGEST_BYTES]);

// Packets refused by reason since the table was loaded; zero when there is no table.
void nft_counters(struct nft *nft, uint64_t ret_packets[NFT_REASON_COUNT]);

#endif
