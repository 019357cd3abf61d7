// SPDX-License-Identifier: GPL-2.0-or-later
// Renewal with fake roles and a fake controller that certifies what it is asked for.
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "agent/control/renewal.h"
#include "tests/unit/pki.h"

static const char *const URIS[ROLE_COUNT] = {
    [ROLE_CONTROL] = "spiffe://example.org/agent/web",
    [ROLE_NETWORK] = "spiffe://example.org/host/web",
    [ROLE_HTTPS] = "spiffe://example.org/ns/default/sa/web",
};

static struct renewal *renewal;
static struct pki network_ca, workload_ca;
static uint64_t boot_ms, unix_ms;
static struct key *keys[ROLE_COUNT];
static unsigned asked[ROLE_COUNT], delivered[ROLE_COUNT], calls, installs, renewed, failed;
static uint64_t retry_ms;
static enum err call_result, install_result;
static uint8_t *requests[ROLE_COUNT];
static size_t request_lens[ROLE_COUNT];
static struct cert_facts agent_facts;

static uint64_t read_boot(void *context)
{
    (void)context;
    return boot_ms;
}

static uint64_t read_unix(void *context)
{
    (void)context;
    return unix_ms;
}

static const struct clock fake_clock = {.boot_ms = read_boot, .unix_ms = read_unix};

static enum err ask_role(void *context, enum role role)
{
    (void)context;
    asked[role]++;
    return ERR_OK;
}

static void make_request(enum role role, uint8_t **ret_request, size_t *ret_len)
{
    key_free(keys[role]);
    cr_assert_eq(key_new(&keys[role]), ERR_OK);
    cr_assert_eq(key_request(keys[role], "x", ret_request, ret_len), ERR_OK);
}

static enum err own_request(void *context, uint8_t **ret_request, size_t *ret_len, struct note *note)
{
    (void)context;
    (void)note;
    make_request(ROLE_CONTROL, ret_request, ret_len);
    return ERR_OK;
}

static void keep(enum role role, const ProtobufCBinaryData *data)
{
    free(requests[role]);
    requests[role] = malloc(data->len);
    cr_assert_not_null(requests[role]);
    memcpy(requests[role], data->data, data->len);
    request_lens[role] = data->len;
}

static enum err do_call(void *context, const Twofold__V1__RenewRequest *request)
{
    (void)context;
    calls++;
    keep(ROLE_CONTROL, &request->requests->agent);
    keep(ROLE_NETWORK, &request->requests->host);
    keep(ROLE_HTTPS, &request->requests->workload);
    return call_result;
}

static enum err install(void *context, const Twofold__V1__EnrolResponse *response, struct note *note)
{
    (void)context;
    cr_expect(response->agent.len);
    installs++;
    return install_result ? note_set(note, install_result, "the disk is full") : ERR_OK;
}

static enum err deliver(void *context, enum role role, const Twofold__V1__Certificate *certificate)
{
    (void)context;
    cr_expect(certificate->certificate.len && certificate->ca.len);
    delivered[role]++;
    return ERR_OK;
}

static void on_renewed(void *context, uint64_t not_after)
{
    (void)context;
    (void)not_after;
    renewed++;
}

static void on_failed(void *context, const char *why, uint64_t wait_ms)
{
    (void)context;
    cr_expect(why[0]);
    failed++;
    retry_ms = wait_ms;
}

static const struct renewal_actions ACTIONS = {
    .ask_role = ask_role,
    .own_request = own_request,
    .call = do_call,
    .install = install,
    .deliver = deliver,
    .renewed = on_renewed,
    .failed = on_failed,
};

static void start(void)
{
    pki_init(&network_ca);
    pki_init(&workload_ca);
    boot_ms = 5000;
    pki_facts(URIS[ROLE_CONTROL], &agent_facts);
    unix_ms = agent_facts.not_before * 1000;
    cr_assert_eq(renewal_new(&fake_clock, &ACTIONS, NULL, &renewal), ERR_OK);
    renewal_set_certificate(renewal, &agent_facts);
}

static void finish(void)
{
    for (enum role role = 0; role < ROLE_COUNT; role++) {
        key_free(keys[role]);
        free(requests[role]);
    }
    renewal_free(renewal);
    pki_free(&network_ca);
    pki_free(&workload_ca);
}

TestSuite(control_renewal, .init = start, .fini = finish);

// Lets time pass, in steps as the deadlines have it.
static void pass(uint64_t ms)
{
    uint64_t end = boot_ms + ms;

    while (renewal_deadline(renewal) <= end) {
        uint64_t step = renewal_deadline(renewal) > boot_ms ? renewal_deadline(renewal) - boot_ms : 0;

        boot_ms += step;
        unix_ms += step;
        unsigned before = failed + calls + asked[ROLE_NETWORK];
        renewal_tick(renewal);
        if (failed + calls + asked[ROLE_NETWORK] != before)
            return;
    }
    unix_ms += end - boot_ms;
    boot_ms = end;
}

static void reach_half_life(void)
{
    pass(24 * 3600 * 1000ull);
    cr_assert_eq(asked[ROLE_NETWORK], 1);
    cr_assert_eq(asked[ROLE_HTTPS], 1);
}

static void role_requests(enum role role)
{
    Twofold__V1__CertificateRequest message = TWOFOLD__V1__CERTIFICATE_REQUEST__INIT;

    make_request(role, &message.request.data, &message.request.len);
    renewal_on_request(renewal, role, &message);
    free(message.request.data);
}

struct answer {
    Twofold__V1__EnrolResponse response;
};

static void issue(const struct pki *ca, const char *uri, enum role role, ProtobufCBinaryData *ret)
{
    struct cert_facts facts;
    struct note note = {0};

    pki_facts(uri, &facts);
    facts.not_before = unix_ms / 1000 - 60;
    facts.not_after = facts.not_before + 86400;
    cr_assert_eq(cert_issue(ca->key, ca->root, ca->root_len, requests[role], request_lens[role], &facts, &ret->data,
                            &ret->len, &note),
                 ERR_OK, "%s", note.text);
}

// The controller's answer, with one thing changed by `spoil`.
static void answer_with(void (*spoil)(Twofold__V1__EnrolResponse *))
{
    Twofold__V1__EnrolResponse response = TWOFOLD__V1__ENROL_RESPONSE__INIT;

    issue(&network_ca, URIS[ROLE_CONTROL], ROLE_CONTROL, &response.agent);
    issue(&network_ca, URIS[ROLE_NETWORK], ROLE_NETWORK, &response.host);
    issue(&workload_ca, URIS[ROLE_HTTPS], ROLE_HTTPS, &response.workload);
    response.network_ca = (ProtobufCBinaryData){network_ca.root_len, network_ca.root};
    response.workload_ca = (ProtobufCBinaryData){workload_ca.root_len, workload_ca.root};
    if (spoil)
        spoil(&response);
    renewal_on_response(renewal, &response, "");
    free(response.agent.data);
    free(response.host.data);
    free(response.workload.data);
}

static void reach_call(void)
{
    reach_half_life();
    role_requests(ROLE_NETWORK);
    role_requests(ROLE_HTTPS);
    cr_assert_eq(calls, 1);
}

Test(control_renewal, begins_at_half_life)
{
    reach_half_life();
    uint64_t age = unix_ms / 1000 - agent_facts.not_before;
    uint64_t life = agent_facts.not_after - agent_facts.not_before;
    cr_expect_geq(age, life * 4 / 10);
    cr_expect_leq(age, life * 6 / 10 + 1);
}

Test(control_renewal, renews_all_three)
{
    reach_call();
    answer_with(NULL);
    cr_expect_eq(installs, 1);
    cr_expect_eq(delivered[ROLE_NETWORK], 1);
    cr_expect_eq(delivered[ROLE_HTTPS], 1);
    cr_expect_eq(renewed, 1);
    cr_expect_eq(failed, 0);
    cr_expect_str_eq(renewal_problem(renewal), "");
    // And again, half a life later.
    pass(24 * 3600 * 1000ull);
    cr_expect_eq(asked[ROLE_NETWORK], 2);
}

Test(control_renewal, wall_clock_that_jumps_ahead)
{
    unix_ms += 20 * 3600 * 1000ull;
    pass(61000);
    cr_expect_eq(asked[ROLE_NETWORK], 1);
}

Test(control_renewal, role_that_refuses)
{
    Twofold__V1__CertificateRequest message = TWOFOLD__V1__CERTIFICATE_REQUEST__INIT;

    reach_half_life();
    message.reason = (char *)"no entropy";
    renewal_on_request(renewal, ROLE_HTTPS, &message);
    cr_expect_eq(failed, 1);
    cr_expect(strstr(renewal_problem(renewal), "no entropy"));
    // It is tried again soon.
    cr_expect_leq(retry_ms, 5000);
    pass(retry_ms);
    cr_expect_eq(asked[ROLE_NETWORK], 2);
}

Test(control_renewal, role_that_sends_garbage)
{
    Twofold__V1__CertificateRequest message = TWOFOLD__V1__CERTIFICATE_REQUEST__INIT;

    reach_half_life();
    message.request = (ProtobufCBinaryData){7, (uint8_t *)"garbage"};
    renewal_on_request(renewal, ROLE_NETWORK, &message);
    cr_expect_eq(failed, 1);
    cr_expect_eq(calls, 0);
}

Test(control_renewal, role_that_is_silent)
{
    reach_half_life();
    role_requests(ROLE_NETWORK);
    pass(20000);
    cr_expect_eq(failed, 1);
    cr_expect(strstr(renewal_problem(renewal), "https"), "%s", renewal_problem(renewal));
    role_requests(ROLE_HTTPS); // too late
    cr_expect_eq(calls, 0);
}

Test(control_renewal, no_session)
{
    call_result = ERR_CLOSED;
    reach_call();
    cr_expect_eq(failed, 1);
    cr_expect_eq(installs, 0);
}

Test(control_renewal, controller_that_refuses_or_is_silent)
{
    reach_call();
    renewal_on_response(renewal, NULL, "revoked");
    cr_expect_eq(failed, 1);
    cr_expect(strstr(renewal_problem(renewal), "revoked"));
    pass(10000);
    role_requests(ROLE_NETWORK);
    role_requests(ROLE_HTTPS);
    cr_expect_eq(calls, 2);
    pass(60000);
    cr_expect_eq(failed, 2);
    // The late answer is not taken for one to a later question.
    answer_with(NULL);
    cr_expect_eq(installs, 0);
}

Test(control_renewal, waits_grow)
{
    uint64_t longest = 0;

    call_result = ERR_CLOSED;
    reach_call();
    for (int i = 0; i < 12; i++) {
        pass(retry_ms);
        role_requests(ROLE_NETWORK);
        role_requests(ROLE_HTTPS);
        longest = retry_ms > longest ? retry_ms : longest;
    }
    cr_expect_eq(failed, 13);
    cr_expect_geq(longest, 300000);
    cr_expect_leq(longest, 600000);
}

static void swap_agent_and_host(Twofold__V1__EnrolResponse *response)
{
    ProtobufCBinaryData agent = response->agent;

    response->agent = response->host;
    response->host = agent;
}

static void workload_by_network_ca(Twofold__V1__EnrolResponse *response)
{
    free(response->workload.data);
    issue(&network_ca, URIS[ROLE_HTTPS], ROLE_HTTPS, &response->workload);
}

static void host_of_another_name(Twofold__V1__EnrolResponse *response)
{
    free(response->host.data);
    issue(&network_ca, "spiffe://example.org/host/db", ROLE_NETWORK, &response->host);
}

static void host_with_the_workload_s_key(Twofold__V1__EnrolResponse *response)
{
    free(response->host.data);
    issue(&network_ca, URIS[ROLE_NETWORK], ROLE_HTTPS, &response->host);
}

static void garbage(Twofold__V1__EnrolResponse *response)
{
    response->agent.len = 5;
}

static void nothing(Twofold__V1__EnrolResponse *response)
{
    response->workload_ca.len = 0;
}

Test(control_renewal, bad_certificates_are_not_handed_out)
{
    static void (*const spoilers[])(Twofold__V1__EnrolResponse *) = {
        swap_agent_and_host,
        workload_by_network_ca,
        host_of_another_name,
        host_with_the_workload_s_key,
        garbage,
        nothing,
    };

    for (size_t i = 0; i < sizeof(spoilers) / sizeof(spoilers[0]); i++) {
        if (i == 0)
            reach_call();
        else {
            pass(retry_ms);
            role_requests(ROLE_NETWORK);
            role_requests(ROLE_HTTPS);
        }
        answer_with(spoilers[i]);
        cr_expect_eq(failed, i + 1, "spoiler %zu", i);
        cr_expect_eq(installs, 0);
        cr_expect_eq(delivered[ROLE_NETWORK] + delivered[ROLE_HTTPS], 0);
    }
}

Test(control_renewal, nothing_is_handed_out_when_the_own_one_cannot_be_stored)
{
    install_result = ERR_FULL;
    reach_call();
    answer_with(NULL);
    cr_expect_eq(failed, 1);
    cr_expect_eq(delivered[ROLE_NETWORK] + delivered[ROLE_HTTPS], 0);
}
