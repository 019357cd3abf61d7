// SPDX-License-Identifier: GPL-2.0-or-later
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controller/cli/columns.h"
#include "controller/cli/format.h"
#include "controller/cli/json.h"
#include "controller/cli/results.h"
#include "controller/cli/show.h"

// ---- columns

static char *printed(struct columns *columns)
{
    char *text = NULL;
    size_t len;
    FILE *out = open_memstream(&text, &len);
    cr_assert_eq(columns_finish(columns, out), EXIT_CODE_OK);
    fclose(out);
    return text;
}

Test(cli_columns, aligned)
{
    struct columns *columns = columns_new((const char *const[]){"HOST", "STATE", "WHY", NULL});
    columns_cell(columns, "%s", "web");
    columns_cell(columns, "%s", "");
    columns_cell(columns, "%s", "first");
    columns_line(columns, "%s", "below the row");
    columns_cell(columns, "%s", "a-long-name");
    columns_cell(columns, "%u", 7u);
    columns_cell(columns, "%s", "caf\xc3\xa9");
    char *text = printed(columns);
    cr_assert_str_eq(text, "HOST         STATE  WHY\n"
                           "web          -      first\n"
                           "    below the row\n"
                           "a-long-name  7      caf\xc3\xa9\n");
    free(text);
}

Test(cli_columns, characters_not_bytes_are_counted)
{
    struct columns *columns = columns_new((const char *const[]){"A", "B", NULL});
    columns_cell(columns, "\xc3\xa9\xc3\xa9");
    columns_cell(columns, "x");
    char *text = printed(columns);
    cr_assert_str_eq(text, "A   B\n\xc3\xa9\xc3\xa9  x\n");
    free(text);
}

Test(cli_columns, cells_cannot_write_to_a_terminal)
{
    struct columns *columns = columns_new((const char *const[]){"A", NULL});
    columns_cell(columns, "%s", "\x1b[2Jx\ny\xc2\x9bz\x7f");
    char *text = printed(columns);
    cr_assert_str_eq(text, "A\n [2Jx y  z \n");
    free(text);
}

Test(cli_columns, without_memory)
{
    columns_cell(NULL, "x");
    columns_line(NULL, "x");
    cr_assert_not(columns_print(NULL, stderr));
    columns_free(NULL);
}

// ---- format

Test(cli_format, values)
{
    char text[FORMAT_BYTES];
    cr_assert_str_eq(format_time(0, text), "-");
    cr_assert_str_eq(format_time(1772359200, text), "2026-03-01T10:00:00Z");
    cr_assert_str_eq(format_time_ms(1772359200123, text), "2026-03-01T10:00:00.123Z");
    cr_assert_str_eq(format_time_ms(0, text), "-");
    cr_assert_str_eq(format_age(0, text), "0s");
    cr_assert_str_eq(format_age(59, text), "59s");
    cr_assert_str_eq(format_age(720, text), "12m");
    cr_assert_str_eq(format_age(3600 * 3 + 300, text), "3h 5m");
    cr_assert_str_eq(format_age(86400 * 4, text), "4d");
    cr_assert_str_eq(format_age(UINT64_MAX, text), "213503982334601d 7h");
    cr_assert_str_eq(format_bytes(0, text), "0 B");
    cr_assert_str_eq(format_bytes(1023, text), "1023 B");
    cr_assert_str_eq(format_bytes(1434, text), "1.4 KiB");
    cr_assert_str_eq(format_bytes(12u << 20, text), "12 MiB");
    cr_assert_str_eq(format_bytes(UINT64_MAX, text), "16 EiB");
    cr_assert_str_eq(format_elapsed(38, text), "38 ms");
    cr_assert_str_eq(format_elapsed(1204, text), "1.204 s");
    cr_assert_str_eq(format_hash("9c1d0a33aabbccddeeff", text), "9c1d 0a33 aabb ccdd");
    cr_assert_str_eq(format_hash("", text), "-");
    cr_assert_str_eq(format_identity("spiffe://example.org/ns/default/sa/web"), "ns/default/sa/web");
    cr_assert_str_eq(format_identity("spiffe://example.org"), "spiffe://example.org");
    cr_assert_str_eq(format_identity(""), "-");
    cr_assert_str_eq(format_identity("other"), "other");
}

Test(cli_format, lists)
{
    char text[FORMAT_LIST_BYTES];
    uint8_t v4[] = {192, 0, 2, 1}, v6[16] = {0x20, 0x01, 0x0d, 0xb8, [15] = 1}, none[3] = {0};
    ProtobufCBinaryData addresses[] = {{4, v4}, {3, none}, {16, v6}};
    char *words[] = {(char *)"one", (char *)"two"}, *many[400];
    cr_assert_str_eq(format_addresses(addresses, 3, text), "192.0.2.1, 2001:db8::1");
    cr_assert_str_eq(format_addresses(addresses, 0, text), "-");
    cr_assert_str_eq(format_words(words, 2, text), "one, two");
    for (size_t i = 0; i < 400; i++)
        many[i] = (char *)"many";
    cr_assert_lt(strlen(format_words(many, 400, text)), (size_t)FORMAT_LIST_BYTES);
}

// ---- JSON

static void json_is(const ProtobufCMessage *message, const char *wanted)
{
    json_t *json = json_message(message);
    cr_assert_not_null(json);
    char *text = json_dumps(json, JSON_COMPACT);
    cr_assert_str_eq(text, wanted);
    free(text);
    json_decref(json);
}

Test(cli_json, every_field_by_its_name)
{
    uint8_t v4[] = {192, 0, 2, 1}, hash[] = {0xab, 0xcd};
    ProtobufCBinaryData addresses[] = {{4, v4}};
    Twofold__V1__Peer peer = TWOFOLD__V1__PEER__INIT;
    Twofold__V1__PortRange port = TWOFOLD__V1__PORT_RANGE__INIT;
    Twofold__V1__AuditEntry entry = TWOFOLD__V1__AUDIT_ENTRY__INIT;
    Twofold__V1__HostEntry host = TWOFOLD__V1__HOST_ENTRY__INIT;
    Twofold__V1__Rule rule = TWOFOLD__V1__RULE__INIT;
    peer.host = (char *)"api";
    peer.slot = 2;
    peer.addresses = addresses;
    peer.n_addresses = 1;
    json_is(&peer.base, "{\"host\":\"api\",\"slot\":2,\"addresses\":[\"192.0.2.1\"],\"workloads\":[]}");
    port.protocol = TWOFOLD__V1__PROTOCOL__PROTOCOL_TCP;
    port.first = port.last = 80;
    json_is(&port.base, "{\"protocol\":\"tcp\",\"first\":80,\"last\":80}");
    port.protocol = (Twofold__V1__Protocol)99;
    json_is(&port.base, "{\"protocol\":99,\"first\":80,\"last\":80}");
    rule.direction = TWOFOLD__V1__DIRECTION__DIRECTION_OUT;
    json_is(&rule.base,
            "{\"name\":\"\",\"direction\":\"out\",\"peers\":[],\"ports\":[],\"ipsec\":false,\"https\":false}");
    entry.hash = (ProtobufCBinaryData){2, hash};
    entry.time_ms = 1772359200123;
    json_is(&entry.base, "{\"number\":0,\"time_ms\":1772359200123,\"actor\":\"\",\"action\":\"\",\"object\":\"\","
                         "\"outcome\":\"\",\"hash\":\"abcd\"}");
    json_t *json = json_message(&host.base);
    cr_assert(json_is_null(json_object_get(json, "status")));
    json_decref(json);
}

Test(cli_json, only_the_member_of_a_oneof_that_is_set)
{
    Twofold__V1__LocalResponse response = TWOFOLD__V1__LOCAL_RESPONSE__INIT;
    Twofold__V1__Flows flows = TWOFOLD__V1__FLOWS__INIT;
    response.body_case = TWOFOLD__V1__LOCAL_RESPONSE__BODY_FLOWS;
    response.flows = &flows;
    json_is(&response.base, "{\"flows\":{\"flows\":[]}}");
}

// ---- tables of the commands

Test(cli_results, a_table_and_an_exit_code)
{
    Twofold__V1__HostResult good = TWOFOLD__V1__HOST_RESULT__INIT, bad = TWOFOLD__V1__HOST_RESULT__INIT, away = bad;
    Twofold__V1__HostResult *results[] = {&good, &bad, &away};
    char *text = NULL;
    size_t len;
    FILE *out = open_memstream(&text, &len);
    good.host = (char *)"web";
    good.answered = good.applied = true;
    good.elapsed_ms = 38;
    bad.host = (char *)"api";
    bad.answered = true;
    bad.elapsed_ms = 1204;
    bad.reason = (char *)"no room";
    away.host = (char *)"db";
    cr_assert_eq(results_print(results, 1, out), EXIT_CODE_OK);
    cr_assert_eq(results_print(results, 3, out), EXIT_CODE_NO);
    cr_assert_eq(results_print(results, 0, out), EXIT_CODE_OK);
    fclose(out);
    cr_assert_str_eq(text, "HOST  RESULT   TIME   REASON\n"
                           "web   applied  38 ms  -\n"
                           "HOST  RESULT     TIME     REASON\n"
                           "web   applied    38 ms    -\n"
                           "api   refused    1.204 s  no room\n"
                           "db    no answer  -        -\n");
    free(text);
}

Test(cli_show, peers_and_their_layers)
{
    Twofold__V1__PeerState up = TWOFOLD__V1__PEER_STATE__INIT, down = up, https = up;
    Twofold__V1__PeerState *peers[] = {&up, &down, &https};
    char *rules[] = {(char *)"web-to-api"}, *text = NULL;
    size_t len;
    FILE *out = open_memstream(&text, &len);
    up.host = (char *)"api";
    up.ipsec_needed = up.ipsec_up = up.https_needed = true;
    up.suite = (char *)"ecp384-aes256gcm16";
    up.https_suite = (char *)"TLS_AES_256_GCM_SHA384";
    up.tunnels = 1;
    up.age_seconds = 90;
    up.local_epoch = UINT64_C(1879458000000000) / 64 * 64 + 5;
    up.peer_epoch = 64 + 6;
    up.rules = rules;
    up.n_rules = 1;
    down.host = (char *)"db";
    down.ipsec_needed = true;
    down.problem = (char *)"No bundle of db has come: is its agent running?";
    https.host = (char *)"cache";
    https.https_needed = true;
    cr_assert_eq(show_peers(peers, 1, out), EXIT_CODE_OK);
    cr_assert_eq(show_peers(peers, 3, out), EXIT_CODE_NO);
    cr_assert_eq(show_peers(peers + 2, 1, out), EXIT_CODE_OK);
    cr_assert_eq(show_peers(NULL, 0, out), EXIT_CODE_OK);
    fclose(out);
    cr_assert(strstr(text, "api   up     ecp384-aes256gcm16  1m   5/6     up     TLS_AES_256_GCM_SHA384  1        0    "
                           "  web-to-api\n"),
              "%s", text);
    cr_assert(strstr(text, "    No bundle of db has come: is its agent running?\n"));
    cr_assert(strstr(text, "No peers: no rule"));
    cr_assert_str_eq(show_ipsec(&down), "down");
    cr_assert_str_eq(show_ipsec(&https), "-");
    cr_assert_str_eq(show_https(&https), "idle");
    cr_assert_str_eq(show_https(&up), "up");
    cr_assert_str_eq(show_https(&down), "-");
    free(text);
}

Test(cli_show, warnings_have_no_colour_in_a_file)
{
    char *warnings[] = {(char *)"one\x1b[2J"}, *text = NULL;
    size_t len;
    FILE *out = open_memstream(&text, &len);
    show_warnings(warnings, 1, out);
    fclose(out);
    cr_assert_str_eq(text, "warning: one [2J\n");
    free(text);
}
