// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/identity.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proto/base/file.h"
#include "proto/base/secret.h"

#define PEM_BYTES_MAX 65536

static enum err path_format(char path[PATH_MAX], const char *folder, const char *name, const char *ending,
                            struct note *note)
{
    if (snprintf(path, PATH_MAX, "%s/%s%s", folder, name, ending) >= PATH_MAX)
        return note_set(note, ERR_INVALID, "%s: the path is too long", folder);
    return ERR_OK;
}

static enum err rename_file(const char *from, const char *to, struct note *note)
{
    if (rename(from, to) < 0)
        return note_set(note, err_from_errno(errno), "%s: cannot replace it: %s", to, strerror(errno));
    return ERR_OK;
}

// Makes renames in the folder survive a crash.
static enum err sync_folder(const char *folder, struct note *note)
{
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0 || fsync(fd) < 0) {
        enum err err = note_set(note, err_from_errno(errno), "%s: cannot sync the folder: %s", folder, strerror(errno));
        if (fd >= 0)
            close(fd);
        return err;
    }
    close(fd);
    return ERR_OK;
}

static enum err load_certificate(const char *path, uint8_t **ret_der, size_t *ret_len, struct cert_facts *ret_facts,
                                 struct note *note)
{
    uint8_t *pem;
    size_t pem_len;
    uint8_t *der;
    size_t len;

    enum err err = file_read(path, PEM_BYTES_MAX, &pem, &pem_len, note);
    if (err)
        return err;
    err = cert_pem_to_der(pem, pem_len, 0, &der, &len);
    free(pem);
    if (err)
        return note_set(note, err, "%s: this is not a certificate in PEM; enrol the host again", path);
    err = cert_parse(der, len, ret_facts, note);
    if (err) {
        note_prefix(note, "%s: ", path);
        free(der);
        return err;
    }
    *ret_der = der;
    *ret_len = len;
    return ERR_OK;
}

static enum err save_certificate(const char *path, const uint8_t *der, size_t len, struct note *note)
{
    char *pem;

    enum err err = cert_der_to_pem(der, len, &pem);
    if (err)
        return note_set(note, err, "%s: cannot encode the certificate", path);
    err = file_write(path, pem, strlen(pem), 0600, note);
    free(pem);
    return err;
}

// Brings a renewal that was cut short to its end, or back to its start when the new certificate was not stored yet.
static enum err settle(const char *folder, const char *name, struct note *note)
{
    char next_key[PATH_MAX], next_pem[PATH_MAX], key[PATH_MAX], pem[PATH_MAX];
    enum err err;

    if ((err = path_format(next_key, folder, name, "-next.key", note)) ||
        (err = path_format(next_pem, folder, name, "-next.pem", note)) ||
        (err = path_format(key, folder, name, ".key", note)) || (err = path_format(pem, folder, name, ".pem", note)))
        return err;
    if (access(next_pem, F_OK) < 0) {
        if (unlink(next_key) < 0 && errno != ENOENT)
            return note_set(note, err_from_errno(errno), "%s: cannot remove it: %s", next_key, strerror(errno));
        return ERR_OK;
    }
    // Without a next key its rename was done already, and only the certificate's is missing.
    if (access(next_key, F_OK) == 0 && (err = rename_file(next_key, key, note)))
        return err;
    if ((err = rename_file(next_pem, pem, note)))
        return err;
    return sync_folder(folder, note);
}

static enum err load_parts(struct identity *identity, struct note *note)
{
    char path[PATH_MAX];
    uint8_t spki[DIGEST_BYTES];
    enum err err;

    if ((err = path_format(path, identity->folder, identity->ca_name, ".pem", note)) ||
        (err = load_certificate(path, &identity->ca, &identity->ca_len, &identity->ca_facts, note)))
        return err;
    if (!identity->ca_facts.is_ca)
        return note_set(note, ERR_CORRUPT, "%s: this certificate is not a CA's; enrol the host again", path);
    if ((err = path_format(path, identity->folder, identity->name, ".key", note)) ||
        (err = key_load(path, &identity->key, note)))
        return err;
    if ((err = path_format(path, identity->folder, identity->name, ".pem", note)) ||
        (err = load_certificate(path, &identity->certificate, &identity->certificate_len, &identity->facts, note)))
        return err;
    if ((err = key_spki_sha384(identity->key, spki)))
        return note_set(note, err, "%s: cannot read the key's public half", path);
    if (memcmp(spki, identity->facts.spki_sha384, sizeof(spki)) != 0)
        return note_set(note, ERR_CORRUPT,
                        "%s: the certificate is for another key than the one beside it; enrol the host again", path);
    return ERR_OK;
}

enum err identity_load(const char *folder, const char *name, const char *ca_name, struct identity **ret_identity,
                       struct note *note)
{
    enum err err = settle(folder, name, note);
    if (err)
        return err;
    struct identity *identity = calloc(1, sizeof(*identity));
    if (!identity)
        return note_set(note, ERR_NOMEM, "out of memory");
    if (snprintf(identity->folder, sizeof(identity->folder), "%s", folder) >= (int)sizeof(identity->folder)) {
        identity_free(identity);
        return note_set(note, ERR_INVALID, "%s: the path is too long", folder);
    }
    snprintf(identity->name, sizeof(identity->name), "%s", name);
    snprintf(identity->ca_name, sizeof(identity->ca_name), "%s", ca_name);
    err = load_parts(identity, note);
    if (err) {
        identity_free(identity);
        return err;
    }
    *ret_identity = identity;
    return ERR_OK;
}

void identity_free(struct identity *identity)
{
    if (!identity)
        return;
    key_free(identity->next_key);
    key_free(identity->key);
    free(identity->certificate);
    free(identity->ca);
    free(identity);
}

enum err identity_save(const char *folder, const char *name, const char *ca_name, const struct key *key,
                       const uint8_t *certificate, size_t certificate_len, const uint8_t *ca, size_t ca_len,
                       struct note *note)
{
    char path[PATH_MAX];
    enum err err;

    if ((err = path_format(path, folder, name, ".key", note)) || (err = key_save(key, path, note)))
        return err;
    if ((err = path_format(path, folder, ca_name, ".pem", note)) || (err = save_certificate(path, ca, ca_len, note)))
        return err;
    if ((err = path_format(path, folder, name, ".pem", note)))
        return err;
    return save_certificate(path, certificate, certificate_len, note);
}

enum err identity_begin(struct identity *identity, uint8_t **ret_request, size_t *ret_len, struct note *note)
{
    struct key *key;
    char subject[SPIFFE_TEXT_BYTES];

    enum err err = key_new(&key);
    if (err)
        return note_set(note, err, "cannot make a new key: %s", err_text(err));
    snprintf(subject, sizeof(subject), "%s %s", identity->name, identity->facts.id.name);
    err = key_request(key, subject, ret_request, ret_len);
    if (err) {
        key_free(key);
        return note_set(note, err, "cannot make a certificate request: %s", err_text(err));
    }
    key_free(identity->next_key);
    identity->next_key = key;
    return ERR_OK;
}

static bool same_id(const struct spiffe_id *a, const struct spiffe_id *b)
{
    return a->kind == b->kind && strcmp(a->trust_domain, b->trust_domain) == 0 &&
           strcmp(a->namespace_, b->namespace_) == 0 && strcmp(a->name, b->name) == 0;
}

static enum err check_anchor(const struct identity *identity, const uint8_t *ca, size_t len, struct note *note)
{
    struct cert_facts facts;

    enum err err = cert_parse(ca, len, &facts, note);
    if (err) {
        note_prefix(note, "the CA's certificate: ");
        return err;
    }
    if (memcmp(facts.spki_sha384, identity->ca_facts.spki_sha384, DIGEST_BYTES) != 0)
        return note_set(note, ERR_IDENTITY,
                        "the controller sent another %s than the one this host enrolled with; to change the CA, "
                        "enrol the host again",
                        identity->ca_name);
    return ERR_OK;
}

static enum err check_renewed(const struct identity *identity, const uint8_t *certificate, size_t len, uint64_t now,
                              struct cert_facts *ret_facts, struct note *note)
{
    struct trust *trust;
    uint8_t spki[DIGEST_BYTES];

    enum err err = trust_new(&trust);
    if (err)
        return note_set(note, err, "%s", err_text(err));
    err = trust_add(trust, identity->ca, identity->ca_len, note);
    if (!err)
        err = trust_verify(trust, certificate, len, now, ret_facts, note);
    trust_free(trust);
    if (err)
        return err;
    if (!same_id(&ret_facts->id, &identity->facts.id))
        return note_set(note, ERR_IDENTITY, "the new %s certificate names somebody else", identity->name);
    if ((err = key_spki_sha384(identity->next_key, spki)))
        return note_set(note, err, "cannot read the new key's public half");
    if (memcmp(spki, ret_facts->spki_sha384, sizeof(spki)) != 0)
        return note_set(note, ERR_IDENTITY, "the new %s certificate is for another key than the one that was asked for",
                        identity->name);
    return ERR_OK;
}

static enum err store_renewed(const struct identity *identity, const uint8_t *certificate, size_t len,
                              struct note *note)
{
    char path[PATH_MAX];
    enum err err;

    // What an earlier renewal may have left must be settled first: a key of this one never meets a certificate of that one.
    if ((err = settle(identity->folder, identity->name, note)) ||
        (err = path_format(path, identity->folder, identity->name, "-next.key", note)) ||
        (err = key_save(identity->next_key, path, note)))
        return err;
    if ((err = path_format(path, identity->folder, identity->name, "-next.pem", note)))
        return err;
    return save_certificate(path, certificate, len, note);
}

enum err identity_finish(struct identity *identity, const uint8_t *certificate, size_t certificate_len,
                         const uint8_t *ca, size_t ca_len, uint64_t now, struct note *note)
{
    struct cert_facts facts;
    enum err err;

    if (!identity->next_key)
        return note_set(note, ERR_PROTOCOL, "a certificate came without a request for one");
    if ((err = check_anchor(identity, ca, ca_len, note)) ||
        (err = check_renewed(identity, certificate, certificate_len, now, &facts, note)))
        return err;
    uint8_t *copy = malloc(certificate_len);
    if (!copy)
        return note_set(note, ERR_NOMEM, "out of memory");
    memcpy(copy, certificate, certificate_len);
    if ((err = store_renewed(identity, certificate, certificate_len, note))) {
        free(copy);
        return err;
    }
    // It is stored: a rename that fails now is made up for at the next renewal or start.
    err = settle(identity->folder, identity->name, NULL);
    (void)err;
    key_free(identity->key);
    identity->key = identity->next_key;
    identity->next_key = NULL;
    free(identity->certificate);
    identity->certificate = copy;
    identity->certificate_len = certificate_len;
    identity->facts = facts;
    return ERR_OK;
}
