// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/control/intake.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/log.h"
#include "proto/wire/message.h"
#include "proto/wire/slice.h"

struct intake {
    struct intake_config config;
    struct apply *apply;
    Twofold__V1__SliceDelta *waiting; // owned; NULL: none
    bool is_asked;                    // what is under way has to be answered, with `nonce`
    bool is_from_disk;                // what is under way is the stored slice
    uint64_t nonce;
    uint64_t stored_applied_at; // while the stored slice is under way or in force; 0: not
};

static void begin(struct intake *intake, const Twofold__V1__SliceDelta *delta);

static uint64_t generation_in_force(const struct intake *intake)
{
    const Twofold__V1__Slice *slice = apply_current(intake->apply);

    return slice ? slice->settings->generation : 0;
}

static void answer(struct intake *intake, uint64_t nonce, bool applied, const char *reason)
{
    Twofold__V1__SliceResult result = TWOFOLD__V1__SLICE_RESULT__INIT;

    result.nonce = nonce;
    result.generation = generation_in_force(intake);
    if (apply_current(intake->apply)) {
        result.digest.data = (uint8_t *)apply_current_digest(intake->apply);
        result.digest.len = DIGEST_BYTES;
    }
    result.applied = applied;
    result.reason = (char *)reason;
    intake->config.answer(intake->config.context, &result);
}

// ---- what the apply asks for and reports

static enum err do_send(void *context, enum apply_role role, const Twofold__V1__RoleMessage *message)
{
    struct intake *intake = context;

    return intake->config.send(intake->config.context, role, message);
}

static enum err do_stage(void *context, const Twofold__V1__Slice *slice, struct note *note)
{
    struct intake *intake = context;

    return intake->config.stage(intake->config.context, slice, note);
}

static enum err do_publish(void *context, struct note *note)
{
    struct intake *intake = context;

    return intake->config.publish(intake->config.context, note);
}

static void on_moved(void *context, const char *old, const char *event, const char *new)
{
    (void)context;
    log_event(LOG_LEVEL_DEBUG, "apply.state", LOG_STR("old", old), LOG_STR("event", event), LOG_STR("new", new));
}

static void log_outcome(const struct apply_outcome *outcome)
{
    if (outcome->applied)
        log_event(LOG_LEVEL_INFO, "slice.applied", LOG_U64("generation", outcome->generation),
                  LOG_U64("elapsed_ms", outcome->elapsed_ms));
    else
        log_event(LOG_LEVEL_ERROR, "slice.refused", LOG_U64("generation", outcome->generation),
                  LOG_STR("cause", outcome->reason), LOG_U64("elapsed_ms", outcome->elapsed_ms));
}

static void begin_waiting(struct intake *intake)
{
    Twofold__V1__SliceDelta *delta = intake->waiting;

    if (!delta || apply_is_busy(intake->apply))
        return;
    intake->waiting = NULL;
    begin(intake, delta);
    message_free(delta);
}

static void on_finished(void *context, const struct apply_outcome *outcome)
{
    struct intake *intake = context;

    log_outcome(outcome);
    if (outcome->applied && !intake->is_from_disk)
        intake->stored_applied_at = 0;
    intake->is_from_disk = false;
    if (intake->is_asked)
        answer(intake, intake->nonce, outcome->applied, outcome->reason);
    intake->is_asked = false;
    if (outcome->broken) {
        intake->config.broken(intake->config.context, outcome->reason);
        return;
    }
    intake->config.settled(intake->config.context, outcome->applied, outcome->reason);
    begin_waiting(intake);
}

static const struct apply_actions ACTIONS = {
    .send = do_send,
    .stage = do_stage,
    .publish = do_publish,
    .moved = on_moved,
    .finished = on_finished,
};

// ---- life

enum err intake_new(const struct intake_config *config, struct intake **ret_intake)
{
    struct intake *intake = calloc(1, sizeof(*intake));

    if (!intake)
        return ERR_NOMEM;
    intake->config = *config;
    enum err err = apply_new(config->clock, &ACTIONS, intake, &intake->apply);
    if (err) {
        free(intake);
        return err;
    }
    *ret_intake = intake;
    return ERR_OK;
}

void intake_free(struct intake *intake)
{
    if (!intake)
        return;
    apply_free(intake->apply);
    message_free(intake->waiting);
    free(intake);
}

// ---- one slice

static enum err check(struct intake *intake, const Twofold__V1__Slice *slice, struct note *note)
{
    const Twofold__V1__Settings *settings = slice->settings;

    if (strcmp(settings->host, intake->config.host) != 0 ||
        strcmp(settings->trust_domain, intake->config.trust_domain) != 0)
        return note_set(note, ERR_IDENTITY, "the slice is for host '%s' in %s, this host is '%s' in %s", settings->host,
                        settings->trust_domain, intake->config.host, intake->config.trust_domain);
    if (settings->generation < generation_in_force(intake))
        return note_set(note, ERR_STALE,
                        "generation %" PRIu64 " is older than %" PRIu64 ", which is in force: generations only go up",
                        settings->generation, generation_in_force(intake));
    return intake->config.admit(intake->config.context, slice, note);
}

static bool is_in_force(const struct intake *intake, const Twofold__V1__SliceDelta *delta)
{
    return apply_current(intake->apply) && delta->digest.len == DIGEST_BYTES &&
           memcmp(delta->digest.data, apply_current_digest(intake->apply), DIGEST_BYTES) == 0;
}

static void refuse(struct intake *intake, uint64_t nonce, const struct note *note)
{
    log_event(LOG_LEVEL_ERROR, "slice.refused", LOG_STR("cause", note->text));
    answer(intake, nonce, false, note->text);
    intake->config.settled(intake->config.context, false, note->text);
}

static void begin(struct intake *intake, const Twofold__V1__SliceDelta *delta)
{
    struct note note = {0};
    Twofold__V1__Slice *slice;

    enum err err = slice_patch(apply_current(intake->apply), delta, &slice, &note);
    if (err) {
        if (!note.text[0])
            note_set(&note, err, "the delta cannot be applied: %s", err_text(err));
        refuse(intake, delta->nonce, &note);
        return;
    }
    if (is_in_force(intake, delta)) {
        message_free(slice);
        answer(intake, delta->nonce, true, "");
        intake->config.settled(intake->config.context, true, "");
        return;
    }
    if (check(intake, slice, &note) != ERR_OK) {
        message_free(slice);
        refuse(intake, delta->nonce, &note);
        return;
    }
    intake->is_asked = true;
    intake->nonce = delta->nonce;
    if ((err = apply_start(intake->apply, slice, false))) {
        intake->is_asked = false;
        message_free(slice);
        note_set(&note, err, "the slice cannot be applied: %s", err_text(err));
        refuse(intake, delta->nonce, &note);
    }
}

void intake_start_stored(struct intake *intake, Twofold__V1__Slice *slice, uint64_t applied_at)
{
    struct note note = {0};
    enum err err = check(intake, slice, &note);

    intake->stored_applied_at = applied_at;
    intake->is_from_disk = true;
    if (!err && (err = apply_start(intake->apply, slice, true)))
        note_set(&note, err, "the stored slice cannot be applied: %s", err_text(err));
    if (err) {
        message_free(slice);
        intake->stored_applied_at = 0;
        intake->is_from_disk = false;
        log_event(LOG_LEVEL_ERROR, "slice.refused", LOG_STR("cause", note.text), LOG_STR("from", "disk"));
        intake->config.settled(intake->config.context, false, note.text);
    }
}

static void wait(struct intake *intake, const Twofold__V1__SliceDelta *delta)
{
    ProtobufCMessage *copy;

    if (intake->waiting) {
        answer(intake, intake->waiting->nonce, false, "superseded by a newer one before its turn came");
        message_free(intake->waiting);
        intake->waiting = NULL;
    }
    enum err err = message_copy(&delta->base, &copy);
    if (err)
        answer(intake, delta->nonce, false, err_text(err));
    else
        intake->waiting = (Twofold__V1__SliceDelta *)copy;
}

void intake_on_delta(struct intake *intake, const Twofold__V1__SliceDelta *delta)
{
    if (apply_is_busy(intake->apply))
        wait(intake, delta);
    else
        begin(intake, delta);
}

void intake_on_session_lost(struct intake *intake)
{
    intake->is_asked = false;
    message_free(intake->waiting);
    intake->waiting = NULL;
}

void intake_on_answer(struct intake *intake, enum apply_role role, const Twofold__V1__RoleAnswer *role_answer)
{
    apply_on_answer(intake->apply, role, role_answer);
}

void intake_on_role_gone(struct intake *intake, enum apply_role role)
{
    apply_on_role_gone(intake->apply, role);
}

void intake_tick(struct intake *intake)
{
    apply_tick(intake->apply);
}

uint64_t intake_deadline(const struct intake *intake)
{
    return apply_deadline(intake->apply);
}

bool intake_is_busy(const struct intake *intake)
{
    return apply_is_busy(intake->apply);
}

const Twofold__V1__Slice *intake_slice(const struct intake *intake)
{
    return apply_current(intake->apply);
}

const uint8_t *intake_digest(const struct intake *intake)
{
    return apply_current_digest(intake->apply);
}

uint64_t intake_applied_at(const struct intake *intake)
{
    if (!apply_current(intake->apply))
        return 0;
    return intake->stored_applied_at ? intake->stored_applied_at : apply_current_since_ms(intake->apply) / 1000;
}
