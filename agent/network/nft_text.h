// SPDX-License-Identifier: GPL-2.0-or-later
// The nftables ruleset of a slice, as text. Pure and deterministic: golden files show it.
//
// One table, `inet twofold`, replaced as a whole in one transaction. Default deny in input, output and forward. No rule accepts
// "established" as such: an answer passes only while the rule that let its flow begin is there, so that a revoked rule ends its flows at
// once. Rules of one direction stand in the order in which they win: those with most layers first, then by name.
//
// A refused packet is counted by reason and, at a limited rate, told to drops.c through NFLOG with the prefix "tf:<reason>".
#ifndef TWOFOLD_AGENT_NETWORK_NFT_TEXT_H
#define TWOFOLD_AGENT_NETWORK_NFT_TEXT_H

#include <stdint.h>
#include <sys/types.h>

#include "proto/base/buf.h"
#include "proto/base/err.h"
#include "proto/base/ip.h"
#include "slice.pb-c.h"

#define NFT_TABLE          "inet twofold"
#define NFT_LOG_GROUP      15
#define NFT_TEXT_BYTES_MAX (64u << 20)

// Why a packet is refused: counter and log prefix. The sentence is for `twofold status`.
#define NFT_REASONS(X)                                                                                        \
    X(IN_RULE, "in-rule", "packets refused on arrival: no rule allows them")                                  \
    X(IN_PLAIN, "in-plain", "packets refused on arrival: they came from an IPsec peer, but outside IPsec")    \
    X(IN_ESP, "in-esp", "ESP packets refused on arrival: their source is no IPsec peer of this host")         \
    X(IN_NOISE, "in-noise", "broadcasts and multicasts refused on arrival")                                   \
    X(IN_INVALID, "in-invalid", "packets refused on arrival: they belong to no flow, e.g. to one that ended") \
    X(OUT_RULE, "out-rule", "packets refused on departure: no rule allows them, or their layers are not up")  \
    X(OUT_NOISE, "out-noise", "broadcasts and multicasts refused on departure")                               \
    X(OUT_INVALID, "out-invalid", "packets refused on departure: they belong to no flow")                     \
    X(FORWARD, "forward", "packets refused because this host forwards nothing between others")

enum nft_reason {
#define NFT_REASON_ENUM(name, text, meaning) NFT_REASON_##name,
    NFT_REASONS(NFT_REASON_ENUM)
#undef NFT_REASON_ENUM
        NFT_REASON_COUNT
};

const char *nft_reason_text(enum nft_reason reason); // "in-rule"
const char *nft_reason_meaning(enum nft_reason reason);

struct nft_input {
    const Twofold__V1__Slice *slice;      // checked; NULL: none yet, everything but the link and DHCP is refused
    const struct ip_endpoint *controller; // NULL: none
    uid_t control_uid;                    // who may talk to it
    uid_t https_uid;                      // whose packets are not captured
    uint16_t outbound_port;
    uint16_t tunnel_port;
};

// ERR_NOMEM, ERR_LIMIT (text over the limit of `text`), ERR_MALFORMED (an address that slice_check would have refused).
MUST_USE enum err nft_text(const struct nft_input *input, struct buf *text);

#endif
