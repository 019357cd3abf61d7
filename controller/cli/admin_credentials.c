// SPDX-License-Identifier: GPL-2.0-or-later
#include "controller/cli/admin_credentials.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proto/base/clock.h"
#include "proto/base/file.h"

#define FILE_BYTES_MAX 65536

static bool is_there(const char *folder)
{
    char path[PATH_MAX];
    return snprintf(path, sizeof(path), "%s/admin.pem", folder) < (int)sizeof(path) && access(path, F_OK) == 0;
}

bool admin_credentials_found(const struct args *args, char ret_folder[PATH_MAX])
{
    const char *given = args_value(args, "credentials", getenv("TWOFOLD_CREDENTIALS"));
    const char *home = getenv("HOME");
    if (given) {
        snprintf(ret_folder, PATH_MAX, "%s", given);
        return is_there(ret_folder);
    }
    if (home) {
        snprintf(ret_folder, PATH_MAX, "%s/.config/twofold", home);
        if (is_there(ret_folder))
            return true;
    }
    snprintf(ret_folder, PATH_MAX, "/etc/twofold/admin");
    return is_there(ret_folder);
}

static enum err read_der(const char *folder, const char *name, uint8_t **ret_der, size_t *ret_len, struct note *note)
{
    char path[PATH_MAX];
    uint8_t *pem;
    size_t len;
    enum err err;

    if (snprintf(path, sizeof(path), "%s/%s", folder, name) >= (int)sizeof(path))
        return note_set(note, ERR_INVALID, "The path of the credentials is too long: use a shorter one.");
    if ((err = file_read(path, FILE_BYTES_MAX, &pem, &len, note)))
        return err;
    err = cert_pem_to_der(pem, len, 0, ret_der, ret_len);
    free(pem);
    return err ? note_set(note, err, "%s holds no certificate in PEM: copy it again from the controller.", path)
               : ERR_OK;
}

static enum err load_key(struct admin_credentials *credentials, struct note *note)
{
    char path[PATH_MAX];
    if (snprintf(path, sizeof(path), "%s/admin.key", credentials->folder) >= (int)sizeof(path))
        return note_set(note, ERR_INVALID, "The path of the credentials is too long: use a shorter one.");
    return key_load(path, &credentials->key, note);
}

static enum err load_certificate(struct admin_credentials *credentials, struct note *note)
{
    uint64_t now = clock_unix_ms(&clock_system) / 1000;
    enum err err;

    if ((err = read_der(credentials->folder, "admin.pem", &credentials->certificate, &credentials->certificate_len,
                        note)) ||
        (err = cert_parse(credentials->certificate, credentials->certificate_len, &credentials->facts, note)))
        return err;
    if (credentials->facts.id.kind != SPIFFE_ADMIN)
        return note_set(note, ERR_IDENTITY,
                        "%s/admin.pem is no administrator's certificate: ask the controller's operator for one.",
                        credentials->folder);
    if (credentials->facts.not_after < now)
        return note_set(
            note, ERR_EXPIRED,
            "The certificate of administrator '%s' in %s has expired: make a new one on the controller's machine with "
            "`twofold-controller admin create`.",
            credentials->facts.id.name, credentials->folder);
    return ERR_OK;
}

static enum err load_trust(struct admin_credentials *credentials, struct note *note)
{
    uint8_t *root = NULL;
    size_t len;
    enum err err = read_der(credentials->folder, "network-ca.pem", &root, &len, note);
    if (err)
        return err;
    if (!(err = trust_new(&credentials->trust)))
        err = trust_add(credentials->trust, root, len, note);
    free(root);
    return err;
}

static enum err load_controller(const struct args *args, struct admin_credentials *credentials, struct note *note)
{
    char path[PATH_MAX];
    uint8_t *bytes;
    size_t len;
    const char *given = args_value(args, "controller", NULL);
    enum err err;

    if (given) {
        err = ip_endpoint_parse(given, &credentials->controller);
        return err ? note_set(note, ERR_USAGE, "Option --controller is an address and a port, such as 192.0.2.10:7443.")
                   : ERR_OK;
    }
    if (snprintf(path, sizeof(path), "%s/controller", credentials->folder) >= (int)sizeof(path))
        return note_set(note, ERR_INVALID, "The path of the credentials is too long: use a shorter one.");
    if ((err = file_read(path, FILE_BYTES_MAX, &bytes, &len, note)))
        return err;
    bytes[strcspn((char *)bytes, " \r\n")] = 0;
    err = ip_endpoint_parse((char *)bytes, &credentials->controller);
    free(bytes);
    return err ? note_set(note, ERR_INVALID,
                          "%s does not hold an address and a port, such as 192.0.2.10:7443: correct it.", path)
               : ERR_OK;
}

enum err admin_credentials_load(const struct args *args, struct admin_credentials *ret_credentials, struct note *note)
{
    struct admin_credentials credentials = {0};
    enum err err;

    if (!admin_credentials_found(args, credentials.folder))
        return note_set(note, ERR_NOT_FOUND,
                        "There are no administrator's credentials in %.200s: give their folder with --credentials, or "
                        "copy them from "
                        "the controller.",
                        credentials.folder);
    if ((err = load_certificate(&credentials, note)) || (err = load_key(&credentials, note)) ||
        (err = load_trust(&credentials, note)) || (err = load_controller(args, &credentials, note))) {
        admin_credentials_free(&credentials);
        return err;
    }
    *ret_credentials = credentials;
    return ERR_OK;
}

void admin_credentials_free(struct admin_credentials *credentials)
{
    key_free(credentials->key);
    free(credentials->certificate);
    trust_free(credentials->trust);
    *credentials = (struct admin_credentials){0};
}
