// SPDX-License-Identifier: GPL-2.0-or-later
// A controller for the agent's tests: real gRPC and TLS on 127.0.0.1, two CAs, and as much sense as a test gives it.
#ifndef TWOFOLD_TESTS_UNIT_AGENT_CONTROLLER_H
#define TWOFOLD_TESTS_UNIT_AGENT_CONTROLLER_H

#include <stdint.h>
#include <uv.h>

#include "control.pb-c.h"
#include "proto/base/ip.h"
#include "proto/link/grpc.h"
#include "proto/link/tls.h"
#include "tests/unit/pki.h"

struct agent_controller {
    struct pki network_ca;
    struct pki workload_ca;
    struct pki_leaf leaf;
    struct tls_context *context;
    struct grpc_server *server;
    struct ip_endpoint address;
};

// The CAs and a certificate with this SPIFFE ID, valid now.
void agent_controller_init(struct agent_controller *controller, const char *uri);
void agent_controller_free(struct agent_controller *controller); // the server is closed

// Listens; calls go to `events`.
void agent_controller_listen(struct agent_controller *controller, uv_loop_t *loop,
                             const struct grpc_server_events *events, void *owner);

// Facts with this SPIFFE ID, valid from a minute ago for a day by the real clock, with an address and a slot.
void agent_controller_facts(const char *uri, struct cert_facts *ret_facts);

// The answer to these requests for host "web" of example.org. Free with agent_controller_free_response.
void agent_controller_certify(const struct agent_controller *controller,
                              const Twofold__V1__CertificateRequests *requests,
                              Twofold__V1__EnrolResponse *ret_response);
void agent_controller_free_response(Twofold__V1__EnrolResponse *response);

// Encodes and sends.
void agent_controller_send(struct grpc_call *call, const ProtobufCMessage *message);

#endif
