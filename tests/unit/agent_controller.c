// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/unit/agent_controller.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "proto/wire/message.h"

void agent_controller_facts(const char *uri, struct cert_facts *ret_facts)
{
    pki_facts(uri, ret_facts);
    ret_facts->not_before = (uint64_t)time(NULL) - 60;
    ret_facts->not_after = ret_facts->not_before + 86400;
    if (ret_facts->id.kind == SPIFFE_AGENT || ret_facts->id.kind == SPIFFE_HOST) {
        ret_facts->slot = 9;
        ret_facts->address_count = 1;
        cr_assert_eq(ip_parse("192.0.2.1", &ret_facts->addresses[0]), ERR_OK);
    }
}

void agent_controller_init(struct agent_controller *controller, const char *uri)
{
    struct cert_facts facts;
    struct note note = {0};

    memset(controller, 0, sizeof(*controller));
    pki_init(&controller->network_ca);
    pki_init(&controller->workload_ca);
    agent_controller_facts(uri, &facts);
    pki_leaf(&controller->network_ca, &facts, &controller->leaf);
    const struct tls_config config = {
        .side = TLS_SERVER,
        .peer_check = TLS_PEER_OPTIONAL,
        .key = controller->leaf.key,
        .certificate = controller->leaf.der,
        .certificate_len = controller->leaf.len,
        .root = controller->network_ca.root,
        .root_len = controller->network_ca.root_len,
        .trust = controller->network_ca.trust,
        .alpn = "h2",
        .clock = &clock_system,
    };
    cr_assert_eq(tls_context_new(&config, &controller->context, &note), ERR_OK, "%s", note.text);
}

void agent_controller_listen(struct agent_controller *controller, uv_loop_t *loop,
                             const struct grpc_server_events *events, void *owner)
{
    struct ip_endpoint any = {.port = 0};
    struct note note = {0};

    cr_assert_eq(ip_parse("127.0.0.1", &any.ip), ERR_OK);
    any.port = controller->address.port;
    cr_assert_eq(grpc_server_new(loop, &any, 1, controller->context, 16, events, owner, &controller->server, &note),
                 ERR_OK, "%s", note.text);
    controller->address = grpc_server_address(controller->server, 0);
}

void agent_controller_free(struct agent_controller *controller)
{
    tls_context_drop(controller->context);
    pki_leaf_free(&controller->leaf);
    pki_free(&controller->network_ca);
    pki_free(&controller->workload_ca);
}

static void certify(const struct pki *ca, const char *uri, const ProtobufCBinaryData *request, ProtobufCBinaryData *ret)
{
    struct cert_facts facts;
    struct note note = {0};

    agent_controller_facts(uri, &facts);
    cr_assert_eq(
        cert_issue(ca->key, ca->root, ca->root_len, request->data, request->len, &facts, &ret->data, &ret->len, &note),
        ERR_OK, "%s", note.text);
}

static void copy(const uint8_t *bytes, size_t len, ProtobufCBinaryData *ret)
{
    ret->data = malloc(len);
    ret->len = len;
    cr_assert_not_null(ret->data);
    memcpy(ret->data, bytes, len);
}

void agent_controller_certify(const struct agent_controller *controller,
                              const Twofold__V1__CertificateRequests *requests,
                              Twofold__V1__EnrolResponse *ret_response)
{
    twofold__v1__enrol_response__init(ret_response);
    certify(&controller->network_ca, "spiffe://example.org/agent/web", &requests->agent, &ret_response->agent);
    certify(&controller->network_ca, "spiffe://example.org/host/web", &requests->host, &ret_response->host);
    certify(&controller->workload_ca, "spiffe://example.org/ns/default/sa/web", &requests->workload,
            &ret_response->workload);
    copy(controller->network_ca.root, controller->network_ca.root_len, &ret_response->network_ca);
    copy(controller->workload_ca.root, controller->workload_ca.root_len, &ret_response->workload_ca);
}

void agent_controller_free_response(Twofold__V1__EnrolResponse *response)
{
    free(response->agent.data);
    free(response->host.data);
    free(response->workload.data);
    free(response->network_ca.data);
    free(response->workload_ca.data);
}

void agent_controller_send(struct grpc_call *call, const ProtobufCMessage *message)
{
    uint8_t *bytes;
    size_t len;

    cr_assert_eq(message_encode(message, &bytes, &len), ERR_OK);
    cr_assert_eq(grpc_call_send(call, bytes, len), ERR_OK);
    free(bytes);
}
