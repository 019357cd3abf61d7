// SPDX-License-Identifier: GPL-2.0-or-later
// A datagram of netlink messages: acknowledgements, SAs, policies and logged packets, each at the alignment that it has in a dump.
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "agent/network/nflog.h"
#include "agent/network/xfrm/netlink.h"
#include "agent/network/xfrm/sad.h"
#include "agent/network/xfrm/spd.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static void check_policy(const struct nlmsghdr *header)
{
    struct spd_policy policy, again;
    struct netlink_message message;
    char text[SPD_TEXT_BYTES];
    bool own = false;
    if (spd_parse(header, &policy, &own) != ERR_OK || !own)
        return;
    spd_format(&policy, text);
    spd_encode_add(&message, &policy);
    assert(spd_parse(netlink_message_header(&message), &again, &own) == ERR_OK);
    assert(own);
    assert(spd_equal(&policy, &again));
}

static void check_sa(const struct nlmsghdr *header)
{
    struct sad_entry entry;
    bool own = false;
    if (sad_parse(header, &entry, &own) != ERR_OK || !own)
        return;
    assert(entry.spi != 0);
    assert(entry.source.len == entry.destination.len);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    if (len > 65536)
        return 0;
    // On the heap at its exact size, so that a read behind it shows.
    uint8_t *copy = malloc(len + 1);
    memcpy(copy, bytes, len);
    uint8_t *room = realloc(copy, len > 0 ? len : 1);
    int left = (int)len;
    for (const struct nlmsghdr *header = (const void *)room; netlink_message_ok(header, left);
         header = mnl_nlmsg_next(header, &left)) {
        struct netlink_answer answer;
        struct nflog_event event;
        if (netlink_read_ack(header, &answer) == ERR_OK)
            assert(memchr(answer.text, '\0', sizeof(answer.text)) != NULL);
        check_policy(header);
        check_sa(header);
        if (nflog_parse(header, &event) == ERR_OK)
            assert(event.reason < NFT_REASON_COUNT);
    }
    free(room);
    return 0;
}
