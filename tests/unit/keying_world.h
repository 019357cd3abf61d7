// SPDX-License-Identifier: GPL-2.0-or-later
// Hosts with keying, kernels made of lists, and a relay between them that can lose, double, delay, reorder and repeat. Time and chance are
// the test's. Breaking a rule of docs/keying.md, "What must hold", aborts with a sentence, the seed and the step.
#ifndef TWOFOLD_TESTS_UNIT_KEYING_WORLD_H
#define TWOFOLD_TESTS_UNIT_KEYING_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/network/keying.h"
#include "tests/unit/pki.h"

#define WORLD_HOSTS_MAX 5

struct world;

struct world_relay {
    unsigned drop_percent;
    unsigned double_percent;
    unsigned delay_ms_max; // 0: at once, in order
    bool is_cut;           // the controller is away: everything is lost
    unsigned fault_in;     // 0: none; the n-th message from now meets the fault
    enum world_fault { WORLD_DROP, WORLD_DOUBLE, WORLD_DELAY, WORLD_CUT } fault;
};

struct world_config {
    uint64_t seed;
    size_t hosts;
    uint32_t rekey_seconds;
    bool v6;                 // each host has an IPv6 address as well
    unsigned silent_percent; // of traffic: each pair of hosts sends a packet a step, but for these
};

// One PKI serves all worlds of a process.
struct world *world_new(const struct world_config *config, const struct pki *pki);
void world_free(struct world *world);
struct world_relay *world_relay(struct world *world);
uint64_t world_random(struct world *world, uint64_t below);
struct keying *world_keying(struct world *world, size_t host);
const char *world_name(size_t host);

// Time passes in steps of 100 ms (a long time: of 2 s); messages and packets arrive, agents tick, packets are sent, the rules are checked.
void world_run(struct world *world, uint64_t ms);

enum world_restart {
    WORLD_RESTART, // the agent is killed and starts again
    WORLD_LOST,    // and its state is lost: it enrols again
    WORLD_REBOOT,  // the host boots: its kernel's SAs are gone
};
void world_restart(struct world *world, size_t host, enum world_restart how);
void world_kill_in(struct world *world, size_t host, unsigned actions); // it dies during the n-th action from now
void world_connect(struct world *world, size_t a, size_t b, bool both_are_peers); // policy
void world_step_clock(struct world *world, size_t host, int64_t seconds);
void world_break_kernel(struct world *world, size_t host, unsigned percent); // of its actions fail
void world_replay(struct world *world);                                      // something said before arrives again
void world_new_session(struct world *world, size_t host); // its bundle and its peers' are relayed again
void world_rotate(struct world *world, size_t host);      // its certificate is renewed: a new epoch is due
void world_wear(struct world *world, size_t host);        // its outbound SAs are past their soft limits
// As long as possible an honest relay, right clocks, good kernels.
void world_heal(struct world *world);
// All pairs that policy connects are up and both ends use the same epochs.
bool world_is_settled(struct world *world, char *ret_why, size_t why_len);

// Delivers again everything that was ever said to this host, old and new.
void world_replay_all(struct world *world, size_t host);

struct world_tally {
    uint64_t packets, lost, excused, keys, messages, restarts;
};
uint64_t world_steps(const struct world *world);
const struct world_tally *world_tally(const struct world *world);

#endif
