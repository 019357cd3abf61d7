// SPDX-License-Identifier: GPL-2.0-or-later
#include "controller/admin_wait.h"

#include <stdlib.h>

#include "controller/rollout.h"

struct waiting {
    struct call *call;
    struct rollout *rollout;
    void (*answer)(struct call *call, const struct outcome *outcome);
};

static void answer_with_results(struct waiting *waiting, const struct rollout *rollout)
{
    struct outcome outcome = {.generation = rollout->generation, .elapsed_ms = (uint32_t)rollout->elapsed_ms};
    Twofold__V1__HostResult *results = calloc(rollout->host_count + 1, sizeof(*results));
    outcome.results = calloc(rollout->host_count + 1, sizeof(*outcome.results));
    outcome.result_count = rollout->host_count;
    if (results == NULL || outcome.results == NULL) {
        call_refuse_text(waiting->call, ERR_NOMEM,
                         "it is in force, but there is no memory for the hosts' answers: see `twofold hosts`");
    } else {
        for (size_t i = 0; i < rollout->host_count; i++) {
            struct rollout_host *host = &rollout->hosts[i];
            results[i] = (Twofold__V1__HostResult)TWOFOLD__V1__HOST_RESULT__INIT;
            results[i].host = host->host;
            results[i].answered = host->answered;
            results[i].applied = host->applied;
            results[i].reason = host->settled ? host->reason : (char *)"it has not answered yet";
            results[i].elapsed_ms = (uint32_t)host->elapsed_ms;
            outcome.results[i] = &results[i];
        }
        waiting->answer(waiting->call, &outcome);
    }
    free(results);
    free(outcome.results);
}

static void on_rollout_done(void *context, struct rollout *rollout)
{
    struct waiting *waiting = context;
    waiting->call->on_gone = NULL;
    answer_with_results(waiting, rollout);
    free(waiting);
}

static void on_caller_gone(struct call *call)
{
    struct waiting *waiting = call->waiting;
    rollout_cancel(call->daemon->fleet, waiting->rollout);
    free(waiting);
}

static void answer_at_once(struct call *call, uint64_t generation,
                           void (*answer)(struct call *, const struct outcome *))
{
    struct outcome outcome = {.generation = generation};
    answer(call, &outcome);
}

void admin_wait(struct call *call, uint64_t generation, uint64_t started_ms, uint32_t wait_ms,
                void (*answer)(struct call *call, const struct outcome *outcome))
{
    struct waiting *waiting = wait_ms > 0 ? calloc(1, sizeof(*waiting)) : NULL;
    if (waiting == NULL) { // the change is in force in any case
        answer_at_once(call, generation, answer);
        return;
    }
    waiting->call = call;
    waiting->answer = answer;
    enum err err = rollout_start(call->daemon->fleet, generation, started_ms, wait_ms, on_rollout_done, waiting,
                                 &waiting->rollout);
    if (err != ERR_OK) {
        free(waiting);
        answer_at_once(call, generation, answer);
        return;
    }
    call->waiting = waiting;
    call->on_gone = on_caller_gone;
}
