// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/control/inquiry.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "proto/wire/message.h"

struct inquiry {
    const struct clock *clock;
    enum err (*send)(void *context, enum role role);
    void *context;
    struct inquiry_waiter *waiters;
    uint64_t deadline_boot_ms;                     // UINT64_MAX: nothing is under way
    Twofold__V1__RoleMessage *answers[ROLE_COUNT]; // owned copies
};

static const enum role ASKED[] = {ROLE_NETWORK, ROLE_HTTPS};

enum err inquiry_new(const struct clock *clock, enum err (*send)(void *context, enum role role), void *context,
                     struct inquiry **ret_inquiry)
{
    struct inquiry *inquiry = calloc(1, sizeof(*inquiry));

    if (!inquiry)
        return ERR_NOMEM;
    inquiry->clock = clock;
    inquiry->send = send;
    inquiry->context = context;
    inquiry->deadline_boot_ms = UINT64_MAX;
    *ret_inquiry = inquiry;
    return ERR_OK;
}

static void drop_answers(Twofold__V1__RoleMessage *answers[ROLE_COUNT])
{
    for (size_t i = 0; i < ROLE_COUNT; i++) {
        message_free(answers[i]);
        answers[i] = NULL;
    }
}

void inquiry_free(struct inquiry *inquiry)
{
    if (!inquiry)
        return;
    drop_answers(inquiry->answers);
    free(inquiry);
}

enum err inquiry_ask(struct inquiry *inquiry, struct inquiry_waiter *waiter)
{
    if (inquiry->deadline_boot_ms == UINT64_MAX) {
        for (size_t i = 0; i < sizeof(ASKED) / sizeof(ASKED[0]); i++) {
            enum err err = inquiry->send(inquiry->context, ASKED[i]);
            if (err)
                return err;
        }
        inquiry->deadline_boot_ms = clock_boot_ms(inquiry->clock) + INQUIRY_MS;
    }
    waiter->next = inquiry->waiters;
    inquiry->waiters = waiter;
    return ERR_OK;
}

void inquiry_withdraw(struct inquiry *inquiry, struct inquiry_waiter *waiter)
{
    for (struct inquiry_waiter **at = &inquiry->waiters; *at; at = &(*at)->next) {
        if (*at == waiter) {
            *at = waiter->next;
            return;
        }
    }
}

// The state is clean before anybody is called: a waiter may ask again.
static void complete(struct inquiry *inquiry)
{
    struct inquiry_answers answers = {{NULL}};
    Twofold__V1__RoleMessage *owned[ROLE_COUNT];
    struct inquiry_waiter *waiter = inquiry->waiters;

    memcpy(owned, inquiry->answers, sizeof(owned));
    memset(inquiry->answers, 0, sizeof(inquiry->answers));
    inquiry->waiters = NULL;
    inquiry->deadline_boot_ms = UINT64_MAX;
    for (size_t i = 0; i < ROLE_COUNT; i++)
        answers.of[i] = owned[i];
    while (waiter) {
        struct inquiry_waiter *next = waiter->next;

        waiter->on_answer(waiter, &answers);
        waiter = next;
    }
    drop_answers(owned);
}

void inquiry_on_answer(struct inquiry *inquiry, enum role role, const Twofold__V1__RoleMessage *message)
{
    ProtobufCMessage *copy;

    // deadline and not waiters: those may all have been withdrawn, and the answer is still the one to this question.
    if (inquiry->deadline_boot_ms == UINT64_MAX || message_copy(&message->base, &copy) != ERR_OK)
        return;
    message_free(inquiry->answers[role]);
    inquiry->answers[role] = (Twofold__V1__RoleMessage *)copy;
    bool have_all = true;
    for (size_t i = 0; i < sizeof(ASKED) / sizeof(ASKED[0]); i++)
        have_all = have_all && inquiry->answers[ASKED[i]];
    if (have_all)
        complete(inquiry);
}

void inquiry_tick(struct inquiry *inquiry)
{
    if (clock_boot_ms(inquiry->clock) >= inquiry->deadline_boot_ms)
        complete(inquiry);
}

uint64_t inquiry_deadline(const struct inquiry *inquiry)
{
    return inquiry->deadline_boot_ms;
}
