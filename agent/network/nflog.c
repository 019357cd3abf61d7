// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/network/nflog.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_log.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "agent/network/xfrm/netlink.h"

enum {
    ROOM_BYTES = 1 << 16,
    DATAGRAMS_PER_READ = 64,
    SOCKET_BUFFER_BYTES = 1 << 20,
};

struct nflog {
    struct mnl_socket *socket;
    _Alignas(8) uint8_t room[ROOM_BYTES];
};

static struct nlmsghdr *begin(uint8_t *room, uint16_t group)
{
    struct nlmsghdr *header = mnl_nlmsg_put_header(room);
    header->nlmsg_type = NFNL_SUBSYS_ULOG << 8 | NFULNL_MSG_CONFIG;
    header->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
    header->nlmsg_seq = (uint32_t)time(NULL);
    struct nfgenmsg *body = mnl_nlmsg_put_extra_header(header, sizeof(*body));
    body->nfgen_family = AF_UNSPEC;
    body->version = NFNETLINK_V0;
    body->res_id = htons(group);
    return header;
}

// 0 or an errno.
static int ask(struct nflog *nflog, const struct nlmsghdr *header)
{
    if (mnl_socket_sendto(nflog->socket, header, header->nlmsg_len) < 0)
        return errno;
    ssize_t len = mnl_socket_recvfrom(nflog->socket, nflog->room, sizeof(nflog->room));
    if (len < 0)
        return errno;
    return mnl_cb_run(nflog->room, (size_t)len, header->nlmsg_seq, mnl_socket_get_portid(nflog->socket), NULL, NULL) < 0
               ? errno
               : 0;
}

static int configure(struct nflog *nflog)
{
    _Alignas(8) uint8_t room[256];
    struct nlmsghdr *header = begin(room, NFT_LOG_GROUP);
    struct nfulnl_msg_config_cmd bind = {.command = NFULNL_CFG_CMD_BIND};
    mnl_attr_put(header, NFULA_CFG_CMD, sizeof(bind), &bind);
    int error = ask(nflog, header);
    if (error != 0)
        return error;
    header = begin(room, NFT_LOG_GROUP);
    struct nfulnl_msg_config_mode mode = {.copy_mode = NFULNL_COPY_PACKET, .copy_range = htonl(96)};
    mnl_attr_put(header, NFULA_CFG_MODE, sizeof(mode), &mode);
    // Handed over after a tenth of a second or 16 packets, whichever comes first.
    mnl_attr_put_u32(header, NFULA_CFG_TIMEOUT, htonl(10));
    mnl_attr_put_u32(header, NFULA_CFG_QTHRESH, htonl(16));
    return ask(nflog, header);
}

enum err nflog_open(struct nflog **ret_nflog, struct note *note)
{
    struct nflog *nflog = calloc(1, sizeof(*nflog));
    if (nflog == NULL)
        return ERR_NOMEM;
    int error = 0;
    nflog->socket = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (nflog->socket == NULL || mnl_socket_bind(nflog->socket, 0, MNL_SOCKET_AUTOPID) < 0)
        error = errno;
    if (error == 0)
        error = configure(nflog);
    if (error != 0) {
        nflog_close(nflog);
        if (error == EBUSY)
            return note_set(note, ERR_UNSUPPORTED,
                            "refused packets cannot be listed: another program holds NFLOG group %d", NFT_LOG_GROUP);
        return note_set(note, ERR_UNSUPPORTED, "refused packets cannot be listed: NFLOG (nfnetlink_log): %s",
                        strerror(error));
    }
    int bytes = SOCKET_BUFFER_BYTES;
    (void)setsockopt(mnl_socket_get_fd(nflog->socket), SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
    *ret_nflog = nflog;
    return ERR_OK;
}

void nflog_close(struct nflog *nflog)
{
    if (nflog == NULL)
        return;
    if (nflog->socket != NULL)
        mnl_socket_close(nflog->socket);
    free(nflog);
}

int nflog_fd(const struct nflog *nflog)
{
    return mnl_socket_get_fd(nflog->socket);
}

static enum err parse_reason(const char *text, size_t len, enum nft_reason *ret_reason)
{
    static const char prefix[] = "tf:";
    size_t prefix_len = sizeof(prefix) - 1;
    len = strnlen(text, len);
    for (int i = 0; i < NFT_REASON_COUNT; i++) {
        const char *reason = nft_reason_text((enum nft_reason)i);
        if (len == prefix_len + strlen(reason) && memcmp(text, prefix, prefix_len) == 0 &&
            memcmp(text + prefix_len, reason, len - prefix_len) == 0) {
            *ret_reason = (enum nft_reason)i;
            return ERR_OK;
        }
    }
    return ERR_NOT_FOUND;
}

struct parts {
    const struct nlattr *prefix;
    const struct nlattr *payload;
};

static int take_attribute(const struct nlattr *attribute, void *data)
{
    struct parts *parts = data;
    switch (mnl_attr_get_type(attribute)) {
    case NFULA_PREFIX:
        parts->prefix = attribute;
        break;
    case NFULA_PAYLOAD:
        parts->payload = attribute;
        break;
    default:
        break;
    }
    return MNL_CB_OK;
}

enum err nflog_parse(const struct nlmsghdr *header, struct nflog_event *ret_event)
{
    struct parts parts = {0};
    struct nflog_event event;
    if (header->nlmsg_type != (NFNL_SUBSYS_ULOG << 8 | NFULNL_MSG_PACKET) ||
        header->nlmsg_len < MNL_NLMSG_HDRLEN + sizeof(struct nfgenmsg))
        return ERR_MALFORMED;
    if (mnl_attr_parse(header, sizeof(struct nfgenmsg), take_attribute, &parts) < 0 || parts.prefix == NULL ||
        parts.payload == NULL)
        return ERR_MALFORMED;
    enum err err =
        parse_reason(mnl_attr_get_payload(parts.prefix), mnl_attr_get_payload_len(parts.prefix), &event.reason);
    if (err == ERR_OK)
        err = drop_packet_parse(mnl_attr_get_payload(parts.payload), mnl_attr_get_payload_len(parts.payload),
                                &event.packet);
    if (err == ERR_OK)
        *ret_event = event;
    return err;
}

enum err nflog_read(struct nflog *nflog, void (*each)(void *context, const struct nflog_event *event), void *context,
                    uint64_t *lost)
{
    for (int i = 0; i < DATAGRAMS_PER_READ; i++) {
        ssize_t len = mnl_socket_recvfrom(nflog->socket, nflog->room, sizeof(nflog->room));
        if (len < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return ERR_OK;
        if (len < 0 && errno == EINTR)
            continue;
        if (len < 0 && (errno == ENOBUFS || errno == ENOSPC)) {
            (*lost)++;
            continue;
        }
        if (len < 0)
            return ERR_IO;
        int left = (int)len;
        for (const struct nlmsghdr *header = (const void *)nflog->room; netlink_message_ok(header, left);
             header = mnl_nlmsg_next(header, &left)) {
            struct nflog_event event;
            if (nflog_parse(header, &event) == ERR_OK)
                each(context, &event);
        }
    }
    return ERR_OK;
}
