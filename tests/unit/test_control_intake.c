// SPDX-License-Identifier: GPL-2.0-or-later
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/control/intake.h"
#include "proto/wire/message.h"
#include "proto/wire/slice.h"
#include "tests/unit/slice_fixture.h"

static struct intake *intake;
static uint64_t now_ms;
static unsigned sent, answers, settled, broken;
static uint64_t answered_nonce;
static bool answered_applied;
static char answered_reason[NOTE_TEXT_BYTES];
static uint8_t answered_digest[DIGEST_BYTES];
static size_t answered_digest_len;
static enum err admit_result;

static uint64_t read_clock(void *context)
{
    (void)context;
    return now_ms;
}

static const struct clock fake_clock = {.boot_ms = read_clock, .unix_ms = read_clock};

static enum err do_send(void *context, enum apply_role role, const Twofold__V1__RoleMessage *message)
{
    (void)context;
    (void)role;
    (void)message;
    sent++;
    return ERR_OK;
}

static enum err do_stage(void *context, const Twofold__V1__Slice *slice, struct note *note)
{
    (void)context;
    (void)slice;
    (void)note;
    return ERR_OK;
}

static enum err do_publish(void *context, struct note *note)
{
    (void)context;
    (void)note;
    return ERR_OK;
}

static enum err do_admit(void *context, const Twofold__V1__Slice *slice, struct note *note)
{
    (void)context;
    (void)slice;
    return admit_result ? note_set(note, admit_result, "the layers share their CA") : ERR_OK;
}

static void on_answer(void *context, const Twofold__V1__SliceResult *result)
{
    (void)context;
    answers++;
    answered_nonce = result->nonce;
    answered_applied = result->applied;
    snprintf(answered_reason, sizeof(answered_reason), "%s", result->reason);
    answered_digest_len = result->digest.len;
    if (result->digest.len)
        memcpy(answered_digest, result->digest.data, result->digest.len);
}

static void on_settled(void *context, bool applied, const char *reason)
{
    (void)context;
    (void)applied;
    (void)reason;
    settled++;
}

static void on_broken(void *context, const char *reason)
{
    (void)context;
    (void)reason;
    broken++;
}

static void start(void)
{
    const struct intake_config config = {
        .clock = &fake_clock,
        .trust_domain = "example.org",
        .host = "web",
        .send = do_send,
        .stage = do_stage,
        .publish = do_publish,
        .admit = do_admit,
        .answer = on_answer,
        .settled = on_settled,
        .broken = on_broken,
    };

    now_ms = 1800000000000;
    cr_assert_eq(intake_new(&config, &intake), ERR_OK);
}

static void finish(void)
{
    intake_free(intake);
}

TestSuite(control_intake, .init = start, .fini = finish);

static Twofold__V1__Slice *slice_of(uint64_t generation)
{
    Twofold__V1__Slice *slice = fixture_slice();

    slice->settings->generation = generation;
    return slice;
}

static void give(const Twofold__V1__Slice *from, const Twofold__V1__Slice *to, uint64_t nonce)
{
    Twofold__V1__SliceDelta *delta;

    cr_assert_eq(slice_diff(from, to, nonce, &delta), ERR_OK);
    intake_on_delta(intake, delta);
    message_free(delta);
}

// All answers that the apply of this generation waits for.
static void roles_answer(uint64_t generation, bool ok)
{
    Twofold__V1__RoleAnswer answer = TWOFOLD__V1__ROLE_ANSWER__INIT;

    answer.generation = generation;
    answer.ok = ok;
    answer.reason = (char *)"no room";
    for (int i = 0; i < 2; i++) {
        intake_on_answer(intake, APPLY_NETWORK, &answer);
        intake_on_answer(intake, APPLY_HTTPS, &answer);
    }
}

static Twofold__V1__Slice *put_in_force(uint64_t generation)
{
    Twofold__V1__Slice *slice = slice_of(generation);

    give(NULL, slice, 100 + generation);
    roles_answer(generation, true);
    cr_assert(answered_applied, "%s", answered_reason);
    cr_assert_eq(intake_slice(intake)->settings->generation, generation);
    return slice;
}

Test(control_intake, applied_is_acknowledged_with_its_digest)
{
    uint8_t digest[DIGEST_BYTES];
    Twofold__V1__Slice *slice = put_in_force(5);

    cr_expect_eq(answers, 1);
    cr_expect_eq(answered_nonce, 105);
    cr_assert_eq(slice_digest(slice, digest), ERR_OK);
    cr_expect_eq(answered_digest_len, DIGEST_BYTES);
    cr_expect_arr_eq(answered_digest, digest, DIGEST_BYTES);
    cr_expect_eq(settled, 1);
    cr_expect_eq(intake_applied_at(intake), now_ms / 1000);
    message_free(slice);
}

Test(control_intake, refusal_names_the_reason_and_the_digest_in_force)
{
    uint8_t digest[DIGEST_BYTES];
    Twofold__V1__Slice *old = put_in_force(5);
    Twofold__V1__Slice *new = slice_of(6);

    give(old, new, 2);
    roles_answer(6, false);
    cr_expect_eq(answered_nonce, 2);
    cr_expect_not(answered_applied);
    cr_expect(strstr(answered_reason, "no room"));
    cr_assert_eq(slice_digest(old, digest), ERR_OK);
    cr_expect_arr_eq(answered_digest, digest, DIGEST_BYTES);
    message_free(old);
    message_free(new);
}

Test(control_intake, same_slice_again_is_no_operation)
{
    Twofold__V1__Slice *slice = put_in_force(5);
    unsigned before = sent;

    give(slice, slice, 3);
    cr_expect_eq(sent, before);
    cr_expect(answered_applied);
    cr_expect_eq(answered_nonce, 3);
    message_free(slice);
}

Test(control_intake, delta_on_a_base_that_is_not_in_force)
{
    Twofold__V1__Slice *other = slice_of(4);
    Twofold__V1__Slice *slice = put_in_force(5);
    Twofold__V1__Slice *next = slice_of(6);

    give(other, next, 3);
    cr_expect_not(answered_applied);
    cr_expect(answered_reason[0]);
    cr_expect_not(intake_is_busy(intake));
    message_free(other);
    message_free(slice);
    message_free(next);
}

Test(control_intake, generations_only_go_up)
{
    Twofold__V1__Slice *slice = put_in_force(5);
    Twofold__V1__Slice *older = slice_of(4);

    give(slice, older, 3);
    cr_expect_not(answered_applied);
    cr_expect(strstr(answered_reason, "generations only go up"));
    message_free(slice);
    message_free(older);
}

Test(control_intake, slice_of_another_host_or_domain)
{
    Twofold__V1__Slice *slice = slice_of(5);

    fixture_set(&slice->settings->trust_domain, "example.net");
    // Nor does it name workloads of the old domain, which slice_check would find first.
    for (size_t i = 0; i < slice->n_peers; i++) {
        while (slice->peers[i]->n_workloads)
            free(slice->peers[i]->workloads[--slice->peers[i]->n_workloads]);
    }
    give(NULL, slice, 1);
    cr_expect_not(answered_applied);
    cr_expect(strstr(answered_reason, "example.net"), "%s", answered_reason);
    message_free(slice);

    slice = slice_of(5);
    fixture_set(&slice->settings->host, "mallory");
    give(NULL, slice, 2);
    cr_expect_not(answered_applied);
    cr_expect(strstr(answered_reason, "mallory"), "%s", answered_reason);
    cr_expect_eq(sent, 0);
    message_free(slice);
}

Test(control_intake, not_admitted)
{
    Twofold__V1__Slice *slice = slice_of(5);

    admit_result = ERR_INVALID;
    give(NULL, slice, 1);
    cr_expect_not(answered_applied);
    cr_expect_str_eq(answered_reason, "the layers share their CA");
    cr_expect_eq(sent, 0);
    message_free(slice);
}

Test(control_intake, newest_of_those_that_wait_wins)
{
    Twofold__V1__Slice *first = slice_of(5);
    Twofold__V1__Slice *second = slice_of(6);
    Twofold__V1__Slice *third = slice_of(7);

    give(NULL, first, 1);
    give(first, second, 2);
    cr_expect_eq(answers, 0);
    give(first, third, 3);
    cr_expect_eq(answers, 1);
    cr_expect_eq(answered_nonce, 2);
    cr_expect_not(answered_applied);
    cr_expect(strstr(answered_reason, "superseded"));
    roles_answer(5, true);
    cr_expect_eq(answers, 2);
    cr_expect_eq(answered_nonce, 1);
    cr_expect(answered_applied);
    cr_expect(intake_is_busy(intake), "the third one begins by itself");
    roles_answer(7, true);
    cr_expect_eq(answered_nonce, 3);
    cr_expect(answered_applied);
    cr_expect_eq(intake_slice(intake)->settings->generation, 7);
    message_free(first);
    message_free(second);
    message_free(third);
}

Test(control_intake, lost_session_is_not_answered)
{
    Twofold__V1__Slice *first = slice_of(5);
    Twofold__V1__Slice *second = slice_of(6);

    give(NULL, first, 1);
    give(first, second, 2);
    intake_on_session_lost(intake);
    roles_answer(5, true);
    cr_expect_eq(answers, 0);
    cr_expect_eq(settled, 1);
    cr_expect_not(intake_is_busy(intake));
    cr_expect_eq(intake_slice(intake)->settings->generation, 5);
    message_free(first);
    message_free(second);
}

Test(control_intake, stored_slice_at_the_start)
{
    intake_start_stored(intake, slice_of(9), 1700000000);
    roles_answer(9, true);
    cr_expect_eq(settled, 1);
    cr_expect_eq(answers, 0);
    cr_expect_eq(intake_applied_at(intake), 1700000000);
    // The next one counts from now.
    Twofold__V1__Slice *next = slice_of(10);
    give(intake_slice(intake), next, 1);
    roles_answer(10, true);
    cr_expect_eq(intake_applied_at(intake), now_ms / 1000);
    message_free(next);
}

Test(control_intake, stored_slice_that_is_not_admitted)
{
    admit_result = ERR_INVALID;
    intake_start_stored(intake, slice_of(9), 1700000000);
    cr_expect_eq(settled, 1);
    cr_expect_null(intake_slice(intake));
    cr_expect_eq(intake_applied_at(intake), 0);
}

Test(control_intake, role_that_ends_breaks_after_the_answer)
{
    Twofold__V1__Slice *slice = slice_of(5);

    give(NULL, slice, 1);
    intake_on_role_gone(intake, APPLY_HTTPS);
    cr_expect_eq(answers, 1);
    cr_expect_not(answered_applied);
    cr_expect_eq(broken, 1);
    message_free(slice);
}
