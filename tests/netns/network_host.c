// SPDX-License-Identifier: GPL-2.0-or-later
// One network role as a program of its own for tests: this process plays the control and the https role. Not for people.
//
//   network_host ca FOLDER                                  a network CA: ca.key, ca.pem
//   network_host issue CA FOLDER HOST SLOT ADDRESS,…        a host's files
//   network_host floor | clear                              as the commands of twofold-agent
//   network_host run FOLDER CONTROL-UID HTTPS-UID EXPORT|-  the role; commands on standard input:
//     slice FILE · controller ADDRESS PORT · status · flows N · message HEX · publish · kill · quit
// Standard output, one JSON value a line: {"answer": …} to each command but message, publish and kill; at any time {"message": HEX} (a bundle
// or an acknowledgement for another host) and {"sas": {HOST: [in, out], …}}.
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "agent/identity.h"
#include "agent/network/clear.h"
#include "agent/role.h"
#include "proto/base/file.h"
#include "proto/base/log.h"
#include "proto/base/text.h"
#include "proto/link/cert.h"
#include "proto/link/tls.h"
#include "proto/wire/message.h"
#include "role.pb-c.h"
#include "tests/unit/slice_reader.h"

static void die(const char *what, const char *why)
{
    fprintf(stderr, "network_host: %s: %s\n", what, why);
    exit(2);
}

static void must(enum err err, const char *what, const struct note *note)
{
    if (err != ERR_OK)
        die(what, note != NULL && note->text[0] != '\0' ? note->text : err_text(err));
}

static const char *join(const char *folder, const char *name)
{
    static char rooms[4][512];
    static unsigned next;
    char *room = rooms[next++ % 4];
    snprintf(room, sizeof(rooms[0]), "%s/%s", folder, name);
    return room;
}

// ---- certificates

static int make_ca(const char *folder)
{
    struct key *key;
    uint8_t *der;
    size_t len;
    char *pem;
    struct note note = {0};
    uint64_t now = (uint64_t)time(NULL);
    mkdir(folder, 0755);
    must(key_new(&key), "the CA's key", NULL);
    must(cert_issue_root(key, "Twofold network CA example.org", now - 86400, now + 86400 * 365, &der, &len), "the CA",
         NULL);
    must(key_save(key, join(folder, "ca.key"), &note), "the CA's key", &note);
    must(cert_der_to_pem(der, len, &pem), "the CA", NULL);
    must(file_write(join(folder, "ca.pem"), pem, strlen(pem), 0644, &note), "the CA", &note);
    free(pem);
    free(der);
    key_free(key);
    return 0;
}

static void read_addresses(const char *text, struct cert_facts *facts)
{
    char *copy = strdup(text), *rest;
    for (char *word = strtok_r(copy, ",", &rest); word != NULL; word = strtok_r(NULL, ",", &rest))
        must(ip_parse(word, &facts->addresses[facts->address_count++]), word, NULL);
    free(copy);
}

// CA FOLDER HOST SLOT ADDRESSES
static int issue(char **words)
{
    struct key *ca_key, *key;
    struct cert_facts facts = {0};
    struct note note = {0};
    uint8_t *pem, *ca, *request, *der;
    size_t pem_len, ca_len, request_len, len;
    char id[SPIFFE_TEXT_BYTES];
    must(key_load(join(words[0], "ca.key"), &ca_key, &note), "the CA's key", &note);
    must(file_read(join(words[0], "ca.pem"), 65536, &pem, &pem_len, &note), "the CA", &note);
    must(cert_pem_to_der(pem, pem_len, 0, &ca, &ca_len), "the CA", NULL);
    snprintf(id, sizeof(id), "spiffe://example.org/host/%s", words[2]);
    must(spiffe_parse(id, &facts.id), id, NULL);
    facts.slot = (uint32_t)atoi(words[3]);
    read_addresses(words[4], &facts);
    facts.not_before = (uint64_t)time(NULL) - 3600;
    facts.not_after = (uint64_t)time(NULL) + 86400;
    must(key_new(&key), "a key", NULL);
    must(key_request(key, words[2], &request, &request_len), "a request", NULL);
    must(cert_issue(ca_key, ca, ca_len, request, request_len, &facts, &der, &len, &note), "a certificate", &note);
    mkdir(words[1], 0700);
    must(identity_save(words[1], "host", "network-ca", key, der, len, ca, ca_len, &note), "saving", &note);
    free(der);
    free(request);
    free(ca);
    free(pem);
    key_free(key);
    key_free(ca_key);
    return 0;
}

// ---- messages

struct host {
    int control;
    int https;
    pid_t role;
    uint64_t prepared; // generation whose prepare awaits its answer; 0: none
};

static bool write_all(int fd, const uint8_t *bytes, size_t len)
{
    while (len > 0) {
        ssize_t count = write(fd, bytes, len);
        if (count <= 0)
            return false;
        bytes += count;
        len -= (size_t)count;
    }
    return true;
}

static bool read_all(int fd, uint8_t *bytes, size_t len)
{
    while (len > 0) {
        ssize_t count = read(fd, bytes, len);
        if (count <= 0)
            return false;
        bytes += count;
        len -= (size_t)count;
    }
    return true;
}

static void send_bytes(int fd, const uint8_t *bytes, size_t len)
{
    uint8_t head[4] = {(uint8_t)(len >> 24), (uint8_t)(len >> 16), (uint8_t)(len >> 8), (uint8_t)len};
    if (!write_all(fd, head, 4) || !write_all(fd, bytes, len))
        die("the role is gone", strerror(errno));
}

static void send_message(int fd, const Twofold__V1__RoleMessage *message)
{
    uint8_t *bytes;
    size_t len;
    must(message_encode(&message->base, &bytes, &len), "a message", NULL);
    send_bytes(fd, bytes, len);
    free(bytes);
}

#define MESSAGE(name, case_, field, value)                           \
    Twofold__V1__RoleMessage name = TWOFOLD__V1__ROLE_MESSAGE__INIT; \
    name.body_case = TWOFOLD__V1__ROLE_MESSAGE__BODY_##case_;        \
    name.field = (value)

static void print_json(json_t *json)
{
    char *text = json_dumps(json, JSON_COMPACT);
    puts(text);
    fflush(stdout);
    free(text);
    json_decref(json);
}

static void print_answer(json_t *answer)
{
    print_json(json_pack("{s:o}", "answer", answer));
}

// ---- what the role says

static void on_answer(struct host *host, const Twofold__V1__RoleAnswer *answer)
{
    if (answer->ok && host->prepared == answer->generation) {
        Twofold__V1__Commit body = TWOFOLD__V1__COMMIT__INIT;
        body.generation = answer->generation;
        MESSAGE(message, COMMIT, commit, &body);
        send_message(host->control, &message);
        host->prepared = 0;
        return;
    }
    host->prepared = 0;
    print_answer(json_pack("{s:b,s:s}", "ok", answer->ok, "reason", answer->reason));
}

static void on_status(const Twofold__V1__RoleStatus *status)
{
    json_t *peers = json_object(), *warnings = json_array(), *counters = json_object();
    for (size_t i = 0; i < status->n_peers; i++) {
        const Twofold__V1__PeerState *peer = status->peers[i];
        json_object_set_new(peers, peer->host,
                            json_pack("{s:b,s:s,s:I,s:I,s:s,s:b,s:b,s:i}", "up", peer->ipsec_up, "suite", peer->suite,
                                      "local", (json_int_t)peer->local_epoch, "peer", (json_int_t)peer->peer_epoch,
                                      "problem", peer->problem, "ipsec", peer->ipsec_needed, "https",
                                      peer->https_needed, "rules", (int)peer->n_rules));
    }
    for (size_t i = 0; i < status->n_warnings; i++)
        json_array_append_new(warnings, json_string(status->warnings[i]));
    for (size_t i = 0; i < status->n_counters; i++)
        json_object_set_new(counters, status->counters[i]->name, json_integer((json_int_t)status->counters[i]->value));
    print_answer(json_pack("{s:s,s:s,s:s,s:b,s:i,s:s,s:s,s:o,s:o,s:o}", "role", status->role, "dataplane",
                           status->dataplane, "cipher_code", status->cipher_code, "exported", status->secrets_exported,
                           "uid", (int)status->uid, "key", status->key_sha384, "ca", status->ca_sha384, "peers", peers,
                           "warnings", warnings, "counters", counters));
}

static void on_flows(const Twofold__V1__Flows *flows)
{
    json_t *list = json_array();
    for (size_t i = 0; i < flows->n_flows; i++) {
        const Twofold__V1__Flow *flow = flows->flows[i];
        json_array_append_new(list, json_pack("{s:s,s:s,s:s,s:s,s:s,s:s}", "direction",
                                              flow->direction == TWOFOLD__V1__DIRECTION__DIRECTION_IN ? "in" : "out",
                                              "source", flow->source, "destination", flow->destination, "peer",
                                              flow->peer, "rule", flow->rule, "reason", flow->reason));
    }
    print_answer(list);
}

static void on_sas(const Twofold__V1__SaReport *report)
{
    json_t *sas = json_object();
    for (size_t i = 0; i < report->n_pairs; i++)
        json_object_set_new(
            sas, report->pairs[i]->host,
            json_pack("[I,I]", (json_int_t)report->pairs[i]->inbound_spi, (json_int_t)report->pairs[i]->outbound_spi));
    print_json(json_pack("{s:o}", "sas", sas));
}

static void pass_on(const uint8_t *bytes, size_t len)
{
    char *hex = malloc(2 * len + 1);
    hex_encode(bytes, len, hex);
    print_json(json_pack("{s:s}", "message", hex));
    free(hex);
}

static void receive(struct host *host, int fd)
{
    uint8_t head[4];
    ProtobufCMessage *decoded;
    if (!read_all(fd, head, 4))
        exit(0);
    size_t len = (size_t)head[0] << 24 | (size_t)head[1] << 16 | (size_t)head[2] << 8 | head[3];
    uint8_t *bytes = malloc(len + 1);
    if (!read_all(fd, bytes, len))
        exit(0);
    must(message_decode(&twofold__v1__role_message__descriptor, bytes, len, &decoded), "the role's message", NULL);
    const Twofold__V1__RoleMessage *message = (const Twofold__V1__RoleMessage *)decoded;
    switch (message->body_case) {
    case TWOFOLD__V1__ROLE_MESSAGE__BODY_ANSWER:
        on_answer(host, message->answer);
        break;
    case TWOFOLD__V1__ROLE_MESSAGE__BODY_STATUS:
        on_status(message->status);
        break;
    case TWOFOLD__V1__ROLE_MESSAGE__BODY_FLOWS:
        on_flows(message->flows);
        break;
    case TWOFOLD__V1__ROLE_MESSAGE__BODY_SA:
        on_sas(message->sa);
        break;
    case TWOFOLD__V1__ROLE_MESSAGE__BODY_BUNDLE:
    case TWOFOLD__V1__ROLE_MESSAGE__BODY_PAIR:
        pass_on(bytes, len);
        break;
    default:
        die("the role", "a message that nobody expects");
    }
    message_free(decoded);
    free(bytes);
}

// ---- commands

static void do_slice(struct host *host, const char *path)
{
    uint8_t *text;
    size_t len;
    struct note note = {0};
    must(file_read(path, 1 << 20, &text, &len, &note), path, &note);
    Twofold__V1__Slice *slice = slice_from_text((const char *)text);
    host->prepared = slice->settings->generation;
    MESSAGE(message, PREPARE, prepare, slice);
    send_message(host->control, &message);
    message_free(slice);
    free(text);
}

static void do_controller(struct host *host, const char *address, const char *port)
{
    struct ip ip;
    Twofold__V1__ControllerEndpoint body = TWOFOLD__V1__CONTROLLER_ENDPOINT__INIT;
    must(ip_parse(address, &ip), address, NULL);
    body.address.data = ip.bytes;
    body.address.len = ip.len;
    body.port = (uint32_t)atoi(port);
    MESSAGE(message, CONTROLLER, controller, &body);
    send_message(host->control, &message);
    print_answer(json_true());
}

static void do_message(struct host *host, const char *hex)
{
    size_t len = strlen(hex) / 2;
    uint8_t *bytes = malloc(len + 1);
    must(hex_decode(hex, bytes, len), "hex", NULL);
    send_bytes(host->control, bytes, len);
    free(bytes);
}

static void do_command(struct host *host, char *line)
{
    char *rest;
    const char *word = strtok_r(line, " \n", &rest);
    const char *one = strtok_r(NULL, " \n", &rest), *two = strtok_r(NULL, " \n", &rest);
    Twofold__V1__StatusRequest status = TWOFOLD__V1__STATUS_REQUEST__INIT;
    Twofold__V1__FlowsRequest flows = TWOFOLD__V1__FLOWS_REQUEST__INIT;
    Twofold__V1__BundleRequest publish = TWOFOLD__V1__BUNDLE_REQUEST__INIT;
    if (word == NULL)
        return;
    if (strcmp(word, "slice") == 0 && one != NULL) {
        do_slice(host, one);
    } else if (strcmp(word, "controller") == 0 && two != NULL) {
        do_controller(host, one, two);
    } else if (strcmp(word, "message") == 0 && one != NULL) {
        do_message(host, one);
    } else if (strcmp(word, "status") == 0) {
        MESSAGE(message, STATUS_REQUEST, status_request, &status);
        send_message(host->control, &message);
    } else if (strcmp(word, "flows") == 0 && one != NULL) {
        flows.limit = (uint32_t)atoi(one);
        MESSAGE(message, FLOWS_REQUEST, flows_request, &flows);
        send_message(host->control, &message);
    } else if (strcmp(word, "publish") == 0) {
        MESSAGE(message, PUBLISH, publish, &publish);
        send_message(host->control, &message);
    } else if (strcmp(word, "kill") == 0) {
        kill(host->role, SIGKILL);
    } else if (strcmp(word, "quit") == 0) {
        kill(host->role, SIGTERM);
    } else {
        die("command", word);
    }
}

static int serve(struct host *host)
{
    static char room[1 << 20];
    size_t used = 0;
    struct pollfd polls[3] = {{0, POLLIN, 0}, {host->control, POLLIN, 0}, {host->https, POLLIN, 0}};
    for (;;) {
        if (poll(polls, 3, -1) < 0)
            die("poll", strerror(errno));
        if (polls[1].revents != 0)
            receive(host, host->control);
        if (polls[2].revents != 0)
            receive(host, host->https);
        if (polls[0].revents == 0)
            continue;
        ssize_t count = read(0, room + used, sizeof(room) - 1 - used);
        if (count <= 0)
            return 0;
        used += (size_t)count;
        for (char *end; (end = memchr(room, '\n', used)) != NULL;) {
            size_t len = (size_t)(end - room) + 1;
            *end = '\0';
            do_command(host, room);
            memmove(room, room + len, used - len);
            used -= len;
        }
    }
}

// FOLDER CONTROL-UID HTTPS-UID EXPORT
static int run(char **words)
{
    int control[2], https[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, control) != 0 || socketpair(AF_UNIX, SOCK_STREAM, 0, https) != 0)
        die("socketpair", strerror(errno));
    struct host host = {.control = control[0], .https = https[0], .role = fork()};
    if (host.role == 0) {
        struct role_start start = {
            .role = ROLE_NETWORK,
            .folder = words[0],
            .export_folder = strcmp(words[3], "-") == 0 ? NULL : words[3],
            .control_fd = control[1],
            .network_fd = -1,
            .https_fd = https[1],
            .control_uid = (uid_t)atoi(words[1]),
            .https_uid = (uid_t)atoi(words[2]),
            .outbound_port = 15001,
            .tunnel_port = 15008,
            .ready_fd = -1,
        };
        close(control[0]);
        close(https[0]);
        signal(SIGPIPE, SIG_IGN);
        log_set_role("network");
        _exit(network_main(&start));
    }
    close(control[1]);
    close(https[1]);
    return serve(&host);
}

int main(int argc, char **argv)
{
    struct note note = {0};
    tls_library_start();
    if (argc == 3 && strcmp(argv[1], "ca") == 0)
        return make_ca(argv[2]);
    if (argc == 7 && strcmp(argv[1], "issue") == 0)
        return issue(argv + 2);
    if (argc == 2 && strcmp(argv[1], "floor") == 0)
        must(network_floor(&note), "floor", &note);
    else if (argc == 2 && strcmp(argv[1], "clear") == 0)
        must(network_clear(&note), "clear", &note);
    else if (argc == 6 && strcmp(argv[1], "run") == 0)
        return run(argv + 2);
    else
        die("usage", "see the head of network_host.c");
    return 0;
}
