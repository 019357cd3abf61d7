// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/network/dataplane.h"

#include <linux/netfilter/nfnetlink.h>
#include <linux/rtnetlink.h>
#include <linux/xfrm.h>
#include <stdlib.h>
#include <string.h>

#include "agent/network/dataplane_internal.h"
#include "agent/network/own_addresses.h"
#include "agent/network/policies.h"
#include "agent/network/xfrm/apply.h"
#include "agent/network/xfrm/plan.h"
#include "proto/wire/slice.h"

enum {
    ATTEMPTS = 3 // after answers of the kernel were lost or a dump was interrupted
};

static uint32_t group_bit(unsigned group)
{
    return UINT32_C(1) << (group - 1);
}

enum err dataplane_new(const struct dataplane_config *config, struct dataplane **ret_dataplane, struct note *note)
{
    struct dataplane *dataplane = calloc(1, sizeof(*dataplane));
    if (dataplane == NULL)
        return ERR_NOMEM;
    dataplane->config = *config;
    enum err err = netlink_open(NETLINK_XFRM, 0, &dataplane->xfrm, note);
    if (err == ERR_OK)
        err = netlink_open(NETLINK_XFRM,
                           group_bit(XFRMNLGRP_SA) | group_bit(XFRMNLGRP_POLICY) | group_bit(XFRMNLGRP_EXPIRE),
                           &dataplane->xfrm_events, note);
    if (err == ERR_OK)
        err = netlink_open(NETLINK_NETFILTER, group_bit(NFNLGRP_NFTABLES), &dataplane->nft_events, note);
    if (err == ERR_OK)
        err = netlink_open(NETLINK_ROUTE, group_bit(RTNLGRP_IPV6_IFADDR), &dataplane->address_events, note);
    if (err == ERR_OK)
        err = nft_new(&dataplane->nft, note);
    if (err != ERR_OK) {
        dataplane_free(dataplane);
        return err;
    }
    sad_probe(dataplane->xfrm, &dataplane->support);
    *ret_dataplane = dataplane;
    return ERR_OK;
}

void dataplane_free(struct dataplane *dataplane)
{
    if (dataplane == NULL)
        return;
    nft_free(dataplane->nft);
    netlink_close(dataplane->address_events);
    netlink_close(dataplane->nft_events);
    netlink_close(dataplane->xfrm_events);
    netlink_close(dataplane->xfrm);
    address_pairs_free(&dataplane->pairs);
    sa_table_free(&dataplane->sas);
    free(dataplane->text);
    free(dataplane);
}

const struct sad_support *dataplane_support(const struct dataplane *dataplane)
{
    return &dataplane->support;
}

void dataplane_probe(struct dataplane *dataplane)
{
    sad_probe(dataplane->xfrm, &dataplane->support);
}

// ---- policies

static const struct ip_endpoint *controller_of(const struct dataplane *dataplane)
{
    return dataplane->has_controller ? &dataplane->controller : NULL;
}

static enum err make_policies(struct dataplane *dataplane, const Twofold__V1__Slice *slice,
                              struct spd_policy **ret_policies, size_t *ret_count, struct note *note)
{
    struct ip own6[OWN_ADDRESSES_MAX];
    struct policies_input input = {
        .slice = slice,
        .controller = controller_of(dataplane),
        .tunnel_port = dataplane->config.tunnel_port,
        .own6 = own6,
        .pairs = &dataplane->pairs,
    };
    enum err err = own_addresses6(own6, &input.own6_count);
    if (err != ERR_OK)
        return note_set(note, err, "the host's own addresses cannot be read");
    return policies_make(&input, ret_policies, ret_count, note);
}

// Before a slice of this life is committed, policies of an earlier one are neither changed nor removed.
static void keep_additions(struct plan *plan)
{
    size_t kept = 0;
    for (size_t i = 0; i < plan->count; i++) {
        if (plan->steps[i].kind == PLAN_ADD)
            plan->steps[kept++] = plan->steps[i];
    }
    plan->count = kept;
}

static enum err plan_policies(struct dataplane *dataplane, const Twofold__V1__Slice *slice, struct plan *ret_plan,
                              struct note *note)
{
    struct spd_policy *wanted = NULL;
    struct spd_policy *have = NULL;
    size_t wanted_count, have_count;
    enum err err = make_policies(dataplane, slice, &wanted, &wanted_count, note);
    if (err != ERR_OK)
        return err;
    err = spd_dump(dataplane->xfrm, &have, &have_count, note);
    if (err == ERR_OK)
        err = plan_make(wanted, wanted_count, have, have_count, ret_plan);
    if (err == ERR_OK && slice == NULL)
        keep_additions(ret_plan);
    free(have);
    free(wanted);
    return err;
}

// On success the plan is what was done, for a later undo.
static enum err apply_policies(struct dataplane *dataplane, const Twofold__V1__Slice *slice, struct plan *ret_plan,
                               struct note *note)
{
    enum err err = ERR_AGAIN;
    for (int i = 0; i < ATTEMPTS && err == ERR_AGAIN; i++) {
        struct plan plan;
        err = plan_policies(dataplane, slice, &plan, note);
        if (err != ERR_OK)
            continue;
        err = apply_plan(dataplane->xfrm, &plan, note);
        if (err == ERR_OK)
            *ret_plan = plan;
        else
            plan_free(&plan);
    }
    return err;
}

// ---- ruleset

static enum err make_text(struct dataplane *dataplane, const Twofold__V1__Slice *slice, char **ret_text,
                          struct note *note)
{
    struct nft_input input = {
        .slice = slice,
        .controller = controller_of(dataplane),
        .control_uid = dataplane->config.control_uid,
        .https_uid = dataplane->config.https_uid,
        .outbound_port = dataplane->config.outbound_port,
        .tunnel_port = dataplane->config.tunnel_port,
    };
    struct buf text;
    buf_init(&text, NFT_TEXT_BYTES_MAX);
    enum err err = nft_text(&input, &text);
    if (err == ERR_OK)
        err = buf_append_u8(&text, '\0');
    char *copy = err == ERR_OK ? strdup((const char *)buf_bytes(&text)) : NULL;
    buf_free(&text);
    if (copy == NULL)
        return note_set(note, err != ERR_OK ? err : ERR_NOMEM, "the ruleset of the slice cannot be written: %s",
                        err_text(err));
    *ret_text = copy;
    return ERR_OK;
}

// Takes the text over; it is what the kernel has now.
static void load_text(struct dataplane *dataplane, char *text)
{
    free(dataplane->text);
    dataplane->text = text;
    nft_digest(dataplane->nft, dataplane->table_digest);
}

// Counters start again with a new table; what the old one counted is kept.
static enum err apply_text(struct dataplane *dataplane, const char *text, struct note *note)
{
    uint64_t packets[NFT_REASON_COUNT];
    nft_counters(dataplane->nft, packets);
    enum err err = nft_apply(dataplane->nft, text, note);
    for (int i = 0; err == ERR_OK && i < NFT_REASON_COUNT; i++)
        dataplane->refused[i] += packets[i];
    return err;
}

void dataplane_refused(struct dataplane *dataplane, uint64_t ret_packets[NFT_REASON_COUNT])
{
    nft_counters(dataplane->nft, ret_packets);
    for (int i = 0; i < NFT_REASON_COUNT; i++)
        ret_packets[i] += dataplane->refused[i];
}

// ---- slices

enum err dataplane_check(struct dataplane *dataplane, const Twofold__V1__Slice *slice, struct note *note)
{
    struct spd_policy *policies;
    size_t count;
    char *text;
    enum err err = make_policies(dataplane, slice, &policies, &count, note);
    if (err != ERR_OK)
        return err;
    free(policies);
    err = make_text(dataplane, slice, &text, note);
    if (err != ERR_OK)
        return err;
    err = nft_check(dataplane->nft, text, note);
    free(text);
    return err;
}

enum err dataplane_commit(struct dataplane *dataplane, const Twofold__V1__Slice *slice, struct note *note)
{
    char *text;
    struct plan plan;
    enum err err = make_text(dataplane, slice, &text, note);
    if (err != ERR_OK)
        return err;
    err = apply_policies(dataplane, slice, &plan, note);
    if (err != ERR_OK)
        goto err_text;
    err = apply_text(dataplane, text, note);
    if (err != ERR_OK)
        goto err_policies;
    plan_free(&plan);
    load_text(dataplane, text);
    dataplane->slice = slice;
    return ERR_OK;

err_policies:
    if (apply_undo(dataplane->xfrm, &plan, NULL) != ERR_OK)
        note_prefix(note, "the IPsec policies could not be put back; ");
    plan_free(&plan);
err_text:
    free(text);
    return err;
}

// The floor in force, with the controller's pinhole; only adds where something of an earlier life stands.
static enum err apply_floor(struct dataplane *dataplane, struct note *note)
{
    struct plan plan;
    char *text;
    if (nft_presence(dataplane->nft) != NFT_SLICE) {
        enum err err = make_text(dataplane, NULL, &text, note);
        if (err == ERR_OK)
            err = apply_text(dataplane, text, note);
        if (err != ERR_OK)
            return err;
        load_text(dataplane, text);
    }
    enum err err = apply_policies(dataplane, NULL, &plan, note);
    if (err == ERR_OK)
        plan_free(&plan);
    return err;
}

enum err dataplane_start(struct dataplane *dataplane, struct note *note)
{
    return apply_floor(dataplane, note);
}

enum err dataplane_set_controller(struct dataplane *dataplane, const struct ip_endpoint *controller, struct note *note)
{
    if (dataplane->has_controller && ip_compare(&dataplane->controller.ip, &controller->ip) == 0 &&
        dataplane->controller.port == controller->port)
        return ERR_OK;
    bool had = dataplane->has_controller;
    struct ip_endpoint before = dataplane->controller;
    dataplane->controller = *controller;
    dataplane->has_controller = true;
    enum err err =
        dataplane->slice != NULL ? dataplane_commit(dataplane, dataplane->slice, note) : apply_floor(dataplane, note);
    if (err != ERR_OK) {
        dataplane->controller = before;
        dataplane->has_controller = had;
    }
    return err;
}

// ---- repair

static enum err repair_table(struct dataplane *dataplane, struct dataplane_repairs *repairs, struct note *note)
{
    uint8_t digest[DIGEST_BYTES];
    if (dataplane->text == NULL)
        return ERR_OK;
    nft_digest(dataplane->nft, digest);
    if (memcmp(digest, dataplane->table_digest, sizeof(digest)) == 0)
        return ERR_OK;
    repairs->table = true;
    enum err err = apply_text(dataplane, dataplane->text, note);
    if (err == ERR_OK)
        nft_digest(dataplane->nft, dataplane->table_digest);
    return err;
}

enum err dataplane_reconcile(struct dataplane *dataplane, struct dataplane_repairs *ret_repairs, struct note *note)
{
    struct dataplane_repairs repairs = {0};
    enum err err = repair_table(dataplane, &repairs, note);
    if (err == ERR_OK && dataplane->slice != NULL)
        err = dataplane_compare_sas(dataplane, &repairs, note);
    struct plan plan = {0};
    if (err == ERR_OK)
        err = apply_policies(dataplane, dataplane->slice, &plan, note);
    if (err == ERR_OK)
        repairs.policies = plan.count;
    plan_free(&plan);
    *ret_repairs = repairs;
    return err;
}

void dataplane_event_fds(const struct dataplane *dataplane, int ret_fds[DATAPLANE_EVENT_FDS])
{
    ret_fds[0] = netlink_fd(dataplane->xfrm_events);
    ret_fds[1] = netlink_fd(dataplane->nft_events);
    ret_fds[2] = netlink_fd(dataplane->address_events);
}

static bool drain(struct netlink *events, uint32_t own_port)
{
    bool foreign;
    return netlink_drain(events, own_port, &foreign) != ERR_OK || foreign;
}

bool dataplane_drain_events(struct dataplane *dataplane)
{
    bool xfrm = drain(dataplane->xfrm_events, netlink_port(dataplane->xfrm));
    // libnftables does not tell its port: its own transactions count as foreign and cost one comparison.
    bool nft = drain(dataplane->nft_events, 0);
    bool addresses = drain(dataplane->address_events, UINT32_MAX);
    return xfrm || nft || addresses;
}
