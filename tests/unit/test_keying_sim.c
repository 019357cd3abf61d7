// SPDX-License-Identifier: GPL-2.0-or-later
// Keying among hosts under everything that may happen to them, by seeds. KEYING_SEED=n runs one seed, KEYING_SEEDS=n so many.
#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/keying_world.h"

static struct pki pki;

static void set_up(void)
{
    pki_init(&pki);
}

static void tear_down(void)
{
    pki_free(&pki);
}

TestSuite(keying_sim, .init = set_up, .fini = tear_down, .timeout = 100);

static void expect_settled(struct world *world, uint64_t seed)
{
    char why[1024] = "";
    // Twice as long as the longest repetition, and time for a new epoch of each.
    for (int i = 0; i < 180 && !world_is_settled(world, why, sizeof(why)); i++)
        world_run(world, 1000);
    cr_assert(world_is_settled(world, why, sizeof(why)), "seed %" PRIu64 " does not settle: %s", seed, why);
}

static uint64_t from_environment(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text ? strtoull(text, NULL, 10) : otherwise;
}

Test(keying_sim, two_hosts_find_each_other)
{
    struct world *world = world_new(&(struct world_config){.seed = 1, .hosts = 2, .rekey_seconds = 3600}, &pki);
    char why[1024] = "";

    world_run(world, 300);
    cr_assert(world_is_settled(world, why, sizeof(why)), "%s", why);
    world_run(world, 2000);
    cr_assert_gt(world_tally(world)->packets, 10);
    world_free(world);
}

// Of each end; KEYING_ROTATIONS=1000 for more.
Test(keying_sim, a_hundred_rotations_lose_nothing)
{
    uint64_t rotations = from_environment("KEYING_ROTATIONS", 100);
    struct world *world =
        world_new(&(struct world_config){.seed = 2, .hosts = 2, .rekey_seconds = 2, .v6 = true}, &pki);

    for (uint64_t i = 0; i < 2 * rotations; i++)
        world_run(world, 1000);
    cr_assert_geq(keying_counters(world_keying(world, 0))->epochs_published, rotations * 9 / 10);
    cr_assert_geq(keying_counters(world_keying(world, 0))->rekeys_done, rotations * 17 / 10);
    cr_assert_eq(world_tally(world)->lost, 0);
    cr_assert_eq(world_tally(world)->excused, 0);
    world_free(world);
}

static void change_relay(struct world *world)
{
    static const struct world_relay relays[] = {
        {0},
        {.drop_percent = 10, .delay_ms_max = 500},
        {.drop_percent = 50, .double_percent = 30, .delay_ms_max = 3000},
        {.double_percent = 100, .delay_ms_max = 100},
        {.delay_ms_max = 20000},
        {.drop_percent = 90},
        {.is_cut = true},
    };
    *world_relay(world) = relays[world_random(world, sizeof(relays) / sizeof(relays[0]))];
}

// Something happens.
static void disturb(struct world *world, size_t hosts)
{
    size_t a = world_random(world, hosts), b = (a + 1 + world_random(world, hosts - 1)) % hosts;

    switch (world_random(world, 16)) {
    case 0:
        world_restart(world, a, WORLD_RESTART);
        break;
    case 1:
        if (world_random(world, 3) == 0)
            world_restart(world, a, world_random(world, 2) ? WORLD_LOST : WORLD_REBOOT);
        break;
    case 2:
        world_connect(world, a, b, world_random(world, 3) != 0);
        break;
    case 3:
        world_step_clock(world, a, (int64_t)world_random(world, 3) * 86400 - 86400);
        break;
    case 4:
        world_break_kernel(world, a, world_random(world, 2) ? 20 : 0);
        break;
    case 5:
        world_kill_in(world, a, (unsigned)world_random(world, 20));
        break;
    case 6:
        world_new_session(world, a);
        break;
    case 7:
        change_relay(world);
        break;
    case 8:
        world_wear(world, a);
        break;
    case 9:
        world_restart(world, a, WORLD_RESTART); // both at one moment
        world_restart(world, b, WORLD_RESTART);
        break;
    default:
        for (unsigned i = 0; i < 10; i++)
            world_replay(world);
    }
}

static uint64_t live(uint64_t seed, unsigned events)
{
    static const uint32_t rekeys[] = {2, 2, 5, 30, 3600};
    struct world_config config = {
        .seed = seed,
        .hosts = 2 + seed % 4,
        .rekey_seconds = rekeys[seed % 5],
        .v6 = seed & 2,
        .silent_percent = seed % 3 * 49,
    };
    struct world *world = world_new(&config, &pki);

    for (unsigned i = 0; i < events; i++) {
        disturb(world, config.hosts);
        world_run(world, world_random(world, 4) ? world_random(world, 1500)
                                                : world_random(world, config.rekey_seconds * 1500));
    }
    world_heal(world);
    for (size_t i = 0; i < config.hosts; i++)
        for (size_t j = 0; j < i; j++)
            world_connect(world, i, j, true);
    expect_settled(world, seed);
    uint64_t steps = world_steps(world);
    if (getenv("KEYING_VERBOSE"))
        fprintf(stderr,
                "seed %" PRIu64 ": %" PRIu64 " steps, %" PRIu64 " packets, %" PRIu64 " excused, %" PRIu64
                " keys, %" PRIu64 " messages\n",
                seed, steps, world_tally(world)->packets, world_tally(world)->excused, world_tally(world)->keys,
                world_tally(world)->messages);
    world_free(world);
    return steps;
}

Test(keying_sim, whatever_happens_no_key_is_used_twice_and_nothing_is_lost)
{
    uint64_t first = from_environment("KEYING_SEED", 1),
             count = from_environment("KEYING_SEEDS", getenv("KEYING_SEED") ? 1 : 12);
    uint64_t steps = 0;

    for (uint64_t seed = first; seed < first + count; seed++)
        steps += live(seed, 100);
    cr_assert(getenv("KEYING_SEED") || steps >= 10000);
}

// ---- single events, each in its place

static struct world *settled_world(uint64_t seed, uint32_t rekey_seconds)
{
    struct world *world =
        world_new(&(struct world_config){.seed = seed, .hosts = 2, .rekey_seconds = rekey_seconds, .v6 = true}, &pki);
    expect_settled(world, seed);
    world_run(world, 3000);
    return world;
}

// One message of a rekey is lost, doubled, late, or the last one before the controller dies for a minute; one end rotates, or both.
Test(keying_sim, any_one_fault_of_the_relay_loses_nothing)
{
    for (unsigned which = 0; which < 3; which++) {
        for (enum world_fault fault = WORLD_DROP; fault <= WORLD_CUT; fault++) {
            for (unsigned at = 1; at <= 8; at++) {
                struct world *world = settled_world(at, 3600);
                world_relay(world)->fault_in = at;
                world_relay(world)->fault = fault;
                for (size_t host = 0; host < 2; host++)
                    if (which == host || which == 2)
                        world_rotate(world, host);
                for (int i = 0; i < 60; i++)
                    world_run(world, 1000);
                world_heal(world);
                expect_settled(world, at);
                cr_expect_geq(keying_counters(world_keying(world, 0))->rekeys_done, 2);
                world_free(world);
            }
        }
    }
}

// An agent dies during any one thing that it asks of its kernel or neighbours in a rekey, and starts again.
Test(keying_sim, a_death_at_any_moment_loses_nothing)
{
    for (size_t victim = 0; victim < 2; victim++) {
        for (unsigned at = 0; at < 24; at++) {
            struct world *world = settled_world(at, 3600);
            world_kill_in(world, victim, at);
            world_rotate(world, at % 2);
            world_run(world, 1500);
            world_rotate(world, 1 - at % 2);
            for (int i = 0; i < 70; i++)
                world_run(world, 1000);
            expect_settled(world, at);
            world_free(world);
        }
    }
}

Test(keying_sim, both_rotate_at_one_moment)
{
    struct world *world = settled_world(3, 3600);

    for (unsigned i = 0; i < 20; i++) {
        world_rotate(world, 0);
        world_rotate(world, 1);
        for (int j = 0; j < 31; j++)
            world_run(world, 1000);
    }
    expect_settled(world, 3);
    cr_expect_geq(keying_counters(world_keying(world, 0))->epochs_published, 20);
    cr_expect_eq(world_tally(world)->lost, 0);
    world_free(world);
}

Test(keying_sim, a_policy_flap_burns_the_pair)
{
    struct world *world = settled_world(4, 3600);
    struct keying_peer_state before, after;

    cr_assert_eq(keying_peer_state(world_keying(world, 0), "bravo", &before), ERR_OK);
    world_connect(world, 0, 1, false);
    cr_expect_eq(keying_peer_state(world_keying(world, 0), "bravo", &after), ERR_NOT_FOUND);
    cr_expect_gt(keying_counters(world_keying(world, 0))->pairs_burned, 0);
    world_run(world, 1000);
    world_connect(world, 0, 1, true);
    expect_settled(world, 4);
    cr_assert_eq(keying_peer_state(world_keying(world, 0), "bravo", &after), ERR_OK);
    cr_expect(after.local_epoch > before.local_epoch || after.peer_epoch > before.peer_epoch);
    world_free(world);
}

// The relay plays back everything there ever was, to a host whose pair is burned: nothing of it makes an SA.
Test(keying_sim, a_burned_pair_does_not_come_back_by_replay)
{
    struct world *world = settled_world(5, 3600);
    struct keying_peer_state state;

    world_connect(world, 0, 1, false);
    world_relay(world)->is_cut = true;
    world_connect(world, 0, 1, true);
    for (unsigned i = 0; i < 20; i++) {
        world_replay_all(world, 0);
        world_replay_all(world, 1);
        world_run(world, 1000);
        cr_assert_eq(keying_peer_state(world_keying(world, 0), "bravo", &state), ERR_OK);
        cr_assert_not(state.up);
    }
    world_heal(world);
    expect_settled(world, 5);
    world_free(world);
}

Test(keying_sim, without_the_controller_keys_live_for_hours_and_then_end)
{
    struct world *world = settled_world(6, 60);
    struct keying_peer_state state;

    world_relay(world)->is_cut = true;
    for (unsigned hour = 0; hour < 7; hour++) {
        world_run(world, 3600000);
        cr_assert_eq(keying_peer_state(world_keying(world, 0), "bravo", &state), ERR_OK);
        cr_assert(state.up, "hour %u", hour);
        cr_assert_not_null(
            strstr(state.problem, hour == 0 ? "has not acknowledged new keys" : "too old to make new keys"),
            "hour %u: %s", hour, state.problem);
    }
    world_run(world, 2 * 3600000);
    cr_assert_eq(keying_peer_state(world_keying(world, 0), "bravo", &state), ERR_OK);
    cr_assert_not(state.up);
    cr_assert_not_null(strstr(state.problem, "8 hours"), "%s", state.problem);
    world_heal(world);
    expect_settled(world, 6);
    world_free(world);
}

Test(keying_sim, an_agent_that_starts_again_adopts_and_goes_on)
{
    struct world *world = settled_world(7, 3600);
    struct keying_peer_state state;
    uint64_t packets = world_tally(world)->packets;

    world_relay(world)->is_cut = true;
    world_restart(world, 0, WORLD_RESTART);
    cr_assert_eq(keying_peer_state(world_keying(world, 0), "bravo", &state), ERR_OK);
    cr_expect(state.up);
    cr_expect_eq(state.local_epoch, 0);
    cr_expect_neq(state.outbound_spi, 0);
    for (int i = 0; i < 30; i++)
        world_run(world, 1000);
    world_heal(world);
    expect_settled(world, 7);
    cr_expect_gt(world_tally(world)->packets, packets + 100);
    cr_expect_eq(world_tally(world)->excused, 0);
    world_free(world);
}

Test(keying_sim, a_worn_sa_gets_a_new_epoch)
{
    struct world *world = settled_world(8, 3600);
    struct keying_peer_state before, after;

    cr_assert_eq(keying_peer_state(world_keying(world, 0), "bravo", &before), ERR_OK);
    world_wear(world, 0);
    for (int i = 0; i < 45; i++)
        world_run(world, 1000);
    cr_assert_eq(keying_peer_state(world_keying(world, 0), "bravo", &after), ERR_OK);
    cr_expect_gt(after.local_epoch, before.local_epoch);
    cr_expect_leq(keying_counters(world_keying(world, 0))->epochs_published, 4, "once, not again and again");
    world_free(world);
}
