// SPDX-License-Identifier: GPL-2.0-or-later
//
//   WAITING --due--> COLLECTING --three requests--> CALLING --certificates, checked--> WAITING (for half of their life)
//      ^                  |                            |
//      +---- later -------+----- refused, timed out ---+
#include "agent/control/renewal.h"

#include <stdlib.h>
#include <string.h>

#include "agent/backoff.h"

enum {
    COLLECT_MS = 15000,
    CALL_MS = 45000, // longer than the call's own limit
    RETRY_MIN_MS = 5000,
    RETRY_MAX_MS = 600000,
    RECHECK_MS = 60000, // the wall clock may jump
    REQUEST_BYTES_MAX = 4096,
};

enum renewal_state { WAITING, COLLECTING, CALLING };

struct request {
    uint8_t *bytes;
    size_t len;
    uint8_t point[97];
};

struct renewal {
    const struct clock *clock;
    const struct renewal_actions *actions;
    void *context;
    enum renewal_state state;
    struct cert_facts facts; // of the agent certificate in use
    uint64_t due_unix_ms;    // while WAITING
    uint64_t deadline_boot_ms;
    struct request requests[ROLE_COUNT]; // owned; by the role that holds the key
    struct backoff backoff;
    struct note problem;
};

enum err renewal_new(const struct clock *clock, const struct renewal_actions *actions, void *context,
                     struct renewal **ret_renewal)
{
    struct renewal *renewal = calloc(1, sizeof(*renewal));

    if (!renewal)
        return ERR_NOMEM;
    renewal->clock = clock;
    renewal->actions = actions;
    renewal->context = context;
    renewal->deadline_boot_ms = UINT64_MAX;
    backoff_init(&renewal->backoff, RETRY_MIN_MS, RETRY_MAX_MS);
    *ret_renewal = renewal;
    return ERR_OK;
}

static void drop_requests(struct renewal *renewal)
{
    for (enum role role = 0; role < ROLE_COUNT; role++)
        free(renewal->requests[role].bytes);
    memset(renewal->requests, 0, sizeof(renewal->requests));
}

void renewal_free(struct renewal *renewal)
{
    if (!renewal)
        return;
    drop_requests(renewal);
    free(renewal);
}

uint64_t renewal_deadline(const struct renewal *renewal)
{
    return renewal->deadline_boot_ms;
}

const char *renewal_problem(const struct renewal *renewal)
{
    return renewal->problem.text;
}

// ---- waiting

static void wait_until_due(struct renewal *renewal)
{
    uint64_t now = clock_unix_ms(renewal->clock);
    uint64_t wait_ms = renewal->due_unix_ms > now ? renewal->due_unix_ms - now : 0;

    renewal->state = WAITING;
    renewal->deadline_boot_ms = clock_boot_ms(renewal->clock) + (wait_ms < RECHECK_MS ? wait_ms : RECHECK_MS);
}

void renewal_set_certificate(struct renewal *renewal, const struct cert_facts *facts)
{
    uint64_t life_ms = (facts->not_after - facts->not_before) * 1000;

    renewal->facts = *facts;
    renewal->due_unix_ms = facts->not_before * 1000 + random_between(life_ms * 4 / 10, life_ms * 6 / 10);
    wait_until_due(renewal);
}

static void fail(struct renewal *renewal)
{
    uint64_t wait_ms = backoff_next_ms(&renewal->backoff);

    drop_requests(renewal);
    renewal->state = WAITING;
    renewal->due_unix_ms = clock_unix_ms(renewal->clock);
    renewal->deadline_boot_ms = clock_boot_ms(renewal->clock) + wait_ms;
    renewal->actions->failed(renewal->context, renewal->problem.text, wait_ms);
}

static void fail_because(struct renewal *renewal, enum err err, const char *doing)
{
    note_set(&renewal->problem, err, "%s: %s", doing, err_text(err));
    fail(renewal);
}

// ---- collecting

static enum err keep_request(struct renewal *renewal, enum role role, const uint8_t *bytes, size_t len,
                             struct note *note)
{
    struct request *request = &renewal->requests[role];
    uint8_t point[97];

    if (len > REQUEST_BYTES_MAX)
        return note_set(note, ERR_LIMIT, "it is larger than %d bytes", REQUEST_BYTES_MAX);
    enum err err = cert_request_check(bytes, len, point, note);
    if (err)
        return err;
    uint8_t *copy = malloc(len);
    if (!copy)
        return note_set(note, ERR_NOMEM, "out of memory");
    memcpy(copy, bytes, len);
    free(request->bytes);
    request->bytes = copy;
    request->len = len;
    memcpy(request->point, point, sizeof(point));
    return ERR_OK;
}

static enum err collect_own(struct renewal *renewal, struct note *note)
{
    uint8_t *bytes;
    size_t len;

    enum err err = renewal->actions->own_request(renewal->context, &bytes, &len, note);
    if (err)
        return err;
    err = keep_request(renewal, ROLE_CONTROL, bytes, len, note);
    free(bytes);
    return err;
}

static void collect(struct renewal *renewal)
{
    enum err err;

    drop_requests(renewal);
    renewal->state = COLLECTING;
    renewal->deadline_boot_ms = clock_boot_ms(renewal->clock) + COLLECT_MS;
    if (collect_own(renewal, &renewal->problem) != ERR_OK) {
        note_prefix(&renewal->problem, "the agent's own request: ");
        fail(renewal);
    } else if ((err = renewal->actions->ask_role(renewal->context, ROLE_NETWORK)) ||
               (err = renewal->actions->ask_role(renewal->context, ROLE_HTTPS))) {
        fail_because(renewal, err, "the roles cannot be asked for new keys");
    }
}

static bool have_all(const struct renewal *renewal)
{
    for (enum role role = 0; role < ROLE_COUNT; role++) {
        if (!renewal->requests[role].bytes)
            return false;
    }
    return true;
}

static void call(struct renewal *renewal)
{
    Twofold__V1__RenewRequest request = TWOFOLD__V1__RENEW_REQUEST__INIT;
    Twofold__V1__CertificateRequests requests = TWOFOLD__V1__CERTIFICATE_REQUESTS__INIT;
    const struct request *of = renewal->requests;

    requests.agent = (ProtobufCBinaryData){of[ROLE_CONTROL].len, of[ROLE_CONTROL].bytes};
    requests.host = (ProtobufCBinaryData){of[ROLE_NETWORK].len, of[ROLE_NETWORK].bytes};
    requests.workload = (ProtobufCBinaryData){of[ROLE_HTTPS].len, of[ROLE_HTTPS].bytes};
    request.requests = &requests;
    renewal->state = CALLING;
    renewal->deadline_boot_ms = clock_boot_ms(renewal->clock) + CALL_MS;
    enum err err = renewal->actions->call(renewal->context, &request);
    if (err)
        fail_because(renewal, err, "the controller cannot be asked for new certificates");
}

void renewal_on_request(struct renewal *renewal, enum role role, const Twofold__V1__CertificateRequest *request)
{
    if (renewal->state != COLLECTING || renewal->requests[role].bytes)
        return;
    if (request->request.len == 0) {
        note_set(&renewal->problem, ERR_AGAIN, "the %s role made no request: %s", role_name(role),
                 request->reason[0] ? request->reason : "it gave no reason");
        fail(renewal);
        return;
    }
    if (keep_request(renewal, role, request->request.data, request->request.len, &renewal->problem) != ERR_OK) {
        note_prefix(&renewal->problem, "the %s role's request: ", role_name(role));
        fail(renewal);
        return;
    }
    if (have_all(renewal))
        call(renewal);
}

// ---- the answer

static enum err check_leaf(const struct renewal *renewal, enum role role, const ProtobufCBinaryData *leaf,
                           const ProtobufCBinaryData *ca, struct cert_facts *ret_facts, struct note *note)
{
    static const enum spiffe_kind kinds[ROLE_COUNT] = {
        [ROLE_CONTROL] = SPIFFE_AGENT,
        [ROLE_NETWORK] = SPIFFE_HOST,
        [ROLE_HTTPS] = SPIFFE_WORKLOAD,
    };
    const struct spiffe_id *own = &renewal->facts.id;
    struct trust *trust;

    enum err err = trust_new(&trust);
    if (err)
        return note_set(note, err, "%s", err_text(err));
    err = trust_add(trust, ca->data, ca->len, note);
    if (!err)
        err = trust_verify(trust, leaf->data, leaf->len, clock_unix_ms(renewal->clock) / 1000, ret_facts, note);
    trust_free(trust);
    if (err)
        return err;
    if (ret_facts->id.kind != kinds[role] || strcmp(ret_facts->id.trust_domain, own->trust_domain) != 0 ||
        (role != ROLE_HTTPS && strcmp(ret_facts->id.name, own->name) != 0))
        return note_set(note, ERR_IDENTITY, "it names somebody else");
    if (memcmp(ret_facts->public_point, renewal->requests[role].point, sizeof(ret_facts->public_point)) != 0)
        return note_set(note, ERR_IDENTITY, "it is for another key than the one that was asked for");
    return ERR_OK;
}

static enum err check_response(const struct renewal *renewal, const Twofold__V1__EnrolResponse *response,
                               struct cert_facts *ret_agent, struct note *note)
{
    struct cert_facts others;
    enum err err;

    if ((err = check_leaf(renewal, ROLE_CONTROL, &response->agent, &response->network_ca, ret_agent, note))) {
        note_prefix(note, "the new agent certificate: ");
        return err;
    }
    if ((err = check_leaf(renewal, ROLE_NETWORK, &response->host, &response->network_ca, &others, note))) {
        note_prefix(note, "the new host certificate: ");
        return err;
    }
    if ((err = check_leaf(renewal, ROLE_HTTPS, &response->workload, &response->workload_ca, &others, note)))
        note_prefix(note, "the new workload certificate: ");
    return err;
}

static enum err deliver(struct renewal *renewal, const Twofold__V1__EnrolResponse *response)
{
    Twofold__V1__Certificate host = TWOFOLD__V1__CERTIFICATE__INIT;
    Twofold__V1__Certificate workload = TWOFOLD__V1__CERTIFICATE__INIT;

    host.certificate = response->host;
    host.ca = response->network_ca;
    workload.certificate = response->workload;
    workload.ca = response->workload_ca;
    enum err err = renewal->actions->deliver(renewal->context, ROLE_NETWORK, &host);
    return err ? err : renewal->actions->deliver(renewal->context, ROLE_HTTPS, &workload);
}

void renewal_on_response(struct renewal *renewal, const Twofold__V1__EnrolResponse *response, const char *why)
{
    struct cert_facts facts;

    if (renewal->state != CALLING)
        return;
    if (!response) {
        note_set(&renewal->problem, ERR_AGAIN, "the controller renewed nothing: %s", why);
        fail(renewal);
        return;
    }
    if (check_response(renewal, response, &facts, &renewal->problem) != ERR_OK ||
        renewal->actions->install(renewal->context, response, &renewal->problem) != ERR_OK) {
        fail(renewal);
        return;
    }
    drop_requests(renewal);
    renewal->problem = (struct note){0};
    backoff_reset(&renewal->backoff);
    renewal_set_certificate(renewal, &facts);
    enum err err = deliver(renewal, response);
    if (err)
        // That role goes on with what it has, which is valid for as long again; the next attempt comes sooner.
        fail_because(renewal, err, "the new certificates cannot be handed to the roles");
    else
        renewal->actions->renewed(renewal->context, facts.not_after);
}

void renewal_tick(struct renewal *renewal)
{
    if (clock_boot_ms(renewal->clock) < renewal->deadline_boot_ms)
        return;
    switch (renewal->state) {
    case WAITING:
        if (clock_unix_ms(renewal->clock) < renewal->due_unix_ms)
            wait_until_due(renewal);
        else
            collect(renewal);
        return;
    case COLLECTING:
        note_set(&renewal->problem, ERR_TIMEOUT, "the %s role made no request in time",
                 role_name(renewal->requests[ROLE_NETWORK].bytes ? ROLE_HTTPS : ROLE_NETWORK));
        fail(renewal);
        return;
    case CALLING:
        note_set(&renewal->problem, ERR_TIMEOUT, "the controller did not answer in time");
        fail(renewal);
        return;
    }
}
