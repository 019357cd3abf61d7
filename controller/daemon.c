// SPDX-License-Identifier: GPL-2.0-or-later
#include "controller/daemon.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "controller/identity.h"
#include "controller/rpc.h"
#include "controller/store/policies.h"
#include "controller/stream.h"
#include "proto/base/log.h"

#define RENEWAL_MS       (CA_LEAF_SECONDS * 1000 / 2)
#define RENEWAL_RETRY_MS 300000

// Anyone can fill a log by failing.
static const struct rate refusal_rate = {.interval_ms = 100, .burst = 200};

// ---- memory from the store

static enum err put_host(void *context, const struct host_record *host)
{
    return hosts_put(context, host);
}

static enum err load_policy(struct store *store, uint64_t generation, struct policy **ret_policy, struct note *note)
{
    struct policy_record record;
    enum err err = store_policy(store, generation, &record, note);
    if (err != ERR_OK)
        return err;
    struct notes *notes = calloc(1, sizeof(*notes));
    if (notes == NULL) {
        free(record.text);
        return note_set(note, ERR_NOMEM, "out of memory");
    }
    err = policy_read(record.text, strlen(record.text), ret_policy, notes);
    if (err != ERR_OK)
        note_set(note, err, "the policy of generation %llu in the store is not valid for this version: %u:%u: %s",
                 (unsigned long long)record.generation, notes->items[0].line, notes->items[0].column,
                 notes->count > 0 ? notes->items[0].text : err_text(err));
    free(notes);
    free(record.text);
    return err;
}

static void on_work(void *context);

static enum err load_fleet(struct daemon *daemon, struct note *note)
{
    struct store *store = daemon->state.store;
    struct hosts *hosts = NULL;
    struct policy *policy = NULL;
    uint64_t generation = 0;
    enum err err = hosts_new(daemon->state.config.trust_domain, &hosts);
    if (err == ERR_OK)
        err = store_each_host(store, put_host, hosts, note);
    if (err == ERR_OK)
        err = store_generation(store, &generation, note);
    if (err == ERR_OK)
        err = load_policy(store, generation, &policy, note);
    if (err == ERR_OK)
        err = fleet_new(daemon->clock, hosts, policy, generation, on_work, daemon, &daemon->fleet);
    if (err != ERR_OK) {
        policy_free(policy);
        hosts_free(hosts);
    }
    return err;
}

static enum err set_up_enrolment(struct daemon *daemon)
{
    daemon->enrolment.store = daemon->state.store;
    daemon->enrolment.ca = daemon->state.ca;
    daemon->enrolment.clock = daemon->clock;
    enum err err = limiter_new(&ENROL_FAILURE_RATE, &daemon->enrolment.failures);
    return err == ERR_OK ? limiter_new(&ENROL_RENEWAL_RATE, &daemon->enrolment.renewals) : err;
}

// ---- timers

static void run_work(uv_timer_t *timer)
{
    struct daemon *daemon = timer->data;
    stream_free_gone(daemon);
    if (fleet_work(daemon->fleet))
        on_work(daemon);
}

static void on_work(void *context)
{
    struct daemon *daemon = context;
    if (!uv_is_closing((uv_handle_t *)&daemon->work))
        uv_timer_start(&daemon->work, run_work, 0, 0);
}

static void run_tick(uv_timer_t *timer)
{
    struct daemon *daemon = timer->data;
    fleet_tick(daemon->fleet);
}

// A failed renewal keeps the certificate that is still valid, and tries again.
static void run_renewal(uv_timer_t *timer)
{
    struct daemon *daemon = timer->data;
    struct note note = {0};
    struct tls_context *context = NULL;
    enum err err =
        identity_context(daemon->state.ca, &daemon->state.config, daemon->trust, daemon->clock, &context, &note);
    if (err != ERR_OK) {
        log_event(LOG_LEVEL_ERROR, "certificate.renewal_failed", LOG_STR("reason", note.text));
        uv_timer_start(timer, run_renewal, RENEWAL_RETRY_MS, 0);
        return;
    }
    grpc_server_set_context(daemon->server, context);
    tls_context_drop(daemon->context);
    daemon->context = context;
    log_event(LOG_LEVEL_INFO, "certificate.renewed");
    uv_timer_start(timer, run_renewal, RENEWAL_MS, 0);
}

// ---- start and end

static void on_signal(uv_signal_t *handle, int number)
{
    struct daemon *daemon = handle->data;
    log_event(LOG_LEVEL_INFO, "controller.stopping", LOG_STR("signal", number == SIGTERM ? "TERM" : "INT"));
    daemon_stop(daemon);
}

static void start_handles(struct daemon *daemon)
{
    uv_handle_t *handles[] = {
        (uv_handle_t *)&daemon->work,      (uv_handle_t *)&daemon->tick,      (uv_handle_t *)&daemon->renewal,
        (uv_handle_t *)&daemon->terminate, (uv_handle_t *)&daemon->interrupt,
    };
    uv_timer_init(daemon->loop, &daemon->work);
    uv_timer_init(daemon->loop, &daemon->tick);
    uv_timer_init(daemon->loop, &daemon->renewal);
    uv_signal_init(daemon->loop, &daemon->terminate);
    uv_signal_init(daemon->loop, &daemon->interrupt);
    for (size_t i = 0; i < sizeof(handles) / sizeof(handles[0]); i++)
        handles[i]->data = daemon;
    uv_timer_start(&daemon->tick, run_tick, DAEMON_TICK_MS, DAEMON_TICK_MS);
    uv_timer_start(&daemon->renewal, run_renewal, RENEWAL_MS, 0);
    uv_signal_start(&daemon->terminate, on_signal, SIGTERM);
    uv_signal_start(&daemon->interrupt, on_signal, SIGINT);
}

static void on_refused(void *owner, const struct ip_endpoint *remote, enum err err, const struct note *note)
{
    struct daemon *daemon = owner;
    if (!bucket_take(&daemon->refusals, &refusal_rate, clock_boot_ms(daemon->clock))) {
        daemon->refusals_unlogged++;
        return;
    }
    char text[IP_ENDPOINT_TEXT_BYTES];
    ip_endpoint_format(remote, text);
    log_event(LOG_LEVEL_INFO, "connection.refused", LOG_STR("remote", text), LOG_STR("error", err_name(err)),
              LOG_STR("reason", note != NULL ? note->text : ""), LOG_U64("unlogged", daemon->refusals_unlogged));
    daemon->refusals_unlogged = 0;
}

static const struct grpc_server_events server_events = {.on_call = rpc_on_call, .on_refused = on_refused};

static enum err listen_all(struct daemon *daemon, struct note *note)
{
    const struct config *config = &daemon->state.config;
    enum err err = trust_new(&daemon->trust);
    if (err == ERR_OK)
        err = trust_add(daemon->trust, daemon->state.ca->network.der, daemon->state.ca->network.der_len, note);
    if (err == ERR_OK)
        err = identity_context(daemon->state.ca, config, daemon->trust, daemon->clock, &daemon->context, note);
    if (err == ERR_OK)
        err = grpc_server_new(daemon->loop, config->listen, config->listen_count, daemon->context,
                              DAEMON_CONNECTIONS_MAX, &server_events, daemon, &daemon->server, note);
    return err;
}

enum err daemon_start(struct daemon *daemon, uv_loop_t *loop, const struct clock *clock, struct state *state,
                      struct note *note)
{
    memset(daemon, 0, sizeof(*daemon));
    daemon->loop = loop;
    daemon->clock = clock;
    daemon->started = clock_unix_ms(clock) / 1000;
    daemon->state = *state;
    *state = (struct state){.lock_fd = -1};
    enum err err = load_fleet(daemon, note);
    if (err == ERR_OK)
        err = set_up_enrolment(daemon);
    if (err == ERR_OK)
        err = listen_all(daemon, note);
    if (err != ERR_OK) {
        if (note != NULL && note->text[0] == '\0')
            note_set(note, err, "%s", err_text(err));
        daemon_close(daemon);
        return err;
    }
    start_handles(daemon);
    for (size_t i = 0; i < daemon->state.config.listen_count; i++) {
        char text[IP_ENDPOINT_TEXT_BYTES];
        struct ip_endpoint endpoint = grpc_server_address(daemon->server, i);
        ip_endpoint_format(&endpoint, text);
        log_event(LOG_LEVEL_INFO, "controller.listening", LOG_STR("address", text),
                  LOG_U64("generation", daemon->fleet->generation));
    }
    return ERR_OK;
}

static void on_server_gone(void *owner)
{
    struct daemon *daemon = owner;
    daemon->server = NULL;
    stream_free_gone(daemon);
    uv_close((uv_handle_t *)&daemon->work, NULL);
}

void daemon_stop(struct daemon *daemon)
{
    if (daemon->stopping)
        return;
    daemon->stopping = true;
    uv_close((uv_handle_t *)&daemon->tick, NULL);
    uv_close((uv_handle_t *)&daemon->renewal, NULL);
    uv_close((uv_handle_t *)&daemon->terminate, NULL);
    uv_close((uv_handle_t *)&daemon->interrupt, NULL);
    grpc_server_close(daemon->server, on_server_gone);
}

void daemon_fail(struct daemon *daemon, enum err err)
{
    log_event(LOG_LEVEL_ERROR, "controller.failed", LOG_STR("reason", err_text(err)),
              LOG_STR("remedy", "start it again: the store has everything"));
    daemon->failed = true;
    daemon_stop(daemon);
}

void daemon_close(struct daemon *daemon)
{
    fleet_free(daemon->fleet);
    limiter_free(daemon->enrolment.failures);
    limiter_free(daemon->enrolment.renewals);
    tls_context_drop(daemon->context);
    trust_free(daemon->trust);
    state_close(&daemon->state);
    memset(daemon, 0, sizeof(*daemon));
}
