// SPDX-License-Identifier: GPL-2.0-or-later
#include <criterion/criterion.h>
#include <string.h>

#include "policy/policy.h"
#include "tests/unit/policy_inventory.h"

static void has(const struct notes *notes, unsigned line, const char *text)
{
    for (size_t i = 0; i < notes->count; i++) {
        if (notes->items[i].line == line && strcmp(notes->items[i].text, text) == 0)
            return;
    }
    for (size_t i = 0; i < notes->count; i++)
        cr_log_error("%u: %s", notes->items[i].line, notes->items[i].text);
    cr_assert_fail("line %u: %s", line, text);
}

Test(policy_effects, what_may_surprise)
{
    struct notes notes = {0};
    struct policy *policy = policy_good("version: 1\n"
                                        "segments:\n"
                                        "  web: {labels: {role: web}}\n"
                                        "  typo: {labels: {role: wbe}}\n"
                                        "  db: {hosts: [db1, old]}\n"
                                        "  lone: {hosts: [lone]}\n"
                                        "rules:\n"
                                        "  - {name: dead, from: typo, to: db, ports: [tcp/1]}\n"
                                        "  - {name: self, from: db, to: db, ports: [tcp/1]}\n"
                                        "  - {name: fine, from: web, to: web, ports: [tcp/1]}\n"
                                        "failsafe: []\n");
    cr_assert_eq(policy_effects(policy, &policy_inventory, &notes), ERR_OK);
    has(&notes, 0,
        "'failsafe' is empty: beside the controller, hosts reach nothing outside the rules, not even DNS, and nobody "
        "gets in by SSH.");
    has(&notes, 4, "Segment 'typo' has no hosts now.");
    has(&notes, 5, "Segment 'db' names host 'old', which is not there or revoked.");
    has(&notes, 8, "Rule 'dead' matches nothing now: it leads from nobody to db1.");
    has(&notes, 9, "Rule 'self' matches nothing now: it leads from db1 to db1.");
    has(&notes, 0, "Host 'api1' is in no segment: it reaches nobody, and nobody reaches it.");
    has(&notes, 0, "No rule concerns host 'lone': it reaches nobody, and nobody reaches it.");
    has(&notes, 0, "Host 'soon' has no address yet: rules reach it when its agent has enrolled.");
    policy_free(policy);
}

Test(policy_effects, a_failsafe_that_covers_a_rule)
{
    struct notes notes = {0};
    struct policy *policy =
        policy_good("version: 1\n"
                    "segments: {web: {labels: {role: web}}, db: {hosts: [db1, db2]}}\n"
                    "rules:\n"
                    "  - {name: ssh, from: web, to: db, ports: [tcp/20-30]}\n"
                    "  - {name: dns, from: web, to: db, ports: [udp/53], layers: [ipsec]}\n"
                    "failsafe:\n"
                    "  - {name: admin, direction: in, ports: [tcp/22]}\n"
                    "  - {name: admin-lan, direction: in, ports: [tcp/22], cidrs: [203.0.113.0/24]}\n"
                    "  - {name: resolver, direction: out, ports: [udp/53], cidrs: [192.0.2.31]}\n");
    cr_assert_eq(policy_effects(policy, &policy_inventory, &notes), ERR_OK);
    has(&notes, 4,
        "Rule 'ssh' and failsafe 'admin' both cover tcp/22 from hosts of the rule: between those the rule decides, "
        "and the flow needs its layers. The failsafe serves all others.");
    has(&notes, 5,
        "Rule 'dns' and failsafe 'resolver' both cover udp/53 to hosts of the rule: between those the rule decides, "
        "and the flow needs its layers. The failsafe serves all others.");
    for (size_t i = 0; i < notes.count; i++)
        cr_assert_null(strstr(notes.items[i].text, "admin-lan"));
    policy_free(policy);
}

Test(policy_effects, no_rules)
{
    struct notes notes = {0};
    struct policy *policy = policy_good("version: 1\n");
    cr_assert_eq(policy_effects(policy, &policy_inventory, &notes), ERR_OK);
    has(&notes, 0, "The policy has no rules: everything but failsafe traffic is denied.");
    policy_free(policy);
}

Test(policy_changes, rule_by_rule)
{
    struct notes notes = {0};
    struct policy *old = policy_good("version: 1\n"
                                     "segments: {web: {labels: {role: web}}, db: {hosts: [db1, db2]}}\n"
                                     "rules:\n"
                                     "  - {name: same, from: web, to: db, ports: [tcp/1]}\n"
                                     "  - {name: gone, from: web, to: db, ports: [tcp/2]}\n"
                                     "  - {name: wider, from: web, to: db, ports: [tcp/3]}\n");
    struct policy *new =
        policy_good("version: 1\n"
                    "segments: {web: {labels: {role: web}}, db: {hosts: [db1, db2]}, all: {segments: [web, db]}}\n"
                    "rules:\n"
                    "  - {name: wider, from: all, to: db, ports: [tcp/3-4], layers: [https]}\n"
                    "  - {name: fresh, from: web, to: all, ports: [tcp/2]}\n"
                    "  - {name: same, from: [web, web], to: db, ports: [tcp/1]}\n");
    cr_assert_eq(policy_changes(old, new, &policy_inventory, &notes), ERR_OK);
    cr_assert_eq(notes.count, 3);
    has(&notes, 5,
        "Rule 'fresh' begins: from soon, web1, web2 to db1, db2, soon and 2 more, tcp/2 inside ipsec and https.");
    has(&notes, 5, "Rule 'gone' ends: from soon, web1, web2 to db1, db2, tcp/2 inside ipsec and https.");
    has(&notes, 4, "Rule 'wider' changes to: from db1, db2, soon and 2 more to db1, db2, tcp/3-4 inside https.");
    policy_free(old);
    policy_free(new);
}

// What lets an administrator in, or DNS out, must not end unseen.
Test(policy_changes, failsafe_by_failsafe)
{
    struct notes notes = {0};
    struct policy *old = policy_good("version: 1\n");
    struct policy *new =
        policy_good("version: 1\n"
                    "failsafe:\n"
                    "  - {name: ssh, direction: in, ports: [tcp/22], cidrs: [192.0.2.0/24, 198.51.100.7]}\n"
                    "  - {name: ntp, direction: out, ports: [udp/123]}\n");
    cr_assert_eq(policy_changes(old, new, &policy_inventory, &notes), ERR_OK);
    cr_assert_eq(notes.count, 3);
    has(&notes, 0, "Failsafe 'dns' ends: tcp/53, udp/53, out to any address, outside both layers.");
    has(&notes, 3, "Failsafe 'ssh' changes to: tcp/22, in from 192.0.2.0/24, 198.51.100.7/32, outside both layers.");
    has(&notes, 4, "Failsafe 'ntp' begins: udp/123, out to any address, outside both layers.");
    notes = (struct notes){0};
    cr_assert_eq(policy_changes(new, new, &policy_inventory, &notes), ERR_OK);
    cr_assert_eq(notes.count, 0);
    policy_free(old);
    policy_free(new);
}
