// SPDX-License-Identifier: GPL-2.0-or-later
// SAs and the two policies of each pair of addresses.
//
// install inbound:   SA, then the pair's IN policy (a peer may use the SA at once)
// switch_outbound:   IN policy if it is not there, then one UPDPOLICY of the OUT policy with the new SPI
// remove outbound:   if the OUT policy points at it, the OUT policy first (the floor's trap then takes the packets), then the SA
// remove inbound:    SA, then, with the last one, the IN policy
#include <linux/xfrm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/network/dataplane_internal.h"
#include "agent/network/policies.h"
#include "agent/network/xfrm/spd.h"
#include "proto/wire/slice.h"

static const struct ip *local_end(const struct sad_entry *entry)
{
    return entry->inbound ? &entry->destination : &entry->source;
}

static const struct ip *remote_end(const struct sad_entry *entry)
{
    return entry->inbound ? &entry->source : &entry->destination;
}

static struct sad_entry entry_of(const struct sa *sa)
{
    return (struct sad_entry){
        .source = sa->source,
        .destination = sa->destination,
        .spi = sa->spi,
        .reqid = sa->reqid,
        .inbound = sa->inbound,
    };
}

// ---- policies of a pair

static enum err update_policy(struct dataplane *dataplane, const struct spd_policy *policy, struct note *note)
{
    struct netlink_message message;
    spd_encode_update(&message, policy);
    return netlink_do(dataplane->xfrm, &message, "changing the IPsec policy of a pair", note);
}

// A policy of ours that is there already (left by a failure) is replaced; a foreign one never.
static enum err add_policy(struct dataplane *dataplane, const struct spd_policy *policy, struct note *note)
{
    struct netlink_message message;
    spd_encode_add(&message, policy);
    enum err err = netlink_do(dataplane->xfrm, &message, "adding the IPsec policy of a pair", note);
    if (err != ERR_EXISTS)
        return err;
    if (spd_is_own(dataplane->xfrm, policy))
        return update_policy(dataplane, policy, note);
    char text[SPD_TEXT_BYTES];
    spd_format(policy, text);
    return note_set(note, ERR_KERNEL, "another program's IPsec policy has the selector of \"%s\": remove it", text);
}

static enum err remove_policy(struct dataplane *dataplane, const struct spd_policy *policy, struct note *note)
{
    struct netlink_message message;
    spd_encode_remove(&message, policy);
    enum err err = netlink_do(dataplane->xfrm, &message, "removing the IPsec policy of a pair", note);
    return err == ERR_NOT_FOUND ? ERR_OK : err;
}

static bool has_policy_in(const struct address_pair *pair)
{
    return pair->inbound > 0 || pair->outbound_spi != 0;
}

static enum err ensure_policy_in(struct dataplane *dataplane, struct address_pair *pair, struct note *note)
{
    struct spd_policy policy = policies_pair_in(pair);
    return has_policy_in(pair) ? ERR_OK : add_policy(dataplane, &policy, note);
}

// Behind a change of the pair: takes away what nothing needs any more.
static enum err settle(struct dataplane *dataplane, struct address_pair *pair, struct note *note)
{
    if (has_policy_in(pair))
        return ERR_OK;
    struct spd_policy policy = policies_pair_in(pair);
    enum err err = remove_policy(dataplane, &policy, note);
    address_pairs_drop(&dataplane->pairs, pair);
    return err;
}

// ---- keying's actions

enum err dataplane_install(struct dataplane *dataplane, const struct sa *sa, struct note *note)
{
    struct sad_entry entry = entry_of(sa);
    struct address_pair *pair;
    enum err err = sad_add(dataplane->xfrm, &dataplane->support, sa, note);
    if (err != ERR_OK)
        return err;
    err = sa_table_put(&dataplane->sas, &entry);
    if (err == ERR_OK && sa->inbound) {
        err = address_pairs_put(&dataplane->pairs, local_end(&entry), remote_end(&entry), sa->reqid, &pair);
        if (err == ERR_OK)
            err = ensure_policy_in(dataplane, pair, note);
        if (err == ERR_OK)
            pair->inbound++;
    }
    if (err != ERR_OK) {
        sa_table_drop(&dataplane->sas, &sa->destination, sa->spi);
        if (sad_remove(dataplane->xfrm, &sa->destination, sa->spi, NULL) != ERR_OK)
            note_prefix(note, "an SA stays behind; ");
    }
    return err;
}

enum err dataplane_switch_outbound(struct dataplane *dataplane, const struct sa *sa, struct note *note)
{
    struct sad_entry entry = entry_of(sa);
    struct address_pair *pair;
    enum err err = address_pairs_put(&dataplane->pairs, local_end(&entry), remote_end(&entry), sa->reqid, &pair);
    if (err == ERR_OK)
        err = ensure_policy_in(dataplane, pair, note);
    if (err != ERR_OK)
        return err;
    uint32_t before = pair->outbound_spi;
    pair->outbound_spi = sa->spi;
    struct spd_policy policy = policies_pair_out(pair);
    err = before == 0 ? add_policy(dataplane, &policy, note) : update_policy(dataplane, &policy, note);
    if (err != ERR_OK) {
        pair->outbound_spi = before;
        // The failure is what is reported; the IN policy of an unused pair protects and stays until the next comparison at worst.
        (void)settle(dataplane, pair, NULL);
    }
    return err;
}

static enum err leave_outbound(struct dataplane *dataplane, struct address_pair *pair, struct note *note)
{
    struct spd_policy policy = policies_pair_out(pair);
    enum err err = remove_policy(dataplane, &policy, note);
    if (err == ERR_OK)
        pair->outbound_spi = 0;
    return err;
}

enum err dataplane_remove(struct dataplane *dataplane, const struct sa *sa, struct note *note)
{
    struct sad_entry entry = entry_of(sa);
    struct address_pair *pair = address_pairs_find(&dataplane->pairs, local_end(&entry), remote_end(&entry));
    bool known = sa_table_find(&dataplane->sas, &sa->destination, sa->spi) != NULL;
    if (pair != NULL && !sa->inbound && pair->outbound_spi == sa->spi) {
        enum err err = leave_outbound(dataplane, pair, note);
        if (err != ERR_OK)
            return err;
    }
    enum err err = known ? sad_remove(dataplane->xfrm, &sa->destination, sa->spi, note) : ERR_NOT_FOUND;
    if (err != ERR_OK && err != ERR_NOT_FOUND)
        return err;
    sa_table_drop(&dataplane->sas, &sa->destination, sa->spi);
    if (pair == NULL)
        return err;
    if (known && sa->inbound && pair->inbound > 0)
        pair->inbound--;
    enum err settled = settle(dataplane, pair, note);
    return err != ERR_OK ? err : settled;
}

enum err dataplane_usage(struct dataplane *dataplane, const struct sa *sa, uint64_t *ret_packets, uint64_t *ret_bytes)
{
    struct sad_entry entry;
    enum err err = sad_get(dataplane->xfrm, &sa->destination, sa->spi, &entry, NULL);
    if (err != ERR_OK)
        return err;
    *ret_packets = entry.packets;
    *ret_bytes = entry.bytes;
    return ERR_OK;
}

// ---- what is there

// The peer with this slot, if the slice needs IPsec with it and this is one of its addresses.
static const Twofold__V1__Peer *peer_of(const Twofold__V1__Slice *slice, const struct sad_entry *entry)
{
    const struct ip *remote = remote_end(entry);
    for (size_t i = 0; i < slice->n_peers; i++) {
        const Twofold__V1__Peer *peer = slice->peers[i];
        if (peer->slot != entry->reqid - REQID_BASE)
            continue;
        bool address = false;
        for (size_t a = 0; a < peer->n_addresses; a++)
            address |= peer->addresses[a].len == remote->len &&
                       memcmp(peer->addresses[a].data, remote->bytes, remote->len) == 0;
        for (size_t r = 0; address && r < slice->n_rules; r++) {
            const Twofold__V1__Rule *rule = slice->rules[r];
            for (size_t p = 0; rule->ipsec && p < rule->n_peers; p++) {
                if (strcmp(rule->peers[p], peer->host) == 0)
                    return peer;
            }
        }
        return NULL;
    }
    return NULL;
}

static struct sa describe(const struct sad_entry *entry, const Twofold__V1__Peer *peer)
{
    struct sa sa = {
        .inbound = entry->inbound,
        .source = entry->source,
        .destination = entry->destination,
        .spi = entry->spi,
        .reqid = entry->reqid,
    };
    snprintf(sa.peer, sizeof(sa.peer), "%s", peer->host);
    return sa;
}

enum err dataplane_sas(const struct dataplane *dataplane, const Twofold__V1__Slice *slice, struct sa **ret_sas,
                       size_t *ret_count)
{
    struct sa *sas = calloc(dataplane->sas.count + 1, sizeof(*sas));
    if (sas == NULL)
        return ERR_NOMEM;
    size_t count = 0;
    for (size_t i = 0; i < dataplane->sas.count; i++) {
        const struct sad_entry *entry = &dataplane->sas.items[i];
        const Twofold__V1__Peer *peer = peer_of(slice, entry);
        if (peer != NULL)
            sas[count++] = describe(entry, peer);
    }
    *ret_sas = sas;
    *ret_count = count;
    return ERR_OK;
}

// The pairs that OUT policies of an earlier life point at SAs for.
static enum err adopt_policies(struct dataplane *dataplane, struct note *note)
{
    struct spd_policy *policies;
    size_t count;
    enum err err = spd_dump(dataplane->xfrm, &policies, &count, note);
    if (err != ERR_OK)
        return err;
    for (size_t i = 0; err == ERR_OK && i < count; i++) {
        const struct spd_policy *policy = &policies[i];
        struct address_pair *pair;
        if (policy->action != SPD_PROTECT || policy->direction != SPD_OUT || policy->spi == 0)
            continue;
        err = address_pairs_put(&dataplane->pairs, &policy->selector.source.ip, &policy->selector.destination.ip,
                                policy->reqid, &pair);
        if (err == ERR_OK)
            pair->outbound_spi = policy->spi;
    }
    free(policies);
    return err;
}

// Inbound SAs are kept as they are; outbound ones when the policy points at them. Anything else is a leftover.
static enum err adopt_sa(struct dataplane *dataplane, const Twofold__V1__Slice *slice, const struct sad_entry *entry,
                         struct note *note)
{
    struct address_pair *pair = address_pairs_find(&dataplane->pairs, local_end(entry), remote_end(entry));
    bool keep = peer_of(slice, entry) != NULL && (entry->inbound || (pair != NULL && pair->outbound_spi == entry->spi));
    if (!keep) {
        enum err err = sad_remove(dataplane->xfrm, &entry->destination, entry->spi, note);
        return err == ERR_NOT_FOUND ? ERR_OK : err;
    }
    enum err err = address_pairs_put(&dataplane->pairs, local_end(entry), remote_end(entry), entry->reqid, &pair);
    if (err == ERR_OK && entry->inbound)
        pair->inbound++;
    return err == ERR_OK ? sa_table_put(&dataplane->sas, entry) : err;
}

// Policies that point at an SA that is gone are no longer wanted; the next plan removes them.
static void forget_dangling(struct dataplane *dataplane)
{
    for (size_t i = dataplane->pairs.count; i > 0; i--) {
        struct address_pair *pair = &dataplane->pairs.items[i - 1];
        if (pair->outbound_spi != 0 && sa_table_find(&dataplane->sas, &pair->remote, pair->outbound_spi) == NULL)
            pair->outbound_spi = 0;
        if (!has_policy_in(pair))
            address_pairs_drop(&dataplane->pairs, pair);
    }
}

enum err dataplane_adopt(struct dataplane *dataplane, const Twofold__V1__Slice *slice, struct sa **ret_sas,
                         size_t *ret_count, struct note *note)
{
    struct sad_entry *entries = NULL;
    size_t count = 0;
    address_pairs_free(&dataplane->pairs);
    sa_table_free(&dataplane->sas);
    enum err err = adopt_policies(dataplane, note);
    if (err == ERR_OK)
        err = sad_dump(dataplane->xfrm, &entries, &count, note);
    for (size_t i = 0; err == ERR_OK && i < count; i++)
        err = adopt_sa(dataplane, slice, &entries[i], note);
    free(entries);
    if (err != ERR_OK)
        return err;
    forget_dangling(dataplane);
    return dataplane_sas(dataplane, slice, ret_sas, ret_count);
}

// ---- comparison

static enum err drop_strays(struct dataplane *dataplane, const struct sad_entry *entries, size_t count,
                            struct sa_table *seen, struct dataplane_repairs *repairs, struct note *note)
{
    for (size_t i = 0; i < count; i++) {
        enum err err;
        if (sa_table_find(&dataplane->sas, &entries[i].destination, entries[i].spi) != NULL) {
            err = sa_table_put(seen, &entries[i]);
        } else {
            repairs->strays++;
            err = sad_remove(dataplane->xfrm, &entries[i].destination, entries[i].spi, note);
        }
        if (err != ERR_OK && err != ERR_NOT_FOUND)
            return err;
    }
    return ERR_OK;
}

enum err dataplane_compare_sas(struct dataplane *dataplane, struct dataplane_repairs *repairs, struct note *note)
{
    struct sad_entry *entries = NULL;
    size_t count = 0;
    struct sa_table seen = {0};
    enum err err = sad_dump(dataplane->xfrm, &entries, &count, note);
    if (err == ERR_OK)
        err = drop_strays(dataplane, entries, count, &seen, repairs, note);
    free(entries);
    if (err != ERR_OK || seen.count == dataplane->sas.count) {
        sa_table_free(&seen);
        return err;
    }
    repairs->lost = dataplane->sas.count - seen.count;
    sa_table_free(&dataplane->sas);
    dataplane->sas = seen;
    for (size_t i = 0; i < dataplane->pairs.count; i++)
        dataplane->pairs.items[i].inbound = 0;
    for (size_t i = 0; i < seen.count; i++) {
        struct address_pair *pair =
            address_pairs_find(&dataplane->pairs, local_end(&seen.items[i]), remote_end(&seen.items[i]));
        if (pair != NULL && seen.items[i].inbound)
            pair->inbound++;
    }
    forget_dangling(dataplane);
    return ERR_OK;
}
