// SPDX-License-Identifier: GPL-2.0-or-later
// The whole controller, in this process, against clients over TLS on loopback.
#include <criterion/criterion.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "admin.pb-c.h"
#include "controller/daemon.h"
#include "controller/init.h"
#include "controller/store/audit.h"
#include "proto/base/file.h"
#include "proto/base/log.h"
#include "proto/wire/message.h"
#include "proto/wire/token.h"
#include "tests/unit/controller_client.h"
#include "tests/unit/controller_fixture.h"

#define POLICY                       \
    "version: 1\n"                   \
    "segments:\n"                    \
    "  web: {labels: {role: web}}\n" \
    "  api: {labels: {role: api}}\n" \
    "rules:\n"                       \
    "  - {name: web-to-api, from: web, to: api, ports: [tcp/80]}\n"

static uv_loop_t loop;
static struct daemon controller;
static struct ip_endpoint address;
static struct client_identity admin_identity;
static struct client admin;
static struct note note;
static char text[256];
static char state_folder[PATH_MAX / 2];

// ---- a controller

static void start_controller(void)
{
    struct state state;
    cr_assert_eq(state_open(state_folder, &clock_system, &state, &note), ERR_OK, "%s", note.text);
    cr_assert_eq(state_lock(state_folder, &state, &note), ERR_OK, "%s", note.text);
    state.config.listen[0].port = 0; // any that is free
    cr_assert_eq(daemon_start(&controller, &loop, &clock_system, &state, &note), ERR_OK, "%s", note.text);
    address = grpc_server_address(controller.server, 0);
}

static void stop_controller(void)
{
    daemon_stop(&controller);
    while (controller.server != NULL)
        uv_run(&loop, UV_RUN_ONCE);
    uv_run(&loop, UV_RUN_NOWAIT);
    daemon_close(&controller);
}

static void read_pem(const char *folder, const char *name, uint8_t **ret_der, size_t *ret_len)
{
    char path[PATH_MAX];
    uint8_t *pem = NULL;
    size_t len = 0;
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    cr_assert_eq(file_read(path, 65536, &pem, &len, &note), ERR_OK, "%s", note.text);
    cr_assert_eq(cert_pem_to_der(pem, len, 0, ret_der, ret_len), ERR_OK);
    free(pem);
}

static void load_admin(const char *folder, struct client_identity *identity)
{
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s/admin.key", folder);
    cr_assert_eq(key_load(path, &identity->key, &note), ERR_OK, "%s", note.text);
    read_pem(folder, "admin.pem", &identity->certificate, &identity->certificate_len);
    read_pem(folder, "network-ca.pem", &identity->root, &identity->root_len);
}

static void set_up(void)
{
    struct config config = {.trust_domain = "example.org", .name = "controller"};
    tls_library_start();
    snprintf(state_folder, sizeof(state_folder), "%s", fixture_path("state"));
    config.listen[config.listen_count++] = (struct ip_endpoint){.ip = fixture_ip("127.0.0.1"), .port = CONTROLLER_PORT};
    cr_assert_eq(init_state(state_folder, &config, 1, &clock_system, &note), ERR_OK, "%s", note.text);
    uv_loop_init(&loop);
    start_controller();
    char folder[PATH_MAX];
    snprintf(folder, sizeof(folder), "%s/admin", state_folder);
    load_admin(folder, &admin_identity);
    cr_assert_eq(client_connect(&admin, &loop, &address, &admin_identity), ERR_OK);
}

static void tear_down(void)
{
    client_close(&admin);
    client_identity_free(&admin_identity);
    stop_controller();
    while (uv_run(&loop, UV_RUN_NOWAIT) != 0)
        ;
    cr_expect_eq(uv_loop_close(&loop), 0);
    fixture_remove();
}

TestSuite(daemon, .init = set_up, .fini = tear_down, .timeout = 60);

// ---- what administrators do

static void create_token(const char *host, const uint8_t last, struct token *ret_token)
{
    Twofold__V1__CreateTokenRequest request = TWOFOLD__V1__CREATE_TOKEN_REQUEST__INIT;
    Twofold__V1__CreateTokenResponse *response = NULL;
    Twofold__V1__Label label = TWOFOLD__V1__LABEL__INIT, *labels[] = {&label};
    uint8_t bytes[4] = {192, 0, 2, last};
    ProtobufCBinaryData addresses[] = {{sizeof(bytes), bytes}};
    label.key = (char *)"role";
    label.value = (char *)host;
    request.host = (char *)host;
    request.labels = labels;
    request.n_labels = 1;
    request.addresses = addresses;
    request.n_addresses = 1;
    request.valid_seconds = 600;
    cr_assert_eq(client_call(&admin, "/twofold.v1.Admin/CreateToken", &request.base,
                             &twofold__v1__create_token_response__descriptor, &response, text),
                 GRPC_OK, "%s", text);
    cr_assert_eq(token_decode(response->token, ret_token), ERR_OK);
    message_free(response);
}

static Twofold__V1__ApplyPolicyResponse *apply_policy(const char *policy, uint32_t wait_ms)
{
    Twofold__V1__ApplyPolicyRequest request = TWOFOLD__V1__APPLY_POLICY_REQUEST__INIT;
    Twofold__V1__ApplyPolicyResponse *response = NULL;
    request.text = (char *)policy;
    request.wait_ms = wait_ms;
    cr_assert_eq(client_call(&admin, "/twofold.v1.Admin/ApplyPolicy", &request.base,
                             &twofold__v1__apply_policy_response__descriptor, &response, text),
                 GRPC_OK, "%s", text);
    return response;
}

static Twofold__V1__GetStatusResponse *get_status(void)
{
    Twofold__V1__GetStatusRequest request = TWOFOLD__V1__GET_STATUS_REQUEST__INIT;
    Twofold__V1__GetStatusResponse *response = NULL;
    cr_assert_eq(client_call(&admin, "/twofold.v1.Admin/GetStatus", &request.base,
                             &twofold__v1__get_status_response__descriptor, &response, text),
                 GRPC_OK, "%s", text);
    return response;
}

static Twofold__V1__ListAuditResponse *list_audit(void)
{
    Twofold__V1__ListAuditRequest request = TWOFOLD__V1__LIST_AUDIT_REQUEST__INIT;
    Twofold__V1__ListAuditResponse *response = NULL;
    cr_assert_eq(client_call(&admin, "/twofold.v1.Admin/ListAudit", &request.base,
                             &twofold__v1__list_audit_response__descriptor, &response, text),
                 GRPC_OK, "%s", text);
    return response;
}

static Twofold__V1__ListHostsResponse *list_hosts(void)
{
    Twofold__V1__ListHostsRequest request = TWOFOLD__V1__LIST_HOSTS_REQUEST__INIT;
    Twofold__V1__ListHostsResponse *response = NULL;
    cr_assert_eq(client_call(&admin, "/twofold.v1.Admin/ListHosts", &request.base,
                             &twofold__v1__list_hosts_response__descriptor, &response, text),
                 GRPC_OK, "%s", text);
    return response;
}

static enum grpc_status revoke_host(const char *host, uint32_t wait_ms, Twofold__V1__RevokeHostResponse **ret_response)
{
    Twofold__V1__RevokeHostRequest request = TWOFOLD__V1__REVOKE_HOST_REQUEST__INIT;
    request.host = (char *)host;
    request.reason = (char *)"lost";
    request.wait_ms = wait_ms;
    return client_call(&admin, "/twofold.v1.Admin/RevokeHost", &request.base,
                       &twofold__v1__revoke_host_response__descriptor, ret_response, text);
}

static void expect_last_audit(const char *actor, const char *action, const char *object, const char *outcome)
{
    Twofold__V1__ListAuditResponse *audit = list_audit();
    cr_assert(audit->n_entries > 0);
    const Twofold__V1__AuditEntry *entry = audit->entries[audit->n_entries - 1];
    cr_expect(audit->intact);
    cr_expect_str_eq(entry->actor, actor);
    cr_expect_str_eq(entry->action, action);
    cr_expect_str_eq(entry->object, object);
    cr_expect(strstr(entry->outcome, outcome) != NULL, "%s", entry->outcome);
    message_free(audit);
}

// ---- what hosts do

static enum grpc_status enrol(const struct token *token, const char *host, struct client_identity *ret_identity)
{
    struct client_identity nobody = {.root = admin_identity.root, .root_len = admin_identity.root_len};
    struct client client;
    struct fixture_requests requests;
    Twofold__V1__EnrolRequest request = TWOFOLD__V1__ENROL_REQUEST__INIT;
    Twofold__V1__EnrolResponse *response = NULL;
    fixture_requests_make(&requests);
    request.token_id = (ProtobufCBinaryData){TOKEN_ID_BYTES, (uint8_t *)token->id};
    request.token_secret = (ProtobufCBinaryData){TOKEN_SECRET_BYTES, (uint8_t *)token->secret};
    request.host = (char *)host;
    request.requests = &requests.message;
    cr_assert_eq(client_connect(&client, &loop, &address, &nobody), ERR_OK);
    enum grpc_status status = client_call(&client, "/twofold.v1.Enrolment/Enrol", &request.base,
                                          &twofold__v1__enrol_response__descriptor, &response, text);
    client_close(&client);
    if (status == GRPC_OK) {
        *ret_identity = (struct client_identity){.key = requests.keys[0]};
        requests.keys[0] = NULL;
        ProtobufCBinaryData *parts[] = {&response->agent, &response->network_ca};
        ret_identity->certificate_len = parts[0]->len;
        ret_identity->certificate = malloc(parts[0]->len);
        memcpy(ret_identity->certificate, parts[0]->data, parts[0]->len);
        ret_identity->root_len = parts[1]->len;
        ret_identity->root = malloc(parts[1]->len);
        memcpy(ret_identity->root, parts[1]->data, parts[1]->len);
    }
    message_free(response);
    fixture_requests_free(&requests);
    return status;
}

static void enrol_host(const char *host, uint8_t last, struct client_identity *ret_identity)
{
    struct token token;
    create_token(host, last, &token);
    cr_assert_eq(enrol(&token, host, ret_identity), GRPC_OK, "%s", text);
}

static void start_agent(struct net_agent *agent, const struct client_identity *identity)
{
    cr_assert_eq(net_agent_start(agent, &loop, &address, identity), ERR_OK);
    cr_assert(client_wait_count(&loop, &agent->publishes, 1));
}

// ---- the whole way

Test(daemon, from_token_to_slice_to_revocation)
{
    struct client_identity web_identity, api_identity;
    struct net_agent web = {0}, api = {0};
    enrol_host("web", 1, &web_identity);
    enrol_host("api", 2, &api_identity);
    start_agent(&web, &web_identity);
    start_agent(&api, &api_identity);
    cr_assert(client_wait_count(&loop, &api.deltas, 1));

    Twofold__V1__ApplyPolicyResponse *applied = apply_policy(POLICY, 5000);
    cr_expect_eq(applied->n_findings, 0);
    cr_expect_eq(applied->generation, 4); // one of init, two enrolments
    cr_assert_eq(applied->n_results, 2);
    for (size_t i = 0; i < 2; i++)
        cr_expect(applied->results[i]->applied, "%s: %s", applied->results[i]->host, applied->results[i]->reason);
    cr_expect(applied->elapsed_ms < 5000);
    cr_expect_eq(web.slice->n_rules, 1);
    cr_expect_eq(web.slice->settings->generation, applied->generation);
    message_free(applied);

    Twofold__V1__RevokeHostResponse *revoked = NULL;
    cr_expect_eq(revoke_host("web", 5000, &revoked), GRPC_OK, "%s", text);
    cr_assert_eq(revoked->n_results, 1);
    cr_expect(revoked->results[0]->applied);
    cr_expect_eq(revoked->generation, 5);
    cr_expect_eq(api.slice->n_revoked, 1);
    cr_expect_eq(api.slice->n_peers, 0);
    message_free(revoked);
    expect_last_audit("spiffe://example.org/admin/admin", "host.revoke", "web: lost", "ok");
    cr_expect(client_wait(&loop, &web.done));
    cr_expect(client_wait(&loop, &web.client.gone)); // the connection too
    net_agent_stop(&web);

    // It does not come back, neither by its certificate nor by a token.
    cr_expect_eq(net_agent_start(&web, &loop, &address, &web_identity), ERR_OK);
    cr_expect(client_wait(&loop, &web.done));
    cr_expect_eq(web.status, GRPC_PERMISSION_DENIED);
    cr_expect(strstr(web.text, "revoked") != NULL, "%s", web.text);
    net_agent_stop(&web);
    cr_expect_eq(revoke_host("web", 0, &revoked), GRPC_ALREADY_EXISTS);
    expect_last_audit("spiffe://example.org/admin/admin", "host.revoke", "web", "revoked already");
    cr_expect_eq(revoke_host("nobody", 0, &revoked), GRPC_NOT_FOUND);

    Twofold__V1__ListHostsResponse *hosts = list_hosts();
    cr_assert_eq(hosts->n_hosts, 2);
    cr_expect_str_eq(hosts->hosts[0]->host, "api");
    cr_expect(hosts->hosts[0]->connected);
    cr_expect_eq(hosts->hosts[0]->generation, 5);
    cr_expect_str_eq(hosts->hosts[0]->version, "0.1.0");
    cr_expect(hosts->hosts[1]->revoked);
    cr_expect_str_eq(hosts->hosts[1]->problem, "revoked: lost");
    message_free(hosts);

    net_agent_stop(&api);
    net_agent_free(&api);
    net_agent_free(&web);
    client_identity_free(&web_identity);
    client_identity_free(&api_identity);
}

Test(daemon, a_restart_keeps_everything)
{
    struct client_identity web_identity;
    struct net_agent web = {0};
    enrol_host("web", 1, &web_identity);
    message_free(apply_policy(POLICY, 0));
    start_agent(&web, &web_identity);
    cr_assert(client_wait_count(&loop, &web.deltas, 1));
    Twofold__V1__GetStatusResponse *before = get_status();
    Twofold__V1__ListAuditResponse *audit_before = list_audit();
    client_close(&admin);
    stop_controller();
    cr_expect(client_wait(&loop, &web.done));
    net_agent_stop(&web);

    start_controller();
    cr_assert_eq(client_connect(&admin, &loop, &address, &admin_identity), ERR_OK);
    start_agent(&web, &web_identity);
    Twofold__V1__GetStatusResponse *after = get_status();
    Twofold__V1__ListAuditResponse *audit_after = list_audit();
    cr_expect_eq(after->generation, before->generation);
    cr_expect_eq(after->hosts, 1);
    cr_expect_eq(after->current, 1);
    cr_expect_str_eq(after->network_ca_sha384, before->network_ca_sha384);
    cr_expect_str_neq(after->network_ca_sha384, after->workload_ca_sha384);
    cr_expect_eq(audit_after->n_entries, audit_before->n_entries);
    cr_expect(audit_after->intact);
    cr_expect_eq(web.deltas, 0);    // it has the slice
    cr_expect_eq(web.publishes, 1); // but the controller forgot its bundle
    message_free(before);
    message_free(after);
    message_free(audit_before);
    message_free(audit_after);
    net_agent_stop(&web);
    net_agent_free(&web);
    client_identity_free(&web_identity);
}

Test(daemon, a_renewed_server_certificate_drops_no_session)
{
    struct client_identity web_identity;
    struct net_agent web = {0};
    enrol_host("web", 1, &web_identity);
    start_agent(&web, &web_identity);
    cr_assert(client_wait_count(&loop, &web.deltas, 1));
    struct tls_context *before = controller.context;
    uv_timer_start(&controller.renewal, controller.renewal.timer_cb, 0, 0);
    uv_run(&loop, UV_RUN_NOWAIT);
    cr_expect_neq(controller.context, before);
    message_free(apply_policy(POLICY, 5000));
    cr_expect_eq(web.deltas, 2);
    cr_expect_not(web.done);
    client_close(&admin);
    cr_expect_eq(client_connect(&admin, &loop, &address, &admin_identity), ERR_OK);
    message_free(get_status());
    net_agent_stop(&web);
    net_agent_free(&web);
    client_identity_free(&web_identity);
}

// ---- enrolment

Test(daemon, a_token_is_for_one_use_and_one_host)
{
    struct token token;
    struct client_identity identity = {0};
    create_token("web", 1, &token);
    cr_expect_eq(enrol(&token, "api", &identity), GRPC_PERMISSION_DENIED);
    expect_last_audit("address 127.0.0.1", "host.enrol", "api", "another host");
    cr_expect_eq(enrol(&token, "web", &identity), GRPC_OK);
    client_identity_free(&identity);
    cr_expect_eq(enrol(&token, "web", &identity), GRPC_PERMISSION_DENIED);
    expect_last_audit("address 127.0.0.1", "host.enrol", "web", "used before");
    token.secret[0] ^= 1;
    cr_expect_eq(enrol(&token, "web", &identity), GRPC_PERMISSION_DENIED);
    expect_last_audit("address 127.0.0.1", "host.enrol", "web", "secret is wrong");
    for (int i = 0; i < 10; i++)
        (void)enrol(&token, "web", &identity);
    cr_expect_eq(enrol(&token, "web", &identity), GRPC_RESOURCE_EXHAUSTED);
}

Test(daemon, a_new_enrolment_ends_the_old_session)
{
    struct client_identity first, second;
    struct net_agent old = {0};
    enrol_host("web", 1, &first);
    start_agent(&old, &first);
    enrol_host("web", 1, &second);
    cr_expect(client_wait(&loop, &old.done));
    net_agent_stop(&old);
    cr_expect_eq(net_agent_start(&old, &loop, &address, &first), ERR_OK);
    cr_expect(client_wait(&loop, &old.done));
    cr_expect_eq(old.status, GRPC_PERMISSION_DENIED);
    net_agent_stop(&old);
    net_agent_free(&old);
    client_identity_free(&first);
    client_identity_free(&second);
}

Test(daemon, renewal_needs_an_agents_certificate)
{
    struct client_identity identity;
    struct client client;
    struct fixture_requests requests;
    Twofold__V1__RenewRequest request = TWOFOLD__V1__RENEW_REQUEST__INIT;
    Twofold__V1__EnrolResponse *response = NULL;
    fixture_requests_make(&requests);
    request.requests = &requests.message;
    enrol_host("web", 1, &identity);
    cr_assert_eq(client_connect(&client, &loop, &address, &identity), ERR_OK);
    cr_expect_eq(client_call(&client, "/twofold.v1.Enrolment/Renew", &request.base,
                             &twofold__v1__enrol_response__descriptor, &response, text),
                 GRPC_OK, "%s", text);
    cr_expect(response->agent.len > 0 && response->host.len > 0 && response->workload.len > 0);
    message_free(response);
    cr_expect_eq(client_call(&admin, "/twofold.v1.Enrolment/Renew", &request.base,
                             &twofold__v1__enrol_response__descriptor, &response, text),
                 GRPC_PERMISSION_DENIED);
    client_close(&client);
    fixture_requests_free(&requests);
    client_identity_free(&identity);
}

Test(daemon, bad_token_requests_are_refused)
{
    Twofold__V1__CreateTokenResponse *response = NULL;
    Twofold__V1__Label label = TWOFOLD__V1__LABEL__INIT, *labels[] = {&label, &label};
    uint8_t loopback[4] = {127, 0, 0, 1};
    ProtobufCBinaryData addresses[] = {{sizeof(loopback), loopback}};
    label.key = (char *)"role";
    label.value = (char *)"web";
    const Twofold__V1__CreateTokenRequest good = TWOFOLD__V1__CREATE_TOKEN_REQUEST__INIT;
    Twofold__V1__CreateTokenRequest bad[6];
    for (int i = 0; i < 6; i++) {
        bad[i] = good;
        bad[i].host = (char *)"web";
    }
    bad[0].host = (char *)"Not A Name";
    bad[1].valid_seconds = 59;
    bad[2].valid_seconds = TOKEN_SECONDS_MAX + 1;
    bad[3].labels = labels; // twice
    bad[3].n_labels = 2;
    bad[4].addresses = addresses;
    bad[4].n_addresses = 1;
    bad[5].workload = (char *)"no/name";
    for (int i = 0; i < 6; i++) {
        cr_expect_eq(client_call(&admin, "/twofold.v1.Admin/CreateToken", &bad[i].base,
                                 &twofold__v1__create_token_response__descriptor, &response, text),
                     GRPC_INVALID_ARGUMENT, "%d: %s", i, text);
    }
}

// ---- who may do what

Test(daemon, without_a_certificate_only_enrolment)
{
    struct client_identity nobody = {.root = admin_identity.root, .root_len = admin_identity.root_len};
    struct client client;
    Twofold__V1__GetStatusRequest request = TWOFOLD__V1__GET_STATUS_REQUEST__INIT;
    void *response = NULL;
    cr_assert_eq(client_connect(&client, &loop, &address, &nobody), ERR_OK);
    const char *const paths[] = {"/twofold.v1.Admin/GetStatus", "/twofold.v1.Control/Session",
                                 "/twofold.v1.Enrolment/Renew"};
    for (int i = 0; i < 3; i++) {
        cr_expect_eq(client_call(&client, paths[i], &request.base, &twofold__v1__get_status_response__descriptor,
                                 &response, text),
                     GRPC_UNAUTHENTICATED, "%s", paths[i]);
    }
    client_close(&client);
}

Test(daemon, agents_are_no_administrators_and_the_other_way_round)
{
    struct client_identity identity;
    struct client client;
    Twofold__V1__GetStatusRequest request = TWOFOLD__V1__GET_STATUS_REQUEST__INIT;
    void *response = NULL;
    enrol_host("web", 1, &identity);
    cr_assert_eq(client_connect(&client, &loop, &address, &identity), ERR_OK);
    cr_expect_eq(client_call(&client, "/twofold.v1.Admin/GetStatus", &request.base,
                             &twofold__v1__get_status_response__descriptor, &response, text),
                 GRPC_PERMISSION_DENIED);
    expect_last_audit("spiffe://example.org/agent/web", "call.denied", "/twofold.v1.Admin/GetStatus", "administrator");
    client_close(&client);
    client_identity_free(&identity);
    struct net_agent agent = {0};
    cr_expect_eq(net_agent_start(&agent, &loop, &address, &admin_identity), ERR_OK);
    cr_expect(client_wait(&loop, &agent.done));
    cr_expect_eq(agent.status, GRPC_PERMISSION_DENIED);
    net_agent_stop(&agent);
}

Test(daemon, a_certificate_of_another_ca_opens_no_connection)
{
    struct client_identity other = {0};
    struct client client;
    uint8_t *own_root = admin_identity.root;
    struct config config = {.trust_domain = "example.org", .name = "controller", .listen_count = 1};
    config.listen[0] = (struct ip_endpoint){.ip = fixture_ip("127.0.0.1"), .port = CONTROLLER_PORT};
    char folder[PATH_MAX];
    snprintf(folder, sizeof(folder), "%s", fixture_path("other"));
    cr_assert_eq(init_state(folder, &config, 1, &clock_system, &note), ERR_OK, "%s", note.text);
    strcat(folder, "/admin");
    load_admin(folder, &other);
    free(other.root);
    other.root = own_root; // it trusts the controller, which does not trust it
    other.root_len = admin_identity.root_len;
    Twofold__V1__GetStatusRequest request = TWOFOLD__V1__GET_STATUS_REQUEST__INIT;
    void *response = NULL;
    if (client_connect(&client, &loop, &address, &other) == ERR_OK) // TLS 1.3: the client may finish first
        cr_expect_eq(client_call(&client, "/twofold.v1.Admin/GetStatus", &request.base,
                                 &twofold__v1__get_status_response__descriptor, &response, text),
                     GRPC_UNAVAILABLE, "%s", text);
    cr_expect(client.gone);
    client_close(&client);
    other.root = NULL;
    client_identity_free(&other);
}

Test(daemon, an_administrator_can_be_added_and_removed)
{
    struct client_identity alice = {0};
    struct client client;
    Twofold__V1__GetStatusRequest request = TWOFOLD__V1__GET_STATUS_REQUEST__INIT;
    void *response = NULL;
    char folder[PATH_MAX];
    snprintf(folder, sizeof(folder), "%s", fixture_path("alice"));
    cr_assert_eq(init_admin(state_folder, "alice", folder, 1, &clock_system, &note), ERR_OK, "%s", note.text);
    cr_expect_eq(init_admin(state_folder, "alice", folder, 1, &clock_system, &note), ERR_EXISTS);
    load_admin(folder, &alice);
    cr_assert_eq(client_connect(&client, &loop, &address, &alice), ERR_OK);
    cr_expect_eq(client_call(&client, "/twofold.v1.Admin/GetStatus", &request.base,
                             &twofold__v1__get_status_response__descriptor, &response, text),
                 GRPC_OK, "%s", text);
    message_free(response);
    cr_assert_eq(init_remove_admin(state_folder, "alice", &clock_system, &note), ERR_OK, "%s", note.text);
    cr_expect_eq(init_remove_admin(state_folder, "alice", &clock_system, &note), ERR_NOT_FOUND);
    cr_expect_eq(client_call(&client, "/twofold.v1.Admin/GetStatus", &request.base,
                             &twofold__v1__get_status_response__descriptor, &response, text),
                 GRPC_PERMISSION_DENIED);
    client_close(&client);
    client_identity_free(&alice);
}

// ---- bad calls

Test(daemon, bad_calls_are_refused)
{
    uint8_t *bytes = NULL;
    size_t len = 0;
    const char *const status = "/twofold.v1.Admin/GetStatus";
    cr_expect_eq(client_call_bytes(&admin, "/twofold.v1.Admin/Nothing", "", 0, 1, &bytes, &len, text),
                 GRPC_UNIMPLEMENTED);
    cr_expect_eq(client_call_bytes(&admin, status, "\xff\xff", 2, 1, &bytes, &len, text), GRPC_INVALID_ARGUMENT);
    cr_expect_eq(client_call_bytes(&admin, status, "", 0, 2, &bytes, &len, text), GRPC_INVALID_ARGUMENT);
    cr_expect_eq(client_call_bytes(&admin, status, "", 0, 0, &bytes, &len, text), GRPC_INVALID_ARGUMENT);
    message_free(get_status()); // and the connection goes on
}

// ---- policy

Test(daemon, a_bad_policy_changes_nothing)
{
    Twofold__V1__ApplyPolicyResponse *response = apply_policy("version: 1\nrulez: []\n", 1000);
    cr_assert_eq(response->n_findings, 1);
    cr_expect_eq(response->findings[0]->line, 2);
    cr_expect_eq(response->generation, 1);
    message_free(response);
    Twofold__V1__GetStatusResponse *status = get_status();
    cr_expect_eq(status->generation, 1);
    message_free(status);
    expect_last_audit("spiffe://example.org/admin/admin", "policy.apply", "policy", "1 findings");
}

Test(daemon, the_same_policy_twice_is_no_change)
{
    Twofold__V1__ApplyPolicyResponse *first = apply_policy(POLICY, 1000), *second = apply_policy(POLICY, 1000);
    cr_expect_eq(first->generation, 2);
    cr_expect_eq(second->generation, 2);
    message_free(first);
    message_free(second);
}

Test(daemon, policies_are_checked_shown_and_explained)
{
    struct client_identity web, api;
    enrol_host("web", 1, &web);
    enrol_host("api", 2, &api);
    Twofold__V1__CheckPolicyRequest check = TWOFOLD__V1__CHECK_POLICY_REQUEST__INIT;
    Twofold__V1__CheckPolicyResponse *checked = NULL;
    check.text = (char *)POLICY;
    cr_assert_eq(client_call(&admin, "/twofold.v1.Admin/CheckPolicy", &check.base,
                             &twofold__v1__check_policy_response__descriptor, &checked, text),
                 GRPC_OK, "%s", text);
    cr_expect_eq(checked->n_findings, 0);
    cr_expect(checked->n_effects > 0);
    message_free(checked);
    message_free(apply_policy(POLICY, 0));

    Twofold__V1__ShowPolicyRequest show = TWOFOLD__V1__SHOW_POLICY_REQUEST__INIT;
    Twofold__V1__ShowPolicyResponse *shown = NULL;
    show.slice_of = (char *)"web";
    cr_assert_eq(client_call(&admin, "/twofold.v1.Admin/ShowPolicy", &show.base,
                             &twofold__v1__show_policy_response__descriptor, &shown, text),
                 GRPC_OK, "%s", text);
    cr_expect_str_eq(shown->text, POLICY);
    cr_expect_str_eq(shown->applied_by, "spiffe://example.org/admin/admin");
    cr_expect_eq(shown->slice->n_rules, 1);
    message_free(shown);
    show.slice_of = (char *)"ghost";
    cr_expect_eq(client_call(&admin, "/twofold.v1.Admin/ShowPolicy", &show.base,
                             &twofold__v1__show_policy_response__descriptor, &shown, text),
                 GRPC_NOT_FOUND);
    show.slice_of = (char *)"";
    show.generation = 99;
    cr_expect_eq(client_call(&admin, "/twofold.v1.Admin/ShowPolicy", &show.base,
                             &twofold__v1__show_policy_response__descriptor, &shown, text),
                 GRPC_NOT_FOUND);

    Twofold__V1__ExplainRequest explain = TWOFOLD__V1__EXPLAIN_REQUEST__INIT;
    Twofold__V1__ExplainResponse *explained = NULL;
    explain.source = (char *)"web";
    explain.destination = (char *)"192.0.2.2";
    explain.port = 80;
    explain.protocol = TWOFOLD__V1__PROTOCOL__PROTOCOL_TCP;
    cr_assert_eq(client_call(&admin, "/twofold.v1.Admin/Explain", &explain.base,
                             &twofold__v1__explain_response__descriptor, &explained, text),
                 GRPC_OK, "%s", text);
    cr_expect(explained->allowed, "%s", explained->reason);
    cr_expect_str_eq(explained->rule, "web-to-api");
    cr_expect_str_eq(explained->location, "policy:6:5");
    message_free(explained);
    explain.port = 70000;
    cr_expect_eq(client_call(&admin, "/twofold.v1.Admin/Explain", &explain.base,
                             &twofold__v1__explain_response__descriptor, &explained, text),
                 GRPC_INVALID_ARGUMENT);
    client_identity_free(&web);
    client_identity_free(&api);
}

Test(daemon, an_agent_that_does_not_answer_shows_in_the_results)
{
    struct client_identity identity;
    struct net_agent web = {0};
    enrol_host("web", 1, &identity);
    start_agent(&web, &identity);
    cr_assert(client_wait_count(&loop, &web.deltas, 1));
    web.hold = true;
    Twofold__V1__ApplyPolicyResponse *response = apply_policy(POLICY, 300);
    cr_assert_eq(response->n_results, 1);
    cr_expect_not(response->results[0]->answered);
    cr_expect(strstr(response->results[0]->reason, "not answered") != NULL);
    cr_expect(response->elapsed_ms >= 300);
    message_free(response);
    net_agent_stop(&web);
    net_agent_free(&web);
    client_identity_free(&identity);
}

// ---- the store fails

Test(daemon, a_full_disk_keeps_what_is_in_force)
{
    struct rlimit limit = {.rlim_cur = 16384, .rlim_max = RLIM_INFINITY};
    signal(SIGXFSZ, SIG_IGN);
    message_free(apply_policy(POLICY, 0));
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    Twofold__V1__ApplyPolicyRequest request = TWOFOLD__V1__APPLY_POLICY_REQUEST__INIT;
    void *response = NULL;
    request.text = (char *)"version: 1\n";
    cr_expect_eq(client_call(&admin, "/twofold.v1.Admin/ApplyPolicy", &request.base,
                             &twofold__v1__apply_policy_response__descriptor, &response, text),
                 GRPC_RESOURCE_EXHAUSTED);
    cr_expect(strstr(text, "free space") != NULL, "%s", text);
    Twofold__V1__GetStatusResponse *status = get_status();
    cr_expect_eq(status->generation, 2);
    message_free(status);
    limit.rlim_cur = RLIM_INFINITY;
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    Twofold__V1__ApplyPolicyResponse *applied = apply_policy("version: 1\n", 0);
    cr_expect_eq(applied->generation, 3);
    message_free(applied);
}

Test(daemon, tampering_with_the_audit_log_shows)
{
    struct token token;
    create_token("web", 1, &token);
    Twofold__V1__ListAuditResponse *audit = list_audit();
    cr_expect(audit->intact);
    message_free(audit);
    char path[PATH_MAX];
    sqlite3 *db = NULL;
    snprintf(path, sizeof(path), "%s/%s", state_folder, STATE_DATABASE);
    cr_assert_eq(sqlite3_open(path, &db), SQLITE_OK);
    cr_assert_eq(sqlite3_exec(db, "UPDATE audit SET actor = 'nobody' WHERE action = 'token.create'", NULL, NULL, NULL),
                 SQLITE_OK);
    sqlite3_close(db);
    audit = list_audit();
    cr_expect_not(audit->intact);
    message_free(audit);
}

// ---- init

Test(daemon, init_refuses_a_folder_that_holds_anything)
{
    struct config config = {.trust_domain = "example.org", .name = "controller", .listen_count = 1};
    config.listen[0] = (struct ip_endpoint){.ip = fixture_ip("127.0.0.1"), .port = CONTROLLER_PORT};
    cr_expect_eq(init_state(state_folder, &config, 1, &clock_system, &note), ERR_EXISTS);
}

Test(daemon, a_second_daemon_over_the_same_state_is_refused)
{
    struct state state;
    cr_assert_eq(state_open(state_folder, &clock_system, &state, &note), ERR_OK);
    cr_expect_eq(state_lock(state_folder, &state, &note), ERR_EXISTS);
    state_close(&state);
}
