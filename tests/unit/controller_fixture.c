// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/unit/controller_fixture.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/base/log.h"

struct fixture_time fixture_time = {.boot_ms = 1000000, .unix_ms = FIXTURE_NOW * 1000};

static uint64_t read_boot(void *context)
{
    return ((struct fixture_time *)context)->boot_ms;
}

static uint64_t read_unix(void *context)
{
    return ((struct fixture_time *)context)->unix_ms;
}

const struct clock fixture_clock = {.boot_ms = read_boot, .unix_ms = read_unix, .context = &fixture_time};

void fixture_advance(uint64_t ms)
{
    fixture_time.boot_ms += ms;
    fixture_time.unix_ms += ms;
}

static char folder[PATH_MAX / 2];

const char *fixture_folder(void)
{
    if (folder[0] == '\0') {
        const char *base = getenv("TMPDIR");
        snprintf(folder, sizeof(folder), "%s/twofold-test-%ld", base != NULL ? base : "/tmp", (long)getpid());
        if (mkdir(folder, 0700) != 0)
            abort();
        log_set_level(LOG_LEVEL_ERROR);
    }
    return folder;
}

const char *fixture_path(const char *name)
{
    static char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s/%s", fixture_folder(), name);
    return path;
}

static int remove_one(const char *path, const struct stat *facts, int kind, struct FTW *walk)
{
    (void)facts;
    (void)kind;
    (void)walk;
    return remove(path);
}

void fixture_remove(void)
{
    if (folder[0] != '\0')
        nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    folder[0] = '\0';
}

struct ip fixture_ip(const char *text)
{
    struct ip ip = {0};
    if (ip_parse(text, &ip) != ERR_OK)
        abort();
    return ip;
}

struct host_record fixture_host(const char *name, uint32_t slot, const char *address)
{
    struct host_record host = {
        .slot = slot, .address_count = 1, .label_count = 1, .certificate_expires = FIXTURE_NOW + 86400};
    snprintf(host.name, sizeof(host.name), "%s", name);
    snprintf(host.workload, sizeof(host.workload), "spiffe://example.org/ns/default/sa/%s", name);
    host.addresses[0] = fixture_ip(address);
    snprintf(host.labels[0].key, sizeof(host.labels[0].key), "role");
    snprintf(host.labels[0].value, sizeof(host.labels[0].value), "%s", name);
    host.serial = (struct certificate_serial){.bytes = {1, 2, 3}, .len = 3};
    return host;
}

struct token_record fixture_token(const char *host, const char *address, uint8_t fill,
                                  uint8_t secret[TOKEN_SECRET_BYTES])
{
    struct token_record token = {.expires = FIXTURE_NOW + 3600, .label_count = 1};
    memset(token.id, fill, sizeof(token.id));
    memset(secret, fill + 1, TOKEN_SECRET_BYTES);
    digest_sha384(secret, TOKEN_SECRET_BYTES, token.secret_sha384);
    snprintf(token.host, sizeof(token.host), "%s", host);
    snprintf(token.workload, sizeof(token.workload), "%s", host);
    snprintf(token.labels[0].key, sizeof(token.labels[0].key), "role");
    snprintf(token.labels[0].value, sizeof(token.labels[0].value), "%s", host);
    if (address != NULL)
        token.addresses[token.address_count++] = fixture_ip(address);
    return token;
}

void fixture_requests_make(struct fixture_requests *requests)
{
    *requests = (struct fixture_requests){.message = TWOFOLD__V1__CERTIFICATE_REQUESTS__INIT};
    ProtobufCBinaryData *all[3] = {&requests->message.agent, &requests->message.host, &requests->message.workload};
    for (int i = 0; i < 3; i++) {
        if (key_new(&requests->keys[i]) != ERR_OK ||
            key_request(requests->keys[i], "agent", &all[i]->data, &all[i]->len) != ERR_OK)
            abort();
    }
}

void fixture_requests_free(struct fixture_requests *requests)
{
    for (int i = 0; i < 3; i++)
        key_free(requests->keys[i]);
    free(requests->message.agent.data);
    free(requests->message.host.data);
    free(requests->message.workload.data);
}
