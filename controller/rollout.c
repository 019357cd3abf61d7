// SPDX-License-Identifier: GPL-2.0-or-later
#include "controller/rollout.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void rollout_free(struct rollout *rollout)
{
    free(rollout->hosts);
    free(rollout);
}

static size_t count_rollouts(const struct fleet *fleet)
{
    size_t count = 0;
    for (const struct rollout *rollout = fleet->rollouts; rollout != NULL; rollout = rollout->next)
        count++;
    return count;
}

enum err rollout_start(struct fleet *fleet, uint64_t generation, uint64_t started_ms, uint64_t wait_ms,
                       void (*on_done)(void *context, struct rollout *rollout), void *context,
                       struct rollout **ret_rollout)
{
    if (count_rollouts(fleet) >= ROLLOUTS_MAX)
        return ERR_LIMIT;
    struct rollout *rollout = calloc(1, sizeof(*rollout));
    if (rollout == NULL)
        return ERR_NOMEM;
    rollout->hosts = calloc(fleet->agent_count + 1, sizeof(*rollout->hosts));
    if (rollout->hosts == NULL) {
        free(rollout);
        return ERR_NOMEM;
    }
    for (size_t i = 0; i < fleet->agent_count; i++) {
        if (fleet->agents[i]->session != NULL)
            snprintf(rollout->hosts[rollout->host_count++].host, sizeof(rollout->hosts->host), "%s",
                     fleet->agents[i]->host);
    }
    rollout->generation = generation;
    rollout->started_ms = started_ms;
    rollout->wait_ms = wait_ms < ROLLOUT_WAIT_MS_MAX ? wait_ms : ROLLOUT_WAIT_MS_MAX;
    rollout->on_done = on_done;
    rollout->context = context;
    rollout->next = fleet->rollouts;
    fleet->rollouts = rollout;
    fleet->on_work(fleet->context);
    *ret_rollout = rollout;
    return ERR_OK;
}

static void unlink_rollout(struct fleet *fleet, const struct rollout *rollout)
{
    struct rollout **link = &fleet->rollouts;
    while (*link != rollout)
        link = &(*link)->next;
    *link = rollout->next;
}

void rollout_cancel(struct fleet *fleet, struct rollout *rollout)
{
    unlink_rollout(fleet, rollout);
    rollout_free(rollout);
}

static void settle(struct rollout_host *host, bool answered, bool applied, const char *reason, uint64_t elapsed_ms)
{
    host->settled = true;
    host->answered = answered;
    host->applied = applied;
    host->elapsed_ms = elapsed_ms;
    snprintf(host->reason, sizeof(host->reason), "%s", applied ? "" : reason);
}

static void check_host(const struct fleet *fleet, const struct rollout *rollout, struct rollout_host *host,
                       uint64_t elapsed_ms)
{
    const struct agent *agent = fleet_find(fleet, host->host);
    if (agent == NULL || agent->session == NULL)
        settle(host, false, false, "its session ended before it answered", elapsed_ms);
    else if (agent->applied.slice != NULL && agent->generation >= rollout->generation)
        settle(host, true, true, "", elapsed_ms);
    else if (agent->refused_at_ms != 0 && !agent->behind)
        settle(host, true, false, agent->problem, elapsed_ms);
}

static bool is_done(const struct fleet *fleet, struct rollout *rollout, uint64_t elapsed_ms)
{
    bool done = true;
    for (size_t i = 0; i < rollout->host_count; i++) {
        struct rollout_host *host = &rollout->hosts[i];
        if (!host->settled)
            check_host(fleet, rollout, host, elapsed_ms);
        done = done && host->settled;
    }
    return done;
}

void rollouts_check(struct fleet *fleet)
{
    uint64_t now = clock_boot_ms(fleet->clock);
    struct rollout *next = NULL;
    for (struct rollout *rollout = fleet->rollouts; rollout != NULL; rollout = next) {
        next = rollout->next;
        uint64_t elapsed_ms = now - rollout->started_ms;
        if (!is_done(fleet, rollout, elapsed_ms) && elapsed_ms < rollout->wait_ms)
            continue;
        rollout->elapsed_ms = elapsed_ms;
        unlink_rollout(fleet, rollout);
        rollout->on_done(rollout->context, rollout);
        rollout_free(rollout);
    }
}
