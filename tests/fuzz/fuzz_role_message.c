// SPDX-License-Identifier: GPL-2.0-or-later
// What the control role takes from the other two: any bytes as a message of each, and then as everything that such a message can be used for.
#include <stdlib.h>

#include "agent/control/flow_list.h"
#include "agent/control/independence.h"
#include "agent/control/role_link.h"
#include "agent/control/status.h"
#include "proto/wire/message.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static void use_status(const Twofold__V1__RoleStatus *role_status)
{
    static const struct notes no_warnings;
    const struct status_facts facts = {.host = "web",
                                       .trust_domain = "example.org",
                                       .controller = "",
                                       .connection_problem = "",
                                       .warnings = &no_warnings};
    struct notes *notes = calloc(1, sizeof(*notes));
    struct status *status;
    uint8_t digest[48];
    uint8_t *encoded;
    size_t len;

    if (!notes || status_new(&status))
        abort();
    if (status_set(status, ROLE_NETWORK, role_status) || status_set(status, ROLE_HTTPS, role_status))
        abort();
    // A role is never independent of itself.
    if (independence_check(role_status, role_status, notes))
        abort();
    if (status_local(status, &facts, &encoded, &len) == ERR_OK)
        free(encoded);
    if (status_agent_digest(status, &facts, digest))
        abort();
    status_free(status);
    free(notes);
}

static void use_flows(const Twofold__V1__Flows *flows)
{
    uint8_t *encoded;
    size_t len;

    for (uint32_t limit = 0; limit < 4; limit++) {
        if (flow_list_merge(flows, flows, limit, &encoded, &len) == ERR_OK)
            free(encoded);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    static const enum role roles[] = {ROLE_NETWORK, ROLE_HTTPS};

    for (size_t i = 0; i < 2; i++) {
        Twofold__V1__RoleMessage *message;

        if (role_message_decode(roles[i], bytes, len, &message))
            continue;
        if (message->body_case == TWOFOLD__V1__ROLE_MESSAGE__BODY_STATUS)
            use_status(message->status);
        if (message->body_case == TWOFOLD__V1__ROLE_MESSAGE__BODY_FLOWS)
            use_flows(message->flows);
        if (roles[i] == ROLE_HTTPS && message->body_case == TWOFOLD__V1__ROLE_MESSAGE__BODY_BUNDLE)
            abort();
        message_free(message);
    }
    return 0;
}
