// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/network/xfrm/spd.h"

#include <arpa/inet.h>
#include <linux/xfrm.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/network/keying.h"
#include "agent/network/xfrm/address.h"

enum {
    SLOTS = 1 << 20,
    POLICIES_MAX = 1 << 20,
};

static int compare_prefix(const struct ip_prefix *a, const struct ip_prefix *b)
{
    int order = ip_compare(&a->ip, &b->ip);
    return order != 0 ? order : (int)a->bits - (int)b->bits;
}

static int compare_numbers(uint32_t a, uint32_t b)
{
    return (a > b) - (a < b);
}

int spd_compare_key(const struct spd_policy *a, const struct spd_policy *b)
{
    const struct spd_selector *x = &a->selector;
    const struct spd_selector *y = &b->selector;
    int order = compare_numbers(a->direction, b->direction);
    if (order == 0)
        order = compare_prefix(&x->source, &y->source);
    if (order == 0)
        order = compare_prefix(&x->destination, &y->destination);
    if (order == 0)
        order = compare_numbers(x->protocol, y->protocol);
    if (order == 0)
        order = compare_numbers((uint32_t)x->source_port << 16 | x->source_mask,
                                (uint32_t)y->source_port << 16 | y->source_mask);
    if (order == 0)
        order = compare_numbers((uint32_t)x->destination_port << 16 | x->destination_mask,
                                (uint32_t)y->destination_port << 16 | y->destination_mask);
    return order != 0 ? order : (int)a->own_traffic - (int)b->own_traffic;
}

bool spd_equal(const struct spd_policy *a, const struct spd_policy *b)
{
    return spd_compare_key(a, b) == 0 && a->action == b->action && a->priority == b->priority && a->reqid == b->reqid &&
           a->spi == b->spi;
}

static void format_port(char *room, size_t len, uint8_t protocol, const char *name, uint16_t port, uint16_t mask)
{
    room[0] = '\0';
    bool icmp = protocol == IPPROTO_ICMP || protocol == IPPROTO_ICMPV6;
    if (mask == 0xffff)
        snprintf(room, len, " %s %u", icmp ? (name[0] == 's' ? "type" : "code") : name, port);
    else if (mask != 0)
        snprintf(room, len, " %s %u/0x%04x", name, port, mask);
}

void spd_format(const struct spd_policy *policy, char ret_text[SPD_TEXT_BYTES])
{
    static const char *const directions[] = {"in", "out", "fwd"};
    static const char *const actions[] = {"allow", "block", "protect"};
    const struct spd_selector *selector = &policy->selector;
    char source[IP_PREFIX_TEXT_BYTES], destination[IP_PREFIX_TEXT_BYTES];
    char protocol[16] = "", sport[32], dport[32], template[48] = "";
    ip_prefix_format(&selector->source, source);
    ip_prefix_format(&selector->destination, destination);
    if (selector->protocol != 0)
        snprintf(protocol, sizeof(protocol), " proto %u", selector->protocol);
    format_port(sport, sizeof(sport), selector->protocol, "sport", selector->source_port, selector->source_mask);
    format_port(dport, sizeof(dport), selector->protocol, "dport", selector->destination_port,
                selector->destination_mask);
    if (policy->action == SPD_PROTECT)
        snprintf(template, sizeof(template), " reqid 0x%08x spi 0x%08x", policy->reqid, policy->spi);
    snprintf(ret_text, SPD_TEXT_BYTES, "%s %s -> %s%s%s%s%s %s%s priority 0x%08x", directions[policy->direction],
             source, destination, protocol, sport, dport, policy->own_traffic ? " own" : "", actions[policy->action],
             template, policy->priority);
}

static void encode_selector(struct xfrm_selector *room, const struct spd_selector *selector)
{
    room->family = (uint16_t)ip_family(&selector->source.ip);
    room->saddr = address_to_xfrm(&selector->source.ip);
    room->daddr = address_to_xfrm(&selector->destination.ip);
    room->prefixlen_s = selector->source.bits;
    room->prefixlen_d = selector->destination.bits;
    room->proto = selector->protocol;
    room->sport = htons(selector->source_port);
    room->sport_mask = htons(selector->source_mask);
    room->dport = htons(selector->destination_port);
    room->dport_mask = htons(selector->destination_mask);
}

static void put_mark(struct netlink_message *message, const struct spd_policy *policy)
{
    struct xfrm_mark mark = {.v = SPD_OWN_MARK, .m = SPD_OWN_MARK};
    if (policy->own_traffic)
        mnl_attr_put(netlink_message_header(message), XFRMA_MARK, sizeof(mark), &mark);
}

static void encode(struct netlink_message *message, uint16_t type, const struct spd_policy *policy)
{
    struct xfrm_userpolicy_info *info = netlink_message_begin(message, type, 0, sizeof(*info));
    encode_selector(&info->sel, &policy->selector);
    info->lft.soft_byte_limit = XFRM_INF;
    info->lft.hard_byte_limit = XFRM_INF;
    info->lft.soft_packet_limit = XFRM_INF;
    info->lft.hard_packet_limit = XFRM_INF;
    info->priority = policy->priority;
    info->dir = (uint8_t)policy->direction;
    info->action = policy->action == SPD_BLOCK ? XFRM_POLICY_BLOCK : XFRM_POLICY_ALLOW;
    info->share = XFRM_SHARE_ANY;
    put_mark(message, policy);
    if (policy->action != SPD_PROTECT)
        return;
    struct xfrm_user_tmpl template;
    memset(&template, 0, sizeof(template));
    template.id.proto = IPPROTO_ESP;
    template.id.spi = htonl(policy->spi);
    template.family = info->sel.family;
    template.reqid = policy->reqid;
    template.mode = XFRM_MODE_TRANSPORT;
    template.share = XFRM_SHARE_ANY;
    template.aalgos = template.ealgos = template.calgos = ~UINT32_C(0);
    mnl_attr_put(netlink_message_header(message), XFRMA_TMPL, sizeof(template), &template);
}

void spd_encode_add(struct netlink_message *message, const struct spd_policy *policy)
{
    encode(message, XFRM_MSG_NEWPOLICY, policy);
}

void spd_encode_update(struct netlink_message *message, const struct spd_policy *policy)
{
    encode(message, XFRM_MSG_UPDPOLICY, policy);
}

static void encode_id(struct netlink_message *message, uint16_t type, const struct spd_policy *policy)
{
    struct xfrm_userpolicy_id *id = netlink_message_begin(message, type, 0, sizeof(*id));
    encode_selector(&id->sel, &policy->selector);
    id->dir = (uint8_t)policy->direction;
    put_mark(message, policy);
}

void spd_encode_remove(struct netlink_message *message, const struct spd_policy *policy)
{
    encode_id(message, XFRM_MSG_DELPOLICY, policy);
}

static enum err parse_prefix(const xfrm_address_t *address, uint16_t family, uint8_t bits, struct ip_prefix *ret_prefix)
{
    struct ip_prefix prefix = {.bits = bits};
    enum err err = address_from_xfrm(address, family, &prefix.ip);
    if (err != ERR_OK)
        return err;
    if (bits > prefix.ip.len * 8)
        return ERR_MALFORMED;
    *ret_prefix = prefix;
    return ERR_OK;
}

static enum err parse_selector(const struct xfrm_selector *selector, struct spd_selector *ret_selector)
{
    struct spd_selector parsed = {
        .protocol = selector->proto,
        .source_port = ntohs(selector->sport),
        .source_mask = ntohs(selector->sport_mask),
        .destination_port = ntohs(selector->dport),
        .destination_mask = ntohs(selector->dport_mask),
    };
    enum err err = parse_prefix(&selector->saddr, selector->family, selector->prefixlen_s, &parsed.source);
    if (err == ERR_OK)
        err = parse_prefix(&selector->daddr, selector->family, selector->prefixlen_d, &parsed.destination);
    if (err == ERR_OK)
        *ret_selector = parsed;
    return err;
}

struct attributes {
    const struct xfrm_user_tmpl *template;
    size_t template_count;
    bool own_traffic;
    bool foreign; // has what none of ours has: another mark, an interface, a sub policy
};

static int take_attribute(const struct nlattr *attribute, void *data)
{
    struct attributes *attributes = data;
    switch (mnl_attr_get_type(attribute)) {
    case XFRMA_TMPL:
        attributes->template_count = mnl_attr_get_payload_len(attribute) / sizeof(struct xfrm_user_tmpl);
        attributes->template = mnl_attr_get_payload(attribute);
        break;
    case XFRMA_POLICY_TYPE:
        if (mnl_attr_get_payload_len(attribute) >= sizeof(struct xfrm_userpolicy_type)) {
            const struct xfrm_userpolicy_type *type = mnl_attr_get_payload(attribute);
            attributes->foreign |= type->type != XFRM_POLICY_TYPE_MAIN;
        }
        break;
    case XFRMA_MARK:
        if (mnl_attr_get_payload_len(attribute) >= sizeof(struct xfrm_mark)) {
            const struct xfrm_mark *mark = mnl_attr_get_payload(attribute);
            attributes->own_traffic = mark->v == SPD_OWN_MARK && mark->m == SPD_OWN_MARK;
            attributes->foreign |= !attributes->own_traffic;
        }
        break;
    case XFRMA_IF_ID:
    case XFRMA_SEC_CTX:
        attributes->foreign = true;
        break;
    default:
        break;
    }
    return MNL_CB_OK;
}

static bool is_own_template(const struct xfrm_user_tmpl *template)
{
    return template->reqid - REQID_BASE < SLOTS && template->id.proto == IPPROTO_ESP &&
           template->mode == XFRM_MODE_TRANSPORT;
}

enum err spd_parse(const struct nlmsghdr *header, struct spd_policy *ret_policy, bool *ret_own)
{
    if (header->nlmsg_type != XFRM_MSG_NEWPOLICY ||
        header->nlmsg_len < MNL_NLMSG_HDRLEN + sizeof(struct xfrm_userpolicy_info))
        return ERR_MALFORMED;
    // Messages of a dump stand at multiples of 4, and the structure has 64-bit fields.
    struct xfrm_userpolicy_info copy, *info = &copy;
    memcpy(info, mnl_nlmsg_get_payload(header), sizeof(*info));
    struct attributes attributes = {0};
    if (mnl_attr_parse(header, MNL_ALIGN(sizeof(*info)), take_attribute, &attributes) < 0)
        return ERR_MALFORMED;
    *ret_own = false;
    // Socket policies have directions beyond these three.
    if (info->dir > XFRM_POLICY_FWD || attributes.foreign || attributes.template_count > 1)
        return ERR_OK;
    struct spd_policy policy = {
        .direction = (enum spd_direction)info->dir, .own_traffic = attributes.own_traffic, .priority = info->priority};
    if (attributes.template_count == 1) {
        if (!is_own_template(attributes.template))
            return ERR_OK;
        policy.action = SPD_PROTECT;
        policy.reqid = attributes.template->reqid;
        policy.spi = ntohl(attributes.template->id.spi);
    } else {
        if (info->priority < SPD_PRIORITY_FIRST || info->priority > SPD_PRIORITY_LAST)
            return ERR_OK;
        policy.action = info->action == XFRM_POLICY_BLOCK ? SPD_BLOCK : SPD_ALLOW;
    }
    if (info->sel.family != AF_INET && info->sel.family != AF_INET6)
        return ERR_OK;
    enum err err = parse_selector(&info->sel, &policy.selector);
    if (err != ERR_OK)
        return err;
    *ret_policy = policy;
    *ret_own = true;
    return ERR_OK;
}

static enum err take_own(void *context, const struct nlmsghdr *header)
{
    struct spd_policy policy;
    return spd_parse(header, &policy, context);
}

bool spd_is_own(struct netlink *netlink, const struct spd_policy *policy)
{
    struct netlink_message message;
    bool own = false;
    encode_id(&message, XFRM_MSG_GETPOLICY, policy);
    return netlink_get(netlink, &message, take_own, &own, NULL) == ERR_OK && own;
}

struct policies {
    struct spd_policy *items;
    size_t count;
    size_t capacity;
};

static enum err take_each(void *context, const struct nlmsghdr *header)
{
    struct policies *policies = context;
    struct spd_policy policy;
    bool own;
    enum err err = spd_parse(header, &policy, &own);
    if (err != ERR_OK || !own)
        return err;
    if (policies->count == policies->capacity) {
        size_t capacity = policies->capacity == 0 ? 64 : policies->capacity * 2;
        if (capacity > POLICIES_MAX)
            return ERR_LIMIT;
        struct spd_policy *items = realloc(policies->items, capacity * sizeof(*items));
        if (items == NULL)
            return ERR_NOMEM;
        policies->items = items;
        policies->capacity = capacity;
    }
    policies->items[policies->count++] = policy;
    return ERR_OK;
}

enum err spd_dump(struct netlink *netlink, struct spd_policy **ret_policies, size_t *ret_count, struct note *note)
{
    struct policies policies = {0};
    struct netlink_message message;
    netlink_message_begin(&message, XFRM_MSG_GETPOLICY, 0, 0);
    enum err err = netlink_dump(netlink, &message, take_each, &policies, note);
    if (err != ERR_OK) {
        free(policies.items);
        return err;
    }
    *ret_policies = policies.items;
    *ret_count = policies.count;
    return ERR_OK;
}
