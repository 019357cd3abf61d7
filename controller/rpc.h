// SPDX-License-Identifier: GPL-2.0-or-later
// Calls to the controller: one table says for each method who may call it, what is decoded and which function answers (rpc.c).
#ifndef TWOFOLD_CONTROLLER_RPC_H
#define TWOFOLD_CONTROLLER_RPC_H

#include <protobuf-c/protobuf-c.h>

#include "controller/daemon.h"
#include "proto/link/cert.h"
#include "proto/link/grpc.h"

#define RPC_OBJECT_BYTES 256

struct method;

// One unary call. The handler answers it once, now or later, with call_answer or call_refuse; until then `on_gone` tells when the
// caller has left.
struct call {
    struct daemon *daemon;
    struct grpc_call *grpc;
    const struct method *method;
    char caller[SPIFFE_TEXT_BYTES]; // SPIFFE ID, empty without a certificate
    struct cert_facts peer;
    struct ip_endpoint remote;
    ProtobufCMessage *request;     // lives as long as the call
    char object[RPC_OBJECT_BYTES]; // what it is about, for the audit log; set by the handler
    bool answered;
    void (*on_gone)(struct call *call);
    void *waiting; // the handler's
};

// For grpc_server_new; the owner is the daemon.
void rpc_on_call(void *owner, struct grpc_call *grpc, const char *path, const struct cert_facts *peer,
                 const struct ip_endpoint *remote);

void call_answer(struct call *call, const ProtobufCMessage *response);
// A refused call that would have changed something goes into the audit log.
void call_refuse(struct call *call, enum err err, const struct note *note);
void call_refuse_text(struct call *call, enum err err, const char *text);

// For a change that was answered but not made.
void call_audit_refusal(struct call *call, const char *outcome);

// The audit row of a change by this call, inside its transaction.
MUST_USE enum err call_audit(struct call *call, struct note *note);

enum grpc_status rpc_status(enum err err);

#endif
