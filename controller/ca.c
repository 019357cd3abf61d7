// SPDX-License-Identifier: GPL-2.0-or-later
#include "controller/ca.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/file.h"

#define PEM_BYTES_MAX 65536

// ---- making

static enum err write_pem(const char *path, const uint8_t *der, size_t len, struct note *note)
{
    char *pem = NULL;
    enum err err = cert_der_to_pem(der, len, &pem);
    if (err != ERR_OK)
        return note_set(note, err, "%s: %s", path, err_text(err));
    err = file_write(path, pem, strlen(pem), 0644, note);
    free(pem);
    return err;
}

static enum err create_root(const char *folder, const char *name, const char *trust_domain, uint64_t now,
                            struct note *note)
{
    char key_path[PATH_MAX], pem_path[PATH_MAX], common_name[320];
    snprintf(key_path, sizeof(key_path), "%s/%s-ca.key", folder, name);
    snprintf(pem_path, sizeof(pem_path), "%s/%s-ca.pem", folder, name);
    snprintf(common_name, sizeof(common_name), "Twofold %s CA %s", name, trust_domain);

    struct key *key = NULL;
    uint8_t *der = NULL;
    size_t len = 0;
    enum err err = key_new(&key);
    if (err != ERR_OK)
        return note_set(note, err, "the key of the %s CA cannot be made: %s", name, err_text(err));
    err = cert_issue_root(key, common_name, now - CA_EARLY_SECONDS, now + CA_ROOT_SECONDS, &der, &len);
    if (err != ERR_OK) {
        note_set(note, err, "the %s CA cannot be made: %s", name, err_text(err));
        goto done;
    }
    err = key_save(key, key_path, note);
    if (err == ERR_OK)
        err = write_pem(pem_path, der, len, note);
done:
    free(der);
    key_free(key);
    return err;
}

enum err ca_create(const char *folder, const char *trust_domain, uint64_t now, struct note *note)
{
    enum err err = create_root(folder, "network", trust_domain, now, note);
    return err == ERR_OK ? create_root(folder, "workload", trust_domain, now, note) : err;
}

// ---- loading

static void drop_root(struct ca_root *root)
{
    key_free(root->key);
    free(root->der);
}

static enum err check_root(const struct ca_root *root, const char *path, uint64_t now, struct note *note)
{
    struct cert_facts facts;
    enum err err = cert_parse(root->der, root->der_len, &facts, note);
    if (err != ERR_OK) {
        note_prefix(note, "%s: ", path);
        return err;
    }
    if (!facts.is_ca)
        return note_set(note, ERR_INVALID, "%s is not a CA certificate: restore it from a backup", path);
    if (memcmp(facts.spki_sha384, root->spki_sha384, DIGEST_BYTES) != 0)
        return note_set(note, ERR_INVALID, "%s does not belong to the key beside it: restore both from one backup",
                        path);
    if (facts.not_after <= now)
        return note_set(note, ERR_EXPIRED, "%s has expired: a new CA and new enrolments are needed", path);
    return ERR_OK;
}

static enum err load_root(const char *folder, const char *name, uint64_t now, struct ca_root *root, struct note *note)
{
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s/%s-ca.key", folder, name);
    enum err err = key_load(path, &root->key, note);
    if (err != ERR_OK)
        return err;
    err = key_spki_sha384(root->key, root->spki_sha384);
    if (err != ERR_OK)
        return note_set(note, err, "%s: %s", path, err_text(err));

    snprintf(path, sizeof(path), "%s/%s-ca.pem", folder, name);
    uint8_t *pem = NULL;
    size_t pem_len = 0;
    err = file_read(path, PEM_BYTES_MAX, &pem, &pem_len, note);
    if (err != ERR_OK)
        return err;
    err = cert_pem_to_der(pem, pem_len, 0, &root->der, &root->der_len);
    free(pem);
    if (err != ERR_OK)
        return note_set(note, err, "%s holds no certificate in PEM: restore it from a backup", path);
    err = check_root(root, path, now, note);
    if (err != ERR_OK)
        return err;
    struct cert_facts facts;
    err = cert_parse(root->der, root->der_len, &facts, note);
    root->not_after = facts.not_after;
    return err;
}

enum err ca_load(const char *folder, const char *trust_domain, uint64_t now, struct ca **ret_ca, struct note *note)
{
    struct ca *ca = calloc(1, sizeof(*ca));
    if (ca == NULL)
        return note_set(note, ERR_NOMEM, "out of memory");
    snprintf(ca->trust_domain, sizeof(ca->trust_domain), "%s", trust_domain);
    enum err err = load_root(folder, "network", now, &ca->network, note);
    if (err == ERR_OK)
        err = load_root(folder, "workload", now, &ca->workload, note);
    if (err == ERR_OK && memcmp(ca->network.spki_sha384, ca->workload.spki_sha384, DIGEST_BYTES) == 0)
        err = note_set(note, ERR_INVALID,
                       "%s: the network CA and the workload CA have one key: the layers must share none", folder);
    if (err != ERR_OK) {
        ca_free(ca);
        return err;
    }
    *ret_ca = ca;
    return ERR_OK;
}

void ca_free(struct ca *ca)
{
    if (ca == NULL)
        return;
    drop_root(&ca->network);
    drop_root(&ca->workload);
    free(ca);
}

// ---- issuing

static enum err issue(const struct ca_root *root, const ProtobufCBinaryData *request, const struct cert_facts *facts,
                      uint8_t **ret_der, size_t *ret_len, struct note *note)
{
    return cert_issue(root->key, root->der, root->der_len, request->data, request->len, facts, ret_der, ret_len, note);
}

static enum err read_serial(const uint8_t *der, size_t len, struct certificate_serial *ret_serial, struct note *note)
{
    struct cert_facts facts;
    enum err err = cert_parse(der, len, &facts, note);
    if (err != ERR_OK)
        return err;
    memcpy(ret_serial->bytes, facts.serial, sizeof(ret_serial->bytes));
    ret_serial->len = facts.serial_len;
    return ERR_OK;
}

enum err ca_issue_own(const struct ca *ca, const struct key *key, const struct cert_facts *facts, uint8_t **ret_der,
                      size_t *ret_len, struct certificate_serial *ret_serial, struct note *note)
{
    ProtobufCBinaryData request = {0};
    enum err err = key_request(key, facts->id.name, &request.data, &request.len);
    if (err != ERR_OK)
        return note_set(note, err, "the certificate request of %s cannot be made: %s", facts->id.name, err_text(err));
    uint8_t *der = NULL;
    size_t len = 0;
    err = issue(&ca->network, &request, facts, &der, &len, note);
    free(request.data);
    if (err == ERR_OK)
        err = read_serial(der, len, ret_serial, note);
    if (err != ERR_OK) {
        free(der);
        return err;
    }
    *ret_der = der;
    *ret_len = len;
    return ERR_OK;
}

static enum err check_keys_differ(const Twofold__V1__CertificateRequests *requests, struct note *note)
{
    const ProtobufCBinaryData *all[3] = {&requests->agent, &requests->host, &requests->workload};
    static const char *const names[3] = {"agent", "host", "workload"};
    uint8_t points[3][97];
    for (int i = 0; i < 3; i++) {
        enum err err = cert_request_check(all[i]->data, all[i]->len, points[i], note);
        if (err != ERR_OK) {
            note_prefix(note, "the %s certificate request: ", names[i]);
            return err;
        }
        for (int j = 0; j < i; j++) {
            if (memcmp(points[i], points[j], sizeof(points[i])) == 0)
                return note_set(note, ERR_INVALID,
                                "the %s and the %s certificate request are for one key: each needs its own", names[j],
                                names[i]);
        }
    }
    return ERR_OK;
}

static void facts_of_host(const struct host_record *host, uint64_t now, struct cert_facts *facts)
{
    *facts = (struct cert_facts){
        .slot = host->slot,
        .address_count = host->address_count,
        .label_count = host->label_count,
        .not_before = now - CA_EARLY_SECONDS,
        .not_after = now + CA_LEAF_SECONDS,
    };
    memcpy(facts->addresses, host->addresses, sizeof(facts->addresses));
    memcpy(facts->labels, host->labels, sizeof(facts->labels));
}

static void name_facts(struct cert_facts *facts, const struct ca *ca, enum spiffe_kind kind, const char *host)
{
    facts->id = (struct spiffe_id){.kind = kind};
    snprintf(facts->id.trust_domain, sizeof(facts->id.trust_domain), "%s", ca->trust_domain);
    snprintf(facts->id.name, sizeof(facts->id.name), "%s", host);
}

enum err ca_issue_host(const struct ca *ca, const struct host_record *host,
                       const Twofold__V1__CertificateRequests *requests, uint64_t now, struct ca_issued *ret_issued,
                       struct note *note)
{
    if (requests == NULL)
        return note_set(note, ERR_MALFORMED, "the certificate requests are missing");
    enum err err = check_keys_differ(requests, note);
    if (err != ERR_OK)
        return err;

    struct ca_issued issued = {0};
    struct cert_facts facts;
    facts_of_host(host, now, &facts);
    issued.expires = facts.not_after;
    name_facts(&facts, ca, SPIFFE_AGENT, host->name);
    err = issue(&ca->network, &requests->agent, &facts, &issued.agent, &issued.agent_len, note);
    if (err == ERR_OK) {
        name_facts(&facts, ca, SPIFFE_HOST, host->name);
        err = issue(&ca->network, &requests->host, &facts, &issued.host, &issued.host_len, note);
    }
    if (err == ERR_OK)
        err = spiffe_parse(host->workload, &facts.id);
    if (err == ERR_OK)
        err = issue(&ca->workload, &requests->workload, &facts, &issued.workload, &issued.workload_len, note);
    if (err == ERR_OK)
        err = read_serial(issued.agent, issued.agent_len, &issued.agent_serial, note);
    if (err != ERR_OK) {
        ca_issued_free(&issued);
        return err;
    }
    *ret_issued = issued;
    return ERR_OK;
}

void ca_issued_free(struct ca_issued *issued)
{
    free(issued->agent);
    free(issued->host);
    free(issued->workload);
    *issued = (struct ca_issued){0};
}
