// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/control/flow_list.h"

#include <stdlib.h>

#include "proto/wire/message.h"

static int compare_flows(const void *a, const void *b)
{
    const Twofold__V1__Flow *x = *(const Twofold__V1__Flow *const *)a;
    const Twofold__V1__Flow *y = *(const Twofold__V1__Flow *const *)b;

    if (x->started_ms != y->started_ms)
        return x->started_ms < y->started_ms ? -1 : 1;
    return x->id == y->id ? 0 : x->id < y->id ? -1 : 1;
}

// Ended ones first, so that a limit cuts them first; within each the oldest first.
static int compare_by_use(const void *a, const void *b)
{
    const Twofold__V1__Flow *x = *(const Twofold__V1__Flow *const *)a;
    const Twofold__V1__Flow *y = *(const Twofold__V1__Flow *const *)b;

    if (!x->ended_ms != !y->ended_ms)
        return x->ended_ms ? -1 : 1;
    return compare_flows(a, b);
}

enum err flow_list_merge(const Twofold__V1__Flows *network, const Twofold__V1__Flows *https, uint32_t limit,
                         uint8_t **ret_bytes, size_t *ret_len)
{
    Twofold__V1__LocalResponse response = TWOFOLD__V1__LOCAL_RESPONSE__INIT;
    Twofold__V1__Flows flows = TWOFOLD__V1__FLOWS__INIT;
    size_t n_network = network ? network->n_flows : 0;
    size_t n_https = https ? https->n_flows : 0;
    size_t total = n_network + n_https;
    size_t skipped;

    Twofold__V1__Flow **all = calloc(total + 1, sizeof(Twofold__V1__Flow *));
    if (!all)
        return ERR_NOMEM;
    for (size_t i = 0; i < n_network; i++)
        all[i] = network->flows[i];
    for (size_t i = 0; i < n_https; i++)
        all[n_network + i] = https->flows[i];
    qsort(all, total, sizeof(all[0]), compare_by_use);
    skipped = limit && total > limit ? total - limit : 0;
    flows.n_flows = total - skipped;
    flows.flows = all + skipped;
    qsort(flows.flows, flows.n_flows, sizeof(all[0]), compare_flows);
    response.body_case = TWOFOLD__V1__LOCAL_RESPONSE__BODY_FLOWS;
    response.flows = &flows;
    enum err err = message_encode(&response.base, ret_bytes, ret_len);
    free(all);
    return err;
}
