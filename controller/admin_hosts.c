// SPDX-License-Identifier: GPL-2.0-or-later
// Admin/ListHosts and RevokeHost.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin.pb-c.h"
#include "controller/admin_wait.h"
#include "controller/handlers.h"
#include "controller/sentence.h"
#include "proto/wire/message.h"

// Hosts' reports beyond this are left out, so that the answer keeps within the size of a message.
#define STATUS_BYTES_MAX (8u << 20)

// ---- ListHosts

struct host_list {
    struct fleet *fleet;
    Twofold__V1__HostEntry **entries; // copies, but for the status, which is the agent's
    size_t count;
    size_t capacity;
    size_t status_bytes;
};

// What points from the entry into the record and into itself.
struct entry_room {
    ProtobufCBinaryData addresses[CERT_ADDRESSES_MAX];
    Twofold__V1__Label labels[CERT_LABELS_MAX];
    Twofold__V1__Label *label_pointers[CERT_LABELS_MAX];
    char problem[AGENT_PROBLEM_BYTES];
};

static void fill_facts(Twofold__V1__HostEntry *entry, struct entry_room *room, const struct host_record *host)
{
    for (size_t i = 0; i < host->address_count; i++)
        room->addresses[i] = (ProtobufCBinaryData){host->addresses[i].len, (uint8_t *)host->addresses[i].bytes};
    for (size_t i = 0; i < host->label_count; i++) {
        room->labels[i] = (Twofold__V1__Label)TWOFOLD__V1__LABEL__INIT;
        room->labels[i].key = (char *)host->labels[i].key;
        room->labels[i].value = (char *)host->labels[i].value;
        room->label_pointers[i] = &room->labels[i];
    }
    entry->host = (char *)host->name;
    entry->addresses = room->addresses;
    entry->n_addresses = host->address_count;
    entry->labels = room->label_pointers;
    entry->n_labels = host->label_count;
    entry->slot = host->slot;
    entry->workload = (char *)host->workload;
    entry->revoked = host->revoked;
    entry->certificate_expires = host->certificate_expires;
}

static void fill_state(Twofold__V1__HostEntry *entry, struct entry_room *room, const struct host_record *host,
                       const struct agent *agent)
{
    entry->connected = agent != NULL && agent->session != NULL;
    if (agent != NULL) {
        entry->generation = agent->generation;
        entry->version = (char *)agent->version;
    }
    if (host->revoked)
        snprintf(room->problem, sizeof(room->problem), "revoked%s%s", host->revoked_reason[0] != '\0' ? ": " : "",
                 host->revoked_reason);
    else if (agent == NULL)
        snprintf(room->problem, sizeof(room->problem), "it has not connected since the controller started");
    else
        snprintf(room->problem, sizeof(room->problem), "%s", agent->problem);
    entry->problem = room->problem;
}

static enum err reserve(struct host_list *list)
{
    if (list->count < list->capacity)
        return ERR_OK;
    size_t capacity = list->capacity == 0 ? 64 : list->capacity * 2;
    Twofold__V1__HostEntry **entries = reallocarray(list->entries, capacity, sizeof(*entries));
    if (entries == NULL)
        return ERR_NOMEM;
    list->entries = entries;
    list->capacity = capacity;
    return ERR_OK;
}

static void lend_status(struct host_list *list, Twofold__V1__HostEntry *entry, const struct agent *agent)
{
    if (agent == NULL || agent->status == NULL || agent->session == NULL)
        return;
    size_t bytes = protobuf_c_message_get_packed_size(&agent->status->status->base);
    if (list->status_bytes + bytes > STATUS_BYTES_MAX)
        return;
    list->status_bytes += bytes;
    entry->status = agent->status->status;
}

static enum err list_host(void *context, const struct host_record *host)
{
    struct host_list *list = context;
    const struct agent *agent = fleet_find(list->fleet, host->name);
    struct entry_room room;
    Twofold__V1__HostEntry entry = TWOFOLD__V1__HOST_ENTRY__INIT;
    fill_facts(&entry, &room, host);
    fill_state(&entry, &room, host, agent);
    ProtobufCMessage *copy = NULL;
    enum err err = reserve(list);
    if (err == ERR_OK)
        err = message_copy(&entry.base, &copy);
    if (err != ERR_OK)
        return err;
    list->entries[list->count] = (Twofold__V1__HostEntry *)copy;
    lend_status(list, list->entries[list->count++], agent);
    return ERR_OK;
}

static void host_list_free(struct host_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        list->entries[i]->status = NULL;
        message_free(list->entries[i]);
    }
    free(list->entries);
}

void handle_list_hosts(struct call *call, const ProtobufCMessage *message)
{
    (void)message; // it has no fields
    struct note note = {0};
    struct host_list list = {.fleet = call->daemon->fleet};
    enum err err = store_each_host(call->daemon->state.store, list_host, &list, &note);
    if (err != ERR_OK) {
        call_refuse(call, err, &note);
    } else {
        Twofold__V1__ListHostsResponse response = TWOFOLD__V1__LIST_HOSTS_RESPONSE__INIT;
        response.hosts = list.entries;
        response.n_hosts = list.count;
        response.generation = call->daemon->fleet->generation;
        call_answer(call, &response.base);
    }
    host_list_free(&list);
}

// ---- RevokeHost

static void answer_revoke(struct call *call, const struct outcome *outcome)
{
    Twofold__V1__RevokeHostResponse response = TWOFOLD__V1__REVOKE_HOST_RESPONSE__INIT;
    response.generation = outcome->generation;
    response.elapsed_ms = outcome->elapsed_ms;
    response.results = outcome->results;
    response.n_results = outcome->result_count;
    call_answer(call, &response.base);
}

static enum err check_request(const Twofold__V1__RevokeHostRequest *request, struct note *note)
{
    if (!name_is_valid(request->host))
        return note_set(note, ERR_INVALID, "%.64s is not a host's name", request->host);
    if (strlen(request->reason) >= HOST_REASON_BYTES)
        return note_set(note, ERR_LIMIT, "the reason is longer than %d bytes", HOST_REASON_BYTES - 1);
    return ERR_OK;
}

static enum err revoke_host(struct call *call, const Twofold__V1__RevokeHostRequest *request, struct host_record *host,
                            uint64_t *ret_generation, struct note *note)
{
    struct store *store = call->daemon->state.store;
    enum err err = check_request(request, note);
    if (err != ERR_OK)
        return err;
    snprintf(call->object, sizeof(call->object), "%s", request->host);
    err = store_begin(store, note);
    if (err == ERR_OK)
        err = store_revoke_host(store, request->host, clock_unix_ms(call->daemon->clock) / 1000, request->reason, note);
    if (err == ERR_OK)
        err = store_next_generation(store, ret_generation, note);
    if (err == ERR_OK)
        err = store_host(store, request->host, host, note);
    if (err == ERR_OK && request->reason[0] != '\0')
        sentence_set(call->object, sizeof(call->object), "%s: %s", request->host, request->reason);
    if (err == ERR_OK)
        err = call_audit(call, note);
    if (err == ERR_OK)
        err = store_commit(store, note);
    store_rollback(store);
    return err;
}

void handle_revoke_host(struct call *call, const ProtobufCMessage *message)
{
    const Twofold__V1__RevokeHostRequest *request = (const Twofold__V1__RevokeHostRequest *)message;
    uint64_t started_ms = clock_boot_ms(call->daemon->clock);
    struct note note = {0};
    struct host_record host;
    uint64_t generation = 0;
    enum err err = revoke_host(call, request, &host, &generation, &note);
    if (err != ERR_OK) {
        call_refuse(call, err, &note);
        return;
    }
    err = fleet_put_host(call->daemon->fleet, &host, generation);
    if (err != ERR_OK)
        daemon_fail(call->daemon, err);
    else
        admin_wait(call, generation, started_ms, request->wait_ms, answer_revoke);
}
