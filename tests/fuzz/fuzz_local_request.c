// SPDX-License-Identifier: GPL-2.0-or-later
// What comes in on the local socket.
#include <stdlib.h>

#include "agent/control/local.h"
#include "proto/wire/message.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    Twofold__V1__LocalRequest *request;

    if (local_request_decode(bytes, len, &request))
        return 0;
    // One of the two, and it is there.
    if (request->body_case == TWOFOLD__V1__LOCAL_REQUEST__BODY_FLOWS ? !request->flows : !request->status)
        abort();
    message_free(request);
    return 0;
}
