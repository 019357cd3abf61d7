// SPDX-License-Identifier: GPL-2.0-or-later
// An administrator's credentials: a folder with admin.key, admin.pem, network-ca.pem and `controller` ("192.0.2.10:7443").
// It is --credentials, else TWOFOLD_CREDENTIALS, else ~/.config/twofold, else /etc/twofold/admin.
#ifndef TWOFOLD_CONTROLLER_CLI_ADMIN_CREDENTIALS_H
#define TWOFOLD_CONTROLLER_CLI_ADMIN_CREDENTIALS_H

#include <limits.h>
#include <stdbool.h>

#include "controller/cli/command.h"
#include "proto/base/ip.h"
#include "proto/link/cert.h"
#include "proto/link/key.h"

struct admin_credentials {
    char folder[PATH_MAX];
    struct key *key;
    uint8_t *certificate; // DER
    size_t certificate_len;
    struct cert_facts facts; // of it
    struct trust *trust;     // the network CA
    struct ip_endpoint controller;
};

// True when there is a folder to load from; says which one would be used.
bool admin_credentials_found(const struct args *args, char ret_folder[PATH_MAX]);

// Each failure names the file, why and what to do. An expired certificate is refused here, where the remedy is known.
MUST_USE enum err admin_credentials_load(const struct args *args, struct admin_credentials *ret_credentials,
                                         struct note *note);
void admin_credentials_free(struct admin_credentials *credentials);

#endif
