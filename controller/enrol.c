// SPDX-License-Identifier: GPL-2.0-or-later
#include "controller/enrol.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controller/audit.h"
#include "controller/store/tokens.h"
#include "proto/base/log.h"
#include "proto/base/secret.h"
#include "proto/wire/slice.h"

static const struct rate audited_rate = {.interval_ms = 1000, .burst = 60};

static uint64_t now_seconds(const struct enrolment *enrolment)
{
    return clock_unix_ms(enrolment->clock) / 1000;
}

bool enrol_address_fits(const struct ip *address)
{
    return !ip_is_unspecified(address) && !ip_is_loopback(address) && !ip_is_multicast(address) &&
           !ip_is_link_local(address);
}

// ---- the token

// What the audit log says; the caller is told less.
struct verdict {
    const char *outcome; // NULL: the token is good
    bool knows_secret;
};

static struct verdict judge_token(const struct token_record *token, bool found,
                                  const Twofold__V1__EnrolRequest *request, uint64_t now)
{
    uint8_t secret_sha384[DIGEST_BYTES];
    digest_sha384(request->token_secret.data, request->token_secret.len, secret_sha384);
    bool matches =
        secret_equal(secret_sha384, token->secret_sha384, sizeof(secret_sha384)); // also when there is none: same time
    if (!found)
        return (struct verdict){"the token is unknown", false};
    if (!matches)
        return (struct verdict){"the token's secret is wrong", false};
    if (token->used_at != 0)
        return (struct verdict){"the token was used before", true};
    if (token->expires <= now)
        return (struct verdict){"the token has expired", true};
    if (strcmp(token->host, request->host) != 0)
        return (struct verdict){"the token is for another host", true};
    return (struct verdict){NULL, true};
}

static enum err check_token(struct enrolment *enrolment, const Twofold__V1__EnrolRequest *request,
                            struct token_record *token, const char **ret_outcome, struct note *note)
{
    memset(token, 0, sizeof(*token));
    if (request->token_id.len != TOKEN_ID_BYTES || request->token_secret.len != TOKEN_SECRET_BYTES ||
        !name_is_valid(request->host)) {
        *ret_outcome = "the request is malformed";
        return note_set(note, ERR_MALFORMED, "the enrolment request does not carry a join token and a host's name");
    }
    enum err err = store_token(enrolment->store, request->token_id.data, token, note);
    if (err != ERR_OK && err != ERR_NOT_FOUND)
        return err;
    struct verdict verdict = judge_token(token, err == ERR_OK, request, now_seconds(enrolment));
    if (verdict.outcome == NULL)
        return ERR_OK;
    *ret_outcome = verdict.outcome;
    if (!verdict.knows_secret)
        return note_set(note, ERR_DENIED, "the join token is not valid: make one with `twofold token create`");
    return note_set(note, ERR_DENIED, "%s: make a new one with `twofold token create`", verdict.outcome);
}

// ---- the host

static enum err fill_addresses(struct host_record *host, const struct token_record *token, const struct ip *source,
                               struct note *note)
{
    host->address_count = token->address_count;
    memcpy(host->addresses, token->addresses, sizeof(host->addresses));
    if (host->address_count > 0)
        return ERR_OK;
    if (!enrol_address_fits(source)) {
        char text[IP_TEXT_BYTES];
        ip_format(source, text);
        return note_set(note, ERR_INVALID,
                        "the request came from %s, which cannot be a host's address: name one in the token (--address)",
                        text);
    }
    host->addresses[host->address_count++] = *source;
    return ERR_OK;
}

static enum err check_addresses(struct enrolment *enrolment, const struct host_record *host, struct note *note)
{
    char holder[NAME_MAX_BYTES + 1];
    struct ip address;
    enum err err = store_address_holder(enrolment->store, host->name, host->addresses, host->address_count, holder,
                                        &address, note);
    if (err == ERR_NOT_FOUND)
        return ERR_OK;
    if (err != ERR_OK)
        return err;
    char text[IP_TEXT_BYTES];
    ip_format(&address, text);
    return note_set(note, ERR_EXISTS,
                    "the address %s belongs to host %s: revoke that one, or name another address in the token", text,
                    holder);
}

static bool same_facts(const struct host_record *a, const struct host_record *b)
{
    if (a->address_count != b->address_count || a->label_count != b->label_count ||
        strcmp(a->workload, b->workload) != 0)
        return false;
    for (size_t i = 0; i < a->label_count; i++) {
        if (strcmp(a->labels[i].key, b->labels[i].key) != 0 || strcmp(a->labels[i].value, b->labels[i].value) != 0)
            return false;
    }
    return memcmp(a->addresses, b->addresses, a->address_count * sizeof(*a->addresses)) == 0;
}

// The host as it will be. A name that is known keeps its slot.
static enum err plan_host(struct enrolment *enrolment, const struct token_record *token, const struct ip *source,
                          struct host_record *host, bool *ret_changed, struct note *note)
{
    struct host_record known;
    enum err err = store_host(enrolment->store, token->host, &known, note);
    if (err != ERR_OK && err != ERR_NOT_FOUND)
        return err;
    bool is_known = err == ERR_OK;
    if (is_known && known.revoked)
        return note_set(note, ERR_REVOKED, "host %s is revoked, and its name with it: enrol under another name",
                        token->host);

    memset(host, 0, sizeof(*host));
    snprintf(host->name, sizeof(host->name), "%s", token->host);
    struct spiffe_id workload = {.kind = SPIFFE_WORKLOAD, .namespace_ = "default"};
    snprintf(workload.trust_domain, sizeof(workload.trust_domain), "%s", enrolment->ca->trust_domain);
    snprintf(workload.name, sizeof(workload.name), "%s", token->workload);
    spiffe_format(&workload, host->workload);
    host->label_count = token->label_count;
    memcpy(host->labels, token->labels, sizeof(host->labels));
    err = fill_addresses(host, token, source, note);
    if (err == ERR_OK)
        err = check_addresses(enrolment, host, note);
    if (err != ERR_OK)
        return err;
    *ret_changed = !is_known || !same_facts(host, &known);
    if (is_known) {
        host->slot = known.slot;
        return ERR_OK;
    }
    uint64_t live = 0;
    err = store_count_live_hosts(enrolment->store, &live, note);
    if (err == ERR_OK && live >= SLICE_PEERS_MAX)
        return note_set(note, ERR_LIMIT, "there are %d hosts, the most that a slice can name: revoke some first",
                        SLICE_PEERS_MAX);
    return err == ERR_OK ? store_free_slot(enrolment->store, &host->slot, note) : err;
}

static void format_source(const struct ip *source, char text[IP_TEXT_BYTES + 8])
{
    char address[IP_TEXT_BYTES];
    ip_format(source, address);
    snprintf(text, IP_TEXT_BYTES + 8, "address %s", address);
}

// Everything behind the check of the token, inside one transaction.
static enum err take_in(struct enrolment *enrolment, const Twofold__V1__EnrolRequest *request,
                        const struct token_record *token, const struct ip *source, struct enrolled *enrolled,
                        struct note *note)
{
    uint64_t now = now_seconds(enrolment);
    bool changed = false;
    enum err err = plan_host(enrolment, token, source, &enrolled->host, &changed, note);
    if (err == ERR_OK)
        err = ca_issue_host(enrolment->ca, &enrolled->host, request->requests, now, &enrolled->issued, note);
    if (err != ERR_OK)
        return err;
    enrolled->host.serial = enrolled->issued.agent_serial;
    enrolled->host.certificate_expires = enrolled->issued.expires;

    err = store_use_token(enrolment->store, token->id, now, note);
    if (err == ERR_OK)
        err = store_put_host(enrolment->store, &enrolled->host, note);
    if (err == ERR_OK)
        err = changed ? store_next_generation(enrolment->store, &enrolled->generation, note)
                      : store_generation(enrolment->store, &enrolled->generation, note);
    if (err != ERR_OK)
        return err;
    char actor[IP_TEXT_BYTES + 8];
    format_source(source, actor);
    struct audit_event event = {.actor = actor, .action = "host.enrol", .object = enrolled->host.name, .outcome = "ok"};
    return audit_write(enrolment->store, enrolment->clock, &event, note);
}

static void refused(struct enrolment *enrolment, const Twofold__V1__EnrolRequest *request, const struct ip *source,
                    const char *outcome)
{
    uint64_t now = clock_boot_ms(enrolment->clock);
    limiter_count(enrolment->failures, source, now);
    if (!bucket_take(&enrolment->audited, &audited_rate, now)) // otherwise guessers could fill the disk
        return;
    char actor[IP_TEXT_BYTES + 8];
    format_source(source, actor);
    struct audit_event event = {
        .actor = actor,
        .action = "host.enrol",
        .object = name_is_valid(request->host) ? request->host : "(no name)",
        .outcome = outcome,
    };
    audit_refused(enrolment->store, enrolment->clock, &event);
}

// ERR_CRYPTO is a request whose signature is wrong: what our own keys cannot do is ERR_IO and kin.
static bool is_fault_of_caller(enum err err)
{
    return err == ERR_CRYPTO || (err_category(err) != ERR_CATEGORY_OURS && err != ERR_AGAIN);
}

enum err enrol_by_token(struct enrolment *enrolment, const Twofold__V1__EnrolRequest *request, const struct ip *source,
                        struct enrolled *ret_enrolled, struct note *note)
{
    if (limiter_blocks(enrolment->failures, source, clock_boot_ms(enrolment->clock)))
        return note_set(note, ERR_LIMIT, "too many failed enrolments from this address: wait a minute and try again");
    struct token_record token;
    struct enrolled enrolled = {0};
    const char *outcome = NULL;
    enum err err = store_begin(enrolment->store, note);
    if (err != ERR_OK)
        return err;
    err = check_token(enrolment, request, &token, &outcome, note);
    if (err == ERR_OK)
        err = take_in(enrolment, request, &token, source, &enrolled, note);
    if (err == ERR_OK)
        err = store_commit(enrolment->store, note);
    if (err != ERR_OK) {
        store_rollback(enrolment->store);
        ca_issued_free(&enrolled.issued);
        if (is_fault_of_caller(err))
            refused(enrolment, request, source, outcome != NULL ? outcome : note->text);
        return err;
    }
    *ret_enrolled = enrolled;
    return ERR_OK;
}

// ---- renewal

static bool is_serial(const struct certificate_serial *serial, const struct cert_facts *facts)
{
    return serial->len > 0 && serial->len == facts->serial_len &&
           memcmp(serial->bytes, facts->serial, serial->len) == 0;
}

enum err enrol_check_agent(struct enrolment *enrolment, const struct cert_facts *peer, struct host_record *ret_host,
                           struct note *note)
{
    struct host_record host;
    enum err err = store_host(enrolment->store, peer->id.name, &host, note);
    if (err == ERR_NOT_FOUND)
        return note_set(note, ERR_DENIED, "host %s is not enrolled here: enrol it with a new token", peer->id.name);
    if (err != ERR_OK)
        return err;
    if (host.revoked)
        return note_set(note, ERR_REVOKED, "host %s is revoked: enrol under another name", host.name);
    if (!is_serial(&host.serial, peer) && !is_serial(&host.previous_serial, peer)) {
        return note_set(note, ERR_DENIED,
                        "this certificate of host %s was replaced by a later one: if that was not you, revoke the host",
                        host.name);
    }
    *ret_host = host;
    return ERR_OK;
}

enum err enrol_renew(struct enrolment *enrolment, const struct cert_facts *peer,
                     const Twofold__V1__RenewRequest *request, const struct ip *source, struct enrolled *ret_enrolled,
                     struct note *note)
{
    uint64_t boot_ms = clock_boot_ms(enrolment->clock);
    if (limiter_blocks(enrolment->renewals, source, boot_ms))
        return note_set(note, ERR_LIMIT, "too many renewals from this address: try again later");
    limiter_count(enrolment->renewals, source, boot_ms);
    struct enrolled enrolled = {0};
    enum err err = enrol_check_agent(enrolment, peer, &enrolled.host, note);
    if (err == ERR_OK)
        err = ca_issue_host(enrolment->ca, &enrolled.host, request->requests, now_seconds(enrolment), &enrolled.issued,
                            note);
    if (err != ERR_OK)
        return err;
    // The certificate that asked stays good beside the new one: the answer may be lost, and then it asks again.
    struct certificate_serial previous = {.len = peer->serial_len};
    memcpy(previous.bytes, peer->serial, sizeof(previous.bytes));
    enrolled.host.previous_serial = previous;
    enrolled.host.serial = enrolled.issued.agent_serial;
    enrolled.host.certificate_expires = enrolled.issued.expires;
    err = store_set_serials(enrolment->store, enrolled.host.name, &enrolled.host.serial, &previous,
                            enrolled.issued.expires, note);
    if (err == ERR_OK)
        err = store_generation(enrolment->store, &enrolled.generation, note);
    if (err != ERR_OK) {
        ca_issued_free(&enrolled.issued);
        return err;
    }
    *ret_enrolled = enrolled;
    return ERR_OK;
}
