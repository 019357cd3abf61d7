// SPDX-License-Identifier: GPL-2.0-or-later
// A netlink socket for XFRM (libmnl's only owner besides drops' socket): requests in batches with every answer matched, dumps, events.
// Requests and events use separate sockets. Blocking: the kernel answers requests before sendmsg returns; a receive waits at most
// five seconds.
#ifndef TWOFOLD_AGENT_NETWORK_XFRM_NETLINK_H
#define TWOFOLD_AGENT_NETWORK_XFRM_NETLINK_H

#include <libmnl/libmnl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/base/err.h"
#include "proto/base/note.h"

// The default receive buffer holds 256 acknowledgements; more than that in flight and they vanish.
#define NETLINK_BATCH_MAX     200
#define NETLINK_MESSAGE_BYTES 1536
#define NETLINK_TEXT_BYTES    128

// One request, built with libmnl's functions behind its header.
struct netlink_message {
    _Alignas(8) uint8_t bytes[NETLINK_MESSAGE_BYTES];
};

// Begins a request with a fixed part of `fixed_len` zero bytes, which is returned.
void *netlink_message_begin(struct netlink_message *message, uint16_t type, uint16_t flags, size_t fixed_len);

static inline struct nlmsghdr *netlink_message_header(struct netlink_message *message)
{
    return (struct nlmsghdr *)(void *)message->bytes;
}

// Is there a whole message at `header`, with `left` bytes from there on? libmnl 1.0.4's mnl_nlmsg_ok takes lengths over 2 GiB for good.
static inline bool netlink_message_ok(const struct nlmsghdr *header, int left)
{
    return left >= (int)sizeof(*header) && header->nlmsg_len >= sizeof(*header) && header->nlmsg_len <= (uint32_t)left;
}

// What the kernel said to one request.
struct netlink_answer {
    bool answered; // false: the acknowledgement was lost, the outcome is not known
    enum err err;
    int error;                     // errno, 0: done
    char text[NETLINK_TEXT_BYTES]; // the kernel's own words, or empty
};

struct netlink;

// `family` e.g. NETLINK_XFRM. `groups`: a mask of multicast groups (event sockets; non-blocking then), 0: requests. ERR_IO, ERR_UNSUPPORTED.
MUST_USE enum err netlink_open(int family, uint32_t groups, struct netlink **ret_netlink, struct note *note);
void netlink_close(struct netlink *netlink); // NULL is fine
int netlink_fd(const struct netlink *netlink);
uint32_t netlink_port(const struct netlink *netlink);

// Sends up to NETLINK_BATCH_MAX requests in one system call and collects every answer; sequence numbers and NLM_F_ACK are set here.
// ERR_OK: each has an answer, good or bad. ERR_AGAIN: some answers were lost (ENOBUFS): dump and compare. ERR_IO.
MUST_USE enum err netlink_transact(struct netlink *netlink, struct netlink_message *messages, size_t count,
                                   struct netlink_answer *answers);

// One request and its acknowledgement; the note gets `what`, the error and the kernel's words.
MUST_USE enum err netlink_do(struct netlink *netlink, struct netlink_message *message, const char *what,
                             struct note *note);

// One request that is answered by one message, which `each` gets.
MUST_USE enum err netlink_get(struct netlink *netlink, struct netlink_message *message,
                              enum err (*each)(void *context, const struct nlmsghdr *header), void *context,
                              struct note *note);

// A dump. ERR_AGAIN when it was interrupted or overran: what `each` saw is then incomplete. An error of `each` ends it.
MUST_USE enum err netlink_dump(struct netlink *netlink, struct netlink_message *message,
                               enum err (*each)(void *context, const struct nlmsghdr *header), void *context,
                               struct note *note);

// Event socket: reads all that waits. *ret_foreign: an event that `own_port` did not cause, or some were lost.
MUST_USE enum err netlink_drain(struct netlink *netlink, uint32_t own_port, bool *ret_foreign);

// Reads an NLMSG_ERROR message with its extended acknowledgement, strictly inside its length. ERR_MALFORMED. Pure.
MUST_USE enum err netlink_read_ack(const struct nlmsghdr *header, struct netlink_answer *ret_answer);

// How an errno of the kernel reads as an error: EEXIST, ESRCH and ENOENT, ENOSYS and kin have their own. Pure.
enum err netlink_err(int error);

#endif
