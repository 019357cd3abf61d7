// SPDX-License-Identifier: GPL-2.0-or-later
// Admin/GetStatus.
#include <stdarg.h>
#include <stdio.h>

#include "admin.pb-c.h"
#include "controller/handlers.h"
#include "proto/base/text.h"

#define WARNINGS_MAX    8
#define WARNING_BYTES   256
#define CA_WARN_SECONDS (365ull * 86400)

struct warnings {
    size_t count;
    char texts[WARNINGS_MAX][WARNING_BYTES];
    char *pointers[WARNINGS_MAX];
};

static void __attribute__((format(printf, 2, 3))) warn(struct warnings *warnings, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    warnings->pointers[warnings->count] = warnings->texts[warnings->count];
    vsnprintf(warnings->texts[warnings->count++], WARNING_BYTES, format, arguments);
    va_end(arguments);
}

static void warn_of_expiry(struct warnings *warnings, const char *name, const struct ca_root *root, uint64_t now)
{
    if (root->not_after < now + CA_WARN_SECONDS)
        warn(warnings, "the %s CA expires in %llu days: plan a new one", name,
             (unsigned long long)(root->not_after > now ? (root->not_after - now) / 86400 : 0));
}

struct counts {
    uint32_t hosts, connected, current, troubled;
};

static struct counts count_hosts(const struct fleet *fleet)
{
    struct counts counts = {0};
    const struct inventory *inventory = hosts_inventory(fleet->hosts);
    for (size_t i = 0; i < inventory->host_count; i++) {
        if (inventory->hosts[i].revoked)
            continue;
        const struct agent *agent = fleet_find(fleet, inventory->hosts[i].name);
        counts.hosts++;
        if (agent == NULL || agent->session == NULL)
            continue;
        counts.connected++;
        if (agent_is_current(agent))
            counts.current++;
        else if (agent->problem[0] != '\0')
            counts.troubled++;
    }
    return counts;
}

void handle_get_status(struct call *call, const ProtobufCMessage *message)
{
    (void)message; // it has no fields
    const struct daemon *daemon = call->daemon;
    const struct ca *ca = daemon->state.ca;
    uint64_t now = clock_unix_ms(daemon->clock) / 1000;
    struct counts counts = count_hosts(daemon->fleet);
    struct warnings warnings = {0};
    char network[DIGEST_HEX_BYTES], workload[DIGEST_HEX_BYTES];
    hex_encode(ca->network.spki_sha384, DIGEST_BYTES, network);
    hex_encode(ca->workload.spki_sha384, DIGEST_BYTES, workload);
    warn_of_expiry(&warnings, "network", &ca->network, now);
    warn_of_expiry(&warnings, "workload", &ca->workload, now);
    if (counts.troubled > 0)
        warn(&warnings, "%u connected hosts have not taken generation %llu: `twofold hosts` says why", counts.troubled,
             (unsigned long long)daemon->fleet->generation);
    warn(&warnings, "both CA keys are on this machine: who controls it can issue any identity");

    Twofold__V1__GetStatusResponse response = TWOFOLD__V1__GET_STATUS_RESPONSE__INIT;
    response.version = (char *)TWOFOLD_VERSION;
    response.trust_domain = (char *)daemon->state.config.trust_domain;
    response.generation = daemon->fleet->generation;
    response.hosts = counts.hosts;
    response.connected = counts.connected;
    response.current = counts.current;
    response.started = daemon->started;
    response.network_ca_sha384 = network;
    response.workload_ca_sha384 = workload;
    response.warnings = warnings.pointers;
    response.n_warnings = warnings.count;
    call_answer(call, &response.base);
}
