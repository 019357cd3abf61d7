// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/unit/keying_world.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proto/base/file.h"
#include "proto/wire/message.h"

#define STEP_MS       100
#define LONG_STEP_MS  2000 // when more than a minute is to pass
#define BEGIN_UNIX    (PKI_NOW + 20ull * 86400)
#define SAS_MAX       512
#define POLICIES_MAX  32
#define KEYS_MAX      65536 // a power of two
#define QUEUE_MAX     4096
#define HISTORY_MAX   256
#define PACKETS_MAX   4096
#define FLIGHT_MS_MAX 300 // of a packet
#define AGED_MS       10000
#define LIFE_MS       28740000 // of an SA, at most, from when its pair was made: a minute less

static const char *const names[WORLD_HOSTS_MAX] = {"alpha", "bravo", "charlie", "delta", "echo"};

struct kernel_sa {
    struct sa sa;
    bool used, is_worn;
    uint64_t made_ms;
};

struct policy {
    struct ip source, destination;
    uint32_t spi;
};

struct host {
    struct world *world;
    size_t index;
    struct keying *keying;
    struct pki_leaf leaf;
    char path[128];
    uint64_t boot_base_ms;
    int64_t clock_off_s;
    uint32_t incarnation;
    bool peers[WORLD_HOSTS_MAX];
    struct kernel_sa sas[SAS_MAX];
    size_t sa_count;
    struct policy policies[POLICIES_MAX];
    size_t policy_count;
    unsigned broken_percent;
    int die_in; // actions; -1: not
    bool is_dead;
    uint32_t generation;
    uint64_t aged_ms; // when an SA was removed at the end of its life
    struct clock clock;
};

struct message {
    size_t from, to;
    bool is_bundle;
    uint8_t *bytes;
    size_t len;
    uint64_t at_ms;
};

struct key_entry {
    uint8_t key[SA_KEY_BYTES];
    bool taken, sent_on, excused; // sent_on: a policy has pointed at it
};

struct packet {
    size_t from, to;
    struct ip destination;
    uint32_t spi;
    uint8_t key[SA_KEY_BYTES];
    uint64_t at_ms;
};

struct world {
    struct world_config config;
    const struct pki *pki;
    uint64_t random;
    uint64_t now_ms;
    uint64_t step;
    struct world_relay relay;
    struct host *hosts[WORLD_HOSTS_MAX];
    struct message queue[QUEUE_MAX];
    size_t queue_count;
    struct message history[HISTORY_MAX];
    size_t history_count;
    struct message cached[WORLD_HOSTS_MAX]; // the controller's copy of each bundle
    struct key_entry *keys;
    struct packet packets[PACKETS_MAX];
    size_t packet_count;
    struct world_tally tally;
    char folder[64];
};

static _Noreturn void broken(const struct world *world, const char *what, const struct host *at, const struct sa *sa)
{
    fprintf(stderr,
            "\nRULE BROKEN: %s (seed %" PRIu64 ", step %" PRIu64 ", %" PRIu64
            " ms, at %s, peer %s, spi %x, epochs %" PRIu64 "/%" PRIu64 ")\n",
            what, world->config.seed, world->step, world->now_ms, names[at->index], sa ? sa->peer : "-",
            sa ? sa->spi : 0, sa ? sa->local_epoch & 0xffff : 0, sa ? sa->peer_epoch & 0xffff : 0);
    abort();
}

static void must(enum err err)
{
    if (err) {
        fprintf(stderr, "unexpected error %s\n", err_name(err));
        abort();
    }
}

uint64_t world_random(struct world *world, uint64_t below)
{
    world->random = world->random * 6364136223846793005u + 1442695040888963407u;
    uint64_t x = world->random;
    x ^= x >> 33;
    x *= 0xff51afd7ed558ccdu;
    x ^= x >> 29;
    return below ? x % below : 0;
}

const char *world_name(size_t host)
{
    return names[host];
}

struct world_relay *world_relay(struct world *world)
{
    return &world->relay;
}

struct keying *world_keying(struct world *world, size_t host)
{
    return world->hosts[host]->keying;
}

const struct world_tally *world_tally(const struct world *world)
{
    return &world->tally;
}

uint64_t world_steps(const struct world *world)
{
    return world->step;
}

static uint64_t boot_ms(void *context)
{
    struct host *host = context;
    return host->world->now_ms - host->boot_base_ms + 5000;
}

static uint64_t unix_ms(void *context)
{
    struct host *host = context;
    return (uint64_t)((int64_t)(BEGIN_UNIX * 1000 + host->world->now_ms) + host->clock_off_s * 1000);
}

static size_t host_index(const char *name)
{
    for (size_t i = 0; i < WORLD_HOSTS_MAX; i++)
        if (strcmp(names[i], name) == 0)
            return i;
    abort();
}

static struct ip host_ip(size_t index, bool v6)
{
    static const uint8_t v4_net[] = {192, 0, 2}, v6_net[] = {0x20, 0x01, 0x0d, 0xb8};
    struct ip ip = {.len = v6 ? 16 : 4};

    memcpy(ip.bytes, v6 ? v6_net : v4_net, v6 ? sizeof(v6_net) : sizeof(v4_net));
    ip.bytes[ip.len - 1] = (uint8_t)(index + 1);
    return ip;
}

// ---- every key there ever was

static struct key_entry *key_entry(struct world *world, const uint8_t key[SA_KEY_BYTES])
{
    uint64_t hash;
    memcpy(&hash, key, sizeof(hash));
    for (size_t i = 0; i < KEYS_MAX; i++) {
        struct key_entry *entry = &world->keys[(hash + i) % KEYS_MAX];
        if (!entry->taken) {
            entry->taken = true;
            memcpy(entry->key, key, SA_KEY_BYTES);
            world->tally.keys++;
            return entry;
        }
        if (memcmp(entry->key, key, SA_KEY_BYTES) == 0)
            return entry;
    }
    abort();
}

// KEYING_TRACE=1 shows what happens, for a person with a broken rule.
static void trace(const struct host *host, const char *what, const char *peer, uint32_t spi, const char *more)
{
    static int wanted = -1;
    if (wanted < 0)
        wanted = getenv("KEYING_TRACE") != NULL;
    if (wanted)
        fprintf(stderr, "%8" PRIu64 " %-8s %-14s %-8s %8x %s\n", host->world->now_ms, names[host->index], what, peer,
                spi, more);
}

// ---- the kernel of a host

static bool acts(struct host *host)
{
    if (host->is_dead)
        return false;
    if (host->die_in >= 0 && host->die_in-- == 0) {
        host->is_dead = true;
        return false;
    }
    return true;
}

static bool fails(struct host *host)
{
    return !acts(host) || world_random(host->world, 100) < host->broken_percent;
}

static struct kernel_sa *find_sa(struct host *host, const struct ip *destination, uint32_t spi)
{
    for (size_t i = 0; i < host->sa_count; i++)
        if (host->sas[i].sa.spi == spi && ip_compare(&host->sas[i].sa.destination, destination) == 0)
            return &host->sas[i];
    return NULL;
}

static enum err do_install(void *context, const struct sa *sa)
{
    struct host *host = context;
    struct world *world = host->world;

    if (fails(host))
        return ERR_KERNEL;
    if (find_sa(host, &sa->destination, sa->spi))
        return ERR_EXISTS;
    struct key_entry *entry = key_entry(world, sa->key);
    if (entry->sent_on)
        broken(world, "a key is installed that was in use before", host, sa);
    assert(host->sa_count < SAS_MAX);
    host->sas[host->sa_count++] = (struct kernel_sa){.sa = *sa, .made_ms = world->now_ms};
    trace(host, sa->inbound ? "install in" : "install out", sa->peer, sa->spi, "");
    // The answer is lost, the SA is there.
    if (host->broken_percent && world_random(world, 8) == 0)
        return ERR_KERNEL;
    return ERR_OK;
}

static enum err do_switch(void *context, const struct sa *sa)
{
    struct host *host = context;

    if (fails(host))
        return ERR_KERNEL;
    if (!find_sa(host, &sa->destination, sa->spi))
        broken(host->world, "a policy points at an SA that is not there", host, sa);
    trace(host, "switch", sa->peer, sa->spi, "");
    key_entry(host->world, find_sa(host, &sa->destination, sa->spi)->sa.key)->sent_on = true;
    for (size_t i = 0; i < host->policy_count; i++) {
        struct policy *policy = &host->policies[i];
        if (ip_compare(&policy->source, &sa->source) == 0 && ip_compare(&policy->destination, &sa->destination) == 0) {
            policy->spi = sa->spi;
            return ERR_OK;
        }
    }
    assert(host->policy_count < POLICIES_MAX);
    host->policies[host->policy_count++] = (struct policy){sa->source, sa->destination, sa->spi};
    return ERR_OK;
}

static void remove_policy(struct host *host, const struct ip *destination, uint32_t spi)
{
    for (size_t i = host->policy_count; i-- > 0;)
        if (ip_compare(&host->policies[i].destination, destination) == 0 && (spi == 0 || host->policies[i].spi == spi))
            host->policies[i] = host->policies[--host->policy_count];
}

static enum err do_remove(void *context, const struct sa *sa)
{
    struct host *host = context;

    if (fails(host))
        return ERR_KERNEL;
    struct kernel_sa *found = find_sa(host, &sa->destination, sa->spi);
    if (!found)
        return ERR_NOT_FOUND;
    if (host->world->now_ms >= found->made_ms + LIFE_MS)
        host->aged_ms = host->world->now_ms;
    if (host->aged_ms && host->world->now_ms <= host->aged_ms + AGED_MS) {
        // The end of a pair's life: nothing is to be expected of its SAs any more. Outbound ones are younger than inbound ones, and
        // a removal may have failed at first.
        key_entry(host->world, found->sa.key)->excused = true;
        if (!sa->inbound)
            remove_policy(host, &sa->destination, sa->spi);
    }
    *found = host->sas[--host->sa_count];
    trace(host, sa->inbound ? "remove in" : "remove out", sa->peer, sa->spi, "");
    return ERR_OK;
}

static bool do_used(void *context, const struct sa *sa)
{
    struct host *host = context;

    if (fails(host))
        return false;
    struct kernel_sa *found = find_sa(host, &sa->destination, sa->spi);
    return found && found->used;
}

static enum err do_usage(void *context, const struct sa *sa, uint64_t *ret_packets, uint64_t *ret_bytes)
{
    struct host *host = context;

    if (fails(host))
        return ERR_KERNEL;
    const struct kernel_sa *found = find_sa(host, &sa->destination, sa->spi);
    if (!found)
        return ERR_NOT_FOUND;
    *ret_packets = found->is_worn ? UINT64_C(1) << 31 : 5;
    *ret_bytes = 500;
    return ERR_OK;
}

// ---- the relay

static struct message message_copy_of(const struct message *message)
{
    struct message copy = *message;
    copy.bytes = malloc(message->len);
    memcpy(copy.bytes, message->bytes, message->len);
    return copy;
}

static void remember(struct world *world, const struct message *message)
{
    size_t at = world->history_count < HISTORY_MAX ? world->history_count++ : world_random(world, HISTORY_MAX);
    free(world->history[at].bytes);
    world->history[at] = message_copy_of(message);
}

static void enqueue(struct world *world, const struct message *message)
{
    struct world_relay *relay = &world->relay;
    unsigned copies = 1 + (world_random(world, 100) < relay->double_percent);

    bool is_hit = relay->fault_in && --relay->fault_in == 0;

    if (!relay->is_cut)
        remember(world, message);
    if (is_hit && relay->fault == WORLD_DOUBLE)
        copies = 2;
    if (is_hit && relay->fault == WORLD_CUT)
        relay->is_cut = true;
    for (unsigned i = 0; i < copies; i++) {
        if (relay->is_cut || world_random(world, 100) < relay->drop_percent || world->queue_count == QUEUE_MAX ||
            (is_hit && relay->fault == WORLD_DROP))
            continue;
        struct message copy = message_copy_of(message);
        copy.at_ms = world->now_ms + (relay->delay_ms_max ? world_random(world, relay->delay_ms_max) : 0);
        if (is_hit && relay->fault == WORLD_DELAY)
            copy.at_ms += 5000;
        world->queue[world->queue_count++] = copy;
    }
}

static void introduce(struct world *world, size_t host)
{
    for (size_t i = 0; i < world->config.hosts; i++) {
        if (!world->cached[i].bytes || !world->hosts[host]->peers[i] || !world->hosts[i]->peers[host])
            continue;
        world->cached[i].to = host;
        enqueue(world, &world->cached[i]);
    }
}

static void do_publish(void *context, const Twofold__V1__Bundle *bundle)
{
    struct host *host = context;
    struct world *world = host->world;
    struct message message = {.from = host->index, .is_bundle = true};

    if (!acts(host))
        return;
    must(message_encode(&bundle->base, &message.bytes, &message.len));
    if (!world->relay.is_cut) {
        free(world->cached[host->index].bytes);
        world->cached[host->index] = message_copy_of(&message);
    }
    for (size_t i = 0; i < world->config.hosts; i++) {
        message.to = i;
        if (host->peers[i] && world->hosts[i]->peers[host->index])
            enqueue(world, &message);
    }
    free(message.bytes);
}

static void do_send_pair(void *context, const char *peer, const uint8_t *body, size_t len)
{
    struct host *host = context;
    struct message message = {.from = host->index, .to = host_index(peer), .bytes = (uint8_t *)body, .len = len};

    if (acts(host))
        enqueue(host->world, &message);
}

static void do_changed(void *context, const char *peer)
{
    (void)context;
    (void)peer;
}

static const struct keying_actions actions = {
    .install = do_install,
    .switch_outbound = do_switch,
    .remove = do_remove,
    .inbound_used = do_used,
    .usage = do_usage,
    .publish = do_publish,
    .send_pair = do_send_pair,
    .changed = do_changed,
};

// ---- hosts

static void give_slice(struct host *host)
{
    struct world *world = host->world;
    Twofold__V1__Slice slice = TWOFOLD__V1__SLICE__INIT;
    Twofold__V1__Settings settings = TWOFOLD__V1__SETTINGS__INIT;
    Twofold__V1__Rule rule = TWOFOLD__V1__RULE__INIT, *rules[1] = {&rule};
    Twofold__V1__Peer peers[WORLD_HOSTS_MAX], *list[WORLD_HOSTS_MAX];
    ProtobufCBinaryData addresses[WORLD_HOSTS_MAX][2];
    struct ip ips[WORLD_HOSTS_MAX][2];
    char *hosts[WORLD_HOSTS_MAX];
    struct note note;
    size_t count = 0;

    for (size_t i = 0; i < world->config.hosts; i++) {
        if (!host->peers[i])
            continue;
        size_t n = world->config.v6 ? 2 : 1;
        for (size_t j = 0; j < n; j++) {
            ips[count][j] = host_ip(i, j);
            addresses[count][j] = (ProtobufCBinaryData){ips[count][j].len, ips[count][j].bytes};
        }
        twofold__v1__peer__init(&peers[count]);
        peers[count].host = (char *)names[i];
        peers[count].slot = (uint32_t)i + 1;
        peers[count].n_addresses = n;
        peers[count].addresses = addresses[count];
        list[count] = &peers[count];
        hosts[count] = (char *)names[i];
        count++;
    }
    settings.generation = ++host->generation;
    settings.trust_domain = (char *)"example.org";
    settings.host = (char *)names[host->index];
    settings.rekey_seconds = world->config.rekey_seconds;
    slice.settings = &settings;
    slice.n_peers = count;
    slice.peers = list;
    rule.name = (char *)"all";
    rule.direction = TWOFOLD__V1__DIRECTION__DIRECTION_OUT;
    rule.n_peers = count;
    rule.peers = hosts;
    rule.ipsec = true;
    slice.n_rules = count ? 1 : 0;
    slice.rules = rules;
    must(keying_check(host->keying, &slice, &note));
    must(keying_set_slice(host->keying, &slice, &note));
}

static void make_identity(struct host *host)
{
    struct world *world = host->world;
    struct cert_facts *facts = calloc(1, sizeof(*facts));
    char uri[128];

    snprintf(uri, sizeof(uri), "spiffe://example.org/host/%s", names[host->index]);
    pki_facts(uri, facts);
    facts->not_before = PKI_NOW + host->incarnation;
    facts->not_after = PKI_NOW + 300ull * 86400;
    facts->slot = (uint32_t)host->index + 1;
    facts->addresses[facts->address_count++] = host_ip(host->index, false);
    if (world->config.v6)
        facts->addresses[facts->address_count++] = host_ip(host->index, true);
    pki_leaf(world->pki, facts, &host->leaf);
    free(facts);
}

static void start(struct host *host)
{
    struct world *world = host->world;
    struct note note;
    struct keying_config config = {
        .clock = &host->clock,
        .state_path = host->path,
        .host = names[host->index],
        .trust = world->pki->trust,
        .actions = &actions,
        .context = host,
    };

    host->is_dead = false;
    host->die_in = -1;
    must(keying_new(&config, &host->keying, &note));
    must(keying_set_identity(host->keying, host->leaf.key, host->leaf.der, host->leaf.len, &note));
    struct sa sas[SAS_MAX];
    size_t count = 0;
    for (size_t pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < host->sa_count; i++) {
            bool pinned = false;
            for (size_t j = 0; j < host->policy_count; j++)
                pinned = pinned || (host->policies[j].spi == host->sas[i].sa.spi &&
                                    ip_compare(&host->policies[j].destination, &host->sas[i].sa.destination) == 0);
            if (pinned != (pass == 0))
                continue;
            sas[count] = host->sas[i].sa;
            memset(sas[count].key, 0, SA_KEY_BYTES);
            sas[count].local_epoch = sas[count].peer_epoch = 0;
            count++;
        }
    }
    must(keying_adopt(host->keying, sas, count));
    give_slice(host);
    keying_publish_again(host->keying);
}

struct world *world_new(const struct world_config *config, const struct pki *pki)
{
    struct world *world = calloc(1, sizeof(*world));

    world->config = *config;
    world->pki = pki;
    world->random = config->seed * 0x9e3779b97f4a7c15u + 1;
    world->keys = calloc(KEYS_MAX, sizeof(*world->keys));
    world->now_ms = 1000000;
    // Not on a disk: each epoch is written with fsync.
    strcpy(world->folder,
           access("/dev/shm", W_OK) == 0 ? "/dev/shm/twofold-keying.XXXXXX" : "/tmp/twofold-keying.XXXXXX");
    if (!mkdtemp(world->folder))
        abort();
    for (size_t i = 0; i < config->hosts; i++) {
        struct host *host = world->hosts[i] = calloc(1, sizeof(*host));
        host->world = world;
        host->index = i;
        host->clock = (struct clock){boot_ms, unix_ms, host};
        host->boot_base_ms = world_random(world, 900000);
        snprintf(host->path, sizeof(host->path), "%s/%zu", world->folder, i);
        for (size_t j = 0; j < config->hosts; j++)
            host->peers[j] = j != i;
        make_identity(host);
    }
    for (size_t i = 0; i < config->hosts; i++)
        start(world->hosts[i]);
    return world;
}

void world_free(struct world *world)
{
    for (size_t i = 0; i < world->config.hosts; i++) {
        struct host *host = world->hosts[i];
        keying_free(host->keying);
        unlink(host->path);
        pki_leaf_free(&host->leaf);
        free(host);
        free(world->cached[i].bytes);
    }
    rmdir(world->folder);
    for (size_t i = 0; i < world->queue_count; i++)
        free(world->queue[i].bytes);
    for (size_t i = 0; i < world->history_count; i++)
        free(world->history[i].bytes);
    free(world->keys);
    free(world);
}

// What it receives from now on is lost, and that's nobody's fault.
static void excuse_inbound(struct host *host, const char *peer)
{
    for (size_t i = 0; i < host->sa_count; i++)
        if (host->sas[i].sa.inbound && (!peer || strcmp(host->sas[i].sa.peer, peer) == 0))
            key_entry(host->world, host->sas[i].sa.key)->excused = true;
}

void world_restart(struct world *world, size_t index, enum world_restart how)
{
    struct host *host = world->hosts[index];
    uint8_t *bytes = NULL;
    size_t len = 0;
    struct note note;

    world->tally.restarts++;
    trace(host, how == WORLD_RESTART ? "restart" : how == WORLD_LOST ? "lost" : "reboot", "", 0, "");
    // Killed: what was not yet written never is.
    enum err err = file_read(host->path, 1 << 20, &bytes, &len, &note);
    host->is_dead = true;
    keying_free(host->keying);
    if (err)
        unlink(host->path);
    else
        must(file_write(host->path, bytes, len, 0600, &note));
    free(bytes);
    if (how == WORLD_LOST) {
        unlink(host->path);
        pki_leaf_free(&host->leaf);
        host->incarnation++;
        make_identity(host);
    }
    if (how == WORLD_REBOOT) {
        excuse_inbound(host, NULL);
        host->sa_count = host->policy_count = 0;
        host->boot_base_ms = world->now_ms;
    }
    start(host);
    introduce(world, index);
}

void world_kill_in(struct world *world, size_t host, unsigned count)
{
    world->hosts[host]->die_in = (int)count;
}

static void set_peer(struct world *world, size_t at, size_t of, bool is_peer)
{
    struct host *host = world->hosts[at];
    struct ip ips[2] = {host_ip(of, false), host_ip(of, true)};

    if (host->peers[of] == is_peer)
        return;
    host->peers[of] = is_peer;
    trace(host, is_peer ? "peer" : "no peer", names[of], 0, "");
    if (!is_peer) {
        excuse_inbound(host, names[of]);
        remove_policy(host, &ips[0], 0);
        remove_policy(host, &ips[1], 0);
    }
    give_slice(host);
    if (is_peer)
        introduce(world, at);
}

void world_connect(struct world *world, size_t a, size_t b, bool both_are_peers)
{
    set_peer(world, a, b, both_are_peers);
    set_peer(world, b, a, both_are_peers);
}

void world_step_clock(struct world *world, size_t host, int64_t seconds)
{
    world->hosts[host]->clock_off_s = seconds;
}

void world_break_kernel(struct world *world, size_t host, unsigned percent)
{
    world->hosts[host]->broken_percent = percent;
}

void world_rotate(struct world *world, size_t index)
{
    struct host *host = world->hosts[index];
    struct note note;
    must(keying_set_identity(host->keying, host->leaf.key, host->leaf.der, host->leaf.len, &note));
}

void world_wear(struct world *world, size_t host)
{
    for (size_t i = 0; i < world->hosts[host]->sa_count; i++)
        world->hosts[host]->sas[i].is_worn = true;
}

void world_new_session(struct world *world, size_t host)
{
    keying_publish_again(world->hosts[host]->keying);
    introduce(world, host);
}

static void deliver(struct world *world, const struct message *message)
{
    struct host *to = world->hosts[message->to];
    ProtobufCMessage *decoded;
    struct note note = {0};
    enum err err;

    world->tally.messages++;
    if (!message->is_bundle) {
        err = keying_on_pair(to->keying, names[message->from], message->bytes, message->len, &note);
    } else {
        must(message_decode(&twofold__v1__bundle__descriptor, message->bytes, message->len, &decoded));
        err = keying_on_bundle(to->keying, (const Twofold__V1__Bundle *)decoded, &note);
        message_free(decoded);
    }
    trace(to, message->is_bundle ? "bundle" : "word", names[message->from], 0, err ? note.text : "");
}

void world_replay(struct world *world)
{
    if (world->history_count)
        deliver(world, &world->history[world_random(world, world->history_count)]);
}

void world_replay_all(struct world *world, size_t host)
{
    for (size_t i = 0; i < world->history_count; i++)
        if (world->history[i].to == host)
            deliver(world, &world->history[i]);
}

static void deliver_due(struct world *world)
{
    // Those of one moment in the order of sending, unless the relay delays.
    for (size_t i = 0; i < world->queue_count;) {
        if (world->queue[i].at_ms > world->now_ms) {
            i++;
            continue;
        }
        struct message message = world->queue[i];
        world->queue_count--;
        memmove(&world->queue[i], &world->queue[i + 1], (world->queue_count - i) * sizeof(message));
        if (!world->hosts[message.to]->is_dead)
            deliver(world, &message);
        free(message.bytes);
    }
}

// ---- packets and rules

static struct host *owner(struct world *world, const struct ip *ip)
{
    return world->hosts[ip->bytes[ip->len - 1] - 1];
}

static void receive(struct world *world, const struct packet *packet)
{
    struct host *to = world->hosts[packet->to];
    struct kernel_sa *sa = find_sa(to, &packet->destination, packet->spi);

    if (sa && sa->sa.inbound && memcmp(sa->sa.key, packet->key, SA_KEY_BYTES) == 0) {
        sa->used = true;
        return;
    }
    if (key_entry(world, packet->key)->excused) {
        world->tally.excused++;
        return;
    }
    world->tally.lost++;
    struct sa lost = {.spi = packet->spi};
    strcpy(lost.peer, names[packet->from]);
    broken(world, "a packet is lost", to, &lost);
}

static void send_packets(struct world *world, struct host *host)
{
    for (size_t i = 0; i < host->policy_count; i++) {
        const struct policy *policy = &host->policies[i];
        struct kernel_sa *sa = find_sa(host, &policy->destination, policy->spi);
        struct host *to = owner(world, &policy->destination);
        if (!sa || sa->sa.inbound)
            broken(world, "a policy points at an SA that was removed", host, NULL);
        // What a sender uses, the receiver has, at every moment.
        struct kernel_sa *there = find_sa(to, &policy->destination, policy->spi);
        bool good = there && there->sa.inbound && memcmp(there->sa.key, sa->sa.key, SA_KEY_BYTES) == 0;
        if (!good && !key_entry(world, sa->sa.key)->excused)
            broken(world, "a sender uses an SA that the receiver does not have", host, &sa->sa);
        if (world_random(world, 100) < world->config.silent_percent || world->packet_count == PACKETS_MAX)
            continue;
        struct packet packet = {host->index, to->index, policy->destination, policy->spi, {0}, 0};
        memcpy(packet.key, sa->sa.key, SA_KEY_BYTES);
        packet.at_ms = world->now_ms + world_random(world, FLIGHT_MS_MAX);
        world->packets[world->packet_count++] = packet;
        world->tally.packets++;
    }
}

static void receive_due(struct world *world)
{
    for (size_t i = 0; i < world->packet_count;) {
        if (world->packets[i].at_ms > world->now_ms) {
            i++;
            continue;
        }
        struct packet packet = world->packets[i];
        world->packets[i] = world->packets[--world->packet_count];
        receive(world, &packet);
    }
}

static void tick(struct world *world, struct host *host)
{
    for (unsigned turns = 0; !host->is_dead && keying_deadline(host->keying) <= boot_ms(host); turns++) {
        if (turns == 50)
            broken(world, "an agent asks for its time again and again", host, NULL);
        keying_tick(host->keying);
    }
    if (host->is_dead)
        world_restart(world, host->index, WORLD_RESTART);
}

void world_run(struct world *world, uint64_t ms)
{
    uint64_t end_ms = world->now_ms + ms, step_ms = ms > 60000 ? LONG_STEP_MS : STEP_MS;

    while (world->now_ms < end_ms) {
        uint64_t left = end_ms - world->now_ms;
        world->now_ms += left < step_ms ? left : step_ms;
        world->step++;
        for (size_t i = 0; i < world->config.hosts; i++)
            send_packets(world, world->hosts[i]);
        deliver_due(world);
        receive_due(world);
        for (size_t i = 0; i < world->config.hosts; i++)
            tick(world, world->hosts[i]);
        deliver_due(world);
    }
    for (size_t i = 0; i < world->config.hosts; i++)
        send_packets(world, world->hosts[i]);
}

void world_heal(struct world *world)
{
    world->relay = (struct world_relay){0};
    for (size_t i = 0; i < world->config.hosts; i++) {
        world->hosts[i]->clock_off_s = 0;
        world->hosts[i]->broken_percent = 0;
        world->hosts[i]->die_in = -1;
    }
}

bool world_is_settled(struct world *world, char *ret_why, size_t why_len)
{
    for (size_t i = 0; i < world->config.hosts; i++) {
        for (size_t j = 0; j < world->config.hosts; j++) {
            struct keying_peer_state a, b;
            if (!world->hosts[i]->peers[j] || !world->hosts[j]->peers[i])
                continue;
            must(keying_peer_state(world->hosts[i]->keying, names[j], &a));
            must(keying_peer_state(world->hosts[j]->keying, names[i], &b));
            if (a.up && b.up && a.local_epoch && a.local_epoch == b.peer_epoch && a.peer_epoch == b.local_epoch &&
                !a.problem[0])
                continue;
            snprintf(ret_why, why_len,
                     "%s to %s: up %d/%d, epochs %" PRIx64 "/%" PRIx64 " and %" PRIx64 "/%" PRIx64
                     ", problems: %s | %s",
                     names[i], names[j], a.up, b.up, a.local_epoch, a.peer_epoch, b.local_epoch, b.peer_epoch,
                     a.problem, b.problem);
            return false;
        }
    }
    return true;
}
