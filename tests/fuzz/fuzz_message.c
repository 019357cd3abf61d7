// SPDX-License-Identifier: GPL-2.0-or-later
// Any bytes as each kind of message that a stranger sends. The first byte names the kind. What is taken encodes to bytes that are taken
// again and stay the same.
#include <stdlib.h>
#include <string.h>

#include "admin.pb-c.h"
#include "control.pb-c.h"
#include "proto/wire/message.h"
#include "role.pb-c.h"

static const ProtobufCMessageDescriptor *const types[] = {
    &twofold__v1__agent_message__descriptor,        &twofold__v1__controller_message__descriptor,
    &twofold__v1__enrol_request__descriptor,        &twofold__v1__renew_request__descriptor,
    &twofold__v1__enrol_response__descriptor,       &twofold__v1__role_message__descriptor,
    &twofold__v1__local_request__descriptor,        &twofold__v1__local_response__descriptor,
    &twofold__v1__create_token_request__descriptor, &twofold__v1__apply_policy_request__descriptor,
    &twofold__v1__list_hosts_response__descriptor,  &twofold__v1__explain_request__descriptor,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ProtobufCMessage *message, *second;
    uint8_t *bytes, *again;
    size_t len, again_len;

    if (size == 0)
        return 0;
    const ProtobufCMessageDescriptor *type = types[data[0] % (sizeof(types) / sizeof(types[0]))];
    if (message_decode(type, data + 1, size - 1, &message))
        return 0;
    (void)!message_check_known(message, NULL);
    if (message_encode(message, &bytes, &len) || message_copy(message, &second))
        abort();
    message_free(second);
    // Explicit defaults are not written again, so that the bytes can be fewer, and the budget with them.
    enum err err = message_decode(type, bytes, len, &second);
    if (err == ERR_LIMIT)
        goto end;
    if (err || message_encode(second, &again, &again_len) || len != again_len || memcmp(bytes, again, len) != 0)
        abort();
    free(again);
    message_free(second);
end:
    free(bytes);
    message_free(message);
    return 0;
}
