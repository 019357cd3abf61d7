// SPDX-License-Identifier: GPL-2.0-or-later
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proto/link/cert.h"
#include "proto/link/cert_form.h"
#include "tests/unit/pki.h"

static struct pki pki;
static struct note note;

static void make_pki(void)
{
    pki_init(&pki);
}

static void free_pki(void)
{
    pki_free(&pki);
}

TestSuite(cert, .init = make_pki, .fini = free_pki);

// ---- certificates that cert_issue would never make

struct name {
    uint8_t type; // of GeneralName: 2 DNS, 6 URI, 7 IP
    const char *value;
};

struct forgery {
    struct name names[4];
    bool ca;
    bool no_basic_constraints;
    bool no_extended_key_usage;
    bool client_auth_only;
    bool no_key_usage;
    bool unknown_critical;
    bool constraints_twice;
    bool trailing;
    const struct pki *issuer; // NULL: the usual one
    const struct key *signer; // NULL: the issuer's key
    uint64_t not_before, not_after;
};

static void put_extension(struct der_out *out, const struct cert_oid *oid, bool critical, const void *value, size_t len)
{
    size_t extension = der_open(out, DER_SEQUENCE);
    cert_put_oid(out, oid);
    if (critical)
        der_put_boolean(out, true);
    der_put(out, DER_OCTET_STRING, value, len);
    der_close(out, extension);
}

static void put_names(struct der_out *out, const struct name *names)
{
    static struct der_out value;

    value.len = 0;
    size_t list = der_open(&value, DER_SEQUENCE);
    for (size_t i = 0; i < 4 && names[i].value; i++)
        der_put(&value, (uint8_t)DER_CONTEXT(names[i].type), names[i].value, strlen(names[i].value));
    der_close(&value, list);
    if (names[0].value)
        put_extension(out, &cert_oid_alternative_names, false, value.bytes, value.len);
}

static void put_extensions(struct der_out *out, const struct forgery *forgery)
{
    static const uint8_t both[] = {0x30, 20,   0x06, 8,    0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03,
                                   0x01, 0x06, 8,    0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x02};
    static const uint8_t client[] = {0x30, 10, 0x06, 8, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x02};
    static const struct cert_oid policies = {3, {0x55, 0x1d, 0x24}};
    size_t outer = der_open(out, DER_CONTEXT_SET(3));
    size_t list = der_open(out, DER_SEQUENCE);

    for (int i = 0; i < 1 + forgery->constraints_twice; i++)
        if (!forgery->no_basic_constraints)
            put_extension(out, &cert_oid_basic_constraints, true, forgery->ca ? "\x30\x03\x01\x01\xff" : "\x30\x00",
                          forgery->ca ? 5 : 2);
    if (!forgery->no_key_usage)
        put_extension(out, &cert_oid_key_usage, true, "\x03\x02\x07\x80", 4);
    if (forgery->client_auth_only)
        put_extension(out, &cert_oid_extended_key_usage, false, client, sizeof(client));
    else if (!forgery->no_extended_key_usage)
        put_extension(out, &cert_oid_extended_key_usage, false, both, sizeof(both));
    if (forgery->unknown_critical)
        put_extension(out, &policies, true, "\x30\x03\x80\x01\x00", 5);
    put_names(out, forgery->names);
    der_close(out, list);
    der_close(out, outer);
}

static void forge(const struct forgery *forgery, uint8_t **ret_der, size_t *ret_len)
{
    static struct der_out out;
    const struct pki *issuer = forgery->issuer ? forgery->issuer : &pki;
    struct cert_facts facts;
    struct cert_view view;
    uint8_t point[KEY_POINT_BYTES];
    struct key *key;

    out.len = 0;
    cr_assert_eq(key_new(&key), ERR_OK);
    key_public_point(key, point);
    cr_assert_eq(cert_read(issuer->root, issuer->root_len, &facts, &view, &note), ERR_OK);
    size_t body = der_open(&out, DER_SEQUENCE);
    der_put_raw(&out, "\xa0\x03\x02\x01\x02\x02\x01\x07", 8); // version 3, serial 7
    cert_put_algorithm(&out);
    der_put_raw(&out, view.subject.bytes, view.subject.left);
    size_t validity = der_open(&out, DER_SEQUENCE);
    der_put_time(&out, forgery->not_before ? forgery->not_before : PKI_NOW - 60);
    der_put_time(&out, forgery->not_after ? forgery->not_after : PKI_NOW + 86400);
    der_close(&out, validity);
    cert_put_name(&out, "leaf");
    cert_put_spki(&out, point);
    put_extensions(&out, forgery);
    if (forgery->trailing)
        der_put_u32(&out, 1);
    der_close(&out, body);
    cr_assert_eq(cert_sign(forgery->signer ? forgery->signer : issuer->key, &out, ret_der, ret_len), ERR_OK);
    key_free(key);
}

#define GOOD_URI                           \
    {                                      \
        6, "spiffe://example.org/host/web" \
    }

static void expect_refused(const struct forgery *forgery, enum err expected, const char *words)
{
    struct cert_facts facts;
    uint8_t *der;
    size_t len;

    forge(forgery, &der, &len);
    cr_expect_eq(trust_verify(pki.trust, der, len, PKI_NOW, &facts, &note), expected, "%s", note.text);
    cr_expect(strstr(note.text, words), "'%s' does not say '%s'", note.text, words);
    free(der);
}

// ---- the good cases

static void host_facts(struct cert_facts *facts)
{
    pki_facts("spiffe://example.org/host/web", facts);
    facts->slot = 7;
    facts->address_count = 2;
    cr_assert_eq(ip_parse("192.0.2.1", &facts->addresses[0]), ERR_OK);
    cr_assert_eq(ip_parse("2001:db8::1", &facts->addresses[1]), ERR_OK);
    facts->label_count = 2;
    strcpy(facts->labels[0].key, "role");
    strcpy(facts->labels[0].value, "web");
    strcpy(facts->labels[1].key, "example.org/tier");
    facts->name_count = 1;
    strcpy(facts->names[0], "web.example.org");
}

Test(cert, a_leaf_says_what_it_was_issued_with)
{
    struct cert_facts facts, read;
    struct pki_leaf leaf;
    uint8_t digest[DIGEST_BYTES], point[KEY_POINT_BYTES];

    host_facts(&facts);
    pki_leaf(&pki, &facts, &leaf);
    cr_assert_eq(trust_verify(pki.trust, leaf.der, leaf.len, PKI_NOW, &read, &note), ERR_OK, "%s", note.text);
    cr_expect_eq(memcmp(&read.id, &facts.id, sizeof(facts.id)), 0);
    cr_expect_eq(read.slot, 7);
    cr_expect_eq(read.address_count, 2);
    cr_expect_eq(ip_compare(&read.addresses[0], &facts.addresses[0]), 0);
    cr_expect_eq(ip_compare(&read.addresses[1], &facts.addresses[1]), 0);
    cr_expect_eq(read.label_count, 2);
    cr_expect_str_eq(read.labels[0].value, "web");
    cr_expect_str_eq(read.labels[1].key, "example.org/tier");
    cr_expect_str_eq(read.labels[1].value, "");
    cr_expect_eq(read.name_count, 1);
    cr_expect_str_eq(read.names[0], "web.example.org");
    cr_expect_eq(read.not_before, facts.not_before);
    cr_expect_eq(read.not_after, facts.not_after);
    cr_expect_not(read.is_ca);
    cr_expect_eq(read.serial_len, 16);
    cr_assert_eq(key_spki_sha384(leaf.key, digest), ERR_OK);
    cr_expect_arr_eq(read.spki_sha384, digest, sizeof(digest));
    key_public_point(leaf.key, point);
    cr_expect_arr_eq(read.public_point, point, sizeof(point));
    pki_leaf_free(&leaf);
}

Test(cert, the_largest_leaf_fits)
{
    struct cert_facts facts, read;
    struct pki_leaf leaf;

    host_facts(&facts);
    facts.slot = UINT32_MAX;
    facts.address_count = CERT_ADDRESSES_MAX;
    facts.label_count = CERT_LABELS_MAX;
    facts.name_count = CERT_NAMES_MAX;
    for (size_t i = 0; i < CERT_ADDRESSES_MAX; i++)
        facts.addresses[i] = facts.addresses[1];
    for (size_t i = 0; i < CERT_LABELS_MAX; i++) {
        snprintf(facts.labels[i].key, sizeof(facts.labels[i].key), "%063zu", i);
        memset(facts.labels[i].value, 'v', NAME_MAX_BYTES);
    }
    for (size_t i = 0; i < CERT_NAMES_MAX; i++)
        memset(facts.names[i], 'n', 255);
    pki_leaf(&pki, &facts, &leaf);
    cr_assert_eq(trust_verify(pki.trust, leaf.der, leaf.len, PKI_NOW, &read, &note), ERR_OK, "%s", note.text);
    cr_expect_eq(read.label_count, CERT_LABELS_MAX);
    cr_expect_eq(read.slot, UINT32_MAX);
    pki_leaf_free(&leaf);
}

Test(cert, a_root_is_a_ca)
{
    struct cert_facts facts;

    cr_assert_eq(cert_parse(pki.root, pki.root_len, &facts, &note), ERR_OK, "%s", note.text);
    cr_expect(facts.is_ca);
    cr_expect_eq(facts.id.trust_domain[0], 0);
}

Test(cert, openssl_agrees)
{
    char folder[] = "/tmp/twofold-test-cert.XXXXXX", command[512];
    struct cert_facts facts;
    struct pki_leaf leaf;
    char *pem;

    if (access("/usr/bin/openssl", X_OK) != 0)
        cr_skip_test("openssl is not installed");
    cr_assert_not_null(mkdtemp(folder));
    host_facts(&facts);
    pki_leaf(&pki, &facts, &leaf);
    for (int i = 0; i < 2; i++) {
        snprintf(command, sizeof(command), "%s/%s.pem", folder, i ? "leaf" : "root");
        cr_assert_eq(i ? cert_der_to_pem(leaf.der, leaf.len, &pem) : cert_der_to_pem(pki.root, pki.root_len, &pem),
                     ERR_OK);
        FILE *file = fopen(command, "w");
        fputs(pem, file);
        fclose(file);
        free(pem);
    }
    snprintf(command, sizeof(command),
             "cd %s && openssl verify -x509_strict -check_ss_sig -attime %d -CAfile root.pem -purpose sslserver "
             "leaf.pem >text && "
             "openssl verify -x509_strict -attime %d -CAfile root.pem -purpose sslclient leaf.pem >text && "
             "openssl x509 -in leaf.pem -noout -text > text && grep -q 'URI:spiffe://example.org/host/web' text && "
             "grep -q 'IP Address:192.0.2.1' text && grep -q 'CA:FALSE' text && rm -r %s",
             folder, PKI_NOW, PKI_NOW, folder);
    cr_expect_eq(system(command), 0);
    pki_leaf_free(&leaf);
}

Test(cert, pem_goes_there_and_back)
{
    uint8_t *der;
    size_t len;
    char *pem;

    cr_assert_eq(cert_der_to_pem(pki.root, pki.root_len, &pem), ERR_OK);
    size_t pem_len = strlen(pem);
    char *two = malloc(2 * pem_len + 1);
    memcpy(two, pem, pem_len);
    memcpy(two + pem_len, pem, pem_len + 1);
    for (size_t i = 0; i < 2; i++) {
        cr_assert_eq(cert_pem_to_der((uint8_t *)two, 2 * pem_len, i, &der, &len), ERR_OK);
        cr_expect_eq(len, pki.root_len);
        cr_expect_arr_eq(der, pki.root, len);
        free(der);
    }
    cr_expect_eq(cert_pem_to_der((uint8_t *)two, 2 * pem_len, 2, &der, &len), ERR_NOT_FOUND);
    cr_expect_eq(cert_pem_to_der((uint8_t *)two, pem_len - 40, 0, &der, &len), ERR_MALFORMED);
    cr_expect_eq(cert_pem_to_der((uint8_t *)"", 0, 0, &der, &len), ERR_NOT_FOUND);
    free(two);
    free(pem);
}

// ---- what must be refused

Test(cert, the_forgery_without_a_fault_passes)
{
    struct cert_facts facts;
    uint8_t *der;
    size_t len;

    forge(&(struct forgery){.names = {GOOD_URI}}, &der, &len);
    cr_expect_eq(trust_verify(pki.trust, der, len, PKI_NOW, &facts, &note), ERR_OK, "%s", note.text);
    free(der);
}

Test(cert, names_that_prove_nothing_are_refused)
{
    expect_refused(&(struct forgery){0}, ERR_IDENTITY, "no URI name");
    expect_refused(&(struct forgery){.names = {{2, "web.example.org"}}}, ERR_IDENTITY, "no URI name");
    expect_refused(&(struct forgery){.names = {{2, "spiffe://example.org/host/web"}}}, ERR_IDENTITY, "as a DNS name");
    expect_refused(&(struct forgery){.names = {GOOD_URI, {2, "spiffe://example.org/host/db"}}}, ERR_IDENTITY,
                   "as a DNS name");
    expect_refused(&(struct forgery){.names = {GOOD_URI, {6, "spiffe://example.org/host/db"}}}, ERR_IDENTITY,
                   "more than one");
    expect_refused(&(struct forgery){.names = {GOOD_URI, {6, "https://example.org/"}}}, ERR_IDENTITY, "more than one");
    expect_refused(&(struct forgery){.names = {{6, "https://example.org/host/web"}}}, ERR_IDENTITY, "not a SPIFFE ID");
    expect_refused(&(struct forgery){.names = {{6, "spiffe://example.org/host/../web"}}}, ERR_IDENTITY,
                   "not a SPIFFE ID");
    expect_refused(&(struct forgery){.names = {{7, "abc"}, GOOD_URI}}, ERR_MALFORMED, "neither 4 nor 16");
}

Test(cert, a_ca_is_no_peer)
{
    struct cert_facts facts;

    expect_refused(&(struct forgery){.names = {GOOD_URI}, .ca = true}, ERR_IDENTITY, "that of a CA");
    expect_refused(&(struct forgery){.names = {GOOD_URI}, .no_basic_constraints = true}, ERR_IDENTITY,
                   "basic constraints");
    cr_expect_eq(trust_verify(pki.trust, pki.root, pki.root_len, PKI_NOW, &facts, &note), ERR_IDENTITY);
}

Test(cert, both_purposes_are_needed)
{
    expect_refused(&(struct forgery){.names = {GOOD_URI}, .no_extended_key_usage = true}, ERR_IDENTITY,
                   "extended key usage");
    expect_refused(&(struct forgery){.names = {GOOD_URI}, .client_auth_only = true}, ERR_IDENTITY, "serverAuth");
    expect_refused(&(struct forgery){.names = {GOOD_URI}, .no_key_usage = true}, ERR_IDENTITY, "key usage");
}

Test(cert, another_ca_is_refused_even_under_the_same_name)
{
    struct pki other;
    struct cert_facts facts;
    uint8_t *der;
    size_t len;

    pki_init(&other); // the same name, another key
    forge(&(struct forgery){.names = {GOOD_URI}, .issuer = &other}, &der, &len);
    cr_expect_eq(trust_verify(pki.trust, der, len, PKI_NOW, &facts, &note), ERR_IDENTITY);
    cr_expect(strstr(note.text, "signature"), "%s", note.text);
    free(der);
    expect_refused(&(struct forgery){.names = {GOOD_URI}, .signer = other.key}, ERR_IDENTITY, "signature");
    pki_free(&other);

    cr_assert_eq(key_new(&other.key), ERR_OK);
    cr_assert_eq(cert_issue_root(other.key, "Another CA", PKI_NOW - 60, PKI_NOW + 60, &other.root, &other.root_len),
                 ERR_OK);
    expect_refused(&(struct forgery){.names = {GOOD_URI}, .issuer = &other}, ERR_IDENTITY,
                   "not issued by a CA that is trusted");
    free(other.root);
    key_free(other.key);
}

Test(cert, time_is_checked)
{
    expect_refused(
        &(struct forgery){.names = {GOOD_URI}, .not_after = PKI_NOW - 3 * 3600, .not_before = PKI_NOW - 86400},
        ERR_EXPIRED, "expired 3 h ago");
    expect_refused(&(struct forgery){.names = {GOOD_URI}, .not_before = PKI_NOW + 301}, ERR_EXPIRED,
                   "not valid for another");

    struct cert_facts facts;
    uint8_t *der;
    size_t len;
    forge(&(struct forgery){.names = {GOOD_URI}, .not_before = PKI_NOW + 300}, &der, &len);
    cr_expect_eq(trust_verify(pki.trust, der, len, PKI_NOW, &facts, &note), ERR_OK, "%s", note.text);
    // The root's own end counts too.
    cr_expect_eq(trust_verify(pki.trust, der, len, PKI_NOW + 3651ull * 86400, &facts, &note), ERR_EXPIRED);
    cr_expect(strstr(note.text, "the CA's"), "%s", note.text);
    free(der);
}

Test(cert, form_is_checked)
{
    expect_refused(&(struct forgery){.names = {GOOD_URI}, .unknown_critical = true}, ERR_MALFORMED, "critical");
    expect_refused(&(struct forgery){.names = {GOOD_URI}, .constraints_twice = true}, ERR_MALFORMED, "twice");
    expect_refused(&(struct forgery){.names = {GOOD_URI}, .trailing = true}, ERR_MALFORMED, "extensions");
}

Test(cert, every_cut_and_every_changed_byte_is_refused)
{
    struct cert_facts facts, read;
    struct pki_leaf leaf;

    host_facts(&facts);
    pki_leaf(&pki, &facts, &leaf);
    for (size_t len = 0; len < leaf.len; len++)
        cr_assert_neq(cert_parse(leaf.der, len, &read, &note), ERR_OK);
    uint8_t *longer = malloc(leaf.len + 1);
    memcpy(longer, leaf.der, leaf.len);
    longer[leaf.len] = 0;
    cr_expect_eq(cert_parse(longer, leaf.len + 1, &read, &note), ERR_MALFORMED);
    for (size_t i = 0; i < leaf.len; i += 7) {
        longer[i] ^= 0x01;
        cr_assert_neq(trust_verify(pki.trust, longer, leaf.len, PKI_NOW, &read, &note), ERR_OK, "byte %zu", i);
        longer[i] ^= 0x01;
    }
    free(longer);
    pki_leaf_free(&leaf);
}

Test(cert, only_roots_become_trusted)
{
    struct cert_facts facts;
    struct pki_leaf leaf;
    struct trust *trust;

    pki_facts("spiffe://example.org/host/web", &facts);
    pki_leaf(&pki, &facts, &leaf);
    cr_assert_eq(trust_new(&trust), ERR_OK);
    cr_expect_eq(trust_add(trust, leaf.der, leaf.len, &note), ERR_INVALID);
    pki.root[pki.root_len - 5] ^= 1;
    cr_expect_neq(trust_add(trust, pki.root, pki.root_len, &note), ERR_OK);
    pki.root[pki.root_len - 5] ^= 1;
    cr_expect_eq(trust_add(trust, pki.root, pki.root_len, &note), ERR_OK);
    cr_expect_eq(trust_add(trust, pki.root, pki.root_len, &note), ERR_OK); // the same again
    trust_free(trust);
    pki_leaf_free(&leaf);
}

Test(cert, requests_are_checked)
{
    uint8_t point[KEY_POINT_BYTES];
    struct key *key;
    uint8_t *der;
    size_t len;

    cr_assert_eq(key_new(&key), ERR_OK);
    cr_assert_eq(key_request(key, "web", &der, &len), ERR_OK);
    der[len - 3] ^= 1;
    cr_expect_eq(cert_request_check(der, len, point, &note), ERR_CRYPTO);
    der[len - 3] ^= 1;
    for (size_t cut = 0; cut < len; cut++)
        cr_assert_eq(cert_request_check(der, cut, point, &note), ERR_MALFORMED);
    // A changed name is no longer what was signed.
    uint8_t *name = memmem(der, len, "web", 3);
    cr_assert_not_null(name);
    name[0] = 'W';
    cr_expect_eq(cert_request_check(der, len, point, &note), ERR_CRYPTO);
    free(der);
    key_free(key);
}

Test(cert, a_request_with_another_kind_of_key_is_refused)
{
    char folder[] = "/tmp/twofold-test-cert.XXXXXX", command[256];
    uint8_t bytes[4096], point[KEY_POINT_BYTES];

    if (access("/usr/bin/openssl", X_OK) != 0)
        cr_skip_test("openssl is not installed");
    cr_assert_not_null(mkdtemp(folder));
    static const struct {
        const char *options;
        enum err expected;
    } cases[] = {{"ec -pkeyopt ec_paramgen_curve:P-384 -sha384", ERR_OK},
                 {"ec -pkeyopt ec_paramgen_curve:P-384 -sha256", ERR_INVALID},
                 {"ec -pkeyopt ec_paramgen_curve:P-256 -sha384", ERR_INVALID},
                 {"rsa:2048 -sha384", ERR_INVALID}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        snprintf(command, sizeof(command),
                 "openssl req -new -newkey %s -nodes -subj /CN=x -keyout %s/key -outform DER -out %s/csr 2>/dev/null",
                 cases[i].options, folder, folder);
        cr_assert_eq(system(command), 0);
        snprintf(command, sizeof(command), "%s/csr", folder);
        FILE *file = fopen(command, "r");
        size_t len = fread(bytes, 1, sizeof(bytes), file);
        fclose(file);
        cr_expect_eq(cert_request_check(bytes, len, point, &note), cases[i].expected, "%s: %s", cases[i].options,
                     note.text);
    }
    snprintf(command, sizeof(command), "rm -r %s", folder);
    cr_expect_eq(system(command), 0);
}

Test(cert, issuing_checks_its_input)
{
    struct cert_facts facts;
    struct key *key;
    uint8_t *request, *der = NULL;
    size_t request_len, len;

    cr_assert_eq(key_new(&key), ERR_OK);
    cr_assert_eq(key_request(key, "x", &request, &request_len), ERR_OK);
    pki_facts("spiffe://example.org/host/web", &facts);
    cr_expect_eq(cert_issue(key, pki.root, pki.root_len, request, request_len, &facts, &der, &len, &note), ERR_INVALID);
    facts.not_after = facts.not_before;
    cr_expect_eq(cert_issue(pki.key, pki.root, pki.root_len, request, request_len, &facts, &der, &len, &note),
                 ERR_INVALID);
    pki_facts("spiffe://example.org/host/web", &facts);
    strcpy(facts.id.name, "../x");
    cr_expect_eq(cert_issue(pki.key, pki.root, pki.root_len, request, request_len, &facts, &der, &len, &note),
                 ERR_INVALID);
    pki_facts("spiffe://example.org/host/web", &facts);
    facts.label_count = 1;
    strcpy(facts.labels[0].key, "not a label");
    cr_expect_neq(cert_issue(pki.key, pki.root, pki.root_len, request, request_len, &facts, &der, &len, &note), ERR_OK);
    cr_expect_null(der);
    free(request);
    key_free(key);
}
