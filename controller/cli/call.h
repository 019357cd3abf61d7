// SPDX-License-Identifier: GPL-2.0-or-later
// One unary call to the controller's Admin service, from the command line: connect, ask, answer, close.
#ifndef TWOFOLD_CONTROLLER_CLI_CALL_H
#define TWOFOLD_CONTROLLER_CLI_CALL_H

#include <protobuf-c/protobuf-c.h>

#include "controller/cli/command.h"

// Asks `method` ("ListHosts") with the credentials that `args` name. The server must be a controller of the administrator's trust
// domain. `extra_ms` comes on top of --timeout, for calls that wait on purpose. Free the answer with message_free. The note says what
// failed, why and what to do.
MUST_USE enum err call_admin(const struct args *args, const char *method, const ProtobufCMessage *request,
                             const ProtobufCMessageDescriptor *answer_type, uint64_t extra_ms, void *ret_answer,
                             struct note *note);

#define AGENT_SOCKET "/run/twofold/agent.sock"

// The same for the agent on this host, over its local socket (--socket). `request` is a LocalRequest, the answer a LocalResponse whose
// body is no error.
MUST_USE enum err call_agent(const struct args *args, const ProtobufCMessage *request, void *ret_answer,
                             struct note *note);

#endif
