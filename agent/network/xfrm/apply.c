// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/network/xfrm/apply.h"

#include <stdlib.h>
#include <string.h>

static void encode_step(struct netlink_message *message, const struct plan_step *step)
{
    switch (step->kind) {
    case PLAN_ADD:
        spd_encode_add(message, &step->after);
        break;
    case PLAN_UPDATE:
        spd_encode_update(message, &step->after);
        break;
    case PLAN_REMOVE:
        spd_encode_remove(message, &step->before);
        break;
    }
}

static bool is_done(const struct plan_step *step, const struct netlink_answer *answer)
{
    return answer->error == 0 || (step->kind == PLAN_REMOVE && answer->err == ERR_NOT_FOUND);
}

static enum err describe(const struct plan_step *step, const struct netlink_answer *answer, struct note *note)
{
    static const char *const kinds[] = {"adding", "changing", "removing"};
    char text[SPD_TEXT_BYTES];
    spd_format(step->kind == PLAN_REMOVE ? &step->before : &step->after, text);
    if (answer->err == ERR_EXISTS)
        return note_set(
            note, ERR_EXISTS,
            "another program's IPsec policy has the selector of \"%s\": remove it (ip xfrm policy list shows it)",
            text);
    return note_set(note, answer->err, "%s the IPsec policy \"%s\": %s%s%s", kinds[step->kind], text,
                    strerror(answer->error), answer->text[0] != '\0' ? ": " : "", answer->text);
}

struct batch {
    struct netlink_message messages[NETLINK_BATCH_MAX];
    struct netlink_answer answers[NETLINK_BATCH_MAX];
};

// Steps [first, first + count). Steps behind a failed one in the same batch may have been done too: `done` says so for each.
static enum err run_batch(struct netlink *netlink, struct batch *batch, const struct plan_step *steps, size_t count,
                          bool *done, struct note *note)
{
    for (size_t i = 0; i < count; i++)
        encode_step(&batch->messages[i], &steps[i]);
    enum err err = netlink_transact(netlink, batch->messages, count, batch->answers);
    if (err != ERR_OK)
        return note_set(note, err, "changing IPsec policies: answers of the kernel were lost");
    for (size_t i = 0; i < count; i++) {
        done[i] = is_done(&steps[i], &batch->answers[i]);
        if (!done[i] && err == ERR_OK)
            err = describe(&steps[i], &batch->answers[i], note);
    }
    return err;
}

static enum err undo_some(struct netlink *netlink, struct batch *batch, const struct plan *plan, const bool *done,
                          struct note *note)
{
    enum err first = ERR_OK;
    struct plan_step inverse[NETLINK_BATCH_MAX];
    bool ignored[NETLINK_BATCH_MAX];
    for (size_t left = plan->count; left > 0;) {
        size_t count = 0;
        for (; left > 0 && count < NETLINK_BATCH_MAX; left--) {
            if (done[left - 1])
                inverse[count++] = plan_inverse(&plan->steps[left - 1]);
        }
        enum err err = count > 0 ? run_batch(netlink, batch, inverse, count, ignored, note) : ERR_OK;
        if (first == ERR_OK)
            first = err;
    }
    return first;
}

enum err apply_plan(struct netlink *netlink, const struct plan *plan, struct note *note)
{
    if (plan->count == 0)
        return ERR_OK;
    struct batch *batch = malloc(sizeof(*batch));
    bool *done = calloc(plan->count, sizeof(*done));
    enum err err = batch != NULL && done != NULL ? ERR_OK : ERR_NOMEM;
    for (size_t first = 0; err == ERR_OK && first < plan->count; first += NETLINK_BATCH_MAX) {
        size_t count = plan->count - first < NETLINK_BATCH_MAX ? plan->count - first : NETLINK_BATCH_MAX;
        err = run_batch(netlink, batch, &plan->steps[first], count, &done[first], note);
    }
    if (err != ERR_OK && err != ERR_AGAIN && done != NULL && batch != NULL) {
        struct note undo_note = {0};
        if (undo_some(netlink, batch, plan, done, &undo_note) != ERR_OK)
            note_prefix(note, "not undone (%.120s): ", undo_note.text);
    }
    free(done);
    free(batch);
    return err;
}

enum err apply_undo(struct netlink *netlink, const struct plan *plan, struct note *note)
{
    struct batch *batch = malloc(sizeof(*batch));
    bool *done = malloc((plan->count + 1) * sizeof(*done));
    enum err err = ERR_NOMEM;
    if (batch != NULL && done != NULL) {
        memset(done, 1, plan->count);
        err = undo_some(netlink, batch, plan, done, note);
    }
    free(done);
    free(batch);
    return err;
}
