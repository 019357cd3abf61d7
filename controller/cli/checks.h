// SPDX-License-Identifier: GPL-2.0-or-later
// What `preflight` looks at: each check adds rows with a verdict, the cause and the remedy. `root` is "" or, in tests, a folder that
// stands for "/".
#ifndef TWOFOLD_CONTROLLER_CLI_CHECKS_H
#define TWOFOLD_CONTROLLER_CLI_CHECKS_H

#include <stddef.h>
#include <stdint.h>

enum check_verdict { CHECK_OK, CHECK_WARN, CHECK_FAIL };

#define CHECKS_MAX       64
#define CHECK_TEXT_BYTES 320

struct check {
    const char *name;
    enum check_verdict verdict;
    char cause[CHECK_TEXT_BYTES];
    char remedy[CHECK_TEXT_BYTES]; // empty: none needed
};

struct checks {
    size_t count;
    struct check items[CHECKS_MAX];
};

void checks_add(struct checks *checks, const char *name, enum check_verdict verdict, const char *remedy,
                const char *cause, ...) __attribute__((format(printf, 5, 6)));

void checks_esp(struct checks *checks);      // checks_esp.c: a throw-away SA to a loopback address
void checks_nftables(struct checks *checks); // checks_nftables.c: a ruleset that the kernel checks and forgets
void checks_ports(struct checks *checks, const char *root);      // checks_ports.c
void checks_clock(struct checks *checks, uint64_t unix_seconds); // checks_system.c, as the next ones
void checks_sysctls(struct checks *checks, const char *root);
void checks_processor(struct checks *checks);
void checks_users(struct checks *checks);

// The verdict's word and remedy for what the kernel answers to the throw-away SA.
enum check_verdict checks_judge_esp(int error, const char **ret_cause, const char **ret_remedy);

#endif
