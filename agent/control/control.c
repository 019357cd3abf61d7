// SPDX-License-Identifier: GPL-2.0-or-later
// The control role: one loop that ties together the controller's session (uplink), the deltas that come in (intake), the other roles (role links),
// the certificates (renewal), questions to the roles (inquiry) and the local socket (local).
//
// Order: identity, links, local socket, confine -> controller's address to the network role, first status -> stored slice -> ready -> session.
// The session starts last, so that its first message tells what is in force.
#include "agent/control/control.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/confine_loop.h"
#include "proto/base/file.h"
#include "proto/base/log.h"

// ---- time

static uint64_t earliest(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static void on_timer(uv_timer_t *timer)
{
    struct control *control = timer->data;

    if (control->closing)
        return;
    if (clock_boot_ms(&clock_system) >= control->poll_at_boot_ms)
        control_poll_roles(control);
    inquiry_tick(control->ask_status);
    inquiry_tick(control->ask_flows);
    local_tick(control->local);
    intake_tick(control->intake);
    if (!control->closing && control->started)
        renewal_tick(control->renewal);
}

static void on_prepare(uv_prepare_t *prepare)
{
    struct control *control = prepare->data;
    uint64_t deadline = control->poll_at_boot_ms;
    uint64_t now = clock_boot_ms(&clock_system);

    if (control->closing)
        return;
    deadline = earliest(deadline, intake_deadline(control->intake));
    deadline = earliest(deadline, inquiry_deadline(control->ask_status));
    deadline = earliest(deadline, inquiry_deadline(control->ask_flows));
    deadline = earliest(deadline, local_deadline(control->local));
    if (control->started)
        deadline = earliest(deadline, renewal_deadline(control->renewal));
    uv_update_time(&control->loop);
    if (deadline == UINT64_MAX)
        uv_timer_stop(&control->timer);
    else if (uv_timer_start(&control->timer, on_timer, deadline > now ? deadline - now : 0, 0) < 0)
        abort(); // only for a closing timer
}

// ---- the end

static void on_uplink_closed(void *owner)
{
    struct control *control = owner;

    control->uplink = NULL;
}

static void on_signal(uv_signal_t *signal, int number)
{
    struct control *control = signal->data;

    (void)number;
    log_event(LOG_LEVEL_INFO, "role.stopping");
    control_shut_down(control, 0);
}

// Everything that holds the loop is closed; it runs out by itself.
void control_shut_down(struct control *control, int exit_status)
{
    if (control->closing)
        return;
    control->closing = true;
    control->exit_status = exit_status;
    uplink_close(control->uplink, on_uplink_closed);
    for (enum role role = 0; role < ROLE_COUNT; role++) {
        if (control->links[role])
            role_link_close(control->links[role]);
    }
    local_close(control->local);
    control->local = NULL;
    uv_close((uv_handle_t *)&control->timer, NULL);
    uv_close((uv_handle_t *)&control->prepare, NULL);
    for (size_t i = 0; i < 2; i++)
        uv_close((uv_handle_t *)&control->signals[i], NULL);
}

static void control_free(struct control *control)
{
    intake_free(control->intake);
    early_free(control->early);
    renewal_free(control->renewal);
    inquiry_free(control->ask_status);
    inquiry_free(control->ask_flows);
    status_free(control->status);
    trust_free(control->trust);
    identity_free(control->identity);
    free(control);
}

// ---- the start

static enum err read_controller(struct control *control, struct note *note)
{
    char path[PATH_MAX];
    uint8_t *text;
    size_t len;

    if (snprintf(path, sizeof(path), "%s/controller", control->start->folder) >= (int)sizeof(path))
        return note_set(note, ERR_INVALID, "%s: the path is too long", control->start->folder);
    enum err err = file_read(path, 256, &text, &len, note);
    if (err)
        return err;
    text[strcspn((char *)text, "\n")] = '\0';
    err = ip_endpoint_parse((char *)text, &control->controller);
    free(text);
    if (err)
        return note_set(note, ERR_CORRUPT, "%s does not hold an address with a port: enrol the host again", path);
    ip_endpoint_format(&control->controller, control->controller_text);
    return ERR_OK;
}

static enum err load(struct control *control, struct note *note)
{
    enum err err;

    if ((err = identity_load(control->start->folder, "agent", "network-ca", &control->identity, note)) ||
        (err = read_controller(control, note)))
        return err;
    if (control->identity->facts.id.kind != SPIFFE_AGENT)
        return note_set(note, ERR_CORRUPT, "%s/agent.pem is not an agent's certificate: enrol the host again",
                        control->start->folder);
    if ((err = trust_new(&control->trust)))
        return note_set(note, err, "%s", err_text(err));
    return trust_add(control->trust, control->identity->ca, control->identity->ca_len, note);
}

static enum err make_parts(struct control *control)
{
    struct intake_config intake = control_intake_config;
    enum err err;

    intake.clock = &clock_system;
    intake.trust_domain = control->identity->facts.id.trust_domain;
    intake.host = control->identity->facts.id.name;
    intake.context = control;
    if ((err = intake_new(&intake, &control->intake)) || (err = early_new(&control->early)) ||
        (err = status_new(&control->status)) ||
        (err = renewal_new(&clock_system, &control_renewal_actions, control, &control->renewal)) ||
        (err = inquiry_new(&clock_system, control_ask_status, control, &control->ask_status)) ||
        (err = inquiry_new(&clock_system, control_ask_flows, control, &control->ask_flows)))
        return err;
    renewal_set_certificate(control->renewal, &control->identity->facts);
    return ERR_OK;
}

static enum err make_handles(struct control *control)
{
    static const int numbers[2] = {SIGTERM, SIGINT};

    if (uv_timer_init(&control->loop, &control->timer) < 0 || uv_prepare_init(&control->loop, &control->prepare) < 0 ||
        uv_prepare_start(&control->prepare, on_prepare) < 0)
        return ERR_NOMEM;
    control->timer.data = control;
    control->prepare.data = control;
    for (size_t i = 0; i < 2; i++) {
        if (uv_signal_init(&control->loop, &control->signals[i]) < 0)
            return ERR_NOMEM;
        control->signals[i].data = control;
        if (uv_signal_start(&control->signals[i], on_signal, numbers[i]) < 0)
            return ERR_NOMEM;
    }
    return ERR_OK;
}

static enum err make_links(struct control *control, struct note *note)
{
    const struct role_start *start = control->start;
    const struct uplink_config uplink = {
        .loop = &control->loop,
        .controller = control->controller,
        .trust_domain = control->identity->facts.id.trust_domain,
        .events = &control_uplink_events,
        .owner = control,
    };
    const struct local_config local = {
        .loop = &control->loop,
        .clock = &clock_system,
        .folder = start->runtime_folder,
        .admin_gid = start->admin_gid,
        .status = control->ask_status,
        .flows = control->ask_flows,
        .make_status = control_make_local_status,
        .context = control,
    };
    enum err err;

    if ((err = role_link_open(&control->loop, start->network_fd, ROLE_NETWORK, &control_link_events, control,
                              &control->links[ROLE_NETWORK])) ||
        (err = role_link_open(&control->loop, start->https_fd, ROLE_HTTPS, &control_link_events, control,
                              &control->links[ROLE_HTTPS])) ||
        (err = uplink_new(&uplink, &control->uplink)))
        return note_set(note, err, "cannot open the channels to the other roles: %s", err_text(err));
    return local_new(&local, &control->local, note);
}

static enum err set_up(struct control *control, struct note *note)
{
    enum err err = load(control, note);
    if (err)
        return err;
    if ((err = confine_loop_init(&control->loop, note)))
        return err;
    if ((err = make_parts(control)) || (err = make_handles(control)))
        return note_set(note, ERR_NOMEM, "the control role cannot start: out of memory or descriptors");
    if ((err = make_links(control, note)) || (err = role_confine(ROLE_CONTROL, note)))
        return err;
    if ((err = control_send_endpoint(control)))
        return note_set(note, err, "the network role cannot be told: %s", err_text(err));
    return ERR_OK;
}

int control_main(const struct role_start *start)
{
    struct note note = {0};
    struct control *control = calloc(1, sizeof(*control));

    if (!control)
        return CONTROL_EXIT_FAILED;
    control->start = start;
    if (set_up(control, &note) != ERR_OK) {
        // The process ends and takes what is half set up with it.
        log_event(LOG_LEVEL_ERROR, "role.failed", LOG_STR("cause", note.text));
        return CONTROL_EXIT_FAILED;
    }
    log_event(LOG_LEVEL_INFO, "role.serving", LOG_STR("host", control->identity->facts.id.name),
              LOG_STR("trust_domain", control->identity->facts.id.trust_domain),
              LOG_STR("controller", control->controller_text));
    control_poll_roles(control);
    uv_run(&control->loop, UV_RUN_DEFAULT);
    int exit_status = control->exit_status;
    uv_loop_close(&control->loop);
    control_free(control);
    return exit_status;
}
