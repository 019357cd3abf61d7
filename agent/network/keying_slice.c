// SPDX-License-Identifier: GPL-2.0-or-later
// From the slice to the peers: whom it connects by IPsec, at which addresses; and the SAs found in the kernel, given to them.
#include <stdlib.h>
#include <string.h>

#include "agent/network/keying_inside.h"

#define SLOT_MAX ((1u << 20) - 1)

struct keying_peer *keying_find(const struct keying *keying, const char *host)
{
    size_t low = 0, high = keying->peer_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(host, keying->peers[middle]->host);
        if (order == 0)
            return keying->peers[middle];
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

// ---- reading

static enum err read_peer(const Twofold__V1__Peer *from, struct keying_peer *to, struct note *note)
{
    if (!name_is_valid(from->host) || from->slot == 0 || from->slot > SLOT_MAX ||
        from->n_addresses > CERT_ADDRESSES_MAX)
        return note_set(note, ERR_MALFORMED,
                        "the slice names a peer whose name, slot or number of addresses is not valid");
    memcpy(to->host, from->host, strlen(from->host) + 1);
    to->slot = from->slot;
    to->address_count = from->n_addresses;
    for (size_t i = 0; i < from->n_addresses; i++)
        if (ip_from_bytes(from->addresses[i].data, from->addresses[i].len, &to->addresses[i]))
            return note_set(note, ERR_MALFORMED, "the slice gives %s an address that is none", from->host);
    return ERR_OK;
}

static enum err check_settings(const struct keying *keying, const Twofold__V1__Slice *slice, struct note *note)
{
    const Twofold__V1__Settings *settings = slice->settings;

    if (!settings || settings->rekey_seconds < 2 || settings->rekey_seconds > 3600)
        return note_set(note, ERR_MALFORMED, "the slice's settings are missing or its rekey time is not in 2..3600 s");
    if (strcmp(settings->host, keying->host) != 0)
        return note_set(note, ERR_IDENTITY, "this is the slice of %s; this host is %s", settings->host, keying->host);
    if (keying->key && strcmp(settings->trust_domain, keying->facts.id.trust_domain) != 0)
        return note_set(note, ERR_IDENTITY, "the slice is of the trust domain %s; this host's certificate is of %s",
                        settings->trust_domain, keying->facts.id.trust_domain);
    return ERR_OK;
}

enum err keying_check(const struct keying *keying, const Twofold__V1__Slice *slice, struct note *note)
{
    struct keying_peer *wanted = calloc(1, sizeof(*wanted));
    struct note own;

    if (!wanted)
        return note_set(note, ERR_NOMEM, "the slice cannot be checked: out of memory");
    enum err err = check_settings(keying, slice, note);
    for (size_t i = 0; !err && i < slice->n_peers; i++) {
        err = read_peer(slice->peers[i], wanted, note);
        const struct keying_peer *known = err ? NULL : keying_find(keying, wanted->host);
        if (!known || !known->bundle)
            continue;
        wanted->bundle = known->bundle;
        // Its age is no matter here.
        if (keying_bundle_fits(keying, wanted, &own) == ERR_IDENTITY) {
            err = ERR_IDENTITY;
            if (note)
                *note = own;
        }
    }
    free(wanted);
    return err;
}

// ---- the new peers

struct plan {
    size_t count;
    struct keying_peer **peers;  // by host; those of before are the same objects
    struct keying_peer **wanted; // what the slice says of each
    size_t revoked_count;
    char **revoked;
};

static void plan_free(struct keying *keying, struct plan *plan)
{
    for (size_t i = 0; i < plan->count; i++) {
        if (plan->peers[i] && keying_find(keying, plan->peers[i]->host) != plan->peers[i])
            keying_peer_free(keying, plan->peers[i]);
        free(plan->wanted[i]);
    }
    for (size_t i = 0; i < plan->revoked_count; i++)
        free(plan->revoked[i]);
    free(plan->peers);
    free(plan->wanted);
    free(plan->revoked);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

// The hosts that a rule with IPsec names, ascending. The names stay the slice's.
static enum err names_by_ipsec(const Twofold__V1__Slice *slice, const char ***ret_names, size_t *ret_count)
{
    size_t total = 0, count = 0, kept = 0;

    for (size_t i = 0; i < slice->n_rules; i++)
        total += slice->rules[i]->ipsec ? slice->rules[i]->n_peers : 0;
    const char **names = calloc(total + 1, sizeof(*names));
    if (!names)
        return ERR_NOMEM;
    for (size_t i = 0; i < slice->n_rules; i++)
        for (size_t j = 0; slice->rules[i]->ipsec && j < slice->rules[i]->n_peers; j++)
            names[count++] = slice->rules[i]->peers[j];
    qsort(names, count, sizeof(*names), compare_names);
    for (size_t i = 0; i < count; i++)
        if (i == 0 || strcmp(names[i], names[i - 1]) != 0)
            names[kept++] = names[i];
    *ret_names = names;
    *ret_count = kept;
    return ERR_OK;
}

static const Twofold__V1__Peer *find_in_slice(const Twofold__V1__Slice *slice, const char *host)
{
    size_t low = 0, high = slice->n_peers;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(host, slice->peers[middle]->host);
        if (order == 0)
            return slice->peers[middle];
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

static enum err plan_one(struct keying *keying, const Twofold__V1__Slice *slice, const char *host, struct plan *plan,
                         struct note *note)
{
    const Twofold__V1__Peer *peer = find_in_slice(slice, host);
    size_t at = plan->count++;

    if (!peer || strcmp(host, keying->host) == 0)
        return note_set(note, ERR_MALFORMED, "a rule of the slice names %s, which is %s", host,
                        peer ? "this host" : "not among its peers");
    plan->wanted[at] = calloc(1, sizeof(*plan->wanted[at]));
    if (!plan->wanted[at])
        return ERR_NOMEM;
    enum err err = read_peer(peer, plan->wanted[at], note);
    if (err)
        return err;
    plan->peers[at] = keying_find(keying, host);
    return plan->peers[at] ? ERR_OK : keying_peer_new(keying, host, &plan->peers[at]);
}

static enum err plan_revoked(const Twofold__V1__Slice *slice, struct plan *plan)
{
    plan->revoked = calloc(slice->n_revoked + 1, sizeof(*plan->revoked));
    if (!plan->revoked)
        return ERR_NOMEM;
    for (size_t i = 0; i < slice->n_revoked; i++) {
        plan->revoked[i] = strdup(slice->revoked[i]);
        if (!plan->revoked[i])
            return ERR_NOMEM;
        plan->revoked_count++;
    }
    qsort(plan->revoked, plan->revoked_count, sizeof(*plan->revoked), compare_names);
    return ERR_OK;
}

static enum err make_plan(struct keying *keying, const Twofold__V1__Slice *slice, struct plan *plan, struct note *note)
{
    const char **names;
    size_t count;

    enum err err = names_by_ipsec(slice, &names, &count);
    if (err)
        return err;
    plan->peers = calloc(count + 1, sizeof(*plan->peers));
    plan->wanted = calloc(count + 1, sizeof(*plan->wanted));
    err = plan->peers && plan->wanted ? plan_revoked(slice, plan) : ERR_NOMEM;
    for (size_t i = 0; !err && i < count; i++)
        err = plan_one(keying, slice, names[i], plan, note);
    free(names);
    return err;
}

// ---- SAs of before the start

static bool belongs_to(const struct keying_peer *peer, const struct sa *sa)
{
    uint32_t sender = sa->spi >> 12;

    if (sa->reqid != REQID_BASE + peer->slot || (sender == peer->slot) != sa->inbound)
        return false;
    for (size_t i = 0; i < peer->path_count; i++) {
        const struct ip *source = sa->inbound ? &peer->paths[i].peer : &peer->paths[i].local;
        const struct ip *destination = sa->inbound ? &peer->paths[i].local : &peer->paths[i].peer;
        if (ip_compare(&sa->source, source) == 0 && ip_compare(&sa->destination, destination) == 0)
            return true;
    }
    return false;
}

static struct keying_peer *owner_of(const struct keying *keying, const struct sa *sa)
{
    for (size_t i = 0; i < keying->peer_count; i++)
        if (belongs_to(keying->peers[i], sa))
            return keying->peers[i];
    return NULL;
}

static void hand_over(struct keying *keying, struct keying_peer *peer, const struct sa *sa)
{
    struct sa *adopted = realloc(peer->adopted, (peer->adopted_count + 1) * sizeof(*adopted));

    if (!adopted)
        return; // the kernel's own limit ends it
    adopted[peer->adopted_count] = *sa;
    memcpy(adopted[peer->adopted_count].peer, peer->host, sizeof(peer->host));
    peer->adopted = adopted;
    peer->adopted_count++;
    peer->adopted_ms = keying_now(keying);
    peer->usage_at_ms = peer->adopted_ms + KEYING_USAGE_MS;
    keying_wake(keying, peer->usage_at_ms);
}

// Each to its peer; what belongs to none goes.
static void distribute(struct keying *keying)
{
    if (!keying->has_slice || !keying->key)
        return;
    for (size_t i = 0; i < keying->adopted_count; i++) {
        struct keying_peer *peer = owner_of(keying, &keying->adopted[i]);
        if (peer)
            hand_over(keying, peer, &keying->adopted[i]);
        else
            keying_leaving_add(keying, &keying->adopted[i], keying_now(keying));
    }
    free(keying->adopted);
    keying->adopted = NULL;
    keying->adopted_count = 0;
}

enum err keying_adopt(struct keying *keying, const struct sa *sas, size_t count)
{
    struct sa *adopted = realloc(keying->adopted, (keying->adopted_count + count + 1) * sizeof(*adopted));

    if (!adopted)
        return ERR_NOMEM;
    keying->adopted = adopted;
    for (size_t i = 0; i < count; i++)
        keying->adopted[keying->adopted_count++] = sas[i];
    keying_enter(keying);
    distribute(keying);
    keying_leave(keying);
    return ERR_OK;
}

// ---- putting in force

// The SAs of before don't fit an address or slot that has changed.
static void refresh(struct keying *keying, struct keying_peer *peer)
{
    struct derive_path paths[DERIVE_PATHS_MAX] = {0};
    size_t count;

    keying_make_paths(keying, peer, paths, &count);
    if (count == peer->path_count && memcmp(paths, peer->paths, count * sizeof(*paths)) == 0)
        return;
    keying_peer_cut(keying, peer);
    memcpy(peer->paths, paths, sizeof(paths));
    peer->path_count = count;
    keying_changed(keying, peer);
}

static void update(struct keying *keying, struct keying_peer *peer, const struct keying_peer *wanted)
{
    if (peer->slot && peer->slot != wanted->slot)
        keying_peer_cut(keying, peer);
    peer->slot = wanted->slot;
    peer->address_count = wanted->address_count;
    memcpy(peer->addresses, wanted->addresses, sizeof(peer->addresses));
    refresh(keying, peer);
}

static void remove_gone(struct keying *keying, const struct plan *plan)
{
    size_t j = 0;

    for (size_t i = 0; i < keying->peer_count; i++) {
        struct keying_peer *peer = keying->peers[i];
        while (j < plan->count && strcmp(plan->peers[j]->host, peer->host) < 0)
            j++;
        if (j < plan->count && plan->peers[j] == peer)
            continue;
        keying_peer_cut(keying, peer);
        peer->seen->is_peer = false;
        keying_changed(keying, peer);
        keying_peer_free(keying, peer);
    }
}

static void swap_in(struct keying *keying, struct plan *plan)
{
    char **revoked = keying->revoked;
    size_t revoked_count = keying->revoked_count;
    struct keying_peer **before = keying->peers;

    remove_gone(keying, plan);
    keying->peers = plan->peers;
    keying->peer_count = plan->count;
    keying->revoked = plan->revoked;
    keying->revoked_count = plan->revoked_count;
    for (size_t i = 0; i < keying->peer_count; i++)
        keying->peers[i]->seen->is_peer = true;
    for (size_t i = 0; i < keying->peer_count; i++) {
        update(keying, keying->peers[i], plan->wanted[i]);
        free(plan->wanted[i]);
    }
    free(plan->wanted);
    free(before);
    for (size_t i = 0; i < revoked_count; i++)
        free(revoked[i]);
    free(revoked);
}

static void begin(struct keying *keying)
{
    distribute(keying);
    for (size_t i = 0; i < keying->peer_count; i++) {
        struct keying_peer *peer = keying->peers[i];
        keying_make_pair(keying, peer, true);
        // The controller introduces new peers to each other; if nothing comes, it is asked to by a repetition.
        if (!peer->pair_count && peer->retry_at_ms == UINT64_MAX)
            keying_watch_again(keying, peer);
    }
    keying_wake(keying, keying_now(keying));
}

enum err keying_set_slice(struct keying *keying, const Twofold__V1__Slice *slice, struct note *note)
{
    struct plan plan = {0};

    enum err err = check_settings(keying, slice, note);
    if (err)
        return err;
    keying_enter(keying);
    err = make_plan(keying, slice, &plan, note);
    if (err) {
        plan_free(keying, &plan);
    } else {
        uint32_t before = keying->rekey_seconds;
        keying->rekey_seconds = slice->settings->rekey_seconds;
        swap_in(keying, &plan);
        keying->has_slice = true;
        if (keying->own.key && keying->rekey_seconds < before)
            keying_own_hasten(keying);
        begin(keying);
    }
    keying_leave(keying);
    if (err == ERR_NOMEM)
        return note_set(note, err, "the slice's peers cannot be set up: out of memory");
    return err;
}

void keying_readdress(struct keying *keying)
{
    for (size_t i = 0; i < keying->peer_count; i++)
        refresh(keying, keying->peers[i]);
    begin(keying);
}
