// SPDX-License-Identifier: GPL-2.0-or-later
// The network role's process. Order of events:
//
//   the floor, before anything else (tables of an earlier life stay) -> identity, keying -> seccomp -> loop:
//   control's messages, keying's deadlines, the kernel's events, refused packets; at the end of each turn the https role is told of
//   changed SAs, once
//
// Ends on SIGTERM and when a neighbour's channel closes. The kernel keeps everything: nothing opens.
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/confine_loop.h"
#include "agent/network/network.h"
#include "proto/base/log.h"
#include "proto/link/cert.h"
#include "proto/wire/message.h"

void network_end(struct network *network, int exit_status)
{
    if (network->is_ending)
        return;
    network->is_ending = true;
    network->exit_status = exit_status;
    uv_stop(network->loop);
}

// ---- comparison with the kernel

static void say_repairs(struct network *network, const struct dataplane_repairs *repairs)
{
    network->repaired_policies += repairs->policies;
    network->removed_strays += repairs->strays;
    network->lost_sas += repairs->lost;
    network->restored_tables += repairs->table;
    if (repairs->policies + repairs->strays + repairs->lost + repairs->table > 0)
        log_event(LOG_LEVEL_WARNING, "kernel.repaired", LOG_U64("policies", repairs->policies),
                  LOG_U64("stray_sas", repairs->strays), LOG_U64("lost_sas", repairs->lost),
                  LOG_U64("table", repairs->table));
}

static void compare(struct network *network)
{
    struct dataplane_repairs repairs;
    struct note note = {0};
    network->event_at_boot_ms = UINT64_MAX;
    enum err err = dataplane_reconcile(network->dataplane, &repairs, &note);
    say_repairs(network, &repairs);
    if (err != ERR_OK)
        network_trouble(network, "kernel.compare_failed", "", &note);
    else
        network->trouble[0] = '\0';
    // A module may have been loaded since.
    if (network->keying == NULL) {
        dataplane_probe(network->dataplane);
        const struct sad_support *support = dataplane_support(network->dataplane);
        if ((support->esp4 || support->esp6) && network_start_keying(network, &note) != ERR_OK)
            network_trouble(network, "keying.start_failed", "", &note);
    } else if (repairs.lost > 0 && network_start_keying(network, &note) != ERR_OK) {
        network_trouble(network, "keying.restart_failed", "", &note);
    }
    if (repairs.lost > 0)
        network->sas_changed = true;
}

static void on_reconcile(uv_timer_t *timer)
{
    compare(timer->data);
}

// Soon, but once for a burst of changes.
static void on_kernel_event(uv_poll_t *poll, int status, int events)
{
    struct network *network = poll->data;
    (void)status;
    (void)events;
    if (!dataplane_drain_events(network->dataplane) || network->event_at_boot_ms != UINT64_MAX)
        return;
    network->event_at_boot_ms = clock_boot_ms(&clock_system) + RECONCILE_SOON_MS;
    uv_timer_start(&network->reconcile, on_reconcile, RECONCILE_SOON_MS, RECONCILE_MS);
}

// ---- refused packets

static void take_drop(void *context, const struct nflog_event *event)
{
    struct network *network = context;
    drops_add(network->drops, network->slice, network->start->tunnel_port, event, clock_unix_ms(&clock_system));
}

static void on_drops(uv_poll_t *poll, int status, int events)
{
    struct network *network = poll->data;
    (void)status;
    (void)events;
    if (nflog_read(network->nflog, take_drop, network, &network->drops_lost) != ERR_OK) {
        uv_poll_stop(poll);
        snprintf(network->list_problem, sizeof(network->list_problem),
                 "refused packets are not listed any more: the kernel closed the log; restart the agent");
    }
}

// ---- time

static void on_tick(uv_timer_t *timer)
{
    struct network *network = timer->data;
    if (network->keying != NULL)
        keying_tick(network->keying);
}

static void on_turn(uv_prepare_t *prepare)
{
    struct network *network = prepare->data;
    if (network->is_ending)
        return;
    if (network->sas_changed)
        network_report_sas(network);
    if (network->keying == NULL)
        return;
    uint64_t deadline = keying_deadline(network->keying);
    uint64_t now = clock_boot_ms(&clock_system);
    uint64_t wait = deadline > now ? deadline - now : 0;
    uv_timer_start(&network->tick, on_tick, wait < TICK_MAX_MS ? wait : TICK_MAX_MS, 0);
}

// ---- channels

static void on_message(void *owner, struct channel *channel, const uint8_t *bytes, size_t len)
{
    struct network *network = owner;
    ProtobufCMessage *message;
    if (network->is_ending)
        return;
    bool from_control = channel == network->control;
    enum err err = message_decode(&twofold__v1__role_message__descriptor, bytes, len, &message);
    if (err == ERR_OK && from_control)
        network_on_control(network, (const Twofold__V1__RoleMessage *)message);
    if (err == ERR_OK)
        message_free(message);
    // The https role has nothing to say to this one.
    if (err == ERR_OK && from_control)
        return;
    log_event(LOG_LEVEL_ERROR, "role.protocol", LOG_STR("neighbour", from_control ? "control" : "https"),
              LOG_STR("cause", err != ERR_OK ? err_text(err) : "a message that is not for this role"));
    network_end(network, 1);
}

static void on_close(void *owner, struct channel *channel, enum err err)
{
    struct network *network = owner;
    bool was_control = channel == network->control;
    if (was_control)
        network->control = NULL;
    else
        network->https = NULL;
    if (network->is_ending)
        return;
    log_event(LOG_LEVEL_WARNING, "role.neighbour_gone", LOG_STR("neighbour", was_control ? "control" : "https"),
              LOG_STR("cause", err_text(err)));
    network_end(network, 1);
}

static const struct channel_events channel_events = {.on_message = on_message, .on_close = on_close};

static void on_terminate(uv_signal_t *signal, int number)
{
    (void)number;
    network_end(signal->data, 0);
}

// ---- start and end

static enum err load_identity(struct network *network, struct note *note)
{
    enum err err = identity_load(network->start->folder, "host", "network-ca", &network->identity, note);
    if (err != ERR_OK)
        return err;
    if (network->identity->facts.id.kind != SPIFFE_HOST)
        return note_set(note, ERR_IDENTITY, "%s/host.pem is not a host's certificate", network->start->folder);
    err = trust_new(&network->trust);
    if (err == ERR_OK)
        err = trust_add(network->trust, network->identity->ca, network->identity->ca_len, note);
    return err;
}

static void open_drops(struct network *network)
{
    struct note note = {0};
    if (nflog_open(&network->nflog, &note) != ERR_OK) {
        snprintf(network->list_problem, sizeof(network->list_problem), "%.250s", note.text);
        log_event(LOG_LEVEL_WARNING, "drops.not_listed", LOG_STR("cause", note.text));
    }
}

static enum err set_up(struct network *network, struct note *note)
{
    struct dataplane_config config = {
        .control_uid = network->start->control_uid,
        .https_uid = network->start->https_uid,
        .outbound_port = network->start->outbound_port,
        .tunnel_port = network->start->tunnel_port,
    };
    enum err err = dataplane_new(&config, &network->dataplane, note);
    if (err == ERR_OK)
        err = dataplane_start(network->dataplane, note);
    if (err == ERR_OK)
        err = load_identity(network, note);
    if (err == ERR_OK)
        err = drops_new(&network->drops);
    if (err != ERR_OK)
        return err;
    open_drops(network);
    network->has_stat = xfrm_stat_read(&network->stat_base) == ERR_OK;
    const struct sad_support *support = dataplane_support(network->dataplane);
    if (support->problem[0] != '\0')
        log_event(LOG_LEVEL_WARNING, "kernel.no_esp", LOG_STR("cause", support->problem));
    if (support->esp4 || support->esp6)
        err = network_start_keying(network, note);
    return err;
}

static void tear_down(struct network *network)
{
    keying_free(network->keying);
    dataplane_free(network->dataplane);
    nflog_close(network->nflog);
    drops_free(network->drops);
    trust_free(network->trust);
    identity_free(network->identity);
    message_free(network->slice);
    message_free(network->prepared);
}

static void watch(struct network *network, uv_poll_t *poll, int fd, uv_poll_cb callback)
{
    uv_poll_init(network->loop, poll, fd);
    poll->data = network;
    uv_poll_start(poll, UV_READABLE, callback);
}

static enum err start_loop(struct network *network, struct note *note)
{
    uv_loop_t *loop = network->loop;
    uv_timer_init(loop, &network->tick);
    uv_timer_init(loop, &network->reconcile);
    uv_prepare_init(loop, &network->turn);
    uv_signal_init(loop, &network->terminate);
    network->tick.data = network->reconcile.data = network->turn.data = network->terminate.data = network;
    uv_timer_start(&network->reconcile, on_reconcile, RECONCILE_MS, RECONCILE_MS);
    uv_prepare_start(&network->turn, on_turn);
    uv_signal_start(&network->terminate, on_terminate, SIGTERM);
    int fds[DATAPLANE_EVENT_FDS];
    dataplane_event_fds(network->dataplane, fds);
    for (size_t i = 0; i < DATAPLANE_EVENT_FDS; i++)
        watch(network, &network->kernel_events[i], fds[i], on_kernel_event);
    network->has_drop_events = network->nflog != NULL;
    if (network->has_drop_events)
        watch(network, &network->drop_events, nflog_fd(network->nflog), on_drops);
    enum err err = channel_open(loop, network->start->control_fd, CHANNEL_FRAME_BYTES_MAX, &channel_events, network,
                                &network->control);
    if (err == ERR_OK)
        err = channel_open(loop, network->start->https_fd, CHANNEL_FRAME_BYTES_MAX, &channel_events, network,
                           &network->https);
    return err == ERR_OK ? ERR_OK : note_set(note, err, "the channels to the other roles: %s", err_text(err));
}

static void close_handle(uv_handle_t *handle)
{
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

static void stop_loop(struct network *network)
{
    close_handle((uv_handle_t *)&network->tick);
    close_handle((uv_handle_t *)&network->reconcile);
    close_handle((uv_handle_t *)&network->turn);
    close_handle((uv_handle_t *)&network->terminate);
    for (size_t i = 0; i < DATAPLANE_EVENT_FDS; i++)
        close_handle((uv_handle_t *)&network->kernel_events[i]);
    if (network->has_drop_events)
        close_handle((uv_handle_t *)&network->drop_events);
    if (network->control != NULL)
        channel_close(network->control);
    if (network->https != NULL)
        channel_close(network->https);
    uv_run(network->loop, UV_RUN_DEFAULT);
}

static int serve(struct network *network)
{
    uv_loop_t loop;
    struct note note = {0};
    enum err err = confine_loop_init(&loop, &note);
    if (err) {
        log_event(LOG_LEVEL_ERROR, "role.failed", LOG_STR("cause", note.text));
        return 1;
    }
    network->loop = &loop;
    err = start_loop(network, &note);
    if (err == ERR_OK)
        err = role_confine(ROLE_NETWORK, &note);
    if (err == ERR_OK) {
        log_event(LOG_LEVEL_INFO, "role.started", LOG_STR("host", network->identity->facts.id.name),
                  LOG_STR("dataplane", network->keying != NULL ? "kernel" : "none"));
        uv_run(&loop, UV_RUN_DEFAULT);
    } else {
        log_event(LOG_LEVEL_ERROR, "role.failed", LOG_STR("cause", note.text));
        network->exit_status = 1;
    }
    network->is_ending = true;
    stop_loop(network);
    uv_loop_close(&loop);
    return network->exit_status;
}

int network_main(const struct role_start *start)
{
    struct network network = {.start = start, .event_at_boot_ms = UINT64_MAX};
    struct note note = {0};
    int exit_status = 1;
    // Messages of keying that go out before the loop runs would have no channel: there are none before the first slice.
    enum err err = set_up(&network, &note);
    if (err == ERR_OK)
        exit_status = serve(&network);
    else
        log_event(LOG_LEVEL_ERROR, "role.failed", LOG_STR("cause", note.text[0] != '\0' ? note.text : err_text(err)));
    tear_down(&network);
    return exit_status;
}
