// SPDX-License-Identifier: GPL-2.0-or-later
// The two-phase apply with fake roles behind real channels on one loop. What happens is written down as words and compared.
#include <criterion/criterion.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <uv.h>

#include "agent/control/apply.h"
#include "agent/control/role_link.h"
#include "proto/link/channel.h"
#include "proto/wire/message.h"
#include "proto/wire/slice.h"
#include "tests/unit/slice_fixture.h"

enum mood { ACCEPT, REFUSE, SILENT, DIE };

struct fake_role {
    enum role role;
    struct channel *channel;
    enum mood on_prepare;
    enum mood on_commit;
    unsigned commits_to_go; // before `on_commit` counts
    uint64_t staged;
    uint64_t in_force;
};

static uv_loop_t loop;
static struct apply *apply;
static struct role_link *links[ROLE_COUNT];
static struct fake_role network, https;
static uint64_t now_ms;
static char story[1024];
static unsigned finished;
static struct apply_outcome outcome;
static char reason[NOTE_TEXT_BYTES];
static enum err stage_result, publish_result;
static Twofold__V1__Slice *start_next; // from inside finished

static void tell(const char *word)
{
    strcat(story, word);
    strcat(story, " ");
}

static uint64_t read_clock(void *context)
{
    (void)context;
    return now_ms;
}

static const struct clock fake_clock = {.boot_ms = read_clock, .unix_ms = read_clock};

// ---- the fake roles

static void answer(struct fake_role *fake, uint64_t generation, enum mood mood)
{
    Twofold__V1__RoleMessage message = TWOFOLD__V1__ROLE_MESSAGE__INIT;
    Twofold__V1__RoleAnswer body = TWOFOLD__V1__ROLE_ANSWER__INIT;
    uint8_t *bytes;
    size_t len;

    if (mood == SILENT)
        return;
    if (mood == DIE) {
        channel_close(fake->channel);
        return;
    }
    body.generation = generation;
    body.ok = mood == ACCEPT;
    body.reason = mood == ACCEPT ? (char *)"" : (char *)"no room for it";
    message.body_case = TWOFOLD__V1__ROLE_MESSAGE__BODY_ANSWER;
    message.answer = &body;
    cr_assert_eq(message_encode(&message.base, &bytes, &len), ERR_OK);
    cr_assert_eq(channel_send(fake->channel, bytes, len), ERR_OK);
    free(bytes);
}

static void fake_on_message(void *owner, struct channel *channel, const uint8_t *bytes, size_t len)
{
    struct fake_role *fake = owner;
    ProtobufCMessage *decoded;
    char word[64];

    (void)channel;
    cr_assert_eq(message_decode(&twofold__v1__role_message__descriptor, bytes, len, &decoded), ERR_OK);
    Twofold__V1__RoleMessage *message = (Twofold__V1__RoleMessage *)decoded;
    const char *name = role_name(fake->role);
    switch (message->body_case) {
    case TWOFOLD__V1__ROLE_MESSAGE__BODY_PREPARE:
        fake->staged = message->prepare->settings->generation;
        snprintf(word, sizeof(word), "%s:prepare%d", name, (int)fake->staged);
        tell(word);
        answer(fake, fake->staged, fake->on_prepare);
        break;
    case TWOFOLD__V1__ROLE_MESSAGE__BODY_COMMIT:
        cr_expect_eq(message->commit->generation, fake->staged);
        snprintf(word, sizeof(word), "%s:commit%d", name, (int)fake->staged);
        tell(word);
        enum mood mood = fake->commits_to_go ? (fake->commits_to_go--, ACCEPT) : fake->on_commit;
        if (mood == ACCEPT)
            fake->in_force = fake->staged;
        answer(fake, fake->staged, mood);
        break;
    case TWOFOLD__V1__ROLE_MESSAGE__BODY_ABORT:
        fake->staged = 0;
        snprintf(word, sizeof(word), "%s:abort", name);
        tell(word);
        break;
    default:
        cr_assert_fail("unexpected message");
    }
    message_free(decoded);
}

static void fake_on_close(void *owner, struct channel *channel, enum err err)
{
    (void)channel;
    (void)err;
    ((struct fake_role *)owner)->channel = NULL;
}

static const struct channel_events FAKE_EVENTS = {.on_message = fake_on_message, .on_close = fake_on_close};

// ---- the control role's side

static void on_message(void *owner, enum role role, const Twofold__V1__RoleMessage *message)
{
    (void)owner;
    cr_assert_eq(message->body_case, TWOFOLD__V1__ROLE_MESSAGE__BODY_ANSWER);
    apply_on_answer(apply, role == ROLE_NETWORK ? APPLY_NETWORK : APPLY_HTTPS, message->answer);
}

static void on_gone(void *owner, enum role role, enum err err)
{
    (void)owner;
    (void)err;
    links[role] = NULL;
    apply_on_role_gone(apply, role == ROLE_NETWORK ? APPLY_NETWORK : APPLY_HTTPS);
}

static const struct role_link_events LINK_EVENTS = {.on_message = on_message, .on_gone = on_gone};

static enum err do_send(void *context, enum apply_role role, const Twofold__V1__RoleMessage *message)
{
    struct role_link *link = links[role == APPLY_NETWORK ? ROLE_NETWORK : ROLE_HTTPS];

    (void)context;
    return link ? role_link_send(link, message) : ERR_CLOSED;
}

static enum err do_stage(void *context, const Twofold__V1__Slice *slice, struct note *note)
{
    (void)context;
    (void)slice;
    tell("stage");
    return stage_result ? note_set(note, stage_result, "the disk is full") : ERR_OK;
}

static enum err do_publish(void *context, struct note *note)
{
    (void)context;
    tell("publish");
    return publish_result ? note_set(note, publish_result, "the disk is gone") : ERR_OK;
}

static void on_moved(void *context, const char *old, const char *event, const char *new)
{
    (void)context;
    cr_expect(old && event && new);
}

static void on_finished(void *context, const struct apply_outcome *what)
{
    (void)context;
    finished++;
    outcome = *what;
    snprintf(reason, sizeof(reason), "%s", what->reason);
    tell(what->applied ? "applied" : what->broken ? "broken" : "refused");
    if (start_next) {
        Twofold__V1__Slice *next = start_next;

        start_next = NULL;
        cr_assert_eq(apply_start(apply, next, false), ERR_OK);
    }
}

static const struct apply_actions ACTIONS = {
    .send = do_send,
    .stage = do_stage,
    .publish = do_publish,
    .moved = on_moved,
    .finished = on_finished,
};

static void connect_role(struct fake_role *fake, enum role role)
{
    int fds[2];

    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
    *fake = (struct fake_role){.role = role};
    cr_assert_eq(role_link_open(&loop, fds[0], role, &LINK_EVENTS, NULL, &links[role]), ERR_OK);
    cr_assert_eq(channel_open(&loop, fds[1], CHANNEL_FRAME_BYTES_MAX, &FAKE_EVENTS, fake, &fake->channel), ERR_OK);
}

static void start(void)
{
    signal(SIGPIPE, SIG_IGN);
    cr_assert_eq(uv_loop_init(&loop), 0);
    now_ms = 1000000;
    cr_assert_eq(apply_new(&fake_clock, &ACTIONS, NULL, &apply), ERR_OK);
    connect_role(&network, ROLE_NETWORK);
    connect_role(&https, ROLE_HTTPS);
}

static void finish(void)
{
    if (links[ROLE_NETWORK])
        role_link_close(links[ROLE_NETWORK]);
    if (links[ROLE_HTTPS])
        role_link_close(links[ROLE_HTTPS]);
    cr_expect_eq(uv_run(&loop, UV_RUN_DEFAULT), 0);
    cr_expect_eq(uv_loop_close(&loop), 0);
    apply_free(apply);
}

TestSuite(control_apply, .init = start, .fini = finish, .timeout = 30);

static Twofold__V1__Slice *slice_of(uint64_t generation)
{
    Twofold__V1__Slice *slice = fixture_slice();

    slice->settings->generation = generation;
    return slice;
}

static void run_until_finished(unsigned count)
{
    while (finished < count)
        uv_run(&loop, UV_RUN_ONCE);
}

static void settle_first(uint64_t generation)
{
    cr_assert_eq(apply_start(apply, slice_of(generation), false), ERR_OK);
    run_until_finished(1);
    cr_assert(outcome.applied);
    story[0] = '\0';
}

static uint64_t generation_in_force(void)
{
    const Twofold__V1__Slice *slice = apply_current(apply);

    return slice ? slice->settings->generation : 0;
}

// As many turns as any answer could need.
static void turn_loop(void)
{
    for (int i = 0; i < 20; i++)
        uv_run(&loop, UV_RUN_NOWAIT);
}

// ---- success

Test(control_apply, success_is_in_this_order)
{
    uint8_t digest[DIGEST_BYTES];

    cr_assert_eq(apply_start(apply, slice_of(7), false), ERR_OK);
    cr_expect(apply_is_busy(apply));
    run_until_finished(1);
    cr_expect_str_eq(story, "network:prepare7 https:prepare7 stage network:commit7 https:commit7 publish applied ");
    cr_expect_not(apply_is_busy(apply));
    cr_expect_eq(generation_in_force(), 7);
    cr_assert_eq(slice_digest(apply_current(apply), digest), ERR_OK);
    cr_expect_arr_eq(apply_current_digest(apply), digest, DIGEST_BYTES);
    cr_expect_eq(apply_current_since_ms(apply), now_ms);
    cr_expect_eq(apply_deadline(apply), UINT64_MAX);
}

Test(control_apply, stored_slice_does_not_go_to_disk_again)
{
    cr_assert_eq(apply_start(apply, slice_of(7), true), ERR_OK);
    run_until_finished(1);
    cr_expect_str_eq(story, "network:prepare7 https:prepare7 network:commit7 https:commit7 applied ");
}

Test(control_apply, one_at_a_time)
{
    Twofold__V1__Slice *second = slice_of(8);

    cr_assert_eq(apply_start(apply, slice_of(7), false), ERR_OK);
    cr_expect_eq(apply_start(apply, second, false), ERR_AGAIN);
    message_free(second);
    run_until_finished(1);
}

Test(control_apply, the_next_may_start_from_inside_finished)
{
    start_next = slice_of(8);
    cr_assert_eq(apply_start(apply, slice_of(7), false), ERR_OK);
    run_until_finished(2);
    cr_expect_eq(generation_in_force(), 8);
}

// ---- refusals: the old slice stays in force

Test(control_apply, prepare_refused_by_network)
{
    settle_first(7);
    network.on_prepare = REFUSE;
    cr_assert_eq(apply_start(apply, slice_of(8), false), ERR_OK);
    run_until_finished(2);
    turn_loop();
    cr_expect_str_eq(story, "network:prepare8 https:prepare8 refused network:abort https:abort ");
    cr_expect_str_eq(reason, "the network role refused: no room for it");
    cr_expect_not(outcome.broken);
    cr_expect_eq(generation_in_force(), 7);
    cr_expect_eq(outcome.generation, 8);
}

Test(control_apply, prepare_refused_by_https)
{
    https.on_prepare = REFUSE;
    cr_assert_eq(apply_start(apply, slice_of(8), false), ERR_OK);
    run_until_finished(1);
    cr_expect_str_eq(reason, "the https role refused: no room for it");
    cr_expect_null(apply_current(apply));
}

Test(control_apply, full_disk_shows_before_anything_is_in_force)
{
    settle_first(7);
    stage_result = ERR_FULL;
    cr_assert_eq(apply_start(apply, slice_of(8), false), ERR_OK);
    run_until_finished(2);
    turn_loop();
    cr_expect_str_eq(story, "network:prepare8 https:prepare8 stage refused network:abort https:abort ");
    cr_expect_str_eq(reason, "the slice cannot be stored: the disk is full");
    cr_expect_eq(network.in_force, 7);
    cr_expect_eq(generation_in_force(), 7);
}

Test(control_apply, commit_refused_by_network)
{
    settle_first(7);
    network.on_commit = REFUSE;
    cr_assert_eq(apply_start(apply, slice_of(8), false), ERR_OK);
    run_until_finished(2);
    turn_loop();
    cr_expect_str_eq(story, "network:prepare8 https:prepare8 stage network:commit8 refused network:abort https:abort ");
    cr_expect_eq(generation_in_force(), 7);
    cr_expect_eq(https.in_force, 7);
}

Test(control_apply, commit_refused_by_https_restores_the_old_slice)
{
    settle_first(7);
    https.on_commit = REFUSE;
    // The restoring commit is accepted again.
    cr_assert_eq(apply_start(apply, slice_of(8), false), ERR_OK);
    while (!strstr(story, "https:commit8"))
        uv_run(&loop, UV_RUN_ONCE);
    https.on_commit = ACCEPT;
    run_until_finished(2);
    cr_expect_str_eq(story, "network:prepare8 https:prepare8 stage network:commit8 https:commit8 "
                            "network:prepare7 https:prepare7 network:commit7 https:commit7 refused ");
    cr_expect_eq(network.in_force, 7);
    cr_expect_eq(https.in_force, 7);
    cr_expect_eq(generation_in_force(), 7);
    cr_expect_str_eq(reason, "the https role refused: no room for it");
}

Test(control_apply, disk_that_fails_at_the_end_restores_the_old_slice)
{
    settle_first(7);
    publish_result = ERR_IO;
    cr_assert_eq(apply_start(apply, slice_of(8), false), ERR_OK);
    run_until_finished(2);
    cr_expect_eq(network.in_force, 7);
    cr_expect_eq(https.in_force, 7);
    cr_expect_not(outcome.applied);
    cr_expect_not(outcome.broken);
}

Test(control_apply, first_slice_that_https_does_not_commit_breaks)
{
    https.on_commit = REFUSE;
    cr_assert_eq(apply_start(apply, slice_of(8), false), ERR_OK);
    run_until_finished(1);
    cr_expect(outcome.broken);
    cr_expect_not(outcome.applied);
    // Nothing starts any more: the roles begin afresh.
    Twofold__V1__Slice *next = slice_of(9);
    cr_expect_eq(apply_start(apply, next, false), ERR_AGAIN);
    message_free(next);
}

Test(control_apply, restoring_that_fails_breaks)
{
    settle_first(7);
    network.commits_to_go = 1;
    network.on_commit = REFUSE;
    https.on_commit = REFUSE;
    cr_assert_eq(apply_start(apply, slice_of(8), false), ERR_OK);
    run_until_finished(2);
    cr_expect(outcome.broken);
    cr_expect_str_eq(reason, "the https role refused: no room for it");
}

// ---- time limits

Test(control_apply, silent_prepare_is_given_up)
{
    settle_first(7);
    https.on_prepare = SILENT;
    cr_assert_eq(apply_start(apply, slice_of(8), false), ERR_OK);
    turn_loop();
    cr_expect_eq(finished, 1);
    cr_expect_eq(apply_deadline(apply), now_ms + APPLY_PREPARE_MS);
    apply_tick(apply); // too early: nothing
    cr_expect_eq(finished, 1);
    now_ms += APPLY_PREPARE_MS;
    apply_tick(apply);
    cr_expect_eq(finished, 2);
    cr_expect_not(outcome.broken);
    cr_expect_str_eq(reason, "the https role did not answer in time");
    cr_expect_eq(generation_in_force(), 7);
    // The late answer changes nothing, and the next apply works.
    answer(&https, 8, ACCEPT);
    https.on_prepare = ACCEPT;
    cr_assert_eq(apply_start(apply, slice_of(9), false), ERR_OK);
    run_until_finished(3);
    cr_expect(outcome.applied);
    cr_expect_eq(generation_in_force(), 9);
}

Test(control_apply, silent_network_commit_breaks)
{
    settle_first(7);
    network.on_commit = SILENT;
    cr_assert_eq(apply_start(apply, slice_of(8), false), ERR_OK);
    turn_loop();
    now_ms += APPLY_COMMIT_MS;
    apply_tick(apply);
    cr_expect_eq(finished, 2);
    cr_expect(outcome.broken);
}

Test(control_apply, silent_https_commit_restores)
{
    settle_first(7);
    https.on_commit = SILENT;
    cr_assert_eq(apply_start(apply, slice_of(8), false), ERR_OK);
    turn_loop();
    https.on_commit = ACCEPT;
    now_ms += APPLY_COMMIT_MS;
    apply_tick(apply);
    run_until_finished(2);
    cr_expect_not(outcome.broken);
    cr_expect_eq(network.in_force, 7);
}

// ---- roles that end

Test(control_apply, role_that_ends_in_prepare_breaks)
{
    settle_first(7);
    https.on_prepare = DIE;
    cr_assert_eq(apply_start(apply, slice_of(8), false), ERR_OK);
    run_until_finished(2);
    cr_expect(outcome.broken);
    cr_expect_str_eq(reason, "the https role ended");
    cr_expect_eq(generation_in_force(), 7);
}

Test(control_apply, role_that_ends_in_commit_breaks)
{
    network.on_commit = DIE;
    cr_assert_eq(apply_start(apply, slice_of(8), false), ERR_OK);
    run_until_finished(1);
    cr_expect(outcome.broken);
    cr_expect_str_eq(reason, "the network role ended");
}

Test(control_apply, role_that_ends_meanwhile_is_not_the_apply_s_concern)
{
    channel_close(network.channel);
    turn_loop();
    cr_expect_eq(finished, 0);
    // What starts then cannot be told to the role.
    cr_assert_eq(apply_start(apply, slice_of(8), false), ERR_OK);
    cr_expect_eq(finished, 1);
    cr_expect_not(outcome.applied);
}

// ---- answers that nobody asked for

Test(control_apply, stray_answers_are_ignored)
{
    answer(&network, 3, ACCEPT);
    answer(&https, 3, REFUSE);
    turn_loop();
    cr_expect_eq(finished, 0);
    https.on_prepare = SILENT;
    cr_assert_eq(apply_start(apply, slice_of(8), false), ERR_OK);
    answer(&https, 7, REFUSE); // another generation
    turn_loop();
    cr_expect_eq(finished, 0);
    answer(&https, 8, ACCEPT);
    run_until_finished(1);
    cr_expect(outcome.applied);
}
