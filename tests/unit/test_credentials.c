// SPDX-License-Identifier: GPL-2.0-or-later
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/https/credentials.h"
#include "agent/identity.h"
#include "proto/base/file.h"
#include "tests/unit/pki.h"

#define WEB "spiffe://example.org/ns/default/sa/web"

static uint64_t fixed_ms(void *context)
{
    (void)context;
    return PKI_NOW * 1000ull;
}

static const struct clock fixed = {.boot_ms = fixed_ms, .unix_ms = fixed_ms};

struct fixture {
    char folder[64];
    struct pki pki;
};

static void set_up(struct fixture *fixture, const char *uri)
{
    struct cert_facts facts;
    struct pki_leaf leaf;
    tls_library_start();
    strcpy(fixture->folder, "/tmp/twofold-credentials-XXXXXX");
    cr_assert_not_null(mkdtemp(fixture->folder));
    pki_init(&fixture->pki);
    pki_facts(uri, &facts);
    pki_leaf(&fixture->pki, &facts, &leaf);
    cr_assert_eq(identity_save(fixture->folder, "workload", "workload-ca", leaf.key, leaf.der, leaf.len,
                               fixture->pki.root, fixture->pki.root_len, NULL),
                 ERR_OK);
    pki_leaf_free(&leaf);
}

static void tear_down(struct fixture *fixture)
{
    static const char *const names[] = {"workload.key", "workload.pem", "workload-ca.pem"};
    char path[128];
    for (size_t i = 0; i < 3; i++) {
        snprintf(path, sizeof(path), "%s/%s", fixture->folder, names[i]);
        unlink(path);
    }
    cr_assert_eq(rmdir(fixture->folder), 0, "something else was left");
    pki_free(&fixture->pki);
}

static struct credentials *load(const struct fixture *fixture)
{
    struct credentials *credentials = NULL;
    cr_assert_eq(credentials_new(fixture->folder, NULL, &fixed, &credentials, NULL), ERR_OK);
    return credentials;
}

Test(credentials, good_files_make_contexts)
{
    struct fixture fixture;
    set_up(&fixture, WEB);
    struct credentials *credentials = load(&fixture);
    cr_assert(credentials_are_ready(credentials), "%s", credentials_problem(credentials));
    cr_assert_str_eq(credentials_identity(credentials), WEB);
    cr_assert_str_empty(credentials_problem(credentials));
    cr_assert_not_null(credentials_context(credentials, TLS_CLIENT));
    cr_assert_not_null(credentials_context(credentials, TLS_SERVER));
    cr_assert(credentials_ca(credentials)->is_ca);
    credentials_free(credentials);
    tear_down(&fixture);
}

Test(credentials, a_host_certificate_is_not_a_workload_s)
{
    struct fixture fixture;
    set_up(&fixture, "spiffe://example.org/host/web");
    struct credentials *credentials = load(&fixture);
    cr_assert_not(credentials_are_ready(credentials));
    cr_assert_not_null(strstr(credentials_problem(credentials), "not the certificate of a workload"));
    credentials_free(credentials);
    tear_down(&fixture);
}

Test(credentials, missing_files_are_a_problem_and_no_error)
{
    struct fixture fixture;
    uint8_t *request = NULL;
    size_t len = 0;
    struct note note = {0};
    char path[128];
    set_up(&fixture, WEB);
    snprintf(path, sizeof(path), "%s/workload.key", fixture.folder);
    unlink(path);
    struct credentials *credentials = load(&fixture);
    cr_assert_not(credentials_are_ready(credentials));
    cr_assert_str_empty(credentials_identity(credentials));
    cr_assert_not_null(strstr(credentials_problem(credentials), "workload.key"));
    cr_assert_eq(credentials_request(credentials, &request, &len, &note), ERR_INVALID);
    cr_assert_eq(credentials_renew(credentials, (const uint8_t *)"x", 1, (const uint8_t *)"x", 1, &note), ERR_INVALID);
    credentials_free(credentials);
    tear_down(&fixture);
}

Test(credentials, a_path_that_is_too_long_is_refused)
{
    static char folder[5000];
    struct credentials *credentials = NULL;
    struct note note = {0};
    memset(folder, 'x', sizeof(folder) - 1);
    cr_assert_eq(credentials_new("/nonexistent", folder, &fixed, &credentials, &note), ERR_INVALID);
    cr_assert_null(credentials);
}

// A certificate for the request, by a CA, for a SPIFFE ID.
static enum err renew(struct credentials *credentials, const struct pki *pki, const char *uri, struct note *note)
{
    struct cert_facts facts;
    uint8_t *request = NULL;
    uint8_t *der = NULL;
    size_t request_len = 0;
    size_t len = 0;
    cr_assert_eq(credentials_request(credentials, &request, &request_len, note), ERR_OK);
    pki_facts(uri, &facts);
    facts.not_after += 3600;
    cr_assert_eq(cert_issue(pki->key, pki->root, pki->root_len, request, request_len, &facts, &der, &len, note),
                 ERR_OK);
    enum err err = credentials_renew(credentials, der, len, pki->root, pki->root_len, note);
    free(request);
    free(der);
    return err;
}

Test(credentials, renewal_swaps_the_contexts_and_survives_a_restart)
{
    struct fixture fixture;
    struct note note = {0};
    set_up(&fixture, WEB);
    struct credentials *credentials = load(&fixture);
    struct tls_context *old = tls_context_hold(credentials_context(credentials, TLS_CLIENT));
    cr_assert_eq(renew(credentials, &fixture.pki, WEB, &note), ERR_OK, "%s", note.text);
    cr_assert_neq(credentials_context(credentials, TLS_CLIENT), old);
    uint64_t not_after = credentials_own(credentials)->not_after;
    tls_context_drop(old);
    credentials_free(credentials);
    credentials = load(&fixture);
    cr_assert(credentials_are_ready(credentials));
    cr_assert_eq(credentials_own(credentials)->not_after, not_after);
    credentials_free(credentials);
    tear_down(&fixture);
}

Test(credentials, what_is_refused_leaves_everything_as_it_was)
{
    struct fixture fixture;
    struct pki other;
    struct note note = {0};
    set_up(&fixture, WEB);
    pki_init(&other);
    struct credentials *credentials = load(&fixture);
    struct tls_context *old = credentials_context(credentials, TLS_SERVER);
    uint64_t not_after = credentials_own(credentials)->not_after;
    cr_assert_neq(renew(credentials, &other, WEB, &note), ERR_OK);
    cr_assert_neq(renew(credentials, &fixture.pki, "spiffe://example.org/ns/default/sa/api", &note), ERR_OK);
    cr_assert_eq(credentials_context(credentials, TLS_SERVER), old);
    cr_assert_eq(credentials_own(credentials)->not_after, not_after);
    credentials_free(credentials);
    pki_free(&other);
    tear_down(&fixture);
}
