// SPDX-License-Identifier: GPL-2.0-or-later
#include "controller/init.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "controller/audit.h"
#include "controller/ca.h"
#include "controller/state.h"
#include "controller/store/admins.h"
#include "controller/store/policies.h"
#include "proto/base/file.h"

// Denies all but what keeps an operator from locking himself out.
static const char first_policy[] =
    "# Nothing is permitted yet but the default failsafe: see twofold-policy(5).\nversion: 1\n";

static const char *const credential_files[] = {"controller", "network-ca.pem", "admin.pem", "admin.key"};

// Of the state folder, beside the folder admin/.
static const char *const state_files[] = {
    STATE_DATABASE,    STATE_DATABASE "-wal", STATE_DATABASE "-shm", "workload-ca.pem",
    "workload-ca.key", "network-ca.pem",      "network-ca.key",
};

static void local_actor(char actor[32])
{
    snprintf(actor, 32, "uid %u", (unsigned)getuid());
}

// ---- credentials

static enum err write_text(const char *folder, const char *name, const char *text, mode_t mode, struct note *note)
{
    char path[PATH_MAX];
    enum err err = state_path(folder, name, path, note);
    return err == ERR_OK ? file_write(path, text, strlen(text), mode, note) : err;
}

static enum err write_certificate(const char *folder, const char *name, const uint8_t *der, size_t len,
                                  struct note *note)
{
    char *pem = NULL;
    enum err err = cert_der_to_pem(der, len, &pem);
    if (err != ERR_OK)
        return note_set(note, err, "%s/%s: %s", folder, name, err_text(err));
    err = write_text(folder, name, pem, 0644, note);
    free(pem);
    return err;
}

// What failed half way has not made all of them.
static void remove_files(const char *folder, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char path[PATH_MAX];
        if (state_path(folder, names[i], path, NULL) == ERR_OK)
            (void)remove(path);
    }
}

static void remove_credentials(const char *folder)
{
    remove_files(folder, credential_files, sizeof(credential_files) / sizeof(credential_files[0]));
    (void)rmdir(folder); // stays when it holds anything else
}

static enum err check_no_credentials(const char *folder, struct note *note)
{
    char path[PATH_MAX];
    enum err err = state_path(folder, "admin.key", path, note);
    if (err == ERR_OK && access(path, F_OK) == 0)
        return note_set(note, ERR_EXISTS, "%s is there already: name another folder", path);
    return err;
}

static enum err write_credentials(const char *folder, const struct key *key, const uint8_t *der, size_t len,
                                  const struct ca *ca, const struct config *config, struct note *note)
{
    char path[PATH_MAX], endpoint_text[IP_ENDPOINT_TEXT_BYTES + 1];
    struct ip_endpoint endpoint = config_endpoint(config);
    ip_endpoint_format(&endpoint, endpoint_text);
    strcat(endpoint_text, "\n");

    enum err err = file_make_folder(folder, 0700, (uid_t)-1, (gid_t)-1, note);
    if (err == ERR_OK)
        err = state_path(folder, "admin.key", path, note);
    if (err == ERR_OK)
        err = key_save(key, path, note);
    if (err == ERR_OK)
        err = write_certificate(folder, "admin.pem", der, len, note);
    if (err == ERR_OK)
        err = write_certificate(folder, "network-ca.pem", ca->network.der, ca->network.der_len, note);
    if (err == ERR_OK)
        err = write_text(folder, "controller", endpoint_text, 0644, note);
    return err;
}

// Inside a transaction: the store knows the administrator when the files are there, or neither.
static enum err make_admin(struct store *store, const struct ca *ca, const struct config *config, const char *name,
                           uint32_t days, const char *folder, const struct clock *clock, struct note *note)
{
    uint64_t now = clock_unix_ms(clock) / 1000;
    struct cert_facts facts = {
        .id = {.kind = SPIFFE_ADMIN},
        .not_before = now - CA_EARLY_SECONDS,
        .not_after = now + days * 86400ull,
    };
    snprintf(facts.id.trust_domain, sizeof(facts.id.trust_domain), "%s", config->trust_domain);
    snprintf(facts.id.name, sizeof(facts.id.name), "%s", name);

    struct key *key = NULL;
    uint8_t *der = NULL;
    size_t len = 0;
    struct certificate_serial serial = {0};
    char actor[32];
    local_actor(actor);
    struct audit_event event = {.actor = actor, .action = "admin.create", .object = name, .outcome = "ok"};
    enum err err = key_new(&key);
    if (err != ERR_OK)
        return note_set(note, err, "the administrator's key cannot be made: %s", err_text(err));
    err = ca_issue_own(ca, key, &facts, &der, &len, &serial, note);
    if (err == ERR_OK)
        err = store_add_admin(store, name, serial.bytes, serial.len, facts.not_after, note);
    if (err == ERR_OK)
        err = audit_write(store, clock, &event, note);
    if (err == ERR_OK)
        err = write_credentials(folder, key, der, len, ca, config, note);
    free(der);
    key_free(key);
    return err;
}

// ---- init

static enum err check_empty(const char *state, struct note *note)
{
    DIR *folder = opendir(state);
    if (folder == NULL)
        return note_set(note, err_from_errno(errno), "%s cannot be read: %s", state, strerror(errno));
    bool empty = true;
    for (struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder)) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            empty = false;
    }
    closedir(folder);
    return empty
               ? ERR_OK
               : note_set(note, ERR_EXISTS, "%s is not empty: a state folder is made only once; name a new one", state);
}

static enum err fill_store(struct store *store, const struct ca *ca, const struct config *config, const char *state,
                           uint32_t admin_days, const struct clock *clock, struct note *note)
{
    char admin_folder[PATH_MAX], actor[32];
    uint64_t generation = 0;
    local_actor(actor);
    struct audit_event event = {.actor = actor, .action = "controller.init", .object = config->name, .outcome = "ok"};
    enum err err = state_path(state, "admin", admin_folder, note);
    if (err == ERR_OK)
        err = store_begin(store, note);
    if (err != ERR_OK)
        return err;
    err = config_save(config, store, note);
    if (err == ERR_OK)
        err = store_next_generation(store, &generation, note);
    if (err == ERR_OK)
        err = store_add_policy(store, generation, first_policy, actor, clock_unix_ms(clock) / 1000, note);
    if (err == ERR_OK)
        err = audit_write(store, clock, &event, note);
    if (err == ERR_OK)
        err = make_admin(store, ca, config, FIRST_ADMIN, admin_days, admin_folder, clock, note);
    if (err == ERR_OK)
        err = store_commit(store, note);
    if (err != ERR_OK) {
        store_rollback(store);
        remove_credentials(admin_folder);
    }
    return err;
}

static enum err make_state(const char *state, const struct config *config, uint32_t admin_days,
                           const struct clock *clock, struct note *note)
{
    uint64_t now = clock_unix_ms(clock) / 1000;
    char database[PATH_MAX];
    struct ca *ca = NULL;
    struct store *store = NULL;
    enum err err = ca_create(state, config->trust_domain, now, note);
    if (err == ERR_OK)
        err = ca_load(state, config->trust_domain, now, &ca, note);
    if (err == ERR_OK)
        err = state_path(state, STATE_DATABASE, database, note);
    if (err == ERR_OK)
        err = store_create(database, &store, note);
    if (err == ERR_OK)
        err = fill_store(store, ca, config, state, admin_days, clock, note);
    store_close(store);
    ca_free(ca);
    return err;
}

enum err init_state(const char *state, const struct config *config, uint32_t admin_days, const struct clock *clock,
                    struct note *note)
{
    enum err err = file_make_folder(state, 0700, (uid_t)-1, (gid_t)-1, note);
    if (err == ERR_OK)
        err = check_empty(state, note);
    if (err != ERR_OK)
        return err;
    err = make_state(state, config, admin_days, clock, note);
    if (err != ERR_OK)
        remove_files(state, state_files, sizeof(state_files) / sizeof(state_files[0]));
    return err;
}

// ---- administrators

enum err init_admin(const char *state, const char *name, const char *out, uint32_t days, const struct clock *clock,
                    struct note *note)
{
    enum err err = check_no_credentials(out, note);
    if (err != ERR_OK)
        return err;
    struct state opened;
    err = state_open(state, clock, &opened, note);
    if (err != ERR_OK)
        return err;
    err = store_begin(opened.store, note);
    if (err == ERR_OK)
        err = make_admin(opened.store, opened.ca, &opened.config, name, days, out, clock, note);
    if (err == ERR_OK)
        err = store_commit(opened.store, note);
    if (err != ERR_OK) {
        store_rollback(opened.store);
        remove_credentials(out);
    }
    state_close(&opened);
    return err;
}

enum err init_remove_admin(const char *state, const char *name, const struct clock *clock, struct note *note)
{
    struct state opened;
    enum err err = state_open(state, clock, &opened, note);
    if (err != ERR_OK)
        return err;
    char actor[32];
    local_actor(actor);
    struct audit_event event = {.actor = actor, .action = "admin.remove", .object = name, .outcome = "ok"};
    err = store_begin(opened.store, note);
    if (err == ERR_OK)
        err = store_remove_admin(opened.store, name, note);
    if (err == ERR_OK)
        err = audit_write(opened.store, clock, &event, note);
    if (err == ERR_OK)
        err = store_commit(opened.store, note);
    if (err != ERR_OK)
        store_rollback(opened.store);
    state_close(&opened);
    return err;
}
