// SPDX-License-Identifier: GPL-2.0-or-later
// What an enrolled agent can send to the controller's session: a sequence of messages, each behind its length (16 bit, network order),
// to a fleet of three hosts of which a second one is connected.
#include <stdlib.h>
#include <string.h>

#include "controller/session.h"
#include "proto/base/log.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char policy_text[] = "version: 1\n"
                                  "segments:\n"
                                  "  web: {hosts: [web]}\n"
                                  "  rest: {hosts: [api, db]}\n"
                                  "rules:\n"
                                  "  - {name: r, from: web, to: rest, ports: [tcp/80]}\n";

static uint64_t now_ms;

static uint64_t read_now(void *context)
{
    (void)context;
    return now_ms;
}

static const struct clock fuzz_clock = {.boot_ms = read_now, .unix_ms = read_now};

static enum err port_send(void *context, const uint8_t *bytes, size_t len)
{
    (void)context;
    (void)bytes;
    return len > 0 ? ERR_OK : ERR_LIMIT;
}

static void port_end(void *context, enum grpc_status status, const char *text)
{
    (void)context;
    (void)status;
    (void)text;
}

static void port_cut(void *context, const char *text)
{
    (void)context;
    (void)text;
}

static const struct session_port port = {.send = port_send, .end = port_end, .cut = port_cut};

static void on_work(void *context)
{
    (void)context;
}

static struct fleet *make_fleet(void)
{
    static const char *const names[] = {"web", "api", "db"};
    static struct notes notes;
    struct hosts *hosts = NULL;
    struct policy *policy = NULL;
    struct fleet *fleet = NULL;
    if (hosts_new("example.org", &hosts) != ERR_OK)
        abort();
    for (uint8_t i = 0; i < 3; i++) {
        struct host_record host = {.slot = i + 1u, .address_count = 1};
        strcpy(host.name, names[i]);
        strcpy(host.workload, "spiffe://example.org/ns/default/sa/");
        strcat(host.workload, names[i]);
        host.addresses[0] = (struct ip){.len = 4, .bytes = {192, 0, 2, (uint8_t)(i + 1)}};
        if (hosts_put(hosts, &host) != ERR_OK)
            abort();
    }
    if (policy_read(policy_text, sizeof(policy_text) - 1, &policy, &notes) != ERR_OK ||
        fleet_new(&fuzz_clock, hosts, policy, 3, on_work, NULL, &fleet) != ERR_OK)
        abort();
    return fleet;
}

static void feed(struct fleet *fleet, struct session *session, const uint8_t *data, size_t size)
{
    while (size >= 2) {
        size_t len = (size_t)data[0] << 8 | data[1];
        data += 2;
        size -= 2;
        if (len > size)
            len = size;
        session_on_message(session, data, len);
        data += len;
        size -= len;
        now_ms += 100;
        fleet_work(fleet);
        fleet_tick(fleet);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t hello[] = {0x0a, 0x00}; // AgentMessage{hello: {}}
    struct session *peer = NULL, *session = NULL;
    log_set_level(LOG_LEVEL_ERROR);
    now_ms = 1000;
    struct fleet *fleet = make_fleet();
    if (session_open(fleet, "api", &port, NULL, &peer) != ERR_OK ||
        session_open(fleet, "web", &port, NULL, &session) != ERR_OK)
        abort();
    session_on_message(peer, hello, sizeof(hello));
    fleet_work(fleet);
    feed(fleet, session, data, size);
    session_gone(session);
    session_gone(peer);
    fleet_free(fleet);
    return 0;
}
