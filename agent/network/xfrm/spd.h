// SPDX-License-Identifier: GPL-2.0-or-later
// The kernel's security policy database (RFC 4301, 4.4.1): policies as plain values, their messages, and the dump of our own.
#ifndef TWOFOLD_AGENT_NETWORK_XFRM_SPD_H
#define TWOFOLD_AGENT_NETWORK_XFRM_SPD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/network/xfrm/netlink.h"
#include "proto/base/err.h"
#include "proto/base/ip.h"
#include "proto/base/note.h"

enum spd_direction { SPD_IN = 0, SPD_OUT = 1, SPD_FWD = 2 }; // as XFRM_POLICY_*

enum spd_action {
    SPD_ALLOW, // passes outside IPsec
    SPD_BLOCK,
    SPD_PROTECT, // ESP in transport mode with this reqid, and this SPI unless it is 0
};

// Lower numbers win. A policy without a template is ours when its priority lies in this range.
enum spd_priority {
    SPD_PRIORITY_FIRST = 0x54000000,
    SPD_PRIORITY_LINK = 0x54000100,       // neighbour discovery, own addresses
    SPD_PRIORITY_CONTROLLER = 0x54000180, // before the pairs: what mends a pair must not depend on it
    SPD_PRIORITY_PAIR = 0x54000200,       // pairs of addresses with SAs: everything between them goes in ESP
    SPD_PRIORITY_PINHOLE = 0x54000300,    // failsafe pinholes
    SPD_PRIORITY_TUNNEL = 0x54000400,     // tunnels of rules that need https only
    SPD_PRIORITY_ERROR = 0x54000500,      // ICMP errors of routers
    SPD_PRIORITY_FLOOR = 0x54000f00,      // everything else
    SPD_PRIORITY_LAST = 0x54000fff,
};

// Ports are matched as (port & mask); ICMP has its type in source_port and its code in destination_port.
struct spd_selector {
    struct ip_prefix source; // both of one family
    struct ip_prefix destination;
    uint8_t protocol; // 0: any
    uint16_t source_port;
    uint16_t source_mask;
    uint16_t destination_port;
    uint16_t destination_mask;
};

// The bit of the packet mark by which the ruleset shows the SPD what this host sends to itself: IPv6 over the loopback device meets the
// SPD, and what the capture redirects then has a peer's address. A packet from outside has no mark.
#define SPD_OWN_MARK 0x40000000u

struct spd_policy {
    enum spd_direction direction;
    struct spd_selector selector;
    bool own_traffic; // only packets with SPD_OWN_MARK
    enum spd_action action;
    uint32_t priority;
    uint32_t reqid; // 0 unless SPD_PROTECT
    uint32_t spi;   // 0: any
};

// By direction, selector and mark: the kernel's identity of a policy.
int spd_compare_key(const struct spd_policy *a, const struct spd_policy *b);
bool spd_equal(const struct spd_policy *a, const struct spd_policy *b);

#define SPD_TEXT_BYTES 256
// "out 192.0.2.1/32 -> 192.0.2.2/32 protect reqid 0x54000002 spi 0x2041 priority 0x54000300"
void spd_format(const struct spd_policy *policy, char ret_text[SPD_TEXT_BYTES]);

// The requests. Adding is exclusive (a foreign policy with the same selector is never replaced); updating replaces. Pure.
void spd_encode_add(struct netlink_message *message, const struct spd_policy *policy);
void spd_encode_update(struct netlink_message *message, const struct spd_policy *policy);
void spd_encode_remove(struct netlink_message *message, const struct spd_policy *policy);

// Reads one XFRM_MSG_NEWPOLICY. *ret_own: ours, by reqid (with a template) or priority (without); only then the policy is filled.
// ERR_MALFORMED. Pure.
MUST_USE enum err spd_parse(const struct nlmsghdr *header, struct spd_policy *ret_policy, bool *ret_own);

// Is the policy that the kernel holds under this direction and selector ours? False when there is none.
bool spd_is_own(struct netlink *netlink, const struct spd_policy *policy);

// All of ours; free() them. ERR_AGAIN: interrupted, ask again.
MUST_USE enum err spd_dump(struct netlink *netlink, struct spd_policy **ret_policies, size_t *ret_count,
                           struct note *note);

#endif
