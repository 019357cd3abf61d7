// SPDX-License-Identifier: GPL-2.0-or-later
// Messages to and from the kernel's XFRM and NFLOG, without a kernel.
#include <criterion/criterion.h>
#include <errno.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_log.h>
#include <linux/xfrm.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "agent/network/export.h"
#include "agent/network/nflog.h"
#include "agent/network/policies.h"
#include "agent/network/xfrm/netlink.h"
#include "agent/network/xfrm/sad.h"
#include "agent/network/xfrm/spd.h"
#include "agent/network/xfrm/stat.h"

static struct ip ip(const char *text)
{
    struct ip parsed;
    cr_assert_eq(ip_parse(text, &parsed), ERR_OK);
    return parsed;
}

static struct sa example(bool inbound)
{
    struct sa sa = {
        .inbound = inbound, .source = ip("192.0.2.1"), .destination = ip("192.0.2.2"), .reqid = REQID_BASE + 2};
    sa.spi = (inbound ? 2u : 1u) << 12 | 0x041;
    for (int i = 0; i < SA_KEY_BYTES; i++)
        sa.key[i] = (uint8_t)i;
    return sa;
}

static const struct nlattr *attribute(const struct nlmsghdr *header, size_t fixed, uint16_t type)
{
    const struct nlattr *found;
    mnl_attr_for_each(found, header, fixed)
    {
        if (mnl_attr_get_type(found) == type)
            return found;
    }
    return NULL;
}

Test(xfrm_messages, an_sa_has_its_algorithm_limits_and_window)
{
    struct netlink_message message;
    struct sa sa = example(true);
    struct sad_support support = {.direction = true};
    sad_encode(&message, &support, &sa);
    const struct nlmsghdr *header = netlink_message_header(&message);
    const struct xfrm_usersa_info *info = mnl_nlmsg_get_payload(header);
    cr_assert_eq(header->nlmsg_flags & NLM_F_EXCL, NLM_F_EXCL);
    cr_assert_eq(info->id.spi, htonl(0x2041));
    cr_assert_eq(info->mode, XFRM_MODE_TRANSPORT);
    cr_assert_eq(info->flags, XFRM_STATE_ESN);
    cr_assert_eq(info->replay_window, 0);
    cr_assert_eq(info->sel.prefixlen_s, 32);
    cr_assert_eq(info->lft.soft_byte_limit, XFRM_INF);
    cr_assert_eq(info->lft.soft_packet_limit, XFRM_INF);
    cr_assert_eq(info->lft.hard_packet_limit, UINT64_C(1) << 32);
    cr_assert_eq(info->lft.hard_byte_limit, UINT64_C(1) << 43);
    cr_assert_eq(info->lft.hard_add_expires_seconds, 28800);
    const struct nlattr *aead = attribute(header, sizeof(*info), XFRMA_ALG_AEAD);
    cr_assert_not_null(aead);
    const struct xfrm_algo_aead *algorithm = mnl_attr_get_payload(aead);
    cr_assert_str_eq(algorithm->alg_name, "rfc4106(gcm(aes))");
    cr_assert_eq(algorithm->alg_key_len, 288);
    cr_assert_eq(algorithm->alg_icv_len, 128);
    cr_assert_eq(memcmp(algorithm->alg_key, sa.key, SA_KEY_BYTES), 0);
    const struct xfrm_replay_state_esn *replay =
        mnl_attr_get_payload(attribute(header, sizeof(*info), XFRMA_REPLAY_ESN_VAL));
    cr_assert_eq(replay->replay_window, 4096);
    cr_assert_eq(replay->bmp_len, 128);
    cr_assert_eq(mnl_attr_get_u8(attribute(header, sizeof(*info), 33)), 1);
}

Test(xfrm_messages, outbound_windows_depend_on_the_kernel)
{
    struct netlink_message message;
    struct sa sa = example(false);
    struct sad_support support = {.direction = true};
    sad_encode(&message, &support, &sa);
    const struct nlmsghdr *header = netlink_message_header(&message);
    const struct xfrm_replay_state_esn *replay =
        mnl_attr_get_payload(attribute(header, sizeof(struct xfrm_usersa_info), XFRMA_REPLAY_ESN_VAL));
    cr_assert_eq(replay->replay_window, 0);
    cr_assert_eq(replay->bmp_len, 0);
    cr_assert_eq(mnl_attr_get_u8(attribute(header, sizeof(struct xfrm_usersa_info), 33)), 2);
    support.direction = false;
    sad_encode(&message, &support, &sa);
    replay = mnl_attr_get_payload(attribute(header, sizeof(struct xfrm_usersa_info), XFRMA_REPLAY_ESN_VAL));
    cr_assert_eq(replay->replay_window, 1);
    cr_assert_null(attribute(header, sizeof(struct xfrm_usersa_info), 33));
}

Test(xfrm_messages, an_sa_comes_back)
{
    for (int inbound = 0; inbound < 2; inbound++) {
        struct netlink_message message;
        struct sa sa = example(inbound != 0);
        struct sad_support support = {0};
        struct sad_entry entry;
        bool own;
        sad_encode(&message, &support, &sa);
        cr_assert_eq(sad_parse(netlink_message_header(&message), &entry, &own), ERR_OK);
        cr_assert(own);
        cr_assert_eq(entry.inbound, inbound != 0);
        cr_assert_eq(entry.spi, sa.spi);
        cr_assert_eq(ip_compare(&entry.destination, &sa.destination), 0);
    }
}

Test(xfrm_messages, foreign_sas_are_not_ours)
{
    struct netlink_message message;
    struct sad_support support = {0};
    struct sad_entry entry;
    bool own = true;
    struct sa sa = example(true);
    sa.reqid = 1;
    sad_encode(&message, &support, &sa);
    cr_assert_eq(sad_parse(netlink_message_header(&message), &entry, &own), ERR_OK);
    cr_assert_not(own);
    sa.reqid = REQID_BASE + (1u << 20);
    sad_encode(&message, &support, &sa);
    cr_assert_eq(sad_parse(netlink_message_header(&message), &entry, &own), ERR_OK);
    cr_assert_not(own);
    sa = example(true);
    sa.spi = 0; // larval
    sad_encode(&message, &support, &sa);
    cr_assert_eq(sad_parse(netlink_message_header(&message), &entry, &own), ERR_OK);
    cr_assert_not(own);
    sa = example(true);
    sad_encode(&message, &support, &sa);
    netlink_message_header(&message)->nlmsg_len = 40;
    cr_assert_eq(sad_parse(netlink_message_header(&message), &entry, &own), ERR_MALFORMED);
}

Test(xfrm_messages, policies_come_back)
{
    struct policies_input input = {.tunnel_port = 15008};
    struct spd_policy *policies;
    size_t count;
    cr_assert_eq(policies_make(&input, &policies, &count, NULL), ERR_OK);
    struct address_pair pair = {
        .local = ip("2001:db8::1"), .remote = ip("2001:db8::2"), .reqid = REQID_BASE + 9, .outbound_spi = 0x9041};
    policies = realloc(policies, (count + 2) * sizeof(*policies));
    policies[count++] = policies_pair_in(&pair);
    policies[count++] = policies_pair_out(&pair);
    for (size_t i = 0; i < count; i++) {
        struct netlink_message message;
        struct spd_policy back;
        bool own;
        spd_encode_add(&message, &policies[i]);
        cr_assert_eq(spd_parse(netlink_message_header(&message), &back, &own), ERR_OK);
        cr_assert(own);
        cr_assert(spd_equal(&policies[i], &back));
        const struct xfrm_userpolicy_info *info = mnl_nlmsg_get_payload(netlink_message_header(&message));
        cr_assert_eq(info->lft.hard_byte_limit, XFRM_INF);
        cr_assert_eq(info->lft.hard_packet_limit, XFRM_INF);
    }
    free(policies);
}

Test(xfrm_messages, foreign_policies_are_not_ours)
{
    struct netlink_message message;
    struct spd_policy back;
    bool own = true;
    struct spd_policy policy = {.direction = SPD_OUT,
                                .selector = {.source.ip.len = 4, .destination.ip.len = 4},
                                .action = SPD_ALLOW,
                                .priority = SPD_PRIORITY_FIRST - 1};
    spd_encode_add(&message, &policy);
    cr_assert_eq(spd_parse(netlink_message_header(&message), &back, &own), ERR_OK);
    cr_assert_not(own);
    policy.priority = SPD_PRIORITY_LINK;
    spd_encode_add(&message, &policy);
    cr_assert_eq(spd_parse(netlink_message_header(&message), &back, &own), ERR_OK);
    cr_assert(own);
    // With a mark it is somebody else's, whatever its priority.
    struct xfrm_mark mark = {1, 1};
    mnl_attr_put(netlink_message_header(&message), XFRMA_MARK, sizeof(mark), &mark);
    cr_assert_eq(spd_parse(netlink_message_header(&message), &back, &own), ERR_OK);
    cr_assert_not(own);
    // A template with another's reqid, in our priority range.
    policy.action = SPD_PROTECT;
    policy.reqid = 7;
    spd_encode_add(&message, &policy);
    cr_assert_eq(spd_parse(netlink_message_header(&message), &back, &own), ERR_OK);
    cr_assert_not(own);
}

static struct nlmsghdr *make_ack(uint8_t *room, int error, const char *words, bool capped)
{
    struct nlmsghdr *header = mnl_nlmsg_put_header(room);
    header->nlmsg_type = NLMSG_ERROR;
    header->nlmsg_flags = NLM_F_ACK_TLVS | (capped ? NLM_F_CAPPED : 0);
    struct nlmsgerr *body = mnl_nlmsg_put_extra_header(header, sizeof(*body));
    body->error = error;
    body->msg.nlmsg_len = MNL_NLMSG_HDRLEN + 8;
    if (!capped)
        mnl_nlmsg_put_extra_header(header, 8);
    if (words != NULL)
        mnl_attr_put_strz(header, NLMSGERR_ATTR_MSG, words);
    return header;
}

Test(xfrm_messages, acknowledgements_carry_the_kernels_words)
{
    _Alignas(8) uint8_t room[512];
    struct netlink_answer answer;
    for (int capped = 0; capped < 2; capped++) {
        cr_assert_eq(
            netlink_read_ack(make_ack(room, -ENOSYS, "Requested AEAD algorithm not found", capped != 0), &answer),
            ERR_OK);
        cr_assert_eq(answer.err, ERR_UNSUPPORTED);
        cr_assert_eq(answer.error, ENOSYS);
        cr_assert_str_eq(answer.text, "Requested AEAD algorithm not found");
    }
    cr_assert_eq(netlink_read_ack(make_ack(room, 0, NULL, true), &answer), ERR_OK);
    cr_assert_eq(answer.err, ERR_OK);
}

Test(xfrm_messages, broken_acknowledgements_are_refused)
{
    _Alignas(8) uint8_t room[512];
    struct netlink_answer answer;
    struct nlmsghdr *header = make_ack(room, -EEXIST, "words", true);
    uint32_t len = header->nlmsg_len;
    header->nlmsg_len = MNL_NLMSG_HDRLEN + 4;
    cr_assert_eq(netlink_read_ack(header, &answer), ERR_MALFORMED);
    header->nlmsg_len = len;
    struct nlattr *words = mnl_nlmsg_get_payload_offset(header, sizeof(struct nlmsgerr));
    words->nla_len = 400;
    cr_assert_eq(netlink_read_ack(header, &answer), ERR_MALFORMED);
    words->nla_len = 1;
    cr_assert_eq(netlink_read_ack(header, &answer), ERR_MALFORMED);
    header = make_ack(room, 5, NULL, true);
    cr_assert_eq(netlink_read_ack(header, &answer), ERR_MALFORMED);
    header = make_ack(room, -EEXIST, NULL, false);
    ((struct nlmsgerr *)mnl_nlmsg_get_payload(header))->msg.nlmsg_len = 0xffffffff;
    cr_assert_eq(netlink_read_ack(header, &answer), ERR_OK); // nothing behind it to read
}

static struct nlmsghdr *make_log(uint8_t *room, const char *prefix, const uint8_t *packet, size_t len)
{
    struct nlmsghdr *header = mnl_nlmsg_put_header(room);
    header->nlmsg_type = NFNL_SUBSYS_ULOG << 8 | NFULNL_MSG_PACKET;
    mnl_nlmsg_put_extra_header(header, sizeof(struct nfgenmsg));
    if (prefix != NULL)
        mnl_attr_put_strz(header, NFULA_PREFIX, prefix);
    if (packet != NULL)
        mnl_attr_put(header, NFULA_PAYLOAD, len, packet);
    return header;
}

Test(xfrm_messages, logged_packets_are_read)
{
    static const uint8_t tcp4[] = {0x45, 0, 0, 40, 0,   0, 0x40, 0, 64,   6,    0,    0,
                                   192,  0, 2, 1,  192, 0, 2,    2, 0x9c, 0x40, 0x27, 0x0f};
    _Alignas(8) uint8_t room[512];
    struct nflog_event event;
    cr_assert_eq(nflog_parse(make_log(room, "tf:in-plain", tcp4, sizeof(tcp4)), &event), ERR_OK);
    cr_assert_eq(event.reason, NFT_REASON_IN_PLAIN);
    cr_assert_eq(event.packet.destination_port, 9999);
    cr_assert_eq(nflog_parse(make_log(room, "tf:in", tcp4, sizeof(tcp4)), &event), ERR_NOT_FOUND);
    cr_assert_eq(nflog_parse(make_log(room, "else", tcp4, sizeof(tcp4)), &event), ERR_NOT_FOUND);
    cr_assert_eq(nflog_parse(make_log(room, "tf:in-rule", NULL, 0), &event), ERR_MALFORMED);
    cr_assert_eq(nflog_parse(make_log(room, NULL, tcp4, sizeof(tcp4)), &event), ERR_MALFORMED);
    cr_assert_eq(nflog_parse(make_log(room, "tf:in-rule", tcp4, 10), &event), ERR_MALFORMED);
}

Test(xfrm_messages, counters_are_read)
{
    struct xfrm_stat stat;
    cr_assert_eq(
        xfrm_stat_parse("XfrmInError             \t0\nXfrmInNoStates          \t12\nXfrmNewInSomeKernel\t3\n", &stat),
        ERR_OK);
    cr_assert_eq(stat.values[XFRM_STAT_InNoStates], 12);
    cr_assert_eq(stat.values[XFRM_STAT_InError], 0);
    cr_assert_eq(xfrm_stat_parse("", &stat), ERR_OK);
    cr_assert_eq(xfrm_stat_parse("XfrmInError\n", &stat), ERR_MALFORMED);
    cr_assert_eq(xfrm_stat_parse("XfrmInError -1\n", &stat), ERR_MALFORMED);
    cr_assert_eq(xfrm_stat_parse("XfrmInError 1x\n", &stat), ERR_MALFORMED);
    cr_assert_eq(xfrm_stat_parse("something else 1\n", &stat), ERR_MALFORMED);
    cr_assert_eq(xfrm_stat_parse("XfrmInError 99999999999999999999999\n", &stat), ERR_MALFORMED);
}

Test(xfrm_messages, exported_lines_are_tsharks)
{
    char line[EXPORT_LINE_BYTES];
    struct sa sa = example(false);
    export_line(&sa, line);
    cr_assert_str_eq(line,
                     "\"IPv4\",\"192.0.2.1\",\"192.0.2.2\",\"0x00001041\",\"AES-GCM with 16 octet ICV [RFC4106]\","
                     "\"0x000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20212223\",\"NULL\",\"\"\n");
    sa.source = ip("2001:db8:ffff:ffff:ffff:ffff:ffff:fff1");
    sa.destination = ip("2001:db8:ffff:ffff:ffff:ffff:ffff:fff2");
    export_line(&sa, line);
    cr_assert_eq(strncmp(line, "\"IPv6\"", 6), 0);
    cr_assert_eq(line[strlen(line) - 1], '\n');
}
