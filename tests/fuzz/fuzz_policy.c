// SPDX-License-Identifier: GPL-2.0-or-later
// Any text as a policy: read, and when it is good, compiled for every host of a small inventory, explained and commented on. What is compiled
// passes slice_check.
#include <stdlib.h>

#include "policy/policy.h"
#include "proto/wire/message.h"
#include "proto/wire/slice.h"

static const struct ip addresses[] = {
    {.len = 4, .bytes = {192, 0, 2, 1}},
    {.len = 4, .bytes = {192, 0, 2, 2}},
    {.len = 16, .bytes = {0x20, 0x01, 0x0d, 0xb8, [15] = 3}},
};
static const struct inventory_label labels[] = {{"role", "web"}, {"role", "api"}};
static const struct inventory_host hosts[] = {
    {"web", addresses, 1, labels, 1, 1, "spiffe://example.org/ns/default/sa/web", false},
    {"api", addresses + 1, 1, labels + 1, 1, 2, "spiffe://example.org/ns/default/sa/api", false},
    {"db", addresses + 2, 1, NULL, 0, 3, "spiffe://example.org/ns/default/sa/db", false},
    {"soon", NULL, 0, NULL, 0, 4, "spiffe://example.org/ns/default/sa/soon", false},
    {"old", addresses, 1, NULL, 0, 5, "spiffe://example.org/ns/default/sa/old", true},
};
static const struct inventory inventory = {
    .trust_domain = "example.org", .generation = 1, .hosts = hosts, .host_count = 5};

static void use(const struct policy *policy)
{
    struct policy_view *view;
    struct explanation explanation;
    struct notes notes = {0};

    if (policy_view_new(policy, &inventory, &view, NULL))
        abort();
    for (size_t i = 0; i < 4; i++) {
        Twofold__V1__Slice *slice;
        struct note note = {0};
        enum err err = policy_compile_view(view, hosts[i].name, &slice);
        if (err == ERR_LIMIT)
            continue;
        if (err || slice_check(slice, &note))
            abort();
        message_free(slice);
    }
    policy_view_free(view);
    for (uint16_t port = 22; port < 9000; port = (uint16_t)(port * 3 + 1)) {
        if (policy_explain(policy, &inventory, "web", "192.0.2.2", TWOFOLD__V1__PROTOCOL__PROTOCOL_TCP, port,
                           &explanation, NULL))
            abort();
    }
    if (policy_effects(policy, &inventory, &notes) || policy_changes(policy, policy, &inventory, &notes))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct notes notes = {0};
    struct policy *policy;
    if (policy_read((const char *)data, size, &policy, &notes))
        return 0;
    use(policy);
    policy_free(policy);
    return 0;
}
