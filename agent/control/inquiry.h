// SPDX-License-Identifier: GPL-2.0-or-later
// One question to both roles at a time: who asks while one is under way gets the answer to that one. A role that does not answer in time is left out.
// Sans-I/O.
#ifndef TWOFOLD_AGENT_CONTROL_INQUIRY_H
#define TWOFOLD_AGENT_CONTROL_INQUIRY_H

#include <stdint.h>

#include "agent/role.h"
#include "proto/base/clock.h"
#include "proto/base/err.h"
#include "role.pb-c.h"

enum { INQUIRY_MS = 2000 };

// What the roles answered, by role; NULL: nothing in time. During the call only.
struct inquiry_answers {
    const Twofold__V1__RoleMessage *of[ROLE_COUNT];
};

// Embedded in whoever asks, who must live until on_answer or inquiry_withdraw.
struct inquiry_waiter {
    void (*on_answer)(struct inquiry_waiter *waiter, const struct inquiry_answers *answers);
    struct inquiry_waiter *next;
};

struct inquiry;
// `send` puts the question to one role.
MUST_USE enum err inquiry_new(const struct clock *clock, enum err (*send)(void *context, enum role role), void *context,
                              struct inquiry **ret_inquiry);
void inquiry_free(struct inquiry *inquiry); // NULL is fine; nobody is called

// on_answer comes later, never from inside. ERR_CLOSED and others when no role can be asked.
MUST_USE enum err inquiry_ask(struct inquiry *inquiry, struct inquiry_waiter *waiter);
void inquiry_withdraw(struct inquiry *inquiry, struct inquiry_waiter *waiter);

// A role's answer; one that nobody waits for is ignored.
void inquiry_on_answer(struct inquiry *inquiry, enum role role, const Twofold__V1__RoleMessage *message);

void inquiry_tick(struct inquiry *inquiry);
uint64_t inquiry_deadline(const struct inquiry *inquiry); // boot milliseconds; UINT64_MAX: never

#endif
