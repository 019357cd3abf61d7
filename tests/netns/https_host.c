// SPDX-License-Identifier: GPL-2.0-or-later
// One https role as a program of its own for tests: this process plays the control and the network role. Not for people.
//
//   https_host ca FOLDER                                        a workload CA: ca.key, ca.pem
//   https_host issue CA FOLDER SPIFFE-ID ADDRESS,… BEFORE AFTER  a workload's files; validity as seconds from now
//   https_host run FOLDER UID EXPORT|- [LIMIT=VALUE …]          the role; commands on standard input, one answer line (JSON) each:
//     slice FILE · commit GENERATION · sas HOST=ADDRESS,… … · status · flows N · renew CA AFTER · pid · quit
#include <errno.h>
#include <grp.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "agent/https/role.h"
#include "agent/identity.h"
#include "proto/base/file.h"
#include "proto/link/cert.h"
#include "proto/link/tls.h"
#include "proto/wire/message.h"
#include "role.pb-c.h"
#include "tests/unit/slice_reader.h"

static void die(const char *what, const char *why)
{
    fprintf(stderr, "https_host: %s: %s\n", what, why);
    exit(2);
}

static void must(enum err err, const char *what, const struct note *note)
{
    if (err)
        die(what, note && note->text[0] ? note->text : err_text(err));
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

struct ca {
    struct key *key;
    uint8_t *der;
    size_t len;
};

static struct ca ca_load(const char *folder)
{
    struct ca ca = {0};
    struct note note = {0};
    uint8_t *pem;
    size_t len;
    must(key_load(join(folder, "ca.key"), &ca.key, &note), "the CA's key", &note);
    must(file_read(join(folder, "ca.pem"), 65536, &pem, &len, &note), "the CA", &note);
    must(cert_pem_to_der(pem, len, 0, &ca.der, &ca.len), "the CA", NULL);
    free(pem);
    return ca;
}

static void ca_free(struct ca *ca)
{
    key_free(ca->key);
    free(ca->der);
}

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
    must(cert_issue_root(key, "Twofold workload CA example.org", now - 86400, now + 86400 * 365, &der, &len), "the CA",
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
    for (char *word = strtok_r(copy, ",", &rest); word; word = strtok_r(NULL, ",", &rest))
        must(ip_parse(word, &facts->addresses[facts->address_count++]), word, NULL);
    free(copy);
}

static int issue(char **words)
{
    struct ca ca = ca_load(words[0]);
    struct cert_facts facts = {0};
    struct note note = {0};
    struct key *key;
    uint8_t *request, *der;
    size_t request_len, len;
    must(spiffe_parse(words[2], &facts.id), words[2], NULL);
    read_addresses(words[3], &facts);
    facts.not_before = (uint64_t)(time(NULL) + atoll(words[4]));
    facts.not_after = (uint64_t)(time(NULL) + atoll(words[5]));
    must(key_new(&key), "a key", NULL);
    must(key_request(key, "workload", &request, &request_len), "a request", NULL);
    must(cert_issue(ca.key, ca.der, ca.len, request, request_len, &facts, &der, &len, &note), "a certificate", &note);
    mkdir(words[1], 0700);
    must(identity_save(words[1], "workload", "workload-ca", key, der, len, ca.der, ca.len, &note), "saving", &note);
    free(der);
    free(request);
    key_free(key);
    ca_free(&ca);
    return 0;
}

// ---- messages

struct host {
    const char *folder;
    int control;
    int network;
    pid_t role;
    uint64_t generation;
};

static void write_all(int fd, const uint8_t *bytes, size_t len)
{
    while (len > 0) {
        ssize_t count = write(fd, bytes, len);
        if (count <= 0)
            die("the role is gone", strerror(errno));
        bytes += count;
        len -= (size_t)count;
    }
}

static void read_all(int fd, uint8_t *bytes, size_t len)
{
    while (len > 0) {
        ssize_t count = read(fd, bytes, len);
        if (count <= 0)
            die("the role is gone", count == 0 ? "end of file" : strerror(errno));
        bytes += count;
        len -= (size_t)count;
    }
}

static void send_message(int fd, const Twofold__V1__RoleMessage *message)
{
    uint8_t *bytes;
    size_t len;
    must(message_encode(&message->base, &bytes, &len), "a message", NULL);
    uint8_t head[4] = {(uint8_t)(len >> 24), (uint8_t)(len >> 16), (uint8_t)(len >> 8), (uint8_t)len};
    write_all(fd, head, 4);
    write_all(fd, bytes, len);
    free(bytes);
}

static Twofold__V1__RoleMessage *receive_message(int fd)
{
    uint8_t head[4];
    ProtobufCMessage *message;
    read_all(fd, head, 4);
    size_t len = (size_t)head[0] << 24 | (size_t)head[1] << 16 | (size_t)head[2] << 8 | head[3];
    uint8_t *bytes = malloc(len + 1);
    read_all(fd, bytes, len);
    must(message_decode(&twofold__v1__role_message__descriptor, bytes, len, &message), "the role's message", NULL);
    free(bytes);
    return (Twofold__V1__RoleMessage *)message;
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

static void print_ok(bool ok, const char *reason)
{
    print_json(json_pack("{s:b,s:s}", "ok", ok, "reason", reason));
}

static bool receive_answer(struct host *host, char *ret_reason, size_t room)
{
    Twofold__V1__RoleMessage *message = receive_message(host->control);
    if (message->body_case != TWOFOLD__V1__ROLE_MESSAGE__BODY_ANSWER)
        die("the role", "another message than the answer");
    bool ok = message->answer->ok;
    snprintf(ret_reason, room, "%s", message->answer->reason);
    message_free(message);
    return ok;
}

// ---- commands

static bool commit(struct host *host, uint64_t generation, char *ret_reason, size_t room)
{
    Twofold__V1__Commit body = TWOFOLD__V1__COMMIT__INIT;
    body.generation = generation;
    MESSAGE(message, COMMIT, commit, &body);
    send_message(host->control, &message);
    return receive_answer(host, ret_reason, room);
}

static void do_slice(struct host *host, const char *path)
{
    uint8_t *text;
    size_t len;
    struct note note = {0};
    char reason[1024];
    must(file_read(path, 1 << 20, &text, &len, &note), path, &note);
    Twofold__V1__Slice *slice = slice_from_text((const char *)text);
    uint64_t generation = slice->settings->generation;
    MESSAGE(message, PREPARE, prepare, slice);
    send_message(host->control, &message);
    bool ok = receive_answer(host, reason, sizeof(reason)) && commit(host, generation, reason, sizeof(reason));
    message_free(slice);
    free(text);
    print_ok(ok, reason);
}

static void do_sas(struct host *host, char *rest)
{
    Twofold__V1__SaReport report = TWOFOLD__V1__SA_REPORT__INIT;
    Twofold__V1__SaPair pairs[8], *pointers[8];
    ProtobufCBinaryData addresses[8][CERT_ADDRESSES_MAX];
    struct cert_facts facts[8];
    memset(facts, 0, sizeof(facts));
    for (char *word; (word = strtok_r(NULL, " ", &rest)) && report.n_pairs < 8;) {
        size_t i = report.n_pairs++;
        char *equals = strchr(word, '=');
        *equals = '\0';
        twofold__v1__sa_pair__init(&pairs[i]);
        read_addresses(equals + 1, &facts[i]);
        for (size_t j = 0; j < facts[i].address_count; j++) {
            addresses[i][j] =
                (ProtobufCBinaryData){.len = facts[i].addresses[j].len, .data = facts[i].addresses[j].bytes};
        }
        pairs[i].host = word;
        pairs[i].suite = (char *)"ecp384-aes256gcm16";
        pairs[i].addresses = addresses[i];
        pairs[i].n_addresses = facts[i].address_count;
        pointers[i] = &pairs[i];
    }
    report.pairs = pointers;
    MESSAGE(message, SA, sa, &report);
    send_message(host->network, &message);
    print_ok(true, "");
}

static json_t *flow_json(const Twofold__V1__Flow *flow)
{
    return json_pack(
        "{s:I,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:b,s:b,s:s,s:s,s:I,s:I,s:I,s:I}", "id", (json_int_t)flow->id,
        "direction", flow->direction == TWOFOLD__V1__DIRECTION__DIRECTION_IN ? "in" : "out", "source", flow->source,
        "destination", flow->destination, "source_identity", flow->source_identity, "destination_identity",
        flow->destination_identity, "peer", flow->peer, "rule", flow->rule, "verdict",
        flow->verdict == TWOFOLD__V1__VERDICT__VERDICT_ALLOWED   ? "allowed"
        : flow->verdict == TWOFOLD__V1__VERDICT__VERDICT_REFUSED ? "refused"
                                                                 : "undecided",
        "reason", flow->reason, "ipsec", flow->ipsec, "https", flow->https, "ipsec_suite", flow->ipsec_suite,
        "https_suite", flow->https_suite, "sent", (json_int_t)flow->bytes_sent, "received",
        (json_int_t)flow->bytes_received, "started", (json_int_t)flow->started_ms, "ended", (json_int_t)flow->ended_ms);
}

static void do_flows(struct host *host, uint32_t limit)
{
    Twofold__V1__FlowsRequest body = TWOFOLD__V1__FLOWS_REQUEST__INIT;
    body.limit = limit;
    MESSAGE(message, FLOWS_REQUEST, flows_request, &body);
    send_message(host->control, &message);
    Twofold__V1__RoleMessage *answer = receive_message(host->control);
    json_t *list = json_array();
    for (size_t i = 0; i < answer->flows->n_flows; i++)
        json_array_append_new(list, flow_json(answer->flows->flows[i]));
    message_free(answer);
    print_json(list);
}

static json_t *peers_json(const Twofold__V1__RoleStatus *status)
{
    json_t *peers = json_object();
    for (size_t i = 0; i < status->n_peers; i++) {
        const Twofold__V1__PeerState *peer = status->peers[i];
        json_t *rules = json_array();
        for (size_t j = 0; j < peer->n_rules; j++)
            json_array_append_new(rules, json_string(peer->rules[j]));
        json_object_set_new(peers, peer->host,
                            json_pack("{s:i,s:i,s:s,s:s,s:b,s:b,s:o}", "tunnels", (int)peer->tunnels, "flows",
                                      (int)peer->flows, "suite", peer->https_suite, "problem", peer->problem, "https",
                                      peer->https_needed, "ipsec", peer->ipsec_needed, "rules", rules));
    }
    return peers;
}

static void do_status(struct host *host)
{
    Twofold__V1__StatusRequest body = TWOFOLD__V1__STATUS_REQUEST__INIT;
    MESSAGE(message, STATUS_REQUEST, status_request, &body);
    send_message(host->control, &message);
    Twofold__V1__RoleMessage *answer = receive_message(host->control);
    const Twofold__V1__RoleStatus *status = answer->status;
    json_t *counters = json_object(), *warnings = json_array();
    for (size_t i = 0; i < status->n_counters; i++)
        json_object_set_new(counters, status->counters[i]->name, json_integer((json_int_t)status->counters[i]->value));
    for (size_t i = 0; i < status->n_warnings; i++)
        json_array_append_new(warnings, json_string(status->warnings[i]));
    json_t *json = json_pack("{s:s,s:s,s:i,s:i,s:s,s:s,s:b,s:o,s:o,s:o}", "role", status->role, "cipher",
                             status->cipher_code, "uid", (int)status->uid, "pid", (int)status->pid, "key",
                             status->key_sha384, "ca", status->ca_sha384, "exported", status->secrets_exported,
                             "warnings", warnings, "counters", counters, "peers", peers_json(status));
    message_free(answer);
    print_json(json);
}

static void do_renew(struct host *host, const char *folder, long long after)
{
    Twofold__V1__RenewalStart body = TWOFOLD__V1__RENEWAL_START__INIT;
    MESSAGE(message, RENEWAL_START, renewal_start, &body);
    send_message(host->control, &message);
    Twofold__V1__RoleMessage *answer = receive_message(host->control);
    struct ca ca = ca_load(folder);
    struct note note = {0};
    uint8_t *pem, *old, *der;
    size_t pem_len, old_len, len;
    struct cert_facts facts;
    must(file_read(join(host->folder, "workload.pem"), 65536, &pem, &pem_len, &note), "the old certificate", &note);
    must(cert_pem_to_der(pem, pem_len, 0, &old, &old_len), "the old certificate", NULL);
    must(cert_parse(old, old_len, &facts, &note), "the old certificate", &note);
    facts.not_before = (uint64_t)time(NULL) - 60;
    facts.not_after = (uint64_t)(time(NULL) + after);
    must(cert_issue(ca.key, ca.der, ca.len, answer->request->request.data, answer->request->request.len, &facts, &der,
                    &len, &note),
         "a certificate", &note);
    Twofold__V1__Certificate certificate = TWOFOLD__V1__CERTIFICATE__INIT;
    certificate.certificate = (ProtobufCBinaryData){.len = len, .data = der};
    certificate.ca = (ProtobufCBinaryData){.len = ca.len, .data = ca.der};
    MESSAGE(reply, CERTIFICATE, certificate, &certificate);
    send_message(host->control, &reply);
    message_free(answer);
    free(pem);
    free(old);
    free(der);
    ca_free(&ca);
    print_ok(true, "");
}

static bool do_command(struct host *host, char *line)
{
    char *rest, reason[1024];
    line[strcspn(line, "\n")] = '\0';
    const char *word = strtok_r(line, " ", &rest);
    if (!word || strcmp(word, "quit") == 0)
        return false;
    if (strcmp(word, "slice") == 0) {
        do_slice(host, strtok_r(NULL, " ", &rest));
    } else if (strcmp(word, "commit") == 0) {
        bool ok = commit(host, strtoull(strtok_r(NULL, " ", &rest), NULL, 10), reason, sizeof(reason));
        print_ok(ok, reason);
    } else if (strcmp(word, "sas") == 0) {
        do_sas(host, rest);
    } else if (strcmp(word, "status") == 0) {
        do_status(host);
    } else if (strcmp(word, "flows") == 0) {
        do_flows(host, (uint32_t)atoi(strtok_r(NULL, " ", &rest)));
    } else if (strcmp(word, "renew") == 0) {
        const char *folder = strtok_r(NULL, " ", &rest);
        do_renew(host, folder, atoll(strtok_r(NULL, " ", &rest)));
    } else if (strcmp(word, "pid") == 0) {
        print_json(json_pack("{s:i}", "pid", (int)host->role));
    } else {
        die("unknown command", word);
    }
    return true;
}

// ---- the role

static void set_limit(struct https_limits *limits, const char *text)
{
#define LIMIT_NAME(name, value, meaning) {#name, HTTPS_LIMIT_##name},
    static const struct {
        const char *name;
        enum https_limit limit;
    } names[] = {HTTPS_LIMITS(LIMIT_NAME)};
    for (size_t i = 0; i < HTTPS_LIMIT_COUNT; i++) {
        size_t len = strlen(names[i].name);
        if (strncmp(text, names[i].name, len) == 0 && text[len] == '=') {
            limits->value[names[i].limit] = strtoull(text + len + 1, NULL, 10);
            return;
        }
    }
    die("unknown limit", text);
}

#ifdef __SANITIZE_ADDRESS__
// The leak check at the end needs clone and ptrace, which the filter refuses. The library's own is not linked when this is here.
enum err role_confine(enum role role, struct note *note)
{
    (void)role;
    (void)note;
    return prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) == 0 ? ERR_OK : ERR_KERNEL;
}
#endif

static void be_role(const struct role_start *start, const struct https_limits *limits)
{
    if (setgroups(0, NULL) != 0 || setgid(start->https_uid) != 0 || setuid(start->https_uid) != 0)
        die("setuid", strerror(errno));
    exit(https_run(start, limits));
}

static int run(int count, char **words)
{
    struct https_limits limits = https_limits_default;
    int control[2], network[2];
    char line[4096];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, control) != 0 || socketpair(AF_UNIX, SOCK_STREAM, 0, network) != 0)
        die("socketpair", strerror(errno));
    for (int i = 3; i < count; i++)
        set_limit(&limits, words[i]);
    struct role_start start = {
        .role = ROLE_HTTPS,
        .folder = words[0],
        .export_folder = strcmp(words[2], "-") == 0 ? NULL : words[2],
        .control_fd = control[1],
        .network_fd = network[1],
        .https_fd = -1,
        .https_uid = (uid_t)atoi(words[1]),
        .outbound_port = 15001,
        .tunnel_port = 15008,
    };
    struct host host = {.folder = words[0], .control = control[0], .network = network[0], .role = fork()};
    if (host.role == 0) {
        close(control[0]);
        close(network[0]);
        be_role(&start, &limits);
    }
    close(control[1]);
    close(network[1]);
    while (fgets(line, sizeof(line), stdin) && do_command(&host, line)) {
    }
    close(control[0]); // the role ends by itself
    close(network[0]);
    int status = 0;
    waitpid(host.role, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int main(int argc, char **argv)
{
    tls_library_start();
    if (argc == 3 && strcmp(argv[1], "ca") == 0)
        return make_ca(argv[2]);
    if (argc == 8 && strcmp(argv[1], "issue") == 0)
        return issue(argv + 2);
    if (argc >= 5 && strcmp(argv[1], "run") == 0)
        return run(argc - 2, argv + 2);
    fprintf(stderr, "usage: https_host ca|issue|run …\n");
    return 2;
}
