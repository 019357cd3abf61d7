// SPDX-License-Identifier: GPL-2.0-or-later
// Admin/CreateToken.
#include <stdio.h>
#include <string.h>

#include "admin.pb-c.h"
#include "controller/handlers.h"
#include "controller/store/tokens.h"
#include "proto/base/secret.h"

static enum err take_labels(const Twofold__V1__CreateTokenRequest *request, struct token_record *token,
                            struct note *note)
{
    if (request->n_labels > CERT_LABELS_MAX)
        return note_set(note, ERR_LIMIT, "a host can have at most %d labels", CERT_LABELS_MAX);
    for (size_t i = 0; i < request->n_labels; i++) {
        const Twofold__V1__Label *label = request->labels[i];
        if (!label_key_is_valid(label->key) || !label_value_is_valid(label->value))
            return note_set(note, ERR_INVALID, "the label %.64s=%.64s is not valid: see twofold(1) for keys and values",
                            label->key, label->value);
        for (size_t j = 0; j < token->label_count; j++) {
            if (strcmp(token->labels[j].key, label->key) == 0)
                return note_set(note, ERR_INVALID, "the label %s is given twice", label->key);
        }
        struct cert_label *taken = &token->labels[token->label_count++];
        snprintf(taken->key, sizeof(taken->key), "%s", label->key);
        snprintf(taken->value, sizeof(taken->value), "%s", label->value);
    }
    return ERR_OK;
}

static enum err take_addresses(const Twofold__V1__CreateTokenRequest *request, struct token_record *token,
                               struct note *note)
{
    if (request->n_addresses > CERT_ADDRESSES_MAX)
        return note_set(note, ERR_LIMIT, "a host can have at most %d addresses", CERT_ADDRESSES_MAX);
    for (size_t i = 0; i < request->n_addresses; i++) {
        struct ip *address = &token->addresses[token->address_count];
        char text[IP_TEXT_BYTES];
        if (ip_from_bytes(request->addresses[i].data, request->addresses[i].len, address) != ERR_OK)
            return note_set(note, ERR_MALFORMED, "an address has %zu bytes: 4 or 16 were expected",
                            request->addresses[i].len);
        ip_format(address, text);
        if (!enrol_address_fits(address))
            return note_set(note, ERR_INVALID,
                            "%s cannot be a host's address: name one that the other hosts reach it by", text);
        for (size_t j = 0; j < token->address_count; j++) {
            if (ip_compare(&token->addresses[j], address) == 0)
                return note_set(note, ERR_INVALID, "the address %s is given twice", text);
        }
        token->address_count++;
    }
    return ERR_OK;
}

static enum err take_names(const Twofold__V1__CreateTokenRequest *request, struct token_record *token,
                           struct note *note)
{
    const char *workload = request->workload[0] != '\0' ? request->workload : request->host;
    if (!name_is_valid(request->host))
        return note_set(note, ERR_INVALID,
                        "%.64s is not a host's name: lower-case letters, digits, '-' and '.', at most %d",
                        request->host, NAME_MAX_BYTES);
    if (!name_is_valid(workload))
        return note_set(note, ERR_INVALID,
                        "%.64s is not a workload's name: lower-case letters, digits, '-' and '.', at most %d", workload,
                        NAME_MAX_BYTES);
    snprintf(token->host, sizeof(token->host), "%s", request->host);
    snprintf(token->workload, sizeof(token->workload), "%s", workload);
    return ERR_OK;
}

static enum err take_validity(const Twofold__V1__CreateTokenRequest *request, uint64_t now, struct token_record *token,
                              struct note *note)
{
    uint32_t seconds = request->valid_seconds != 0 ? request->valid_seconds : TOKEN_SECONDS_DEFAULT;
    if (seconds < TOKEN_SECONDS_MIN || seconds > TOKEN_SECONDS_MAX)
        return note_set(note, ERR_INVALID, "a join token is valid for %u seconds to %u days", TOKEN_SECONDS_MIN,
                        TOKEN_SECONDS_MAX / 86400);
    token->expires = now + seconds;
    return ERR_OK;
}

// What enrolment would refuse later is better told now.
static enum err check_against_hosts(struct store *store, const struct token_record *token, struct note *note)
{
    struct host_record host;
    enum err err = store_host(store, token->host, &host, note);
    if (err == ERR_OK && host.revoked)
        return note_set(note, ERR_REVOKED, "host %s is revoked, and its name with it: take another name", token->host);
    if (err != ERR_OK && err != ERR_NOT_FOUND)
        return err;
    char holder[NAME_MAX_BYTES + 1], text[IP_TEXT_BYTES];
    struct ip address;
    err = store_address_holder(store, token->host, token->addresses, token->address_count, holder, &address, note);
    if (err == ERR_NOT_FOUND)
        return ERR_OK;
    if (err != ERR_OK)
        return err;
    ip_format(&address, text);
    return note_set(note, ERR_EXISTS,
                    "the address %s belongs to host %s: revoke that one first, or take another address", text, holder);
}

static enum err make_token(struct call *call, const Twofold__V1__CreateTokenRequest *request,
                           struct token_record *record, struct token *token, struct note *note)
{
    uint64_t now = clock_unix_ms(call->daemon->clock) / 1000;
    enum err err = take_names(request, record, note);
    if (err != ERR_OK)
        return err;
    snprintf(call->object, sizeof(call->object), "%s", record->host);
    err = take_labels(request, record, note);
    if (err == ERR_OK)
        err = take_addresses(request, record, note);
    if (err == ERR_OK)
        err = take_validity(request, now, record, note);
    if (err != ERR_OK)
        return err;

    random_bytes(token->id, sizeof(token->id));
    random_bytes(token->secret, sizeof(token->secret));
    memcpy(token->ca_sha384, call->daemon->state.ca->network.spki_sha384, sizeof(token->ca_sha384));
    memcpy(token->host, record->host, sizeof(token->host));
    memcpy(token->trust_domain, call->daemon->state.config.trust_domain, sizeof(token->trust_domain));
    memcpy(record->id, token->id, sizeof(record->id));
    digest_sha384(token->secret, sizeof(token->secret), record->secret_sha384);

    struct store *store = call->daemon->state.store;
    err = store_begin(store, note);
    if (err == ERR_OK)
        err = check_against_hosts(store, record, note);
    if (err == ERR_OK)
        err = store_add_token(store, record, now, note);
    if (err == ERR_OK)
        err = call_audit(call, note);
    if (err == ERR_OK)
        err = store_commit(store, note);
    store_rollback(store);
    return err;
}

void handle_create_token(struct call *call, const ProtobufCMessage *message)
{
    const Twofold__V1__CreateTokenRequest *request = (const Twofold__V1__CreateTokenRequest *)message;
    struct token_record record = {0};
    struct token token = {0};
    char text[TOKEN_TEXT_BYTES];
    struct note note = {0};
    enum err err = make_token(call, request, &record, &token, &note);
    if (err == ERR_OK)
        err = token_encode(&token, text);
    if (err == ERR_OK) {
        Twofold__V1__CreateTokenResponse response = TWOFOLD__V1__CREATE_TOKEN_RESPONSE__INIT;
        response.token = text;
        response.expires = record.expires;
        call_answer(call, &response.base);
    } else {
        call_refuse(call, err, &note);
    }
    secret_wipe(&token, sizeof(token));
    secret_wipe(text, sizeof(text));
}
