// SPDX-License-Identifier: GPL-2.0-or-later
#include "controller/fleet.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controller/push.h"
#include "controller/rollout.h"
#include "controller/sentence.h"
#include "controller/session.h"
#include "proto/wire/message.h"

enum err fleet_new(const struct clock *clock, struct hosts *hosts, struct policy *policy, uint64_t generation,
                   void (*on_work)(void *context), void *context, struct fleet **ret_fleet)
{
    struct fleet *fleet = calloc(1, sizeof(*fleet));
    if (fleet == NULL)
        return ERR_NOMEM;
    fleet->clock = clock;
    fleet->hosts = hosts;
    fleet->policy = policy;
    fleet->generation = generation;
    fleet->on_work = on_work;
    fleet->context = context;
    hosts_set_generation(hosts, generation);
    *ret_fleet = fleet;
    return ERR_OK;
}

static void agent_free(struct agent *agent)
{
    held_drop(&agent->applied);
    held_drop(&agent->sent);
    message_free(agent->status);
    free(agent->bundle);
    free(agent);
}

void fleet_free(struct fleet *fleet)
{
    if (fleet == NULL)
        return;
    for (size_t i = 0; i < fleet->agent_count; i++)
        agent_free(fleet->agents[i]);
    free(fleet->agents);
    policy_view_free(fleet->view);
    policy_free(fleet->policy);
    hosts_free(fleet->hosts);
    free(fleet);
}

// ---- agents

static size_t place_of(const struct fleet *fleet, const char *host)
{
    size_t low = 0, high = fleet->agent_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(fleet->agents[middle]->host, host) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct agent *fleet_find(const struct fleet *fleet, const char *host)
{
    size_t place = place_of(fleet, host);
    if (place == fleet->agent_count || strcmp(fleet->agents[place]->host, host) != 0)
        return NULL;
    return fleet->agents[place];
}

enum err fleet_agent(struct fleet *fleet, const char *host, struct agent **ret_agent)
{
    size_t place = place_of(fleet, host);
    if (place < fleet->agent_count && strcmp(fleet->agents[place]->host, host) == 0) {
        *ret_agent = fleet->agents[place];
        return ERR_OK;
    }
    if (fleet->agent_count == fleet->agent_capacity) {
        size_t capacity = fleet->agent_capacity == 0 ? 64 : fleet->agent_capacity * 2;
        struct agent **agents = reallocarray(fleet->agents, capacity, sizeof(*agents));
        if (agents == NULL)
            return ERR_NOMEM;
        fleet->agents = agents;
        fleet->agent_capacity = capacity;
    }
    struct agent *agent = calloc(1, sizeof(*agent));
    if (agent == NULL)
        return ERR_NOMEM;
    agent->fleet = fleet;
    snprintf(agent->host, sizeof(agent->host), "%s", host);
    memmove(fleet->agents + place + 1, fleet->agents + place, (fleet->agent_count - place) * sizeof(*fleet->agents));
    fleet->agents[place] = agent;
    fleet->agent_count++;
    *ret_agent = agent;
    return ERR_OK;
}

bool agent_is_current(const struct agent *agent)
{
    return agent->session != NULL && agent->applied.slice != NULL && agent->generation == agent->fleet->generation;
}

void agent_set_problem(struct agent *agent, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int len = vsnprintf(agent->problem, sizeof(agent->problem), format, arguments);
    va_end(arguments);
    if (len >= (int)sizeof(agent->problem))
        sentence_trim(agent->problem);
}

// ---- changes

// Every slice carries the generation, so that each host has a new one.
static void everyone_is_behind(struct fleet *fleet, uint64_t generation)
{
    fleet->generation = generation;
    hosts_set_generation(fleet->hosts, generation);
    policy_view_free(fleet->view);
    fleet->view = NULL;
    for (size_t i = 0; i < fleet->agent_count; i++)
        fleet->agents[i]->behind = true;
    fleet->on_work(fleet->context);
}

void fleet_set_policy(struct fleet *fleet, struct policy *policy, uint64_t generation)
{
    policy_view_free(fleet->view);
    fleet->view = NULL;
    policy_free(fleet->policy);
    fleet->policy = policy;
    everyone_is_behind(fleet, generation);
}

static void cut_revoked(struct agent *agent)
{
    held_drop(&agent->applied);
    held_drop(&agent->sent);
    free(agent->bundle);
    agent->bundle = NULL;
    agent->bundle_len = 0;
    message_free(agent->status);
    agent->status = NULL;
    if (agent->session != NULL)
        session_cut(agent->session, "this host is revoked");
}

enum err fleet_put_host(struct fleet *fleet, const struct host_record *host, uint64_t generation)
{
    policy_view_free(fleet->view); // it points into the inventory
    fleet->view = NULL;
    enum err err = hosts_put(fleet->hosts, host);
    if (err != ERR_OK)
        return err;
    if (generation != fleet->generation)
        everyone_is_behind(fleet, generation);
    struct agent *agent = fleet_find(fleet, host->name);
    if (host->revoked && agent != NULL)
        cut_revoked(agent);
    return ERR_OK;
}

// ---- work and time

bool fleet_work(struct fleet *fleet)
{
    bool more = push_turn(fleet);
    rollouts_check(fleet);
    return more;
}

void fleet_tick(struct fleet *fleet)
{
    for (size_t i = 0; i < fleet->agent_count; i++)
        push_tick(fleet->agents[i]);
    for (size_t i = 0; i < fleet->agent_count; i++) {
        if (fleet->agents[i]->session != NULL)
            session_tick(fleet->agents[i]->session);
    }
    rollouts_check(fleet);
}
