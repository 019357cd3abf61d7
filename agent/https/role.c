// SPDX-License-Identifier: GPL-2.0-or-later
// The https role: messages of its neighbours in, answers out, and the clock. Set-up -> confinement -> serving, until a neighbour's channel closes or
// a signal asks for the end; then everything closes in order and the loop runs until nothing is left.
#include "agent/https/role.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <uv.h>

#include "agent/confine_loop.h"
#include "agent/https/capture.h"
#include "agent/https/credentials.h"
#include "agent/https/flow.h"
#include "agent/https/https.h"
#include "agent/https/neighbours.h"
#include "agent/https/tunnel.h"
#include "proto/base/log.h"
#include "proto/link/tls.h"

struct https_role {
    struct https https;
    struct neighbours neighbours;
    struct listeners listeners;
    uv_timer_t timer;
    uv_check_t check;
    uv_prepare_t prepare;
    uv_idle_t idle;
    uv_signal_t signal;
    bool is_ending;
    int exit_status;
};

// ---- shared by the parts

void https_limit_sentence(struct https *https, enum https_limit limit, char *ret_text, size_t room)
{
    https->counters.limits_hit++;
    snprintf(ret_text, room, "a limit is reached: %llu %s", (unsigned long long)https_limit(https, limit),
             https_limit_meaning(limit));
}

bool https_may_log(struct https *https)
{
    uint64_t second = clock_boot_ms(https->clock) / 1000;
    if (second != https->log_second) {
        https->log_second = second;
        https->log_count = 0;
    }
    return ++https->log_count <= https_limit(https, HTTPS_LIMIT_LOGS);
}

// ---- the end

static void close_all(struct https_role *role)
{
    struct flow *flow;
    struct tunnel *tunnel;
    listeners_close(&role->listeners);
    LIST_FOREACH(flow, &role->https.flows, all)
    {
        flow_cut(flow, "the agent ends");
    }
    while (!LIST_EMPTY(&role->https.handshaking)) {
        tunnel_close(LIST_FIRST(&role->https.handshaking), "the agent ends");
    }
    LIST_FOREACH(tunnel, &role->https.tunnels, all)
    {
        tunnel_close(tunnel, "the agent ends");
    }
    uv_close((uv_handle_t *)&role->timer, NULL);
    uv_close((uv_handle_t *)&role->check, NULL);
    uv_close((uv_handle_t *)&role->prepare, NULL);
    uv_close((uv_handle_t *)&role->idle, NULL);
    uv_close((uv_handle_t *)&role->signal, NULL);
}

static void end(struct https_role *role, int exit_status)
{
    if (role->is_ending) {
        return;
    }
    role->is_ending = true;
    role->exit_status = exit_status;
    close_all(role);
    neighbours_close(&role->neighbours);
}

static void on_neighbour_lost(void *owner)
{
    end(owner, 1);
}

// ---- the clock and the turn

static void on_tick(uv_timer_t *timer)
{
    struct https_role *role = timer->data;
    struct https *https = &role->https;
    uint64_t boot_ms = clock_boot_ms(https->clock);
    uint64_t unix_ms = clock_unix_ms(https->clock);
    struct flow *flow;
    struct tunnel *tunnel;
    LIST_FOREACH(flow, &https->flows, all)
    {
        flow_tick(flow, boot_ms);
    }
    LIST_FOREACH(tunnel, &https->tunnels, all)
    {
        tunnel_tick(tunnel, boot_ms, unix_ms);
    }
}

// Bytes come in the poll phase, and sometimes from timers: what they made ready is written before the loop sleeps.
static void on_check(uv_check_t *check)
{
    struct https_role *role = check->data;
    flow_flush_all(&role->https);
}

static void on_idle(uv_idle_t *idle)
{
    (void)idle; // while it is active, the loop does not sleep
}

static void on_prepare_turn(uv_prepare_t *prepare)
{
    struct https_role *role = prepare->data;
    if (LIST_EMPTY(&role->https.ready)) {
        uv_idle_stop(&role->idle);
        return;
    }
    flow_flush_all(&role->https);
    uv_idle_start(&role->idle, on_idle); // what this gives to the connections is sent in their next turn, now
}

static void on_signal(uv_signal_t *signal, int number)
{
    (void)number;
    end(signal->data, 0);
}

// ---- set-up

// As many descriptors as the flows may need, if the host allows it.
static void raise_descriptor_limit(const struct https_limits *limits)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) {
        return;
    }
    rlim_t wanted = limits->value[HTTPS_LIMIT_FLOWS] + 2 * limits->value[HTTPS_LIMIT_TUNNELS_IN] + 64;
    if (limit.rlim_cur >= wanted) {
        return;
    }
    limit.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur < wanted) {
        log_event(LOG_LEVEL_WARNING, "https.few_descriptors", LOG_U64("have", limit.rlim_cur),
                  LOG_U64("wanted", wanted));
    }
}

static void start_loop_handles(struct https_role *role)
{
    uv_loop_t *loop = &role->https.loop;
    role->timer.data = role->check.data = role->prepare.data = role->signal.data = role;
    uv_timer_init(loop, &role->timer);
    uv_check_init(loop, &role->check);
    uv_prepare_init(loop, &role->prepare);
    uv_idle_init(loop, &role->idle);
    uv_signal_init(loop, &role->signal);
    uv_timer_start(&role->timer, on_tick, HTTPS_TICK_MS, HTTPS_TICK_MS);
    uv_check_start(&role->check, on_check);
    uv_prepare_start(&role->prepare, on_prepare_turn);
    uv_signal_start(&role->signal, on_signal, SIGTERM);
}

static enum err set_up(struct https_role *role, struct note *note)
{
    struct https *https = &role->https;
    const struct role_start *start = https->start;
    enum err err = flows_new(https_limit(https, HTTPS_LIMIT_FLOWS_ENDED), https_limit(https, HTTPS_LIMIT_STRANGERS),
                             &https->records);
    https->read_room = malloc(HTTPS_READ_BYTES);
    if (err || !https->read_room) {
        return note_set(note, ERR_NOMEM, "no memory for the https role");
    }
    chunk_store_init(&https->chunks, https_limit(https, HTTPS_LIMIT_QUEUED_BYTES));
    err = credentials_new(start->folder, start->export_folder, https->clock, &https->credentials, note);
    if (err) {
        return err;
    }
    if (credentials_problem(https->credentials)[0]) {
        log_event(LOG_LEVEL_ERROR, "certificate.unusable", LOG_STR("cause", credentials_problem(https->credentials)));
    }
    err = listeners_open(https, &role->listeners, note);
    if (!err) {
        err = role_confine(ROLE_HTTPS, note);
    }
    if (err) {
        return err;
    }
    return neighbours_open(&role->neighbours, https, on_neighbour_lost, role, note);
}

static void tear_down(struct https_role *role)
{
    struct https *https = &role->https;
    neighbours_free(&role->neighbours);
    table_free(https->table);
    credentials_free(https->credentials);
    chunk_store_free(&https->chunks);
    flows_free(https->records);
    free(https->read_room);
}

int https_run(const struct role_start *start, const struct https_limits *limits)
{
    struct https_role role = {.https = {.clock = &clock_system, .start = start, .limits = limits}};
    struct note note = {0};
    log_set_role("https");
    signal(SIGPIPE, SIG_IGN);
    tls_library_start();
    raise_descriptor_limit(limits);
    enum err err = confine_loop_init(&role.https.loop, &note);
    if (err) {
        log_event(LOG_LEVEL_ERROR, "https.start_failed", LOG_STR("cause", note.text));
        return 1;
    }
    start_loop_handles(&role);
    err = set_up(&role, &note);
    if (err) {
        log_event(LOG_LEVEL_ERROR, "https.start_failed", LOG_STR("cause", note.text));
        end(&role, 1);
    } else {
        log_event(LOG_LEVEL_INFO, "https.serving", LOG_STR("identity", credentials_identity(role.https.credentials)),
                  LOG_U64("outbound_port", start->outbound_port), LOG_U64("tunnel_port", start->tunnel_port));
    }
    uv_run(&role.https.loop, UV_RUN_DEFAULT);
    tear_down(&role);
    uv_loop_close(&role.https.loop);
    return role.exit_status;
}

int https_main(const struct role_start *start)
{
    return https_run(start, &https_limits_default);
}
