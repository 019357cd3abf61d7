// SPDX-License-Identifier: GPL-2.0-or-later
// View and host to slice. Hosts and rules of a view are sorted by name, so what is made here is in canonical order as it comes.
#include <stdlib.h>
#include <string.h>

#include "policy/policy.h"
#include "policy/view.h"
#include "proto/wire/message.h"
#include "proto/wire/slice.h"

static char *copy_text(const char *text)
{
    return strdup(text);
}

static bool copy_ip(const struct ip *ip, ProtobufCBinaryData *ret_bytes)
{
    ret_bytes->data = malloc(ip->len);
    if (!ret_bytes->data)
        return false;
    memcpy(ret_bytes->data, ip->bytes, ip->len);
    ret_bytes->len = ip->len;
    return true;
}

// Room for `count` pointers or values; never NULL for want of a count.
static void *make_array(size_t count, size_t size)
{
    return calloc(count ? count : 1, size);
}

// ---- peers

static enum err fill_peer(const struct view_host *host, Twofold__V1__Peer *peer)
{
    if (!(peer->host = copy_text(host->host->name)))
        return ERR_NOMEM;
    peer->slot = host->host->slot;
    if (!(peer->addresses = make_array(host->address_count, sizeof(*peer->addresses))))
        return ERR_NOMEM;
    for (; peer->n_addresses < host->address_count; peer->n_addresses++) {
        if (!copy_ip(&host->addresses[peer->n_addresses], &peer->addresses[peer->n_addresses]))
            return ERR_NOMEM;
    }
    if (!host->host->workload || !host->host->workload[0])
        return ERR_OK;
    if (!(peer->workloads = make_array(1, sizeof(*peer->workloads))) ||
        !(peer->workloads[0] = copy_text(host->host->workload)))
        return ERR_NOMEM;
    peer->n_workloads = 1;
    return ERR_OK;
}

static enum err fill_peers(const struct policy_view *view, const uint64_t *set, Twofold__V1__Slice *slice)
{
    size_t count = view_set_count(view, set);
    if (count > SLICE_PEERS_MAX)
        return ERR_LIMIT;
    if (!(slice->peers = make_array(count, sizeof(*slice->peers))))
        return ERR_NOMEM;
    for (size_t i = 0; i < view->host_count; i++) {
        if (!view_has(set, i))
            continue;
        Twofold__V1__Peer *peer = malloc(sizeof(*peer));
        if (!peer)
            return ERR_NOMEM;
        twofold__v1__peer__init(peer);
        slice->peers[slice->n_peers++] = peer;
        enum err err = fill_peer(&view->hosts[i], peer);
        if (err)
            return err;
    }
    return ERR_OK;
}

// ---- rules

static enum err fill_ports(const struct policy_ports *ports, Twofold__V1__PortRange ***ret_ports, size_t *count)
{
    if (!(*ret_ports = make_array(ports->count, sizeof(**ret_ports))))
        return ERR_NOMEM;
    for (size_t i = 0; i < ports->count; i++) {
        Twofold__V1__PortRange *range = malloc(sizeof(*range));
        if (!range)
            return ERR_NOMEM;
        twofold__v1__port_range__init(range);
        range->protocol = ports->items[i].protocol;
        range->first = ports->items[i].first;
        range->last = ports->items[i].last;
        (*ret_ports)[(*count)++] = range;
    }
    return ERR_OK;
}

// `peers` has a bit for each host of the far end, without the host itself.
static enum err fill_rule(const struct policy_view *view, const struct policy_rule *source, const uint64_t *peers,
                          Twofold__V1__Rule *rule)
{
    size_t count = view_set_count(view, peers);
    if (!(rule->name = copy_text(source->name)) || !(rule->peers = make_array(count, sizeof(*rule->peers))))
        return ERR_NOMEM;
    rule->ipsec = source->ipsec;
    rule->https = source->https;
    for (size_t i = 0; i < view->host_count; i++) {
        if (!view_has(peers, i))
            continue;
        if (!(rule->peers[rule->n_peers] = copy_text(view->hosts[i].host->name)))
            return ERR_NOMEM;
        rule->n_peers++;
    }
    return fill_ports(&source->ports, &rule->ports, &rule->n_ports);
}

// One host's slice in the making; the sets belong to it.
struct maker {
    const struct policy_view *view;
    size_t host;
    uint64_t *peers; // of all rules so far
    uint64_t *far;   // of the rule at hand
    Twofold__V1__Slice *slice;
};

// The hosts at the other end that can be peers: not the host itself, and only with an address.
static bool set_far(struct maker *maker, const uint64_t *set)
{
    uint64_t any = 0;
    memcpy(maker->far, set, maker->view->words * sizeof(*set));
    maker->far[maker->host / 64] &= ~(UINT64_C(1) << (maker->host % 64));
    for (size_t i = 0; i < maker->view->words; i++)
        maker->far[i] &= maker->view->reachable[i];
    for (size_t i = 0; i < maker->view->words; i++) {
        maker->peers[i] |= maker->far[i];
        any |= maker->far[i];
    }
    return any;
}

static enum err add_rule(struct maker *maker, const struct view_rule *source, Twofold__V1__Direction direction)
{
    Twofold__V1__Slice *slice = maker->slice;
    bool accepts = direction == TWOFOLD__V1__DIRECTION__DIRECTION_IN;
    if (!view_has(accepts ? source->to : source->from, maker->host) ||
        !set_far(maker, accepts ? source->from : source->to))
        return ERR_OK;
    if (slice->n_rules == SLICE_RULES_MAX)
        return ERR_LIMIT;
    Twofold__V1__Rule *rule = malloc(sizeof(*rule));
    if (!rule)
        return ERR_NOMEM;
    twofold__v1__rule__init(rule);
    rule->direction = direction;
    slice->rules[slice->n_rules++] = rule;
    return fill_rule(maker->view, source->rule, maker->far, rule);
}

static enum err fill_rules(struct maker *maker)
{
    size_t count = maker->view->policy->rule_count;
    if (!(maker->slice->rules = make_array(2 * count, sizeof(*maker->slice->rules))))
        return ERR_NOMEM;
    for (size_t i = 0; i < count; i++) {
        enum err err = add_rule(maker, &maker->view->rules[i], TWOFOLD__V1__DIRECTION__DIRECTION_IN);
        if (!err)
            err = add_rule(maker, &maker->view->rules[i], TWOFOLD__V1__DIRECTION__DIRECTION_OUT);
        if (err)
            return err;
    }
    return ERR_OK;
}

// ---- pinholes

static enum err fill_prefixes(const struct policy_pinhole *source, Twofold__V1__Pinhole *pinhole)
{
    static struct policy_cidr any[] = {{.prefix = {.ip = {.len = 4}}}, {.prefix = {.ip = {.len = 16}}}};
    const struct policy_cidrs all = {2, any};
    const struct policy_cidrs *cidrs = source->cidrs_given ? &source->cidrs : &all;

    if (!(pinhole->prefixes = make_array(cidrs->count, sizeof(*pinhole->prefixes))))
        return ERR_NOMEM;
    for (size_t i = 0; i < cidrs->count; i++) {
        Twofold__V1__Prefix *prefix = malloc(sizeof(*prefix));
        if (!prefix)
            return ERR_NOMEM;
        twofold__v1__prefix__init(prefix);
        pinhole->prefixes[pinhole->n_prefixes++] = prefix;
        if (!copy_ip(&cidrs->items[i].prefix.ip, &prefix->address))
            return ERR_NOMEM;
        prefix->bits = cidrs->items[i].prefix.bits;
    }
    return ERR_OK;
}

static enum err fill_pinhole(const struct policy_pinhole *source, Twofold__V1__Pinhole *pinhole)
{
    if (!(pinhole->name = copy_text(source->name)))
        return ERR_NOMEM;
    pinhole->direction = source->direction;
    enum err err = fill_prefixes(source, pinhole);
    return err ? err : fill_ports(&source->ports, &pinhole->ports, &pinhole->n_ports);
}

static int compare_pinholes(const void *a, const void *b)
{
    return strcmp((*(Twofold__V1__Pinhole *const *)a)->name, (*(Twofold__V1__Pinhole *const *)b)->name);
}

static enum err fill_pinholes(const struct policy *policy, Twofold__V1__Slice *slice)
{
    if (!(slice->pinholes = make_array(policy->pinhole_count, sizeof(*slice->pinholes))))
        return ERR_NOMEM;
    for (size_t i = 0; i < policy->pinhole_count; i++) {
        Twofold__V1__Pinhole *pinhole = malloc(sizeof(*pinhole));
        if (!pinhole)
            return ERR_NOMEM;
        twofold__v1__pinhole__init(pinhole);
        slice->pinholes[slice->n_pinholes++] = pinhole;
        enum err err = fill_pinhole(&policy->pinholes[i], pinhole);
        if (err)
            return err;
    }
    if (slice->n_pinholes > 1)
        qsort(slice->pinholes, slice->n_pinholes, sizeof(*slice->pinholes), compare_pinholes);
    return ERR_OK;
}

// ---- the whole

static enum err fill_settings(const struct policy_view *view, const char *host, Twofold__V1__Slice *slice)
{
    if (!(slice->settings = malloc(sizeof(*slice->settings))))
        return ERR_NOMEM;
    twofold__v1__settings__init(slice->settings);
    slice->settings->generation = view->inventory->generation;
    slice->settings->rekey_seconds = view->policy->rekey_seconds;
    slice->settings->independence_required = view->policy->independence_required;
    slice->settings->trust_domain = copy_text(view->inventory->trust_domain);
    slice->settings->host = copy_text(host);
    return slice->settings->trust_domain && slice->settings->host ? ERR_OK : ERR_NOMEM;
}

static enum err fill_revoked(const struct policy_view *view, Twofold__V1__Slice *slice)
{
    if (!(slice->revoked = make_array(view->revoked_count, sizeof(*slice->revoked))))
        return ERR_NOMEM;
    for (size_t i = 0; i < view->revoked_count; i++) {
        if (!(slice->revoked[i] = copy_text(view->revoked[i])))
            return ERR_NOMEM;
        slice->n_revoked++;
    }
    return ERR_OK;
}

enum err policy_compile_view(const struct policy_view *view, const char *host, Twofold__V1__Slice **ret_slice)
{
    struct maker maker = {.view = view, .host = view_host_by_name(view, host)};
    enum err err = ERR_NOMEM;

    if (maker.host == VIEW_NONE)
        return ERR_NOT_FOUND;
    maker.peers = make_array(view->words, sizeof(*maker.peers));
    maker.far = make_array(view->words, sizeof(*maker.far));
    maker.slice = malloc(sizeof(*maker.slice));
    if (maker.slice)
        twofold__v1__slice__init(maker.slice);
    if (maker.peers && maker.far && maker.slice && !(err = fill_settings(view, host, maker.slice)) &&
        !(err = fill_rules(&maker)) && !(err = fill_peers(view, maker.peers, maker.slice)) &&
        !(err = fill_pinholes(view->policy, maker.slice)))
        err = fill_revoked(view, maker.slice);
    free(maker.peers);
    free(maker.far);
    if (err)
        message_free(maker.slice);
    else
        *ret_slice = maker.slice;
    return err;
}

enum err policy_compile(const struct policy *policy, const struct inventory *inventory, const char *host,
                        Twofold__V1__Slice **ret_slice)
{
    struct policy_view *view;
    enum err err = policy_view_new(policy, inventory, &view, NULL);
    if (err)
        return err;
    err = policy_compile_view(view, host, ret_slice);
    policy_view_free(view);
    return err;
}
