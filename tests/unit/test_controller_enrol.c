// SPDX-License-Identifier: GPL-2.0-or-later
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "controller/enrol.h"
#include "controller/store/audit.h"
#include "tests/unit/controller_fixture.h"

static struct store *store;
static struct ca *ca;
static struct enrolment enrolment;
static struct note note;
static struct fixture_requests requests;
static struct ip source;

static void set_up(void)
{
    source = fixture_ip("198.51.100.7");
    cr_assert_eq(store_create(fixture_path("controller.db"), &store, &note), ERR_OK, "%s", note.text);
    cr_assert_eq(ca_create(fixture_folder(), "example.org", FIXTURE_NOW, &note), ERR_OK, "%s", note.text);
    cr_assert_eq(ca_load(fixture_folder(), "example.org", FIXTURE_NOW, &ca, &note), ERR_OK, "%s", note.text);
    enrolment = (struct enrolment){.store = store, .ca = ca, .clock = &fixture_clock};
    cr_assert_eq(limiter_new(&ENROL_FAILURE_RATE, &enrolment.failures), ERR_OK);
    cr_assert_eq(limiter_new(&ENROL_RENEWAL_RATE, &enrolment.renewals), ERR_OK);
    fixture_requests_make(&requests);
}

static void tear_down(void)
{
    fixture_requests_free(&requests);
    limiter_free(enrolment.failures);
    limiter_free(enrolment.renewals);
    ca_free(ca);
    store_close(store);
    fixture_remove();
}

TestSuite(enrol, .init = set_up, .fini = tear_down);

// ---- asking

static uint8_t secrets[256][TOKEN_SECRET_BYTES];
static uint8_t ids[256][TOKEN_ID_BYTES];

static void add_token(uint8_t fill, const char *host, const char *address)
{
    struct token_record token = fixture_token(host, address, fill, secrets[fill]);
    memcpy(ids[fill], token.id, sizeof(token.id));
    token.expires = fixture_time.unix_ms / 1000 + 3600;
    cr_assert_eq(store_add_token(store, &token, FIXTURE_NOW, &note), ERR_OK, "%s", note.text);
}

static Twofold__V1__EnrolRequest request_of(uint8_t fill, const char *host)
{
    Twofold__V1__EnrolRequest request = TWOFOLD__V1__ENROL_REQUEST__INIT;
    request.token_id = (ProtobufCBinaryData){TOKEN_ID_BYTES, ids[fill]};
    request.token_secret = (ProtobufCBinaryData){TOKEN_SECRET_BYTES, secrets[fill]};
    request.host = (char *)host;
    request.requests = &requests.message;
    return request;
}

static enum err enrol(uint8_t fill, const char *host, struct enrolled *ret_enrolled)
{
    Twofold__V1__EnrolRequest request = request_of(fill, host);
    note = (struct note){0};
    return enrol_by_token(&enrolment, &request, &source, ret_enrolled, &note);
}

static void enrol_well(uint8_t fill, const char *host, struct enrolled *ret_enrolled)
{
    cr_assert_eq(enrol(fill, host, ret_enrolled), ERR_OK, "%s", note.text);
}

static enum err keep_last(void *context, const struct audit_row *row)
{
    *(struct audit_row *)context = *row;
    return ERR_OK;
}

static struct audit_row last_audit(void)
{
    struct audit_row row = {0};
    cr_assert_eq(store_each_audit(store, 0, UINT32_MAX, keep_last, &row, &note), ERR_OK);
    return row;
}

static void expect_refused(uint8_t fill, const char *host, enum err wanted, const char *audited)
{
    struct enrolled enrolled = {0};
    enum err err = enrol(fill, host, &enrolled);
    cr_expect_eq(err, wanted, "%s instead of %s: %s", err_name(err), err_name(wanted), note.text);
    struct audit_row row = last_audit();
    cr_expect(strstr(row.outcome, audited) != NULL, "audited: %s", row.outcome);
    cr_expect_str_eq(row.action, "host.enrol");
    cr_expect_str_eq(row.actor, "address 198.51.100.7");
}

static void facts_of(const uint8_t *der, size_t len, const struct ca_root *root, struct cert_facts *facts)
{
    struct trust *trust = NULL;
    cr_assert_eq(trust_new(&trust), ERR_OK);
    cr_assert_eq(trust_add(trust, root->der, root->der_len, &note), ERR_OK);
    cr_assert_eq(trust_verify(trust, der, len, fixture_time.unix_ms / 1000, facts, &note), ERR_OK, "%s", note.text);
    trust_free(trust);
}

// ---- good

Test(enrol, gives_three_certificates_of_two_cas)
{
    struct enrolled enrolled;
    struct cert_facts agent, host, workload;
    add_token(1, "web", "192.0.2.1");
    enrol_well(1, "web", &enrolled);
    facts_of(enrolled.issued.agent, enrolled.issued.agent_len, &ca->network, &agent);
    facts_of(enrolled.issued.host, enrolled.issued.host_len, &ca->network, &host);
    facts_of(enrolled.issued.workload, enrolled.issued.workload_len, &ca->workload, &workload);

    char text[SPIFFE_TEXT_BYTES];
    spiffe_format(&agent.id, text);
    cr_expect_str_eq(text, "spiffe://example.org/agent/web");
    spiffe_format(&host.id, text);
    cr_expect_str_eq(text, "spiffe://example.org/host/web");
    spiffe_format(&workload.id, text);
    cr_expect_str_eq(text, "spiffe://example.org/ns/default/sa/web");
    const struct ip address = fixture_ip("192.0.2.1");
    const struct cert_facts *all[] = {&agent, &host, &workload};
    for (int i = 0; i < 3; i++) {
        cr_expect_eq(all[i]->address_count, 1);
        cr_expect_eq(ip_compare(&all[i]->addresses[0], &address), 0);
        cr_expect_eq(all[i]->not_after, FIXTURE_NOW + CA_LEAF_SECONDS);
    }
    cr_expect_eq(agent.slot, 1);
    cr_expect_eq(host.slot, 1);
    cr_expect_eq(host.label_count, 1);
    cr_expect_str_eq(host.labels[0].value, "web");
    cr_expect_eq(enrolled.generation, 1);
    cr_expect_str_eq(last_audit().outcome, "ok");
    ca_issued_free(&enrolled.issued);
}

Test(enrol, takes_the_source_address_when_the_token_names_none)
{
    struct enrolled enrolled;
    add_token(1, "web", NULL);
    enrol_well(1, "web", &enrolled);
    cr_expect_eq(enrolled.host.address_count, 1);
    cr_expect_eq(ip_compare(&enrolled.host.addresses[0], &source), 0);
    ca_issued_free(&enrolled.issued);
}

Test(enrol, refuses_a_source_that_is_no_host_address)
{
    struct enrolled enrolled;
    const char *const unfit[] = {"127.0.0.1", "::1", "fe80::1", "224.0.0.1", "0.0.0.0"};
    add_token(1, "web", NULL);
    for (size_t i = 0; i < sizeof(unfit) / sizeof(unfit[0]); i++) {
        source = fixture_ip(unfit[i]);
        cr_expect_eq(enrol(1, "web", &enrolled), ERR_INVALID, "%s", unfit[i]);
    }
    source = fixture_ip("198.51.100.7"); // the token is still good
    enrol_well(1, "web", &enrolled);
    ca_issued_free(&enrolled.issued);
}

Test(enrol, again_keeps_the_slot_and_the_generation)
{
    struct enrolled first, second, third;
    add_token(1, "web", "192.0.2.1");
    add_token(2, "web", "192.0.2.1");
    add_token(3, "web", "192.0.2.2");
    enrol_well(1, "web", &first);
    enrol_well(2, "web", &second);
    cr_expect_eq(second.host.slot, first.host.slot);
    cr_expect_eq(second.generation, first.generation);
    enrol_well(3, "web", &third);
    cr_expect_eq(third.host.slot, first.host.slot);
    cr_expect_eq(third.generation, first.generation + 1);
    ca_issued_free(&first.issued);
    ca_issued_free(&second.issued);
    ca_issued_free(&third.issued);
}

// ---- bad tokens

Test(enrol, a_token_works_once)
{
    struct enrolled enrolled;
    add_token(1, "web", "192.0.2.1");
    enrol_well(1, "web", &enrolled);
    ca_issued_free(&enrolled.issued);
    expect_refused(1, "web", ERR_DENIED, "used before");
    cr_expect(strstr(note.text, "used before") != NULL, "who knows the secret is told: %s", note.text);
}

Test(enrol, a_token_expires)
{
    add_token(1, "web", "192.0.2.1");
    fixture_advance(3600 * 1000);
    expect_refused(1, "web", ERR_DENIED, "expired");
}

Test(enrol, a_token_is_for_one_host)
{
    add_token(1, "web", "192.0.2.1");
    expect_refused(1, "api", ERR_DENIED, "another host");
}

Test(enrol, guessers_learn_nothing)
{
    char first[NOTE_TEXT_BYTES];
    add_token(1, "web", "192.0.2.1");
    memset(ids[2], 9, sizeof(ids[2]));
    expect_refused(2, "web", ERR_DENIED, "unknown");
    memcpy(first, note.text, sizeof(first));
    secrets[1][31] ^= 1;
    expect_refused(1, "web", ERR_DENIED, "secret is wrong");
    cr_expect_str_eq(note.text, first);
    struct enrolled enrolled;
    secrets[1][31] ^= 1;
    enrol_well(1, "web", &enrolled); // a wrong guess does not use it up
    ca_issued_free(&enrolled.issued);
    secrets[1][0] ^= 1;
    expect_refused(1, "web", ERR_DENIED, "secret is wrong");
    cr_expect_str_eq(note.text, first); // nor that it was used
}

Test(enrol, a_malformed_request_is_refused)
{
    struct enrolled enrolled;
    add_token(1, "web", "192.0.2.1");
    Twofold__V1__EnrolRequest request = request_of(1, "web");
    request.token_secret.len--;
    cr_expect_eq(enrol_by_token(&enrolment, &request, &source, &enrolled, &note), ERR_MALFORMED);
    request = request_of(1, "web");
    request.token_id.len = 0;
    cr_expect_eq(enrol_by_token(&enrolment, &request, &source, &enrolled, &note), ERR_MALFORMED);
    request = request_of(1, "Not A Name\n");
    cr_expect_eq(enrol_by_token(&enrolment, &request, &source, &enrolled, &note), ERR_MALFORMED);
    cr_expect_str_eq(last_audit().object, "(no name)");
    request = request_of(1, "web");
    request.requests = NULL;
    cr_expect_eq(enrol_by_token(&enrolment, &request, &source, &enrolled, &note), ERR_MALFORMED);
}

Test(enrol, failures_from_one_source_are_limited)
{
    struct enrolled enrolled;
    add_token(1, "web", "192.0.2.1");
    memset(ids[2], 9, sizeof(ids[2]));
    for (int i = 0; i < 10; i++)
        cr_expect_eq(enrol(2, "web", &enrolled), ERR_DENIED);
    cr_expect_eq(enrol(2, "web", &enrolled), ERR_LIMIT);
    cr_expect_eq(enrol(1, "web", &enrolled), ERR_LIMIT);
    source = fixture_ip("198.51.100.8"); // others are not hindered
    enrol_well(1, "web", &enrolled);
    ca_issued_free(&enrolled.issued);
    source = fixture_ip("198.51.100.7");
    fixture_advance(6000);
    cr_expect_eq(enrol(2, "web", &enrolled), ERR_DENIED);
}

Test(enrol, the_audit_log_of_failures_is_bounded)
{
    struct enrolled enrolled;
    for (int i = 0; i < 200; i++) {
        char text[32];
        snprintf(text, sizeof(text), "203.0.113.%d", i + 1);
        source = fixture_ip(text);
        cr_expect_eq(enrol(2, "web", &enrolled), ERR_DENIED);
    }
    cr_expect_eq(last_audit().number, 60);
}

// ---- bad requests

Test(enrol, one_key_for_two_certificates_is_refused)
{
    add_token(1, "web", "192.0.2.1");
    Twofold__V1__CertificateRequests *message = &requests.message;
    ProtobufCBinaryData own = message->workload;
    message->workload = message->host;
    expect_refused(1, "web", ERR_INVALID, "one key");
    message->workload = own;
    struct enrolled enrolled;
    enrol_well(1, "web", &enrolled);
    ca_issued_free(&enrolled.issued);
}

Test(enrol, a_request_without_proof_of_possession_is_refused)
{
    add_token(1, "web", "192.0.2.1");
    ProtobufCBinaryData *request = &requests.message.agent;
    request->data[request->len - 1] ^= 1;
    struct enrolled enrolled;
    enum err err = enrol(1, "web", &enrolled);
    cr_expect(err == ERR_CRYPTO || err == ERR_MALFORMED, "%s", err_name(err));
    request->data[request->len - 1] ^= 1;
    size_t len = request->len;
    request->len = len / 2;
    cr_expect_eq(enrol(1, "web", &enrolled), ERR_MALFORMED);
    request->len = 0;
    cr_expect_eq(enrol(1, "web", &enrolled), ERR_MALFORMED);
    request->len = len;
    enrol_well(1, "web", &enrolled); // nothing was used up
    ca_issued_free(&enrolled.issued);
}

Test(enrol, an_address_of_another_host_is_refused)
{
    struct enrolled enrolled;
    add_token(1, "web", "192.0.2.1");
    add_token(2, "api", "192.0.2.1");
    enrol_well(1, "web", &enrolled);
    ca_issued_free(&enrolled.issued);
    expect_refused(2, "api", ERR_EXISTS, "belongs to host web");
    cr_assert_eq(store_revoke_host(store, "web", FIXTURE_NOW, "", &note), ERR_OK);
    enrol_well(2, "api", &enrolled);
    cr_expect_eq(enrolled.host.slot, 2);
    ca_issued_free(&enrolled.issued);
}

Test(enrol, a_revoked_name_never_comes_back)
{
    struct enrolled enrolled;
    add_token(1, "web", "192.0.2.1");
    add_token(2, "web", "192.0.2.1");
    enrol_well(1, "web", &enrolled);
    ca_issued_free(&enrolled.issued);
    cr_assert_eq(store_revoke_host(store, "web", FIXTURE_NOW, "", &note), ERR_OK);
    expect_refused(2, "web", ERR_REVOKED, "revoked");
}

// ---- renewal

static void enrolled_peer(struct cert_facts *peer)
{
    struct enrolled enrolled;
    add_token(1, "web", "192.0.2.1");
    enrol_well(1, "web", &enrolled);
    facts_of(enrolled.issued.agent, enrolled.issued.agent_len, &ca->network, peer);
    ca_issued_free(&enrolled.issued);
}

static enum err renew(const struct cert_facts *peer, struct cert_facts *ret_next)
{
    Twofold__V1__RenewRequest request = TWOFOLD__V1__RENEW_REQUEST__INIT;
    struct enrolled enrolled;
    request.requests = &requests.message;
    enum err err = enrol_renew(&enrolment, peer, &request, &source, &enrolled, &note);
    if (err == ERR_OK) {
        facts_of(enrolled.issued.agent, enrolled.issued.agent_len, &ca->network, ret_next);
        ca_issued_free(&enrolled.issued);
    }
    return err;
}

Test(enrol, renewal_keeps_facts_and_generation)
{
    struct cert_facts peer, next;
    enrolled_peer(&peer);
    fixture_advance(12 * 3600 * 1000);
    cr_assert_eq(renew(&peer, &next), ERR_OK, "%s", note.text);
    cr_expect_eq(next.slot, peer.slot);
    cr_expect_eq(next.not_after, peer.not_after + 12 * 3600);
    cr_expect_neq(memcmp(next.serial, peer.serial, sizeof(next.serial)), 0);
    uint64_t generation = 0;
    cr_assert_eq(store_generation(store, &generation, &note), ERR_OK);
    cr_expect_eq(generation, 1);
}

Test(enrol, a_renewal_whose_answer_was_lost_can_be_repeated)
{
    struct cert_facts peer, lost, next, after;
    enrolled_peer(&peer);
    cr_assert_eq(renew(&peer, &lost), ERR_OK);
    cr_assert_eq(renew(&peer, &next), ERR_OK);
    cr_expect_eq(renew(&lost, &after), ERR_DENIED); // it never arrived
    cr_assert_eq(renew(&next, &after), ERR_OK);
    cr_expect_eq(renew(&peer, &lost), ERR_DENIED);
}

Test(enrol, a_certificate_from_before_a_new_enrolment_is_refused)
{
    struct cert_facts peer, next;
    struct enrolled enrolled;
    struct host_record host;
    enrolled_peer(&peer);
    add_token(2, "web", "192.0.2.1");
    enrol_well(2, "web", &enrolled);
    ca_issued_free(&enrolled.issued);
    cr_expect_eq(renew(&peer, &next), ERR_DENIED);
    cr_expect_eq(enrol_check_agent(&enrolment, &peer, &host, &note), ERR_DENIED);
}

Test(enrol, a_revoked_host_gets_no_certificates)
{
    struct cert_facts peer, next;
    enrolled_peer(&peer);
    cr_assert_eq(store_revoke_host(store, "web", FIXTURE_NOW, "", &note), ERR_OK);
    cr_expect_eq(renew(&peer, &next), ERR_REVOKED);
}

Test(enrol, a_host_that_is_not_in_the_store_gets_no_certificates)
{
    struct cert_facts peer, next;
    enrolled_peer(&peer);
    snprintf(peer.id.name, sizeof(peer.id.name), "ghost");
    cr_expect_eq(renew(&peer, &next), ERR_DENIED);
}

// ---- the CAs

Test(enrol, two_cas_with_one_key_are_refused)
{
    struct ca *other = NULL;
    const char *from = fixture_folder();
    cr_assert_eq(chdir(from), 0);
    cr_assert_eq(system("cp network-ca.key workload-ca.key && cp network-ca.pem workload-ca.pem"), 0);
    cr_expect_eq(ca_load(from, "example.org", FIXTURE_NOW, &other, &note), ERR_INVALID);
    cr_expect(strstr(note.text, "one key") != NULL, "%s", note.text);
}

Test(enrol, a_ca_certificate_must_fit_its_key_and_time)
{
    struct ca *other = NULL;
    const char *from = fixture_folder();
    cr_assert_eq(chdir(from), 0);
    cr_expect_eq(ca_load(from, "example.org", FIXTURE_NOW + CA_ROOT_SECONDS, &other, &note), ERR_EXPIRED);
    cr_assert_eq(system("cp network-ca.pem workload-ca.pem"), 0);
    cr_expect_eq(ca_load(from, "example.org", FIXTURE_NOW, &other, &note), ERR_INVALID);
    cr_assert_eq(system("echo nothing > workload-ca.pem"), 0);
    cr_expect_neq(ca_load(from, "example.org", FIXTURE_NOW, &other, &note), ERR_OK);
}

// ---- limits

Test(limiter, a_bucket_fills_again)
{
    struct bucket bucket = {0};
    const struct rate rate = {.interval_ms = 100, .burst = 3};
    for (int i = 0; i < 3; i++)
        cr_expect(bucket_take(&bucket, &rate, 1000));
    cr_expect_not(bucket_take(&bucket, &rate, 1000));
    cr_expect_not(bucket_take(&bucket, &rate, 1099));
    cr_expect(bucket_take(&bucket, &rate, 1100));
    cr_expect_not(bucket_take(&bucket, &rate, 1100));
    cr_expect(bucket_take(&bucket, &rate, 100000));
}

Test(limiter, a_64_is_one_source_and_memory_is_bounded)
{
    const struct rate rate = {.interval_ms = 1000, .burst = 1};
    struct limiter *limiter = NULL;
    struct ip one = fixture_ip("2001:db8::1"), two = fixture_ip("2001:db8::2"), far = fixture_ip("2001:db8:1::1");
    cr_assert_eq(limiter_new(&rate, &limiter), ERR_OK);
    limiter_count(limiter, &one, 5000);
    cr_expect(limiter_blocks(limiter, &two, 5000));
    cr_expect_not(limiter_blocks(limiter, &far, 5000));
    for (uint32_t i = 0; i < LIMITER_SOURCES * 2; i++) {
        struct ip many = {.len = 4, .bytes = {10, (uint8_t)(i >> 16), (uint8_t)(i >> 8), (uint8_t)i}};
        limiter_count(limiter, &many, 6000);
        cr_expect(limiter_blocks(limiter, &many, 6000));
    }
    limiter_free(limiter);
}
