// SPDX-License-Identifier: GPL-2.0-or-later
//
//                        start
//                IDLE ----------> PREPARING          both roles check and stage the slice
//                 ^ ^  failed        | done          (the slice is staged on disk, too)
//                 | +----------------+
//                 |    failed   COMMITTING_NETWORK   kernel: whole, or undone by the role
//                 +------------------+ done
//                 |     done   COMMITTING_HTTPS      tables; then the staged file replaces the stored one
//                 +------------------+ failed
//                 |                  v
//                 |             RESTORING            both roles stage the old slice again
//                 |                  | done
//                 |             RESTORING_NETWORK
//                 |                  | done
//                 |    done     RESTORING_HTTPS
//                 +------------------+
//
// A time limit that passes is a failure, except where nobody can say any more what a role enforces: while the network role commits, and in
// each RESTORING state. Those, and a role that ends, lead to BROKEN: all roles are started afresh and begin from the stored slice.
#include "agent/control/apply.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/wire/message.h"
#include "proto/wire/slice.h"

enum state {
    IDLE,
    PREPARING,
    COMMITTING_NETWORK,
    COMMITTING_HTTPS,
    RESTORING,
    RESTORING_NETWORK,
    RESTORING_HTTPS,
    BROKEN,
};

enum event { STARTED, DONE, FAILED, TIMED_OUT, ROLE_GONE };

static const char *const STATE_NAMES[] = {
    "idle",      "preparing",         "committing_network", "committing_https",
    "restoring", "restoring_network", "restoring_https",    "broken",
};

static const char *const EVENT_NAMES[] = {"started", "done", "failed", "timed_out", "role_gone"};

struct apply {
    const struct clock *clock;
    const struct apply_actions *actions;
    void *context;

    enum state state;
    Twofold__V1__Slice *current; // owned; in force
    uint8_t current_digest[DIGEST_BYTES];
    uint64_t current_since_ms;

    Twofold__V1__Slice *next; // owned; under way
    uint8_t next_digest[DIGEST_BYTES];
    bool next_is_stored;
    bool awaited[APPLY_ROLES]; // an answer of this role
    uint64_t awaited_generation;
    bool refused; // one of the answers so far
    uint64_t started_boot_ms;
    uint64_t deadline_boot_ms;
    struct note reason;
};

static void handle(struct apply *apply, enum event event);

static const char *name_of(enum apply_role role)
{
    return role == APPLY_NETWORK ? "network" : "https";
}

enum err apply_new(const struct clock *clock, const struct apply_actions *actions, void *context,
                   struct apply **ret_apply)
{
    struct apply *apply = calloc(1, sizeof(*apply));

    if (!apply)
        return ERR_NOMEM;
    apply->clock = clock;
    apply->actions = actions;
    apply->context = context;
    apply->deadline_boot_ms = UINT64_MAX;
    *ret_apply = apply;
    return ERR_OK;
}

void apply_free(struct apply *apply)
{
    if (!apply)
        return;
    message_free(apply->current);
    message_free(apply->next);
    free(apply);
}

bool apply_is_busy(const struct apply *apply)
{
    return apply->state != IDLE;
}

uint64_t apply_deadline(const struct apply *apply)
{
    return apply->deadline_boot_ms;
}

const Twofold__V1__Slice *apply_current(const struct apply *apply)
{
    return apply->current;
}

const uint8_t *apply_current_digest(const struct apply *apply)
{
    return apply->current_digest;
}

uint64_t apply_current_since_ms(const struct apply *apply)
{
    return apply->current_since_ms;
}

// ---- what is sent

// The first one is the cause.
static void set_reason(struct apply *apply, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void set_reason(struct apply *apply, const char *format, ...)
{
    va_list list;

    if (apply->reason.text[0])
        return;
    va_start(list, format);
    vsnprintf(apply->reason.text, sizeof(apply->reason.text), format, list);
    va_end(list);
}

// Sends one message and awaits its answer. False when it cannot be sent.
static bool ask(struct apply *apply, enum apply_role role, const Twofold__V1__RoleMessage *message, uint64_t generation,
                uint64_t limit_ms)
{
    enum err err = apply->actions->send(apply->context, role, message);

    if (err) {
        set_reason(apply, "the %s role cannot be told: %s", name_of(role), err_text(err));
        return false;
    }
    apply->awaited[role] = true;
    apply->awaited_generation = generation;
    apply->deadline_boot_ms = clock_boot_ms(apply->clock) + limit_ms;
    return true;
}

static bool ask_prepare(struct apply *apply, Twofold__V1__Slice *slice)
{
    Twofold__V1__RoleMessage message = TWOFOLD__V1__ROLE_MESSAGE__INIT;
    uint64_t generation = slice->settings->generation;

    message.body_case = TWOFOLD__V1__ROLE_MESSAGE__BODY_PREPARE;
    message.prepare = slice;
    return ask(apply, APPLY_NETWORK, &message, generation, APPLY_PREPARE_MS) &&
           ask(apply, APPLY_HTTPS, &message, generation, APPLY_PREPARE_MS);
}

static bool ask_commit(struct apply *apply, enum apply_role role, const Twofold__V1__Slice *slice)
{
    Twofold__V1__RoleMessage message = TWOFOLD__V1__ROLE_MESSAGE__INIT;
    Twofold__V1__Commit commit = TWOFOLD__V1__COMMIT__INIT;

    commit.generation = slice->settings->generation;
    message.body_case = TWOFOLD__V1__ROLE_MESSAGE__BODY_COMMIT;
    message.commit = &commit;
    return ask(apply, role, &message, commit.generation, APPLY_COMMIT_MS);
}

// No answer comes, and a failure to send it shows elsewhere.
static void send_abort(struct apply *apply, enum apply_role role)
{
    Twofold__V1__RoleMessage message = TWOFOLD__V1__ROLE_MESSAGE__INIT;
    Twofold__V1__Commit commit = TWOFOLD__V1__COMMIT__INIT;

    commit.generation = apply->next->settings->generation;
    message.body_case = TWOFOLD__V1__ROLE_MESSAGE__BODY_ABORT;
    message.abort = &commit;
    enum err err = apply->actions->send(apply->context, role, &message);
    if (err)
        set_reason(apply, "the %s role cannot be told: %s", name_of(role), err_text(err));
}

// ---- how it ends

static void finish(struct apply *apply, bool applied, bool broken)
{
    struct note reason = apply->reason;
    struct apply_outcome outcome = {
        .applied = applied,
        .broken = broken,
        .reason = reason.text,
        .generation = apply->next->settings->generation,
        .elapsed_ms = clock_boot_ms(apply->clock) - apply->started_boot_ms,
    };

    if (applied) {
        message_free(apply->current);
        apply->current = apply->next;
        memcpy(apply->current_digest, apply->next_digest, DIGEST_BYTES);
        apply->current_since_ms = clock_unix_ms(apply->clock);
    } else {
        message_free(apply->next);
    }
    apply->next = NULL;
    memset(apply->awaited, 0, sizeof(apply->awaited));
    apply->deadline_boot_ms = UINT64_MAX;
    apply->actions->finished(apply->context, &outcome);
}

// ---- one action for each transition; false: it failed, which is the next event

static bool do_prepare(struct apply *apply)
{
    return ask_prepare(apply, apply->next);
}

static bool do_commit_network(struct apply *apply)
{
    return ask_commit(apply, APPLY_NETWORK, apply->next);
}

static bool do_commit_https(struct apply *apply)
{
    return ask_commit(apply, APPLY_HTTPS, apply->next);
}

static bool do_succeed(struct apply *apply)
{
    finish(apply, true, false);
    return true;
}

static bool do_give_up(struct apply *apply)
{
    send_abort(apply, APPLY_NETWORK);
    send_abort(apply, APPLY_HTTPS);
    finish(apply, false, false);
    return true;
}

static bool do_restore(struct apply *apply)
{
    // A late answer to what is now undone must not count.
    memset(apply->awaited, 0, sizeof(apply->awaited));
    return apply->current && ask_prepare(apply, apply->current);
}

static bool do_restore_network(struct apply *apply)
{
    return ask_commit(apply, APPLY_NETWORK, apply->current);
}

static bool do_restore_https(struct apply *apply)
{
    return ask_commit(apply, APPLY_HTTPS, apply->current);
}

static bool do_refuse(struct apply *apply)
{
    finish(apply, false, false);
    return true;
}

static bool do_break(struct apply *apply)
{
    finish(apply, false, true);
    return true;
}

struct transition {
    enum state state;
    enum event event;
    enum state next;
    bool (*action)(struct apply *apply);
};

static const struct transition TRANSITIONS[] = {
    {IDLE, STARTED, PREPARING, do_prepare},
    {PREPARING, DONE, COMMITTING_NETWORK, do_commit_network},
    {PREPARING, FAILED, IDLE, do_give_up},
    {PREPARING, TIMED_OUT, IDLE, do_give_up},
    {PREPARING, ROLE_GONE, BROKEN, do_break},
    {COMMITTING_NETWORK, DONE, COMMITTING_HTTPS, do_commit_https},
    {COMMITTING_NETWORK, FAILED, IDLE, do_give_up},
    {COMMITTING_NETWORK, TIMED_OUT, BROKEN, do_break},
    {COMMITTING_NETWORK, ROLE_GONE, BROKEN, do_break},
    {COMMITTING_HTTPS, DONE, IDLE, do_succeed},
    {COMMITTING_HTTPS, FAILED, RESTORING, do_restore},
    {COMMITTING_HTTPS, TIMED_OUT, RESTORING, do_restore},
    {COMMITTING_HTTPS, ROLE_GONE, BROKEN, do_break},
    {RESTORING, DONE, RESTORING_NETWORK, do_restore_network},
    {RESTORING, FAILED, BROKEN, do_break},
    {RESTORING, TIMED_OUT, BROKEN, do_break},
    {RESTORING, ROLE_GONE, BROKEN, do_break},
    {RESTORING_NETWORK, DONE, RESTORING_HTTPS, do_restore_https},
    {RESTORING_NETWORK, FAILED, BROKEN, do_break},
    {RESTORING_NETWORK, TIMED_OUT, BROKEN, do_break},
    {RESTORING_NETWORK, ROLE_GONE, BROKEN, do_break},
    {RESTORING_HTTPS, DONE, IDLE, do_refuse},
    {RESTORING_HTTPS, FAILED, BROKEN, do_break},
    {RESTORING_HTTPS, TIMED_OUT, BROKEN, do_break},
    {RESTORING_HTTPS, ROLE_GONE, BROKEN, do_break},
};

static const struct transition *find(enum state state, enum event event)
{
    for (size_t i = 0; i < sizeof(TRANSITIONS) / sizeof(TRANSITIONS[0]); i++) {
        if (TRANSITIONS[i].state == state && TRANSITIONS[i].event == event)
            return &TRANSITIONS[i];
    }
    return NULL;
}

static void handle(struct apply *apply, enum event event)
{
    const struct transition *transition = find(apply->state, event);

    // Nothing is under way, or it is over: a role that ends then is the owner's concern.
    if (!transition)
        return;
    apply->actions->moved(apply->context, STATE_NAMES[apply->state], EVENT_NAMES[event], STATE_NAMES[transition->next]);
    apply->state = transition->next;
    apply->refused = false;
    if (!transition->action(apply))
        handle(apply, FAILED);
}

// ---- what comes in

enum err apply_start(struct apply *apply, Twofold__V1__Slice *slice, bool stored)
{
    uint8_t digest[DIGEST_BYTES];

    if (apply->state != IDLE)
        return ERR_AGAIN;
    enum err err = slice_digest(slice, digest);
    if (err)
        return err;
    apply->next = slice;
    memcpy(apply->next_digest, digest, DIGEST_BYTES);
    apply->next_is_stored = stored;
    apply->reason = (struct note){0};
    apply->started_boot_ms = clock_boot_ms(apply->clock);
    handle(apply, STARTED);
    return ERR_OK;
}

// Both roles have staged it: so does the disk, before anything is in force, since that is where a full disk shows.
static bool stage(struct apply *apply)
{
    struct note note = {0};

    if (apply->next_is_stored || !apply->actions->stage(apply->context, apply->next, &note))
        return true;
    set_reason(apply, "the slice cannot be stored: %s", note.text);
    return false;
}

static bool publish(struct apply *apply)
{
    struct note note = {0};

    if (apply->next_is_stored || !apply->actions->publish(apply->context, &note))
        return true;
    set_reason(apply, "the slice cannot be stored: %s", note.text);
    return false;
}

void apply_on_answer(struct apply *apply, enum apply_role role, const Twofold__V1__RoleAnswer *answer)
{
    if (!apply->awaited[role] || answer->generation != apply->awaited_generation)
        return;
    apply->awaited[role] = false;
    if (!answer->ok) {
        set_reason(apply, "the %s role refused: %s", name_of(role),
                   answer->reason[0] ? answer->reason : "it gave no reason");
        apply->refused = true;
    }
    if (apply->awaited[APPLY_NETWORK] || apply->awaited[APPLY_HTTPS])
        return;
    apply->deadline_boot_ms = UINT64_MAX;
    bool good = !apply->refused;
    if (good && apply->state == PREPARING)
        good = stage(apply);
    if (good && apply->state == COMMITTING_HTTPS)
        good = publish(apply);
    handle(apply, good ? DONE : FAILED);
}

void apply_on_role_gone(struct apply *apply, enum apply_role role)
{
    if (apply->next)
        set_reason(apply, "the %s role ended", name_of(role));
    handle(apply, ROLE_GONE);
}

void apply_tick(struct apply *apply)
{
    if (clock_boot_ms(apply->clock) < apply->deadline_boot_ms)
        return;
    apply->deadline_boot_ms = UINT64_MAX;
    enum apply_role late = apply->awaited[APPLY_NETWORK] ? APPLY_NETWORK : APPLY_HTTPS;
    set_reason(apply, "the %s role did not answer in time", name_of(late));
    memset(apply->awaited, 0, sizeof(apply->awaited));
    handle(apply, TIMED_OUT);
}
