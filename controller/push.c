// SPDX-License-Identifier: GPL-2.0-or-later
#include "controller/push.h"

#include <stdlib.h>
#include <string.h>

#include "controller/relay.h"
#include "controller/session.h"
#include "proto/base/log.h"
#include "proto/wire/message.h"
#include "proto/wire/slice.h"

#define AGENTS_PER_TURN 16

static const uint8_t no_digest[DIGEST_BYTES];

// ---- compile and send

enum err push_compile(struct fleet *fleet, const char *host, Twofold__V1__Slice **ret_slice, struct note *note)
{
    if (fleet->view == NULL) {
        enum err err = policy_view_new(fleet->policy, hosts_inventory(fleet->hosts), &fleet->view, note);
        if (err != ERR_OK)
            return err;
    }
    enum err err = policy_compile_view(fleet->view, host, ret_slice);
    if (err == ERR_LIMIT)
        return note_set(note, err, "more peers or rules concern it than a slice holds: narrow its segments");
    return err == ERR_OK ? ERR_OK : note_set(note, err, "%s", err_text(err));
}

static enum err send_delta(struct agent *agent, const struct held *next)
{
    Twofold__V1__SliceDelta *delta = NULL;
    uint64_t nonce = ++agent->fleet->nonce;
    enum err err = slice_diff(agent->applied.slice, next->slice, nonce, &delta);
    if (err != ERR_OK)
        return err;
    Twofold__V1__ControllerMessage message = TWOFOLD__V1__CONTROLLER_MESSAGE__INIT;
    message.body_case = TWOFOLD__V1__CONTROLLER_MESSAGE__BODY_DELTA;
    message.delta = delta;
    err = session_send(agent->session, &message);
    message_free(delta);
    if (err == ERR_OK)
        agent->sent_nonce = nonce;
    return err;
}

static void became_current(struct agent *agent, struct held *applied)
{
    struct held before = {0};
    held_move(&before, &agent->applied);
    held_move(&agent->applied, applied);
    agent->generation = agent->applied.slice->settings->generation;
    agent->refused_at_ms = 0;
    agent->resent = false;
    agent->problem[0] = '\0';
    relay_introduce(agent, &before);
    held_drop(&before);
}

// The agent must not go on believing in an older slice when a newer one cannot be made; it is told to people.
static void could_not(struct agent *agent, enum err err, const struct note *note)
{
    agent->refused_at_ms = clock_boot_ms(agent->fleet->clock);
    agent_set_problem(agent, "its slice of generation %llu could not be made: %s",
                      (unsigned long long)agent->fleet->generation, note->text[0] != '\0' ? note->text : err_text(err));
    log_event(LOG_LEVEL_ERROR, "slice.failed", LOG_STR("host", agent->host), LOG_STR("reason", agent->problem));
}

static void push_one(struct agent *agent)
{
    agent->behind = false;
    agent->refused_at_ms = 0;
    struct note note = {0};
    Twofold__V1__Slice *slice = NULL;
    enum err err = push_compile(agent->fleet, agent->host, &slice, &note);
    if (err == ERR_NOT_FOUND) {
        session_cut(agent->session, "this host is not enrolled or is revoked");
        return;
    }
    struct held next = {0};
    if (err == ERR_OK)
        err = held_set(&next, slice);
    if (err != ERR_OK) {
        could_not(agent, err, &note);
        return;
    }
    const uint8_t *in_force = agent->applied.slice != NULL ? agent->applied.digest : agent->reported;
    if (memcmp(in_force, next.digest, DIGEST_BYTES) == 0) {
        became_current(agent, &next);
        return;
    }
    err = send_delta(agent, &next);
    if (err == ERR_OK) {
        held_move(&agent->sent, &next);
        agent->sent_at_ms = clock_boot_ms(agent->fleet->clock);
        log_event(LOG_LEVEL_INFO, "slice.sent", LOG_STR("host", agent->host),
                  LOG_U64("generation", agent->sent.slice->settings->generation),
                  LOG_STR("kind", agent->applied.slice != NULL ? "delta" : "whole"));
    } else if (agent->session != NULL) { // otherwise the session has ended and a new one starts over
        could_not(agent, err, &note);
    }
    held_drop(&next);
}

static bool can_push(const struct agent *agent)
{
    return agent->behind && agent->sent.slice == NULL && agent->session != NULL && session_is_live(agent->session);
}

bool push_turn(struct fleet *fleet)
{
    size_t done = 0;
    for (size_t seen = 0; seen < fleet->agent_count; seen++) {
        fleet->cursor = fleet->cursor + 1 < fleet->agent_count ? fleet->cursor + 1 : 0;
        struct agent *agent = fleet->agents[fleet->cursor];
        if (!can_push(agent))
            continue;
        if (done == AGENTS_PER_TURN)
            return true;
        push_one(agent);
        done++;
    }
    return false;
}

static void is_behind(struct agent *agent)
{
    agent->behind = true;
    agent->fleet->on_work(agent->fleet->context);
}

// ---- what the agent says

static enum err read_digest(const ProtobufCBinaryData *bytes, uint8_t digest[DIGEST_BYTES], struct note *note)
{
    memset(digest, 0, DIGEST_BYTES);
    if (bytes->len == 0)
        return ERR_OK;
    if (bytes->len != DIGEST_BYTES)
        return note_set(note, ERR_PROTOCOL, "a digest of %zu bytes came instead of %d", bytes->len, DIGEST_BYTES);
    memcpy(digest, bytes->data, DIGEST_BYTES);
    return ERR_OK;
}

// Agents refuse a generation below the one they have.
static void tell_generation_is_old(struct agent *agent)
{
    agent_set_problem(
        agent,
        "it has generation %llu in force, newer than this controller's %llu: the controller's state is older than its "
        "hosts (restored from a backup?); start it once with --generation-above %llu",
        (unsigned long long)agent->generation, (unsigned long long)agent->fleet->generation,
        (unsigned long long)agent->generation);
    log_event(LOG_LEVEL_ERROR, "generation.old", LOG_STR("host", agent->host), LOG_STR("reason", agent->problem));
}

enum err push_on_hello(struct agent *agent, const Twofold__V1__Hello *hello, struct note *note)
{
    enum err err = read_digest(&hello->digest, agent->reported, note);
    if (err != ERR_OK)
        return err;
    if (agent->applied.slice != NULL && memcmp(agent->applied.digest, agent->reported, DIGEST_BYTES) != 0)
        held_drop(&agent->applied);
    agent->resent = false;
    agent->refused_at_ms = 0;
    agent->problem[0] = '\0';
    agent->generation = hello->generation;
    if (agent->generation > agent->fleet->generation)
        tell_generation_is_old(agent);
    struct held nothing = {0};
    relay_introduce(agent, &nothing);
    is_behind(agent);
    return ERR_OK;
}

// The agent's base or outcome is not what we believed: what it has in force is unknown, so it gets the whole slice, once.
static void start_over(struct agent *agent, const char *what)
{
    log_event(LOG_LEVEL_WARNING, "slice.mismatch", LOG_STR("host", agent->host), LOG_STR("reason", what));
    held_drop(&agent->applied);
    memset(agent->reported, 0, sizeof(agent->reported));
    if (agent->resent) {
        agent->refused_at_ms = clock_boot_ms(agent->fleet->clock);
        agent_set_problem(agent, "%s, also after the whole slice was sent again: look at its log", what);
        return;
    }
    agent->resent = true;
    is_behind(agent);
}

static void on_ack(struct agent *agent, struct held *sent, const uint8_t digest[DIGEST_BYTES])
{
    if (memcmp(digest, sent->digest, DIGEST_BYTES) != 0) {
        start_over(agent, "it reports another digest than that of the slice it was sent");
        return;
    }
    became_current(agent, sent);
    log_event(LOG_LEVEL_INFO, "slice.applied", LOG_STR("host", agent->host), LOG_U64("generation", agent->generation));
}

static void on_nack(struct agent *agent, const struct held *sent, const uint8_t digest[DIGEST_BYTES],
                    const char *reason)
{
    const uint8_t *believed = agent->applied.slice != NULL ? agent->applied.digest : no_digest;
    bool had_base = agent->applied.slice != NULL;
    if (had_base && memcmp(digest, believed, DIGEST_BYTES) != 0 && !agent->resent) {
        start_over(agent, "it has another slice in force than was believed");
        return;
    }
    memcpy(agent->reported, digest, DIGEST_BYTES);
    agent->refused_at_ms = clock_boot_ms(agent->fleet->clock);
    if (agent->generation > sent->slice->settings->generation) {
        tell_generation_is_old(agent);
        return;
    }
    agent_set_problem(agent, "it refused generation %llu: %s", (unsigned long long)sent->slice->settings->generation,
                      reason[0] != '\0' ? reason : "no reason given");
    log_event(LOG_LEVEL_WARNING, "slice.refused", LOG_STR("host", agent->host), LOG_STR("reason", agent->problem));
}

enum err push_on_result(struct agent *agent, const Twofold__V1__SliceResult *result, struct note *note)
{
    uint8_t digest[DIGEST_BYTES];
    enum err err = read_digest(&result->digest, digest, note);
    if (err != ERR_OK)
        return err;
    if (agent->sent.slice == NULL || result->nonce != agent->sent_nonce)
        return note_set(note, ERR_PROTOCOL, "a result came for a slice that waits for none (nonce %llu)",
                        (unsigned long long)result->nonce);
    struct held sent = {0};
    held_move(&sent, &agent->sent);
    if (result->applied)
        on_ack(agent, &sent, digest);
    else
        on_nack(agent, &sent, digest, result->reason);
    held_drop(&sent);
    agent->fleet->on_work(agent->fleet->context); // a newer change may wait, and so may a rollout
    return ERR_OK;
}

void push_on_disconnect(struct agent *agent)
{
    held_drop(&agent->sent);
    agent->refused_at_ms = 0;
    agent_set_problem(agent, "it is not connected");
    agent->fleet->on_work(agent->fleet->context);
}

void push_tick(struct agent *agent)
{
    uint64_t now = clock_boot_ms(agent->fleet->clock);
    if (agent->sent.slice != NULL && now - agent->sent_at_ms >= FLEET_ANSWER_MS) {
        log_event(LOG_LEVEL_WARNING, "slice.unanswered", LOG_STR("host", agent->host));
        session_cut(agent->session, "no answer to a slice");
    } else if (agent->refused_at_ms != 0 && now - agent->refused_at_ms >= FLEET_RETRY_MS) {
        agent->refused_at_ms = 0;
        agent->resent = false;
        is_behind(agent);
    }
}
