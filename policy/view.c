// SPDX-License-Identifier: GPL-2.0-or-later
#include "policy/view.h"

#include <stdlib.h>
#include <string.h>

#include "proto/wire/slice.h"

#define SLOT_MAX ((1u << 20) - 1)

// ---- the inventory

static int compare_hosts(const void *a, const void *b)
{
    return strcmp(((const struct view_host *)a)->host->name, ((const struct view_host *)b)->host->name);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int compare_ips(const void *a, const void *b)
{
    return ip_compare(a, b);
}

size_t view_host_by_name(const struct policy_view *view, const char *name)
{
    struct inventory_host wanted = {.name = name};
    struct view_host key = {.host = &wanted};
    if (view->host_count == 0)
        return VIEW_NONE;
    const struct view_host *found = bsearch(&key, view->hosts, view->host_count, sizeof(*view->hosts), compare_hosts);
    return found ? (size_t)(found - view->hosts) : VIEW_NONE;
}

size_t view_host_by_address(const struct policy_view *view, const struct ip *address)
{
    for (size_t i = 0; i < view->host_count; i++) {
        for (size_t j = 0; j < view->hosts[i].address_count; j++) {
            if (ip_compare(&view->hosts[i].addresses[j], address) == 0)
                return i;
        }
    }
    return VIEW_NONE;
}

static enum err take_host(struct policy_view *view, const struct inventory_host *host, struct note *note)
{
    struct view_host *taken = &view->hosts[view->host_count];

    if (host->address_count > SLICE_PEER_ADDRESSES_MAX)
        return note_set(note, ERR_LIMIT, "Host '%s' has %zu addresses, and %d is the most.", host->name,
                        host->address_count, SLICE_PEER_ADDRESSES_MAX);
    if (host->slot == 0 || host->slot > SLOT_MAX)
        return note_set(note, ERR_INVALID, "Host '%s' has slot %u, and slots are 1 to %u.", host->name, host->slot,
                        SLOT_MAX);
    taken->host = host;
    taken->addresses = arena_alloc(&view->arena, host->address_count, sizeof(struct ip));
    if (!taken->addresses)
        return ERR_NOMEM;
    for (size_t i = 0; i < host->address_count; i++)
        taken->addresses[i] = host->addresses[i];
    if (host->address_count > 1)
        qsort(taken->addresses, host->address_count, sizeof(struct ip), compare_ips);
    for (size_t i = 0; i < host->address_count; i++) {
        if (i == 0 || ip_compare(&taken->addresses[i - 1], &taken->addresses[i]) != 0)
            taken->addresses[taken->address_count++] = taken->addresses[i];
    }
    view->host_count++;
    return ERR_OK;
}

static enum err take_hosts(struct policy_view *view, struct note *note)
{
    const struct inventory *inventory = view->inventory;

    if (inventory->host_count > SLICE_PEERS_MAX + SLICE_REVOKED_MAX)
        return note_set(note, ERR_LIMIT, "The inventory has %zu hosts, and %d is the most.", inventory->host_count,
                        SLICE_PEERS_MAX + SLICE_REVOKED_MAX);
    view->hosts = arena_alloc(&view->arena, inventory->host_count, sizeof(*view->hosts));
    view->revoked = arena_alloc(&view->arena, inventory->host_count, sizeof(*view->revoked));
    if (!view->hosts || !view->revoked)
        return ERR_NOMEM;
    for (size_t i = 0; i < inventory->host_count; i++) {
        const struct inventory_host *host = &inventory->hosts[i];
        enum err err = ERR_OK;
        if (host->revoked)
            view->revoked[view->revoked_count++] = host->name;
        else
            err = take_host(view, host, note);
        if (err)
            return err;
    }
    if (view->host_count > SLICE_PEERS_MAX || view->revoked_count > SLICE_REVOKED_MAX)
        return note_set(note, ERR_LIMIT, "There are %zu hosts and %zu revoked ones; %d and %d are the most.",
                        view->host_count, view->revoked_count, SLICE_PEERS_MAX, SLICE_REVOKED_MAX);
    if (view->host_count)
        qsort(view->hosts, view->host_count, sizeof(*view->hosts), compare_hosts);
    if (view->revoked_count)
        qsort(view->revoked, view->revoked_count, sizeof(*view->revoked), compare_names);
    return ERR_OK;
}

struct claim {
    struct ip address; // `len` 0: a slot
    uint32_t slot;
    const char *host;
};

static int compare_claims(const void *a, const void *b)
{
    const struct claim *left = a, *right = b;
    int order = ip_compare(&left->address, &right->address);
    if (order)
        return order;
    if (left->slot != right->slot)
        return left->slot < right->slot ? -1 : 1;
    return strcmp(left->host, right->host);
}

static enum err refuse_claim(const struct claim *first, const struct claim *second, struct note *note)
{
    char text[IP_TEXT_BYTES];
    if (first->address.len == 0)
        return note_set(note, ERR_INVALID, "Hosts '%s' and '%s' have the same slot %u: revoke one of them.",
                        first->host, second->host, first->slot);
    ip_format(&first->address, text);
    return note_set(note, ERR_INVALID, "Hosts '%s' and '%s' have the same address %s: revoke one of them.", first->host,
                    second->host, text);
}

// What must belong to one host only: its name, addresses and slot.
static enum err check_claims(const struct policy_view *view, struct note *note)
{
    size_t count = 0;
    enum err err = ERR_OK;

    for (size_t i = 1; i < view->host_count; i++) {
        if (compare_hosts(&view->hosts[i - 1], &view->hosts[i]) == 0)
            return note_set(note, ERR_INVALID, "There are two hosts '%s'.", view->hosts[i].host->name);
    }
    struct claim *claims = calloc(view->host_count * (SLICE_PEER_ADDRESSES_MAX + 1) + 1, sizeof(*claims));
    if (!claims)
        return ERR_NOMEM;
    for (size_t i = 0; i < view->host_count; i++) {
        const struct view_host *host = &view->hosts[i];
        claims[count++] = (struct claim){.slot = host->host->slot, .host = host->host->name};
        for (size_t j = 0; j < host->address_count; j++)
            claims[count++] = (struct claim){.address = host->addresses[j], .host = host->host->name};
    }
    if (count > 1)
        qsort(claims, count, sizeof(*claims), compare_claims);
    for (size_t i = 1; i < count && !err; i++) {
        if (ip_compare(&claims[i - 1].address, &claims[i].address) == 0 && claims[i - 1].slot == claims[i].slot)
            err = refuse_claim(&claims[i - 1], &claims[i], note);
    }
    free(claims);
    return err;
}

// ---- segments

static void set_add(uint64_t *set, size_t host)
{
    set[host / 64] |= UINT64_C(1) << (host % 64);
}

static enum err fill_reachable(struct policy_view *view)
{
    view->words = (view->host_count + 63) / 64;
    view->reachable = arena_alloc(&view->arena, view->words, sizeof(uint64_t));
    if (!view->reachable)
        return ERR_NOMEM;
    for (size_t i = 0; i < view->host_count; i++) {
        if (view->hosts[i].address_count)
            set_add(view->reachable, i);
    }
    return ERR_OK;
}

size_t view_set_count(const struct policy_view *view, const uint64_t *set)
{
    size_t count = 0;
    for (size_t i = 0; i < view->words; i++)
        count += (size_t)__builtin_popcountll(set[i]);
    return count;
}

static bool has_label(const struct inventory_host *host, const struct policy_label *label)
{
    for (size_t i = 0; i < host->label_count; i++) {
        if (strcmp(host->labels[i].key, label->key) == 0 && strcmp(host->labels[i].value, label->value) == 0)
            return true;
    }
    return false;
}

static void select_by_labels(const struct policy_view *view, const struct policy_segment *segment, uint64_t *set)
{
    for (size_t i = 0; segment->label_count && i < view->host_count; i++) {
        size_t matched = 0;
        while (matched < segment->label_count && has_label(view->hosts[i].host, &segment->labels[matched]))
            matched++;
        if (matched == segment->label_count)
            set_add(set, i);
    }
}

static void select_by_names(const struct policy_view *view, const struct policy_segment *segment, uint64_t *set)
{
    for (size_t i = 0; i < segment->hosts.count; i++) {
        size_t host = view_host_by_name(view, segment->hosts.items[i].text);
        if (host != VIEW_NONE)
            set_add(set, host);
    }
}

struct owned_prefix {
    struct ip_prefix prefix;
    size_t segment;
};

static int compare_prefixes(const void *a, const void *b)
{
    return ip_compare(&((const struct owned_prefix *)a)->prefix.ip, &((const struct owned_prefix *)b)->prefix.ip);
}

// The check made all CIDRs of a policy disjoint, so the one that can hold an address is the last that does not begin behind it.
static const struct owned_prefix *find_prefix(const struct owned_prefix *sorted, size_t count, const struct ip *address)
{
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (ip_compare(&sorted[middle].prefix.ip, address) <= 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low && ip_prefix_contains(&sorted[low - 1].prefix, address) ? &sorted[low - 1] : NULL;
}

static enum err select_by_cidrs(struct policy_view *view)
{
    const struct policy *policy = view->policy;
    size_t count = 0;

    for (size_t i = 0; i < policy->segment_count; i++)
        count += policy->segments[i].cidrs.count;
    struct owned_prefix *sorted = calloc(count + 1, sizeof(*sorted));
    if (!sorted)
        return ERR_NOMEM;
    count = 0;
    for (size_t i = 0; i < policy->segment_count; i++) {
        for (size_t j = 0; j < policy->segments[i].cidrs.count; j++)
            sorted[count++] = (struct owned_prefix){policy->segments[i].cidrs.items[j].prefix, i};
    }
    if (count > 1)
        qsort(sorted, count, sizeof(*sorted), compare_prefixes);
    for (size_t i = 0; i < view->host_count; i++) {
        for (size_t j = 0; j < view->hosts[i].address_count; j++) {
            const struct owned_prefix *prefix = find_prefix(sorted, count, &view->hosts[i].addresses[j]);
            if (prefix)
                set_add(view->segments[prefix->segment], i);
        }
    }
    free(sorted);
    return ERR_OK;
}

static void join(const struct policy_view *view, uint64_t *set, const uint64_t *other)
{
    for (size_t i = 0; i < view->words; i++)
        set[i] |= other[i];
}

// The check left no cycles; a segment is whole once those that it includes are.
static void include(const struct policy_view *view, size_t index, bool *done)
{
    const struct policy_names *includes = &view->policy->segments[index].segments;
    done[index] = true;
    for (size_t i = 0; i < includes->count; i++) {
        size_t other = includes->items[i].segment;
        if (!done[other])
            include(view, other, done);
        join(view, view->segments[index], view->segments[other]);
    }
}

static enum err fill_segments(struct policy_view *view)
{
    const struct policy *policy = view->policy;
    enum err err;

    view->segments = arena_alloc(&view->arena, policy->segment_count, sizeof(*view->segments));
    bool *done = arena_alloc(&view->arena, policy->segment_count, sizeof(*done));
    if (!view->segments || !done)
        return ERR_NOMEM;
    for (size_t i = 0; i < policy->segment_count; i++) {
        if (!(view->segments[i] = arena_alloc(&view->arena, view->words, sizeof(uint64_t))))
            return ERR_NOMEM;
        select_by_labels(view, &policy->segments[i], view->segments[i]);
        select_by_names(view, &policy->segments[i], view->segments[i]);
    }
    if ((err = select_by_cidrs(view)))
        return err;
    for (size_t i = 0; i < policy->segment_count; i++) {
        if (!done[i])
            include(view, i, done);
    }
    return ERR_OK;
}

// ---- rules

static int compare_rules(const void *a, const void *b)
{
    return strcmp(((const struct view_rule *)a)->rule->name, ((const struct view_rule *)b)->rule->name);
}

static const uint64_t *all_of(struct policy_view *view, const struct policy_names *names)
{
    if (names->count == 1)
        return view->segments[names->items[0].segment];
    uint64_t *set = arena_alloc(&view->arena, view->words, sizeof(uint64_t));
    for (size_t i = 0; set && i < names->count; i++)
        join(view, set, view->segments[names->items[i].segment]);
    return set;
}

static enum err fill_rules(struct policy_view *view)
{
    const struct policy *policy = view->policy;

    view->rules = arena_alloc(&view->arena, policy->rule_count, sizeof(*view->rules));
    if (!view->rules)
        return ERR_NOMEM;
    for (size_t i = 0; i < policy->rule_count; i++) {
        const struct policy_rule *rule = &policy->rules[i];
        view->rules[i] = (struct view_rule){rule, all_of(view, &rule->from), all_of(view, &rule->to)};
        if (!view->rules[i].from || !view->rules[i].to)
            return ERR_NOMEM;
    }
    if (policy->rule_count > 1)
        qsort(view->rules, policy->rule_count, sizeof(*view->rules), compare_rules);
    return ERR_OK;
}

enum err policy_view_new(const struct policy *policy, const struct inventory *inventory, struct policy_view **ret_view,
                         struct note *note)
{
    enum err err;
    struct policy_view *view = calloc(1, sizeof(*view));
    if (!view)
        return note_set(note, ERR_NOMEM, "There is not enough memory to work out the policy.");
    view->policy = policy;
    view->inventory = inventory;
    if ((err = take_hosts(view, note)) || (err = check_claims(view, note)) || (err = fill_reachable(view)) ||
        (err = fill_segments(view)) || (err = fill_rules(view))) {
        if (err == ERR_NOMEM)
            note_set(note, err, "There is not enough memory to work out the policy.");
        policy_view_free(view);
        return err;
    }
    *ret_view = view;
    return ERR_OK;
}

void policy_view_free(struct policy_view *view)
{
    if (!view)
        return;
    arena_free(&view->arena);
    free(view);
}
