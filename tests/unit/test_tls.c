// SPDX-License-Identifier: GPL-2.0-or-later
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/link/tls.h"
#include "tests/unit/pki.h"

static uint64_t now_ms;

static uint64_t read_clock(void *context)
{
    (void)context;
    return now_ms;
}

static const struct clock test_clock = {.boot_ms = read_clock, .unix_ms = read_clock};

static struct pki pki;
static struct pki_leaf web, api;
static struct note client_note, server_note;

static void make_pki(void)
{
    struct cert_facts facts;

    tls_library_start();
    now_ms = PKI_NOW * 1000ull;
    pki_init(&pki);
    pki_facts("spiffe://example.org/host/web", &facts);
    pki_leaf(&pki, &facts, &web);
    pki_facts("spiffe://example.org/host/api", &facts);
    pki_leaf(&pki, &facts, &api);
}

static void free_pki(void)
{
    pki_leaf_free(&web);
    pki_leaf_free(&api);
    pki_free(&pki);
}

TestSuite(tls, .init = make_pki, .fini = free_pki);

static struct tls_config config_of(enum tls_side side, const struct pki_leaf *leaf)
{
    return (struct tls_config){.side = side,
                               .peer_check = TLS_PEER_REQUIRED,
                               .key = leaf ? leaf->key : NULL,
                               .certificate = leaf ? leaf->der : NULL,
                               .certificate_len = leaf ? leaf->len : 0,
                               .trust = pki.trust,
                               .alpn = "h2",
                               .clock = &test_clock};
}

static struct tls_session *session_of(const struct tls_config *config)
{
    struct tls_context *context;
    struct tls_session *session;
    struct note note = {0};

    cr_assert_eq(tls_context_new(config, &context, &note), ERR_OK, "%s", note.text);
    cr_assert_eq(tls_session_new(context, &session), ERR_OK);
    tls_context_drop(context); // the session holds it
    return session;
}

// Moves what one end has put out into the other, `step` bytes at a time.
static void carry(struct tls_session *from, struct tls_session *to, size_t step)
{
    struct buf *output = tls_output(from);

    while (output->len > 0) {
        size_t len = output->len < step ? output->len : step;
        cr_assert_eq(tls_feed(to, buf_bytes(output), len), ERR_OK);
        buf_consume(output, len);
    }
}

struct outcome {
    enum err client;
    enum err server;
};

static struct outcome shake(struct tls_session *client, struct tls_session *server)
{
    struct outcome outcome = {ERR_AGAIN, ERR_AGAIN};

    for (int i = 0; i < 10; i++) {
        if (outcome.client == ERR_AGAIN)
            outcome.client = tls_handshake(client, &client_note);
        carry(client, server, 1000);
        if (outcome.server == ERR_AGAIN)
            outcome.server = tls_handshake(server, &server_note);
        carry(server, client, 1000);
    }
    return outcome;
}

static struct outcome shake_configs(const struct tls_config *client_config, const struct tls_config *server_config)
{
    struct tls_session *client = session_of(client_config), *server = session_of(server_config);
    struct outcome outcome = shake(client, server);
    uint8_t byte;
    size_t len;

    // A client learns only afterwards that the server refused it.
    if (outcome.client == ERR_OK && outcome.server != ERR_OK) {
        outcome.client = tls_read(client, &byte, 1, &len);
        tls_failure(client, &client_note);
    }
    tls_session_free(client);
    tls_session_free(server);
    return outcome;
}

static void pair(struct tls_session **client, struct tls_session **server)
{
    struct tls_config c = config_of(TLS_CLIENT, &web), s = config_of(TLS_SERVER, &api);

    *client = session_of(&c);
    *server = session_of(&s);
    struct outcome outcome = shake(*client, *server);
    cr_assert_eq(outcome.client, ERR_OK, "%s", client_note.text);
    cr_assert_eq(outcome.server, ERR_OK, "%s", server_note.text);
}

Test(tls, both_ends_know_each_other)
{
    struct tls_session *client, *server;
    size_t len;

    pair(&client, &server);
    cr_expect_str_eq(tls_peer(client)->id.name, "api");
    cr_expect_str_eq(tls_peer(server)->id.name, "web");
    cr_expect_str_eq(tls_suite(client), "TLS_AES_256_GCM_SHA384");
    cr_expect_str_eq(tls_suite(server), "TLS_AES_256_GCM_SHA384");
    const uint8_t *der = tls_peer_der(client, &len);
    cr_assert_eq(len, api.len);
    cr_expect_arr_eq(der, api.der, len);
    cr_expect_null(tls_peer_root_der(client, &len));
    tls_session_free(client);
    tls_session_free(server);
}

Test(tls, bytes_go_both_ways_in_whole_records)
{
    struct tls_session *client, *server;
    static uint8_t sent[50000], got[50000];
    size_t total = 0, len;

    pair(&client, &server);
    for (size_t i = 0; i < sizeof(sent); i++)
        sent[i] = (uint8_t)(i * 31 + i / 256);
    cr_expect_eq(tls_read(server, got, sizeof(got), &len), ERR_AGAIN);
    cr_assert_eq(tls_write(client, sent, sizeof(sent)), ERR_OK);
    // 3 full records and a rest, each with 5 + 1 + 16 bytes around it
    cr_expect_eq(tls_output(client)->len, sizeof(sent) + 4 * 22);
    carry(client, server, 777);
    while (tls_read(server, got + total, sizeof(got) - total, &len) == ERR_OK)
        total += len;
    cr_assert_eq(total, sizeof(sent));
    cr_expect_arr_eq(got, sent, total);

    cr_assert_eq(tls_write(server, (const uint8_t *)"yes", 3), ERR_OK);
    carry(server, client, 1);
    cr_assert_eq(tls_read(client, got, sizeof(got), &len), ERR_OK);
    cr_expect_eq(len, 3);
    cr_assert_eq(tls_close_notify(server), ERR_OK);
    carry(server, client, 1);
    cr_expect_eq(tls_read(client, got, sizeof(got), &len), ERR_CLOSED);
    tls_session_free(client);
    tls_session_free(server);
}

Test(tls, lent_bytes_are_kept_when_they_are_not_read)
{
    struct tls_session *client, *server;
    uint8_t got[64];
    size_t len;

    pair(&client, &server);
    cr_assert_eq(tls_write(client, (const uint8_t *)"one", 3), ERR_OK);
    cr_assert_eq(tls_write(client, (const uint8_t *)"two", 3), ERR_OK);
    struct buf *output = tls_output(client);
    cr_assert_eq(tls_lend(server, buf_bytes(output), output->len), ERR_OK);
    cr_assert_eq(tls_read(server, got, sizeof(got), &len), ERR_OK);
    cr_expect_arr_eq(got, "one", 3);
    cr_assert_eq(tls_reclaim(server), ERR_OK);
    memset(output->data + output->start, 0, output->len);
    buf_consume(output, output->len);
    cr_assert_eq(tls_read(server, got, sizeof(got), &len), ERR_OK);
    cr_expect_arr_eq(got, "two", 3);
    cr_expect_eq(tls_read(server, got, sizeof(got), &len), ERR_AGAIN);
    tls_session_free(client);
    tls_session_free(server);
}

Test(tls, input_is_bounded)
{
    struct tls_session *client, *server;
    static uint8_t junk[200000];

    pair(&client, &server);
    cr_expect_eq(tls_feed(server, junk, sizeof(junk)), ERR_OK);
    cr_expect_eq(tls_feed(server, junk, sizeof(junk)), ERR_AGAIN);
    tls_session_free(client);
    tls_session_free(server);
}

Test(tls, a_changed_record_ends_the_session)
{
    struct tls_session *client, *server;
    uint8_t got[64];
    size_t len;
    struct note note;

    pair(&client, &server);
    cr_assert_eq(tls_write(client, (const uint8_t *)"one", 3), ERR_OK);
    tls_output(client)->data[tls_output(client)->start + 8] ^= 1;
    carry(client, server, 1000);
    cr_expect_eq(tls_read(server, got, sizeof(got), &len), ERR_PROTOCOL);
    tls_failure(server, &note);
    cr_expect_neq(note.text[0], 0);
    cr_expect_eq(tls_read(server, got, sizeof(got), &len), ERR_PROTOCOL); // and stays so
    cr_expect_neq(tls_write(server, got, 1), ERR_OK);
    tls_session_free(client);
    tls_session_free(server);
}

Test(tls, a_client_without_a_certificate)
{
    struct tls_config client = config_of(TLS_CLIENT, NULL), server = config_of(TLS_SERVER, &api);

    struct outcome outcome = shake_configs(&client, &server);
    cr_expect_eq(outcome.server, ERR_IDENTITY);
    cr_expect(strstr(server_note.text, "no certificate"), "%s", server_note.text);
    cr_expect_eq(outcome.client, ERR_DENIED, "%s", client_note.text);

    server.peer_check = TLS_PEER_OPTIONAL;
    outcome = shake_configs(&client, &server);
    cr_expect_eq(outcome.server, ERR_OK, "%s", server_note.text);
    cr_expect_eq(outcome.client, ERR_OK, "%s", client_note.text);

    // Optional is not lax: a certificate that is shown must be good.
    struct pki other;
    struct pki_leaf stranger;
    struct cert_facts facts;
    pki_init(&other);
    pki_facts("spiffe://example.org/host/web", &facts);
    pki_leaf(&other, &facts, &stranger);
    client = config_of(TLS_CLIENT, &stranger);
    outcome = shake_configs(&client, &server);
    cr_expect_eq(outcome.server, ERR_IDENTITY);
    pki_leaf_free(&stranger);
    pki_free(&other);
}

Test(tls, optional_takes_a_good_certificate)
{
    struct tls_config c = config_of(TLS_CLIENT, &web), s = config_of(TLS_SERVER, &api);

    s.peer_check = TLS_PEER_OPTIONAL;
    struct tls_session *client = session_of(&c), *server = session_of(&s);
    cr_expect_eq(shake(client, server).server, ERR_OK);
    cr_expect_str_eq(tls_peer(server)->id.name, "web");
    tls_session_free(client);
    tls_session_free(server);
}

Test(tls, strangers_are_refused_on_both_sides)
{
    struct pki other;
    struct pki_leaf stranger;
    struct cert_facts facts;

    pki_init(&other);
    pki_facts("spiffe://example.org/host/api", &facts);
    pki_leaf(&other, &facts, &stranger);

    struct tls_config client = config_of(TLS_CLIENT, &web), server = config_of(TLS_SERVER, &stranger);
    struct outcome outcome = shake_configs(&client, &server);
    cr_expect_eq(outcome.client, ERR_IDENTITY, "%s", client_note.text);

    // Its own root behind the leaf makes it no better.
    server.root = other.root;
    server.root_len = other.root_len;
    outcome = shake_configs(&client, &server);
    cr_expect_eq(outcome.client, ERR_IDENTITY, "%s", client_note.text);

    client = config_of(TLS_CLIENT, &stranger);
    server = config_of(TLS_SERVER, &api);
    outcome = shake_configs(&client, &server);
    cr_expect_eq(outcome.server, ERR_IDENTITY, "%s", server_note.text);
    cr_expect_neq(outcome.client, ERR_OK);
    pki_leaf_free(&stranger);
    pki_free(&other);
}

Test(tls, the_root_may_come_along)
{
    struct tls_config client = config_of(TLS_CLIENT, &web), server = config_of(TLS_SERVER, &api);

    server.root = pki.root;
    server.root_len = pki.root_len;
    struct outcome outcome = shake_configs(&client, &server);
    cr_expect_eq(outcome.client, ERR_OK, "%s", client_note.text);
    cr_expect_eq(outcome.server, ERR_OK, "%s", server_note.text);
}

Test(tls, time_is_that_of_our_clock)
{
    struct tls_config client = config_of(TLS_CLIENT, &web), server = config_of(TLS_SERVER, &api);

    now_ms += 2 * 86400 * 1000ull;
    struct outcome outcome = shake_configs(&client, &server);
    cr_expect_eq(outcome.client, ERR_EXPIRED);
    cr_expect(strstr(client_note.text, "expired 25 h ago at 2026-"), "%s", client_note.text);
    now_ms = (PKI_NOW - 2 * 86400) * 1000ull;
    outcome = shake_configs(&client, &server);
    cr_expect_eq(outcome.client, ERR_EXPIRED);
}

static struct tls_config pin_config(uint8_t pin[DIGEST_BYTES])
{
    struct cert_facts facts;
    struct note note;
    struct tls_config client = config_of(TLS_CLIENT, NULL);

    cr_assert_eq(cert_parse(pki.root, pki.root_len, &facts, &note), ERR_OK);
    memcpy(pin, facts.spki_sha384, DIGEST_BYTES);
    client.peer_check = TLS_PEER_PIN;
    client.trust = NULL;
    client.pin = pin;
    return client;
}

Test(tls, first_contact_believes_the_pinned_root)
{
    uint8_t pin[DIGEST_BYTES];
    struct tls_config c = pin_config(pin), s = config_of(TLS_SERVER, &api);
    size_t len;

    s.peer_check = TLS_PEER_OPTIONAL;
    s.root = pki.root;
    s.root_len = pki.root_len;
    struct tls_session *client = session_of(&c), *server = session_of(&s);
    cr_assert_eq(shake(client, server).client, ERR_OK, "%s", client_note.text);
    const uint8_t *root = tls_peer_root_der(client, &len);
    cr_assert_eq(len, pki.root_len);
    cr_expect_arr_eq(root, pki.root, len);
    cr_expect_str_eq(tls_peer(client)->id.name, "api");
    tls_session_free(client);
    tls_session_free(server);
}

Test(tls, first_contact_believes_nothing_else)
{
    uint8_t pin[DIGEST_BYTES];
    struct tls_config client = pin_config(pin), server = config_of(TLS_SERVER, &api);

    server.peer_check = TLS_PEER_OPTIONAL;
    // No root shown.
    struct outcome outcome = shake_configs(&client, &server);
    cr_expect_eq(outcome.client, ERR_IDENTITY);
    cr_expect(strstr(client_note.text, "token pins"), "%s", client_note.text);

    server.root = pki.root;
    server.root_len = pki.root_len;
    pin[0] ^= 1;
    outcome = shake_configs(&client, &server);
    cr_expect_eq(outcome.client, ERR_IDENTITY);
    pin[0] ^= 1;

    // The pinned root is public: a leaf of another CA beside it proves nothing.
    struct pki other;
    struct pki_leaf stranger;
    struct cert_facts facts;
    pki_init(&other);
    pki_facts("spiffe://example.org/controller/one", &facts);
    pki_leaf(&other, &facts, &stranger);
    server = config_of(TLS_SERVER, &stranger);
    server.peer_check = TLS_PEER_OPTIONAL;
    server.root = pki.root;
    server.root_len = pki.root_len;
    outcome = shake_configs(&client, &server);
    cr_expect_eq(outcome.client, ERR_IDENTITY, "%s", client_note.text);
    pki_leaf_free(&stranger);
    pki_free(&other);
}

Test(tls, the_other_side_must_speak_our_protocol)
{
    struct tls_config client = config_of(TLS_CLIENT, &web), server = config_of(TLS_SERVER, &api);

    client.alpn = "h3";
    struct outcome outcome = shake_configs(&client, &server);
    cr_expect_eq(outcome.server, ERR_PROTOCOL);
    cr_expect_neq(outcome.client, ERR_OK);
    cr_expect(strstr(server_note.text, "ALPN"), "%s", server_note.text);
}

Test(tls, what_is_not_tls_is_refused)
{
    struct tls_config config = config_of(TLS_SERVER, &api);
    struct tls_session *server = session_of(&config);
    static const char request[] = "GET / HTTP/1.1\r\nHost: example.org\r\n\r\n";
    struct note note;

    cr_assert_eq(tls_feed(server, (const uint8_t *)request, sizeof(request) - 1), ERR_OK);
    cr_expect_eq(tls_handshake(server, &note), ERR_PROTOCOL);
    cr_expect_neq(note.text[0], 0);
    cr_expect_eq(tls_handshake(server, &note), ERR_PROTOCOL);
    tls_session_free(server);
}

Test(tls, nonsense_configurations_are_refused)
{
    struct tls_context *context;
    struct note note;
    struct tls_config config = config_of(TLS_SERVER, NULL);

    cr_expect_eq(tls_context_new(&config, &context, &note), ERR_INVALID); // a server without a key
    config = config_of(TLS_CLIENT, &web);
    config.trust = NULL;
    cr_expect_eq(tls_context_new(&config, &context, &note), ERR_INVALID);
    config = config_of(TLS_CLIENT, &web);
    config.key = api.key; // not the certificate's
    cr_expect_eq(tls_context_new(&config, &context, &note), ERR_INVALID);
    cr_expect(strstr(note.text, "does not belong"), "%s", note.text);
}

Test(tls, the_key_log_has_the_secrets_of_both_directions)
{
    struct tls_config client = config_of(TLS_CLIENT, &web), server = config_of(TLS_SERVER, &api);
    char path[] = "/tmp/twofold-test-tls.XXXXXX", line[512];
    int fd = mkstemp(path);
    unsigned lines = 0;
    struct stat status;

    close(fd);
    unlink(path);
    client.keylog_path = path;
    cr_assert_eq(shake_configs(&client, &server).client, ERR_OK);
    cr_assert_eq(stat(path, &status), 0);
    cr_expect_eq(status.st_mode & 07777, 0600);
    FILE *file = fopen(path, "r");
    bool client_traffic = false, server_traffic = false;
    while (fgets(line, sizeof(line), file)) {
        char label[64], random[128], secret[128];
        cr_assert_eq(sscanf(line, "%63s %127s %127s", label, random, secret), 3);
        cr_expect_eq(strlen(random), 64);
        cr_expect_eq(strlen(secret), 96);
        client_traffic |= strcmp(label, "CLIENT_TRAFFIC_SECRET_0") == 0;
        server_traffic |= strcmp(label, "SERVER_TRAFFIC_SECRET_0") == 0;
        lines++;
    }
    fclose(file);
    unlink(path);
    cr_expect_geq(lines, 4);
    cr_expect(client_traffic && server_traffic);
}
