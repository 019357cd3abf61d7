// SPDX-License-Identifier: GPL-2.0-or-later
// A slice's way into force, seen from the role: from the disk at the start, from the controller later; and the session, which starts behind the
// first.
#include "agent/control/control.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/control/independence.h"
#include "agent/control/slice_store.h"
#include "proto/base/log.h"
#include "proto/link/tls.h"

// ---- the stored slice, and the start of the session

static void say_ready(struct control *control)
{
    int fd = control->start->ready_fd;

    if (control->started)
        return;
    control->started = true;
    if (fd < 0)
        return;
    if (write(fd, "1", 1) < 0)
        log_event(LOG_LEVEL_WARNING, "ready.failed", LOG_STR("cause", strerror(errno)));
    close(fd);
}

static enum err make_context(const struct control *control, struct tls_context **ret_context, struct note *note)
{
    char keylog[PATH_MAX];
    const struct identity *identity = control->identity;
    struct tls_config config = {
        .side = TLS_CLIENT,
        .peer_check = TLS_PEER_REQUIRED,
        .key = identity->key,
        .certificate = identity->certificate,
        .certificate_len = identity->certificate_len,
        .trust = control->trust,
        .alpn = "h2",
        .clock = &clock_system,
    };

    if (control->start->export_folder) {
        if (snprintf(keylog, sizeof(keylog), "%s/tls.keys", control->start->export_folder) >= (int)sizeof(keylog))
            return note_set(note, ERR_INVALID, "the path of the export folder is too long");
        config.keylog_path = keylog;
    }
    return tls_context_new(&config, ret_context, note);
}

// The first time connects, later ones reconnect with the identity that is new.
void control_use_identity(struct control *control)
{
    struct tls_context *context;
    struct note note = {0};

    if (make_context(control, &context, &note) != ERR_OK) {
        log_event(LOG_LEVEL_ERROR, "session.no_identity", LOG_STR("cause", note.text));
        return;
    }
    uplink_set_context(control->uplink, context);
    tls_context_drop(context);
}

static void start_session(struct control *control)
{
    if (control->started)
        return;
    say_ready(control);
    if (!control->closing)
        control_use_identity(control);
}

void control_start_stored(struct control *control)
{
    const struct spiffe_id *id = &control->identity->facts.id;
    struct stored_slice stored;
    struct note note = {0};

    enum err err = slice_store_load(control->start->folder, id->trust_domain, id->name, &stored, &note);
    if (!err) {
        intake_start_stored(control->intake, stored.slice, stored.applied_at);
        return;
    }
    if (err != ERR_NOT_FOUND) {
        log_event(LOG_LEVEL_ERROR, "slice.stored_unusable", LOG_STR("cause", note.text));
        snprintf(control->slice_problem, sizeof(control->slice_problem), "%s", note.text);
    }
    start_session(control);
}

// ---- what the intake asks for and reports

static enum err send_for_apply(void *context, enum apply_role role, const Twofold__V1__RoleMessage *message)
{
    return control_send(context, role == APPLY_NETWORK ? ROLE_NETWORK : ROLE_HTTPS, message);
}

static enum err stage_slice(void *context, const Twofold__V1__Slice *slice, struct note *note)
{
    struct control *control = context;

    return slice_store_stage(control->start->folder, slice, clock_unix_ms(&clock_system) / 1000, note);
}

static enum err publish_slice(void *context, struct note *note)
{
    struct control *control = context;

    return slice_store_publish(control->start->folder, note);
}

static enum err admit_slice(void *context, const Twofold__V1__Slice *slice, struct note *note)
{
    struct control *control = context;
    struct notes *findings;

    if (!slice->settings->independence_required)
        return ERR_OK;
    findings = calloc(1, sizeof(*findings));
    if (!findings)
        return note_set(note, ERR_NOMEM, "out of memory");
    enum err err = ERR_OK;
    if (!independence_check(status_of(control->status, ROLE_NETWORK), status_of(control->status, ROLE_HTTPS), findings))
        err = note_set(note, ERR_INVALID, "the policy requires independent layers, and here %.400s",
                       findings->items[0].text);
    free(findings);
    return err;
}

static void answer_controller(void *context, const Twofold__V1__SliceResult *result)
{
    struct control *control = context;
    Twofold__V1__AgentMessage message = TWOFOLD__V1__AGENT_MESSAGE__INIT;

    message.body_case = TWOFOLD__V1__AGENT_MESSAGE__BODY_RESULT;
    message.result = (Twofold__V1__SliceResult *)result;
    enum err err = uplink_send(control->uplink, &message);
    if (err)
        log_event(LOG_LEVEL_WARNING, "result.not_sent", LOG_U64("nonce", result->nonce),
                  LOG_STR("cause", err_text(err)));
}

static void on_settled(void *context, bool applied, const char *reason)
{
    struct control *control = context;

    snprintf(control->slice_problem, sizeof(control->slice_problem), "%s%s",
             applied ? "" : "the newest slice was refused: ", applied ? "" : reason);
    // Also when nothing has changed: bundles of its peers were kept while the roles were busy.
    if (intake_slice(control->intake))
        early_release(control->early, intake_slice(control->intake), control_send_bundle, control);
    start_session(control);
}

static void on_broken(void *context, const char *reason)
{
    struct control *control = context;

    log_event(LOG_LEVEL_ERROR, "roles.disagree", LOG_STR("cause", reason),
              LOG_STR("remedy", "all roles start again from the stored slice"));
    control_shut_down(control, CONTROL_EXIT_FAILED);
}

const struct intake_config control_intake_config = {
    .send = send_for_apply,
    .stage = stage_slice,
    .publish = publish_slice,
    .admit = admit_slice,
    .answer = answer_controller,
    .settled = on_settled,
    .broken = on_broken,
};
