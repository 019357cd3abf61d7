// SPDX-License-Identifier: GPL-2.0-or-later
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/identity.h"
#include "proto/base/file.h"
#include "tests/unit/pki.h"

#define ID "spiffe://example.org/host/web"

static char folder[64];
static struct pki pki;

static void start(void)
{
    struct cert_facts facts;
    struct pki_leaf leaf;
    struct note note = {0};

    strcpy(folder, "/tmp/identity-XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
    pki_init(&pki);
    pki_facts(ID, &facts);
    pki_leaf(&pki, &facts, &leaf);
    cr_assert_eq(
        identity_save(folder, "host", "network-ca", leaf.key, leaf.der, leaf.len, pki.root, pki.root_len, &note),
        ERR_OK, "%s", note.text);
    pki_leaf_free(&leaf);
}

static void finish(void)
{
    char command[128];

    pki_free(&pki);
    snprintf(command, sizeof(command), "rm -rf %s", folder);
    cr_expect_eq(system(command), 0);
}

TestSuite(identity, .init = start, .fini = finish);

static struct identity *load(void)
{
    struct identity *identity = NULL;
    struct note note = {0};

    cr_assert_eq(identity_load(folder, "host", "network-ca", &identity, &note), ERR_OK, "%s", note.text);
    return identity;
}

static const char *path_of(const char *name)
{
    static char path[128];

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    return path;
}

static void rename_in_folder(const char *from, const char *to)
{
    char old[128];

    strcpy(old, path_of(from));
    cr_assert_eq(rename(old, path_of(to)), 0);
}

// A certificate for the request by this CA, with this name.
static void certify(const struct pki *by, const char *uri, const uint8_t *request, size_t len, uint8_t **ret_der,
                    size_t *ret_len)
{
    struct cert_facts facts;
    struct note note = {0};

    pki_facts(uri, &facts);
    cr_assert_eq(cert_issue(by->key, by->root, by->root_len, request, len, &facts, ret_der, ret_len, &note), ERR_OK,
                 "%s", note.text);
}

// One renewal with what the "controller" answers with.
static enum err renew(struct identity *identity, const struct pki *by, const char *uri, const struct pki *anchor,
                      struct note *note)
{
    uint8_t *request, *der;
    size_t request_len, len;

    cr_assert_eq(identity_begin(identity, &request, &request_len, note), ERR_OK);
    certify(by, uri, request, request_len, &der, &len);
    enum err err = identity_finish(identity, der, len, anchor->root, anchor->root_len, PKI_NOW, note);
    free(request);
    free(der);
    return err;
}

Test(identity, loads_what_was_saved)
{
    struct identity *identity = load();

    cr_expect_str_eq(identity->facts.id.name, "web");
    cr_expect_eq(identity->facts.id.kind, SPIFFE_HOST);
    cr_expect(identity->ca_facts.is_ca);
    identity_free(identity);
}

Test(identity, missing_file_is_named)
{
    struct identity *identity;
    struct note note = {0};

    cr_assert_eq(unlink(path_of("host.pem")), 0);
    cr_expect_eq(identity_load(folder, "host", "network-ca", &identity, &note), ERR_NOT_FOUND);
    cr_expect(strstr(note.text, "host.pem"), "%s", note.text);
}

Test(identity, garbage_is_refused)
{
    static const char *const files[] = {"host.pem", "host.key", "network-ca.pem"};
    struct identity *identity;

    for (size_t i = 0; i < 3; i++) {
        struct note note = {0};
        finish();
        start();
        cr_assert_eq(file_write(path_of(files[i]), "garbage", 7, 0600, &note), ERR_OK);
        cr_expect_neq(identity_load(folder, "host", "network-ca", &identity, &note), ERR_OK);
        cr_expect(strstr(note.text, files[i]), "%s", note.text);
    }
}

Test(identity, key_of_another_certificate)
{
    struct identity *identity;
    struct note note = {0};
    struct key *key;

    cr_assert_eq(key_new(&key), ERR_OK);
    cr_assert_eq(key_save(key, path_of("host.key"), &note), ERR_OK, "%s", note.text);
    key_free(key);
    cr_expect_eq(identity_load(folder, "host", "network-ca", &identity, &note), ERR_CORRUPT);
    cr_expect(strstr(note.text, "another key"), "%s", note.text);
}

Test(identity, leaf_in_place_of_the_anchor)
{
    struct identity *identity;
    struct note note = {0};
    uint8_t *pem;
    size_t len;

    cr_assert_eq(file_read(path_of("host.pem"), 65536, &pem, &len, &note), ERR_OK);
    cr_assert_eq(file_write(path_of("network-ca.pem"), pem, len, 0600, &note), ERR_OK);
    free(pem);
    cr_expect_eq(identity_load(folder, "host", "network-ca", &identity, &note), ERR_CORRUPT);
    cr_expect(strstr(note.text, "not a CA"), "%s", note.text);
}

Test(identity, renewal_replaces_key_and_certificate)
{
    struct identity *identity = load();
    struct note note = {0};
    uint8_t before[DIGEST_BYTES];

    memcpy(before, identity->facts.spki_sha384, sizeof(before));
    cr_assert_eq(renew(identity, &pki, ID, &pki, &note), ERR_OK, "%s", note.text);
    cr_expect_arr_neq(identity->facts.spki_sha384, before, DIGEST_BYTES);
    cr_expect_null(identity->next_key);
    cr_expect_neq(access(path_of("host-next.key"), F_OK), 0);
    cr_expect_neq(access(path_of("host-next.pem"), F_OK), 0);
    struct identity *again = load();
    cr_expect_arr_eq(again->facts.spki_sha384, identity->facts.spki_sha384, DIGEST_BYTES);
    identity_free(again);
    identity_free(identity);
}

static void expect_unchanged(struct identity *identity)
{
    struct identity *again = load();

    cr_expect_arr_eq(again->facts.spki_sha384, identity->facts.spki_sha384, DIGEST_BYTES);
    cr_expect_arr_eq(again->facts.serial, identity->facts.serial, identity->facts.serial_len);
    identity_free(again);
    identity_free(identity);
}

Test(identity, renewal_for_another_name)
{
    struct identity *identity = load();
    struct note note = {0};

    cr_expect_eq(renew(identity, &pki, "spiffe://example.org/host/db", &pki, &note), ERR_IDENTITY);
    cr_expect_eq(renew(identity, &pki, "spiffe://example.org/agent/web", &pki, &note), ERR_IDENTITY);
    cr_expect_eq(renew(identity, &pki, "spiffe://example.net/host/web", &pki, &note), ERR_IDENTITY);
    expect_unchanged(identity);
}

Test(identity, renewal_by_another_ca)
{
    struct identity *identity = load();
    struct note note = {0};
    struct pki other;

    pki_init(&other);
    cr_expect_neq(renew(identity, &other, ID, &pki, &note), ERR_OK);
    cr_expect_eq(renew(identity, &other, ID, &other, &note), ERR_IDENTITY);
    cr_expect(strstr(note.text, "another network-ca"), "%s", note.text);
    pki_free(&other);
    expect_unchanged(identity);
}

Test(identity, renewal_for_another_key)
{
    struct identity *identity = load();
    struct note note = {0};
    struct cert_facts facts;
    struct pki_leaf leaf;
    uint8_t *request;
    size_t len;

    cr_assert_eq(identity_begin(identity, &request, &len, &note), ERR_OK);
    free(request);
    pki_facts(ID, &facts);
    pki_leaf(&pki, &facts, &leaf);
    cr_expect_eq(identity_finish(identity, leaf.der, leaf.len, pki.root, pki.root_len, PKI_NOW, &note), ERR_IDENTITY);
    pki_leaf_free(&leaf);
    expect_unchanged(identity);
}

Test(identity, renewal_that_is_expired_already)
{
    struct identity *identity = load();
    struct note note = {0};
    uint8_t *request, *der;
    size_t request_len, len;

    cr_assert_eq(identity_begin(identity, &request, &request_len, &note), ERR_OK);
    certify(&pki, ID, request, request_len, &der, &len);
    cr_expect_eq(identity_finish(identity, der, len, pki.root, pki.root_len, PKI_NOW + 10 * 86400, &note), ERR_EXPIRED);
    free(request);
    free(der);
    expect_unchanged(identity);
}

Test(identity, certificate_that_nobody_asked_for)
{
    struct identity *identity = load();
    struct note note = {0};

    cr_expect_eq(identity_finish(identity, identity->certificate, identity->certificate_len, pki.root, pki.root_len,
                                 PKI_NOW, &note),
                 ERR_PROTOCOL);
    identity_free(identity);
}

// ---- a crash at each step of a renewal: what is loaded is one whole identity, the old or the new one

static void get_spki(uint8_t ret_spki[DIGEST_BYTES])
{
    struct identity *identity = load();

    memcpy(ret_spki, identity->facts.spki_sha384, DIGEST_BYTES);
    identity_free(identity);
}

// The files of a renewal that is done, under their names of before the renames; the old ones in place.
static void stage_renewal(uint8_t ret_old[DIGEST_BYTES], uint8_t ret_new[DIGEST_BYTES])
{
    struct identity *identity = load();
    struct note note = {0};
    char command[512];

    memcpy(ret_old, identity->facts.spki_sha384, DIGEST_BYTES);
    snprintf(command, sizeof(command), "cp -p %s/host.key %s/old.key && cp -p %s/host.pem %s/old.pem", folder, folder,
             folder, folder);
    cr_assert_eq(system(command), 0);
    cr_assert_eq(renew(identity, &pki, ID, &pki, &note), ERR_OK, "%s", note.text);
    memcpy(ret_new, identity->facts.spki_sha384, DIGEST_BYTES);
    identity_free(identity);
    rename_in_folder("host.key", "host-next.key");
    rename_in_folder("host.pem", "host-next.pem");
    rename_in_folder("old.key", "host.key");
    rename_in_folder("old.pem", "host.pem");
}

Test(identity, crash_before_the_new_certificate_is_stored)
{
    uint8_t old[DIGEST_BYTES], new[DIGEST_BYTES], now[DIGEST_BYTES];

    stage_renewal(old, new);
    cr_assert_eq(unlink(path_of("host-next.pem")), 0);
    get_spki(now);
    cr_expect_arr_eq(now, old, DIGEST_BYTES);
    cr_expect_neq(access(path_of("host-next.key"), F_OK), 0);
}

Test(identity, crash_before_the_first_rename)
{
    uint8_t old[DIGEST_BYTES], new[DIGEST_BYTES], now[DIGEST_BYTES];

    stage_renewal(old, new);
    get_spki(now);
    cr_expect_arr_eq(now, new, DIGEST_BYTES);
}

Test(identity, crash_between_the_renames)
{
    uint8_t old[DIGEST_BYTES], new[DIGEST_BYTES], now[DIGEST_BYTES];

    stage_renewal(old, new);
    rename_in_folder("host-next.key", "host.key");
    get_spki(now);
    cr_expect_arr_eq(now, new, DIGEST_BYTES);
}
