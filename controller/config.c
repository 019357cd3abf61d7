// SPDX-License-Identifier: GPL-2.0-or-later
#include "controller/config.h"

#include <stdio.h>
#include <string.h>

#define LIST_BYTES 2048

enum err config_add_listen(struct config *config, const char *text, struct note *note)
{
    if (config->listen_count == CONFIG_LISTEN_MAX)
        return note_set(note, ERR_LIMIT, "--listen can be given at most %d times", CONFIG_LISTEN_MAX);
    struct ip_endpoint *endpoint = &config->listen[config->listen_count];
    if (ip_endpoint_parse(text, endpoint) != ERR_OK) {
        if (ip_parse(text, &endpoint->ip) != ERR_OK)
            return note_set(note, ERR_INVALID, "--listen %s: expected an address and port, such as 192.0.2.10:%d", text,
                            CONTROLLER_PORT);
        endpoint->port = CONTROLLER_PORT;
    }
    config->listen_count++;
    return ERR_OK;
}

// RFC 1123 host names; name_is_valid covers each part.
static bool dns_name_is_valid(const char *name)
{
    size_t len = strlen(name);
    return len > 0 && len < 254 && trust_domain_is_valid(name);
}

enum err config_add_dns(struct config *config, const char *name, struct note *note)
{
    if (config->dns_count == CERT_NAMES_MAX)
        return note_set(note, ERR_LIMIT, "--dns can be given at most %d times", CERT_NAMES_MAX);
    if (!dns_name_is_valid(name))
        return note_set(note, ERR_INVALID, "--dns %s: expected a DNS name such as controller.example.org", name);
    snprintf(config->dns[config->dns_count++], sizeof(config->dns[0]), "%s", name);
    return ERR_OK;
}

static void join(char list[LIST_BYTES], const char *word)
{
    size_t len = strlen(list);
    snprintf(list + len, LIST_BYTES - len, "%s%s", len > 0 ? " " : "", word);
}

enum err config_save(const struct config *config, struct store *store, struct note *note)
{
    char listen[LIST_BYTES] = "", dns[LIST_BYTES] = "";
    for (size_t i = 0; i < config->listen_count; i++) {
        char text[IP_ENDPOINT_TEXT_BYTES];
        ip_endpoint_format(&config->listen[i], text);
        join(listen, text);
    }
    for (size_t i = 0; i < config->dns_count; i++)
        join(dns, config->dns[i]);
    enum err err = store_set_setting(store, "trust-domain", config->trust_domain, note);
    if (err == ERR_OK)
        err = store_set_setting(store, "name", config->name, note);
    if (err == ERR_OK)
        err = store_set_setting(store, "listen", listen, note);
    if (err == ERR_OK)
        err = store_set_setting(store, "dns", dns, note);
    return err;
}

static enum err each_word(char *list, struct config *config,
                          enum err (*add)(struct config *, const char *, struct note *), struct note *note)
{
    char *rest = NULL;
    for (char *word = strtok_r(list, " ", &rest); word != NULL; word = strtok_r(NULL, " ", &rest)) {
        enum err err = add(config, word, note);
        if (err != ERR_OK)
            return err;
    }
    return ERR_OK;
}

enum err config_load(struct store *store, struct config *ret_config, struct note *note)
{
    struct config config = {0};
    char listen[LIST_BYTES], dns[LIST_BYTES];
    enum err err = store_setting(store, "trust-domain", config.trust_domain, sizeof(config.trust_domain), note);
    if (err == ERR_OK)
        err = store_setting(store, "name", config.name, sizeof(config.name), note);
    if (err == ERR_OK)
        err = store_setting(store, "listen", listen, sizeof(listen), note);
    if (err == ERR_OK)
        err = store_setting(store, "dns", dns, sizeof(dns), note);
    if (err == ERR_OK)
        err = each_word(listen, &config, config_add_listen, note);
    if (err == ERR_OK)
        err = each_word(dns, &config, config_add_dns, note);
    if (err == ERR_OK)
        *ret_config = config;
    return err;
}

struct ip_endpoint config_endpoint(const struct config *config)
{
    struct ip_endpoint endpoint = config->listen[0];
    if (ip_is_unspecified(&endpoint.ip)) {
        if (endpoint.ip.len == 4)
            memcpy(endpoint.ip.bytes, (const uint8_t[4]){127, 0, 0, 1}, 4);
        else
            endpoint.ip.bytes[15] = 1;
    }
    return endpoint;
}
