// SPDX-License-Identifier: GPL-2.0-or-later
#include "controller/identity.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

static void add_address(struct cert_facts *facts, const struct ip *address)
{
    for (size_t i = 0; i < facts->address_count; i++) {
        if (ip_compare(&facts->addresses[i], address) == 0)
            return;
    }
    if (facts->address_count < CERT_ADDRESSES_MAX)
        facts->addresses[facts->address_count++] = *address;
}

// A listener on all addresses is reached by each of this machine's.
static void add_interfaces(struct cert_facts *facts)
{
    uv_interface_address_t *interfaces = NULL;
    int count = 0;
    if (uv_interface_addresses(&interfaces, &count) != 0)
        return;
    for (int i = 0; i < count; i++) {
        struct ip_endpoint endpoint;
        if (ip_endpoint_from_sockaddr((const struct sockaddr *)&interfaces[i].address, &endpoint) == ERR_OK &&
            !ip_is_link_local(&endpoint.ip))
            add_address(facts, &endpoint.ip);
    }
    uv_free_interface_addresses(interfaces, count);
}

static void own_facts(const struct config *config, uint64_t now, struct cert_facts *facts)
{
    *facts = (struct cert_facts){
        .id = {.kind = SPIFFE_CONTROLLER},
        .not_before = now - CA_EARLY_SECONDS,
        .not_after = now + CA_LEAF_SECONDS,
        .name_count = config->dns_count,
    };
    snprintf(facts->id.trust_domain, sizeof(facts->id.trust_domain), "%s", config->trust_domain);
    snprintf(facts->id.name, sizeof(facts->id.name), "%s", config->name);
    memcpy(facts->names, config->dns, sizeof(facts->names));
    for (size_t i = 0; i < config->listen_count; i++) {
        if (ip_is_unspecified(&config->listen[i].ip))
            add_interfaces(facts);
        else
            add_address(facts, &config->listen[i].ip);
    }
}

enum err identity_context(const struct ca *ca, const struct config *config, const struct trust *trust,
                          const struct clock *clock, struct tls_context **ret_context, struct note *note)
{
    struct cert_facts facts;
    own_facts(config, clock_unix_ms(clock) / 1000, &facts);
    struct key *key = NULL;
    uint8_t *der = NULL;
    size_t len = 0;
    struct certificate_serial serial;
    enum err err = key_new(&key);
    if (err != ERR_OK)
        return note_set(note, err, "the controller's key cannot be made: %s", err_text(err));
    err = ca_issue_own(ca, key, &facts, &der, &len, &serial, note);
    if (err == ERR_OK) {
        struct tls_config tls = {
            .side = TLS_SERVER,
            .peer_check = TLS_PEER_OPTIONAL,
            .key = key,
            .certificate = der,
            .certificate_len = len,
            .root = ca->network.der,
            .root_len = ca->network.der_len,
            .trust = trust,
            .alpn = "h2",
            .clock = clock,
        };
        err = tls_context_new(&tls, ret_context, note);
    }
    free(der);
    key_free(key);
    return err;
}
