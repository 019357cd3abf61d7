// SPDX-License-Identifier: GPL-2.0-or-later
// The agent on this host, over its local socket.
#include <stdio.h>
#include <stdlib.h>

#include "controller/cli/call.h"
#include "controller/cli/format.h"
#include "proto/link/channel.h"
#include "proto/wire/message.h"
#include "role.pb-c.h"

enum err call_agent(const struct args *args, const ProtobufCMessage *request, void *ret_answer, struct note *note)
{
    const char *path = args_value(args, "socket", AGENT_SOCKET);
    Twofold__V1__LocalResponse *response;
    ProtobufCMessage *message;
    uint8_t *bytes, *answer = NULL;
    size_t len, answer_len;
    uint64_t seconds;
    enum err err;

    if ((err = args_number(args, "timeout", 10, 1, 3600, &seconds, note)))
        return err;
    if ((err = message_encode(request, &bytes, &len)))
        return note_set(note, err, "There is not enough memory for the question.");
    err = channel_ask(path, bytes, len, seconds * 1000, CHANNEL_FRAME_BYTES_MAX, &answer, &answer_len, note);
    free(bytes);
    if (err == ERR_UNREACHABLE)
        return note_set(
            note, err,
            "%.200s: no agent listens there. Does twofold-agent run (`systemctl status twofold-agent`), or is "
            "its socket elsewhere (--socket)?",
            path);
    if (err)
        return err;
    err = message_decode(&twofold__v1__local_response__descriptor, answer, answer_len, &message);
    free(answer);
    if (err)
        return note_set(note, err,
                        "The agent's answer cannot be read (%s): do `twofold` and the agent have the same version?",
                        err_text(err));
    response = (Twofold__V1__LocalResponse *)message;
    if (response->body_case == TWOFOLD__V1__LOCAL_RESPONSE__BODY_ERROR) {
        err = note_set(note, ERR_INVALID, "The agent refuses: %.400s", format_plain(response->error));
        message_free(message);
        return err;
    }
    *(ProtobufCMessage **)ret_answer = message;
    return ERR_OK;
}
