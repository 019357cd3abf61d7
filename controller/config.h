// SPDX-License-Identifier: GPL-2.0-or-later
// The controller's own settings, kept in the store since init.
#ifndef TWOFOLD_CONTROLLER_CONFIG_H
#define TWOFOLD_CONTROLLER_CONFIG_H

#include <stddef.h>

#include "controller/store/store.h"
#include "proto/base/err.h"
#include "proto/base/ip.h"
#include "proto/base/note.h"
#include "proto/base/spiffe.h"
#include "proto/link/cert.h"

#define CONTROLLER_PORT   7443
#define CONFIG_LISTEN_MAX 8

struct config {
    char trust_domain[256];
    char name[NAME_MAX_BYTES + 1];
    struct ip_endpoint listen[CONFIG_LISTEN_MAX];
    size_t listen_count;
    char dns[CERT_NAMES_MAX][256];
    size_t dns_count;
};

// From the command line, checked. "192.0.2.10:7443", or an address alone for the default port.
MUST_USE enum err config_add_listen(struct config *config, const char *text, struct note *note);
MUST_USE enum err config_add_dns(struct config *config, const char *name, struct note *note);

// save: inside a transaction or alone for each setting.
MUST_USE enum err config_save(const struct config *config, struct store *store, struct note *note);
MUST_USE enum err config_load(struct store *store, struct config *ret_config, struct note *note);

// Where clients on this machine or beyond reach it: the first address, loopback when that is unspecified.
struct ip_endpoint config_endpoint(const struct config *config);

#endif
