// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/network/xfrm/sad.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/xfrm.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/network/xfrm/address.h"
#include "proto/base/secret.h"

// Build headers may be older than the kernel (FACTS: they may end at XFRMA_MTIMER_THRESH).
enum {
    ATTRIBUTE_SA_DIR = 33,
    SA_DIR_IN = 1,
    SA_DIR_OUT = 2,
    SA_DIR_OUT_OF_RANGE = 3,
};

enum {
    REPLAY_WORDS = SAD_REPLAY_WINDOW / 32,
    SLOT_MAX = (1 << 20) - 1,
    ENTRIES_MAX = 1 << 20,
};

static void put_algorithm(struct nlmsghdr *header, const uint8_t key[SA_KEY_BYTES])
{
    _Alignas(struct xfrm_algo_aead) uint8_t room[sizeof(struct xfrm_algo_aead) + SA_KEY_BYTES] = {0};
    struct xfrm_algo_aead *algorithm = (struct xfrm_algo_aead *)(void *)room;
    snprintf(algorithm->alg_name, sizeof(algorithm->alg_name), "rfc4106(gcm(aes))");
    algorithm->alg_key_len = SA_KEY_BYTES * 8;
    algorithm->alg_icv_len = 128;
    memcpy(room + sizeof(*algorithm), key, SA_KEY_BYTES);
    mnl_attr_put(header, XFRMA_ALG_AEAD, sizeof(room), room);
    secret_wipe(room, sizeof(room));
}

// Inbound: the full window. Outbound: none where the kernel knows directions; older ones refuse that and want at least one.
static void put_replay(struct nlmsghdr *header, bool inbound, bool direction)
{
    _Alignas(struct xfrm_replay_state_esn) uint8_t room[sizeof(struct xfrm_replay_state_esn) + REPLAY_WORDS * 4] = {0};
    struct xfrm_replay_state_esn *replay = (struct xfrm_replay_state_esn *)(void *)room;
    if (inbound) {
        replay->bmp_len = REPLAY_WORDS;
        replay->replay_window = SAD_REPLAY_WINDOW;
    } else if (!direction) {
        replay->bmp_len = 1;
        replay->replay_window = 1;
    }
    mnl_attr_put(header, XFRMA_REPLAY_ESN_VAL, sizeof(*replay) + replay->bmp_len * 4, room);
}

static void set_limits(struct xfrm_lifetime_cfg *limits)
{
    // Zero would mean "already exceeded" for the first four.
    limits->soft_byte_limit = XFRM_INF;
    limits->soft_packet_limit = XFRM_INF;
    limits->hard_byte_limit = SAD_HARD_BYTES;
    limits->hard_packet_limit = SAD_HARD_PACKETS;
    limits->hard_add_expires_seconds = SAD_HARD_SECONDS;
}

void sad_encode(struct netlink_message *message, const struct sad_support *support, const struct sa *sa)
{
    struct xfrm_usersa_info *info =
        netlink_message_begin(message, XFRM_MSG_NEWSA, NLM_F_CREATE | NLM_F_EXCL, sizeof(*info));
    struct nlmsghdr *header = netlink_message_header(message);
    uint8_t bits = (uint8_t)(sa->source.len * 8);
    info->family = (uint16_t)ip_family(&sa->source);
    info->saddr = address_to_xfrm(&sa->source);
    info->id.daddr = address_to_xfrm(&sa->destination);
    info->id.spi = htonl(sa->spi);
    info->id.proto = IPPROTO_ESP;
    // The SA carries packets between exactly these two addresses, whatever the outer header says.
    info->sel.family = info->family;
    info->sel.saddr = info->saddr;
    info->sel.daddr = info->id.daddr;
    info->sel.prefixlen_s = bits;
    info->sel.prefixlen_d = bits;
    info->reqid = sa->reqid;
    info->mode = XFRM_MODE_TRANSPORT;
    info->flags = XFRM_STATE_ESN;
    set_limits(&info->lft);
    put_algorithm(header, sa->key);
    put_replay(header, sa->inbound, support->direction);
    if (support->direction)
        mnl_attr_put_u8(header, ATTRIBUTE_SA_DIR, sa->inbound ? SA_DIR_IN : SA_DIR_OUT);
}

enum err sad_add(struct netlink *netlink, const struct sad_support *support, const struct sa *sa, struct note *note)
{
    struct netlink_message message;
    sad_encode(&message, support, sa);
    enum err err = netlink_do(netlink, &message, "installing an SA", note);
    secret_wipe(&message, sizeof(message));
    return err;
}

static void begin_with_id(struct netlink_message *message, uint16_t type, const struct ip *destination, uint32_t spi)
{
    struct xfrm_usersa_id *id = netlink_message_begin(message, type, 0, sizeof(*id));
    id->daddr = address_to_xfrm(destination);
    id->spi = htonl(spi);
    id->family = (uint16_t)ip_family(destination);
    id->proto = IPPROTO_ESP;
}

enum err sad_remove(struct netlink *netlink, const struct ip *destination, uint32_t spi, struct note *note)
{
    struct netlink_message message;
    begin_with_id(&message, XFRM_MSG_DELSA, destination, spi);
    return netlink_do(netlink, &message, "removing an SA", note);
}

enum err sad_parse(const struct nlmsghdr *header, struct sad_entry *ret_entry, bool *ret_own)
{
    if (header->nlmsg_type != XFRM_MSG_NEWSA || header->nlmsg_len < MNL_NLMSG_HDRLEN + sizeof(struct xfrm_usersa_info))
        return ERR_MALFORMED;
    // Messages of a dump stand at multiples of 4, and the structure has 64-bit fields.
    struct xfrm_usersa_info copy, *info = &copy;
    memcpy(info, mnl_nlmsg_get_payload(header), sizeof(*info));
    uint32_t slot = info->reqid - REQID_BASE;
    *ret_own = false;
    // A larval SA (SPI 0) belongs to the kernel.
    if (info->id.proto != IPPROTO_ESP || info->mode != XFRM_MODE_TRANSPORT || slot == 0 || slot > SLOT_MAX ||
        info->id.spi == 0)
        return ERR_OK;
    struct sad_entry entry = {
        .spi = ntohl(info->id.spi),
        .reqid = info->reqid,
        .bytes = info->curlft.bytes,
        .packets = info->curlft.packets,
    };
    if (address_from_xfrm(&info->saddr, info->family, &entry.source) != ERR_OK ||
        address_from_xfrm(&info->id.daddr, info->family, &entry.destination) != ERR_OK)
        return ERR_MALFORMED;
    entry.inbound = entry.spi >> 12 == slot;
    *ret_entry = entry;
    *ret_own = true;
    return ERR_OK;
}

static enum err take_one(void *context, const struct nlmsghdr *header)
{
    bool own;
    enum err err = sad_parse(header, context, &own);
    return err == ERR_OK && !own ? ERR_NOT_FOUND : err;
}

enum err sad_get(struct netlink *netlink, const struct ip *destination, uint32_t spi, struct sad_entry *ret_entry,
                 struct note *note)
{
    struct netlink_message message;
    begin_with_id(&message, XFRM_MSG_GETSA, destination, spi);
    return netlink_get(netlink, &message, take_one, ret_entry, note);
}

struct entries {
    struct sad_entry *items;
    size_t count;
    size_t capacity;
};

static enum err take_each(void *context, const struct nlmsghdr *header)
{
    struct entries *entries = context;
    struct sad_entry entry;
    bool own;
    enum err err = sad_parse(header, &entry, &own);
    if (err != ERR_OK || !own)
        return err;
    if (entries->count == entries->capacity) {
        size_t capacity = entries->capacity == 0 ? 64 : entries->capacity * 2;
        if (capacity > ENTRIES_MAX)
            return ERR_LIMIT;
        struct sad_entry *items = realloc(entries->items, capacity * sizeof(*items));
        if (items == NULL)
            return ERR_NOMEM;
        entries->items = items;
        entries->capacity = capacity;
    }
    entries->items[entries->count++] = entry;
    return ERR_OK;
}

enum err sad_dump(struct netlink *netlink, struct sad_entry **ret_entries, size_t *ret_count, struct note *note)
{
    struct entries entries = {0};
    struct netlink_message message;
    netlink_message_begin(&message, XFRM_MSG_GETSA, 0, 0);
    enum err err = netlink_dump(netlink, &message, take_each, &entries, note);
    if (err != ERR_OK) {
        free(entries.items);
        return err;
    }
    *ret_entries = entries.items;
    *ret_count = entries.count;
    return ERR_OK;
}

// ---- what the kernel can do

static struct sa probe_sa(const char *address)
{
    struct sa sa = {.inbound = true, .spi = 0xfffffffe, .reqid = REQID_BASE + SLOT_MAX};
    random_bytes(sa.key, sizeof(sa.key));
    if (ip_parse(address, &sa.source) != ERR_OK)
        abort();
    sa.destination = sa.source;
    return sa;
}

// A value out of range is refused where the attribute is known, before anything else is looked at; an old kernel ignores it.
static bool knows_direction(struct netlink *netlink)
{
    struct sa sa = probe_sa("127.0.0.1");
    struct sad_support none = {0};
    struct netlink_message message;
    sad_encode(&message, &none, &sa);
    mnl_attr_put_u8(netlink_message_header(&message), ATTRIBUTE_SA_DIR, SA_DIR_OUT_OF_RANGE);
    struct netlink_answer answer;
    enum err err = netlink_transact(netlink, &message, 1, &answer);
    secret_wipe(&message, sizeof(message));
    secret_wipe(&sa, sizeof(sa));
    if (err == ERR_OK && answer.error == 0 && sad_remove(netlink, &sa.destination, sa.spi, NULL) != ERR_OK)
        return false;
    return err == ERR_OK && answer.error == ERANGE;
}

static bool probe_family(struct netlink *netlink, struct sad_support *support, const char *address, const char *module)
{
    struct sa sa = probe_sa(address);
    struct note note = {0};
    enum err err = sad_add(netlink, support, &sa, &note);
    secret_wipe(sa.key, sizeof(sa.key));
    if (err == ERR_OK || err == ERR_EXISTS)
        err = sad_remove(netlink, &sa.destination, sa.spi, &note);
    if (err == ERR_OK)
        return true;
    if (support->problem[0] == '\0')
        snprintf(support->problem, sizeof(support->problem),
                 "The kernel has no ESP with AES-GCM (%.90s): rules that need ipsec stay closed. Load the modules %s "
                 "and gcm (some "
                 "fleets block them), or use a kernel that has them.",
                 note.text, module);
    return false;
}

void sad_probe(struct netlink *netlink, struct sad_support *ret_support)
{
    struct sad_support support = {.direction = knows_direction(netlink)};
    support.esp4 = probe_family(netlink, &support, "127.0.0.1", "esp4");
    support.esp6 = probe_family(netlink, &support, "::1", "esp6");
    *ret_support = support;
}
