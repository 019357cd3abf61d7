// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/network/xfrm/netlink.h"

#include <errno.h>
#include <linux/netlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

// In <linux/netlink.h> of old build headers these may be missing.
#ifndef NETLINK_GET_STRICT_CHK
#define NETLINK_GET_STRICT_CHK 12
#endif

enum {
    RECEIVE_BYTES = 1 << 16,
    EVENTS_PER_DRAIN = 1024,
    SOCKET_BUFFER_BYTES = 4 << 20,
};

struct netlink {
    struct mnl_socket *socket;
    uint32_t sequence;
    _Alignas(8) uint8_t room[RECEIVE_BYTES];
};

void *netlink_message_begin(struct netlink_message *message, uint16_t type, uint16_t flags, size_t fixed_len)
{
    memset(message->bytes, 0, sizeof(message->bytes));
    struct nlmsghdr *header = mnl_nlmsg_put_header(message->bytes);
    header->nlmsg_type = type;
    header->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
    return mnl_nlmsg_put_extra_header(header, fixed_len);
}

enum err netlink_err(int error)
{
    switch (error) {
    case 0:
        return ERR_OK;
    case EEXIST:
        return ERR_EXISTS;
    case ESRCH:
    case ENOENT:
        return ERR_NOT_FOUND;
    case ENOSYS:
    case EPROTONOSUPPORT:
    case EOPNOTSUPP:
    case EAFNOSUPPORT:
        return ERR_UNSUPPORTED;
    case ENOMEM:
    case ENOBUFS:
        return ERR_NOMEM;
    case EINTR:
    case EAGAIN:
        return ERR_AGAIN;
    default:
        return ERR_KERNEL;
    }
}

static void set_option(struct mnl_socket *socket, int option)
{
    int on = 1;
    // Each is an improvement where the kernel knows it; without it the answer is only less precise.
    (void)mnl_socket_setsockopt(socket, option, &on, sizeof(on));
}

static enum err set_timeout(int fd)
{
    struct timeval timeout = {.tv_sec = 5};
    if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)) != 0)
        return ERR_IO;
    return ERR_OK;
}

enum err netlink_open(int family, uint32_t groups, struct netlink **ret_netlink, struct note *note)
{
    struct netlink *netlink = calloc(1, sizeof(*netlink));
    if (netlink == NULL)
        return ERR_NOMEM;
    netlink->socket = mnl_socket_open2(family, SOCK_CLOEXEC | (groups != 0 ? SOCK_NONBLOCK : 0));
    if (netlink->socket == NULL) {
        int error = errno;
        free(netlink);
        return note_set(note, error == EPROTONOSUPPORT ? ERR_UNSUPPORTED : ERR_IO, "netlink socket (family %d): %s",
                        family, strerror(error));
    }
    int fd = mnl_socket_get_fd(netlink->socket);
    int bytes = SOCKET_BUFFER_BYTES;
    if (groups != 0)
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes));
    set_option(netlink->socket, NETLINK_EXT_ACK);
    set_option(netlink->socket, NETLINK_CAP_ACK);
    set_option(netlink->socket, NETLINK_GET_STRICT_CHK);
    if (mnl_socket_bind(netlink->socket, groups, MNL_SOCKET_AUTOPID) < 0 ||
        (groups == 0 && set_timeout(fd) != ERR_OK)) {
        int error = errno;
        netlink_close(netlink);
        return note_set(note, ERR_IO, "netlink socket (family %d): %s", family, strerror(error));
    }
    netlink->sequence = (uint32_t)time(NULL);
    *ret_netlink = netlink;
    return ERR_OK;
}

void netlink_close(struct netlink *netlink)
{
    if (netlink == NULL)
        return;
    mnl_socket_close(netlink->socket);
    free(netlink);
}

int netlink_fd(const struct netlink *netlink)
{
    return mnl_socket_get_fd(netlink->socket);
}

uint32_t netlink_port(const struct netlink *netlink)
{
    return mnl_socket_get_portid(netlink->socket);
}

static void copy_text(char *room, const void *text, size_t len)
{
    size_t n = strnlen(text, len);
    if (n >= NETLINK_TEXT_BYTES)
        n = NETLINK_TEXT_BYTES - 1;
    memcpy(room, text, n);
    room[n] = '\0';
}

enum err netlink_read_ack(const struct nlmsghdr *header, struct netlink_answer *ret_answer)
{
    if (header->nlmsg_type != NLMSG_ERROR || header->nlmsg_len < MNL_NLMSG_HDRLEN + sizeof(struct nlmsgerr))
        return ERR_MALFORMED;
    const struct nlmsgerr *body = mnl_nlmsg_get_payload(header);
    if (body->error > 0 || body->error < -4095)
        return ERR_MALFORMED;
    struct netlink_answer answer = {.answered = true, .error = -body->error, .err = netlink_err(-body->error)};
    if ((header->nlmsg_flags & NLM_F_ACK_TLVS) != 0) {
        size_t skip = sizeof(*body);
        if ((header->nlmsg_flags & NLM_F_CAPPED) == 0) {
            if (body->msg.nlmsg_len < MNL_NLMSG_HDRLEN)
                return ERR_MALFORMED;
            skip += MNL_ALIGN((size_t)body->msg.nlmsg_len) - MNL_NLMSG_HDRLEN;
        }
        size_t payload = mnl_nlmsg_get_payload_len(header);
        const uint8_t *bytes = mnl_nlmsg_get_payload(header);
        while (skip <= payload && payload - skip >= sizeof(struct nlattr)) {
            const struct nlattr *attribute = (const void *)(bytes + skip);
            if (attribute->nla_len < sizeof(*attribute) || attribute->nla_len > payload - skip)
                return ERR_MALFORMED;
            if (mnl_attr_get_type(attribute) == NLMSGERR_ATTR_MSG)
                copy_text(answer.text, mnl_attr_get_payload(attribute), mnl_attr_get_payload_len(attribute));
            skip += MNL_ALIGN(attribute->nla_len);
        }
    }
    *ret_answer = answer;
    return ERR_OK;
}

// One receive. ERR_AGAIN: lost messages or nothing came in time.
static enum err receive(struct netlink *netlink, size_t *ret_len)
{
    for (;;) {
        ssize_t len = mnl_socket_recvfrom(netlink->socket, netlink->room, sizeof(netlink->room));
        if (len >= 0) {
            *ret_len = (size_t)len;
            return ERR_OK;
        }
        if (errno == EINTR)
            continue;
        if (errno == ENOBUFS || errno == EAGAIN || errno == ENOSPC)
            return ERR_AGAIN;
        return ERR_IO;
    }
}

static enum err send_all(struct netlink *netlink, struct netlink_message *messages, size_t count)
{
    struct iovec pieces[NETLINK_BATCH_MAX];
    for (size_t i = 0; i < count; i++) {
        struct nlmsghdr *header = netlink_message_header(&messages[i]);
        header->nlmsg_seq = netlink->sequence++;
        pieces[i] = (struct iovec){.iov_base = header, .iov_len = MNL_ALIGN(header->nlmsg_len)};
    }
    struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
    struct msghdr message = {
        .msg_name = &kernel, .msg_namelen = sizeof(kernel), .msg_iov = pieces, .msg_iovlen = count};
    for (;;) {
        if (sendmsg(mnl_socket_get_fd(netlink->socket), &message, 0) >= 0)
            return ERR_OK;
        if (errno != EINTR)
            return errno == ENOBUFS ? ERR_AGAIN : ERR_IO;
    }
}

// Matches the acknowledgements in one datagram; those of an earlier, given-up request are skipped.
static size_t take_answers(const struct netlink *netlink, size_t len, uint32_t first, size_t count,
                           struct netlink_answer *answers)
{
    size_t taken = 0;
    int left = (int)len;
    for (const struct nlmsghdr *header = (const void *)netlink->room; netlink_message_ok(header, left);
         header = mnl_nlmsg_next(header, &left)) {
        uint32_t index = header->nlmsg_seq - first;
        if (header->nlmsg_type != NLMSG_ERROR || index >= count || answers[index].answered)
            continue;
        if (netlink_read_ack(header, &answers[index]) == ERR_OK)
            taken++;
    }
    return taken;
}

enum err netlink_transact(struct netlink *netlink, struct netlink_message *messages, size_t count,
                          struct netlink_answer *answers)
{
    if (count == 0)
        return ERR_OK;
    if (count > NETLINK_BATCH_MAX)
        return ERR_LIMIT;
    memset(answers, 0, count * sizeof(*answers));
    for (size_t i = 0; i < count; i++) {
        answers[i].err = ERR_AGAIN;
        netlink_message_header(&messages[i])->nlmsg_flags |= NLM_F_ACK;
    }
    uint32_t first = netlink->sequence;
    enum err err = send_all(netlink, messages, count);
    if (err != ERR_OK)
        return err;
    for (size_t taken = 0; taken < count;) {
        size_t len;
        err = receive(netlink, &len);
        if (err != ERR_OK)
            return err;
        taken += take_answers(netlink, len, first, count, answers);
    }
    return ERR_OK;
}

static enum err explain(const struct netlink_answer *answer, const char *what, struct note *note)
{
    if (answer->error == 0)
        return ERR_OK;
    const char *text = answer->text;
    return note_set(note, answer->err, "%s: %s%s%s", what, strerror(answer->error), text[0] != '\0' ? ": " : "", text);
}

enum err netlink_do(struct netlink *netlink, struct netlink_message *message, const char *what, struct note *note)
{
    struct netlink_answer answer;
    enum err err = netlink_transact(netlink, message, 1, &answer);
    if (err != ERR_OK)
        return note_set(note, err, "%s: the kernel's answer was lost", what);
    return explain(&answer, what, note);
}

enum err netlink_get(struct netlink *netlink, struct netlink_message *message,
                     enum err (*each)(void *context, const struct nlmsghdr *header), void *context, struct note *note)
{
    uint32_t sequence = netlink->sequence;
    enum err err = send_all(netlink, message, 1);
    if (err != ERR_OK)
        return err;
    for (;;) {
        size_t len;
        err = receive(netlink, &len);
        if (err != ERR_OK)
            return note_set(note, err, "the kernel's answer was lost");
        int left = (int)len;
        for (const struct nlmsghdr *header = (const void *)netlink->room; netlink_message_ok(header, left);
             header = mnl_nlmsg_next(header, &left)) {
            if (header->nlmsg_seq != sequence)
                continue;
            struct netlink_answer answer;
            if (header->nlmsg_type != NLMSG_ERROR)
                return each(context, header);
            err = netlink_read_ack(header, &answer);
            if (err != ERR_OK)
                return err;
            // A bare acknowledgement where an answer was due.
            return answer.error == 0 ? ERR_PROTOCOL : explain(&answer, "get", note);
        }
    }
}

struct dump {
    uint32_t sequence;
    enum err (*each)(void *context, const struct nlmsghdr *header);
    void *context;
    enum err failure; // of `each`: the rest of the dump is still read, so that the socket can be used again
    bool interrupted;
    bool done;
};

static enum err dump_some(struct netlink *netlink, size_t len, struct dump *dump, struct note *note)
{
    int left = (int)len;
    for (const struct nlmsghdr *header = (const void *)netlink->room; netlink_message_ok(header, left);
         header = mnl_nlmsg_next(header, &left)) {
        if (header->nlmsg_seq != dump->sequence)
            continue;
        dump->interrupted |= (header->nlmsg_flags & NLM_F_DUMP_INTR) != 0;
        if (header->nlmsg_type == NLMSG_DONE) {
            dump->done = true;
            return ERR_OK;
        }
        if (header->nlmsg_type == NLMSG_ERROR) {
            struct netlink_answer answer;
            enum err err = netlink_read_ack(header, &answer);
            return err != ERR_OK ? err : explain(&answer, "dump", note);
        }
        if (dump->failure == ERR_OK)
            dump->failure = dump->each(dump->context, header);
    }
    return ERR_OK;
}

enum err netlink_dump(struct netlink *netlink, struct netlink_message *message,
                      enum err (*each)(void *context, const struct nlmsghdr *header), void *context, struct note *note)
{
    struct dump dump = {.sequence = netlink->sequence, .each = each, .context = context};
    netlink_message_header(message)->nlmsg_flags |= NLM_F_DUMP;
    enum err err = send_all(netlink, message, 1);
    while (err == ERR_OK && !dump.done) {
        size_t len;
        err = receive(netlink, &len);
        if (err != ERR_OK)
            return note_set(note, err, "the kernel's dump was cut");
        err = dump_some(netlink, len, &dump, note);
    }
    if (err != ERR_OK)
        return err;
    if (dump.failure != ERR_OK)
        return dump.failure;
    return dump.interrupted ? note_set(note, ERR_AGAIN, "the kernel's dump was interrupted") : ERR_OK;
}

enum err netlink_drain(struct netlink *netlink, uint32_t own_port, bool *ret_foreign)
{
    bool foreign = false;
    for (unsigned i = 0; i < EVENTS_PER_DRAIN; i++) {
        ssize_t len = mnl_socket_recvfrom(netlink->socket, netlink->room, sizeof(netlink->room));
        if (len < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            break;
        if (len < 0 && errno == EINTR)
            continue;
        if (len < 0 && errno != ENOBUFS && errno != ENOSPC)
            return ERR_IO;
        if (len < 0) {
            foreign = true;
            continue;
        }
        int left = (int)len;
        for (const struct nlmsghdr *header = (const void *)netlink->room; netlink_message_ok(header, left);
             header = mnl_nlmsg_next(header, &left))
            foreign |= header->nlmsg_pid != own_port;
    }
    *ret_foreign = foreign;
    return ERR_OK;
}
