// SPDX-License-Identifier: GPL-2.0-or-later
// What the roles say of themselves, and who is told: the controller at each change, the local socket when it asks.
#include "agent/control/control.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/log.h"

enum {
    POLL_MS = 1000,       // of the roles' status
    POLL_LARGE_MS = 5000, // with more than PEERS_LARGE peers
    PEERS_LARGE = 256,
    ROLES_SILENT_MS = 30000, // at the start
    REPORT_ALIVE_MS = 30000, // to the controller without a change
};

// ---- status

// What the control role itself has to warn of. `notes` is big: the caller's.
static void collect_warnings(const struct control *control, struct notes *notes)
{
    uint64_t now = clock_unix_ms(&clock_system) / 1000;
    const struct cert_facts *facts = &control->identity->facts;

    if (control->slice_problem[0])
        notes_add(notes, 0, 0, "%.400s", control->slice_problem);
    if (!intake_slice(control->intake))
        notes_add(notes, 0, 0,
                  "no slice is in force yet: everything but the pinholes is blocked until the controller sends one");
    if (now >= facts->not_after)
        notes_add(
            notes, 0, 0,
            "the host's certificates have expired: set the clock right if it is wrong, otherwise enrol it again with "
            "a new token");
    else if (renewal_problem(control->renewal)[0])
        notes_add(notes, 0, 0, "the certificates could not be renewed and stay in use: %.400s",
                  renewal_problem(control->renewal));
}

static struct status_facts gather_facts(const struct control *control, const struct notes *warnings)
{
    const Twofold__V1__Slice *slice = intake_slice(control->intake);

    return (struct status_facts){
        .host = control->identity->facts.id.name,
        .trust_domain = control->identity->facts.id.trust_domain,
        .generation = slice ? slice->settings->generation : 0,
        .digest = slice ? intake_digest(control->intake) : NULL,
        .controller = control->controller_text,
        .connected = control->uplink && uplink_is_open(control->uplink),
        .connection_problem = control->uplink ? uplink_problem(control->uplink) : "",
        .slice_time = intake_applied_at(control->intake),
        .certificate_expires = control->identity->facts.not_after,
        .warnings = warnings,
    };
}

// Says to the controller how it stands: at a change, otherwise now and then.
static enum err report(struct control *control, const struct notes *warnings)
{
    const struct status_facts facts = gather_facts(control, warnings);
    uint64_t now = clock_boot_ms(&clock_system);
    uint8_t digest[DIGEST_BYTES];
    uint8_t *bytes;
    size_t len;

    enum err err = status_agent_digest(control->status, &facts, digest);
    if (err)
        return err;
    if (control->reported_boot_ms && now - control->reported_boot_ms < REPORT_ALIVE_MS &&
        memcmp(digest, control->reported, sizeof(digest)) == 0)
        return ERR_OK;
    if ((err = status_agent(control->status, &facts, &bytes, &len)))
        return err;
    err = uplink_send_bytes(control->uplink, bytes, len);
    free(bytes);
    if (!err) {
        memcpy(control->reported, digest, sizeof(digest));
        control->reported_boot_ms = now;
    }
    return err;
}

void control_report(struct control *control)
{
    struct notes *warnings;

    if (control->closing || !control->uplink || !uplink_is_open(control->uplink))
        return;
    warnings = calloc(1, sizeof(*warnings));
    if (!warnings)
        return;
    collect_warnings(control, warnings);
    enum err err = report(control, warnings);
    if (err)
        log_event(LOG_LEVEL_WARNING, "report.failed", LOG_STR("cause", err_text(err)));
    free(warnings);
}

enum err control_make_local_status(void *context, const struct inquiry_answers *answers, uint8_t **ret_bytes,
                                   size_t *ret_len)
{
    struct control *control = context;
    struct notes *warnings = calloc(1, sizeof(*warnings));

    if (!warnings)
        return ERR_NOMEM;
    collect_warnings(control, warnings);
    for (enum role role = ROLE_NETWORK; role < ROLE_COUNT; role++) {
        if (!answers->of[role])
            notes_add(warnings, 0, 0, "the %s role did not answer in time: what is shown of it is older",
                      role_name(role));
    }
    struct status_facts facts = gather_facts(control, warnings);
    enum err err = status_local(control->status, &facts, ret_bytes, ret_len);
    free(warnings);
    return err;
}

// ---- polling the roles

// The stored slice waits for the roles' first reports, which it may be judged by; a role that stays silent does not keep the session waiting.
static bool roles_are_known(struct control *control)
{
    uint64_t now = clock_boot_ms(&clock_system);

    if (!control->first_poll_boot_ms)
        control->first_poll_boot_ms = now;
    return (status_of(control->status, ROLE_NETWORK) && status_of(control->status, ROLE_HTTPS)) ||
           now - control->first_poll_boot_ms >= ROLES_SILENT_MS;
}

static void on_poll(struct inquiry_waiter *waiter, const struct inquiry_answers *answers)
{
    struct control *control = (struct control *)((char *)waiter - offsetof(struct control, poll));
    const Twofold__V1__Slice *slice = intake_slice(control->intake);

    (void)answers; // kept in control->status as they came
    control->poll_at_boot_ms =
        clock_boot_ms(&clock_system) + (slice && slice->n_peers > PEERS_LARGE ? POLL_LARGE_MS : POLL_MS);
    if (!control->started && !intake_is_busy(control->intake) && roles_are_known(control))
        control_start_stored(control);
    control_report(control);
}

void control_poll_roles(struct control *control)
{
    control->poll.on_answer = on_poll;
    control->poll_at_boot_ms = UINT64_MAX;
    enum err err = inquiry_ask(control->ask_status, &control->poll);
    if (err) {
        log_event(LOG_LEVEL_WARNING, "status.not_asked", LOG_STR("cause", err_text(err)));
        control->poll_at_boot_ms = clock_boot_ms(&clock_system) + POLL_MS;
    }
}
