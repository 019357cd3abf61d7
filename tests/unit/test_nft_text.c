// SPDX-License-Identifier: GPL-2.0-or-later
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/network/nft_text.h"
#include "proto/wire/message.h"
#include "proto/wire/slice.h"
#include "tests/unit/policy_inventory.h"
#include "tests/unit/slice_reader.h"

static struct nft_input input_of(const Twofold__V1__Slice *slice, const struct ip_endpoint *controller)
{
    return (struct nft_input){
        .slice = slice,
        .controller = controller,
        .control_uid = 901,
        .https_uid = 903,
        .outbound_port = 15001,
        .tunnel_port = 15008,
    };
}

static struct ip_endpoint endpoint(const char *text)
{
    struct ip_endpoint parsed;
    cr_assert_eq(ip_endpoint_parse(text, &parsed), ERR_OK);
    return parsed;
}

static char *render(const struct nft_input *input)
{
    struct buf text;
    buf_init(&text, NFT_TEXT_BYTES_MAX);
    cr_assert_eq(nft_text(input, &text), ERR_OK);
    cr_assert_eq(buf_append_u8(&text, 0), ERR_OK);
    char *copy = strdup((const char *)buf_bytes(&text));
    buf_free(&text);
    return copy;
}

static Twofold__V1__Slice *slice_of(const char *name)
{
    char path[128];
    struct note note = {0};
    snprintf(path, sizeof(path), "tests/unit/golden/network/%s.slice", name);
    char *text = golden_read(path);
    Twofold__V1__Slice *slice = slice_from_text(text);
    cr_assert_eq(slice_check(slice, &note), ERR_OK, "%s", note.text);
    free(text);
    return slice;
}

static void check_golden(const char *name, const char *controller)
{
    char path[128];
    struct ip_endpoint far = endpoint(controller);
    Twofold__V1__Slice *slice = slice_of(name);
    struct nft_input input = input_of(slice, &far);
    char *text = render(&input);
    snprintf(path, sizeof(path), "tests/unit/golden/network/%s.nft", name);
    golden_compare(path, text);
    free(text);
    message_free(slice);
}

Test(nft_text, rulesets_are_those_of_the_golden_files)
{
    check_golden("web", "192.0.2.10:7443");
    check_golden("server", "[2001:db8::10]:7443");
    check_golden("empty", "192.0.2.10:7443");
}

Test(nft_text, without_a_slice_there_is_the_floor)
{
    struct nft_input input = input_of(NULL, NULL);
    char *text = render(&input);
    golden_compare("tests/unit/golden/network/floor.nft", text);
    cr_assert_null(strstr(text, "chain capture"));
    free(text);
}

Test(nft_text, the_same_input_gives_the_same_text)
{
    Twofold__V1__Slice *slice = slice_of("web");
    struct nft_input input = input_of(slice, NULL);
    char *one = render(&input);
    char *two = render(&input);
    cr_assert_str_eq(one, two);
    free(one);
    free(two);
    message_free(slice);
}

// The refusal of a port that needs https must stand before the acceptance of a weaker rule for the same port.
Test(nft_text, a_weaker_rule_never_opens_a_stronger_ones_port)
{
    Twofold__V1__Slice *slice =
        slice_from_text("slice a generation 1 trust-domain example.org rekey 60 independence reported\n"
                        "peer b slot 2 addresses 192.0.2.2\n"
                        "rule a-weak in ports tcp/1-65535 layers ipsec peers b\n"
                        "rule z-strong in ports tcp/8080 layers ipsec https peers b\n");
    struct nft_input input = input_of(slice, NULL);
    char *text = render(&input);
    const char *chain = strstr(text, "chain input");
    const char *strong = strstr(chain, "tcp dport { 8080 } goto refuse_in");
    const char *weak = strstr(chain, "tcp dport { 1-65535 }");
    cr_assert_not_null(strong);
    cr_assert_not_null(weak);
    cr_assert_lt(strong, weak);
    free(text);
    message_free(slice);
}

Test(nft_text, text_over_the_limit_is_refused)
{
    struct buf text;
    struct nft_input input = input_of(NULL, NULL);
    buf_init(&text, 1000);
    cr_assert_eq(nft_text(&input, &text), ERR_LIMIT);
    buf_free(&text);
}

Test(nft_text, a_rule_with_64_ranges_fits)
{
    Twofold__V1__Slice *slice =
        slice_from_text("slice a generation 1 trust-domain example.org rekey 60 independence reported\n"
                        "peer b slot 2 addresses 2001:db8:ffff:ffff:ffff:ffff:ffff:ffff\n"
                        "rule x in ports tcp/60000 layers ipsec peers b\n");
    Twofold__V1__Rule *rule = slice->rules[0];
    for (uint32_t i = 1; i < SLICE_RULE_PORTS_MAX; i++) {
        Twofold__V1__PortRange *range = malloc(sizeof(*range));
        twofold__v1__port_range__init(range);
        range->protocol = TWOFOLD__V1__PROTOCOL__PROTOCOL_TCP;
        range->first = 60000 + i * 3;
        range->last = range->first + 1;
        rule->ports = realloc(rule->ports, (rule->n_ports + 1) * sizeof(*rule->ports));
        rule->ports[rule->n_ports++] = range;
    }
    struct nft_input input = input_of(slice, NULL);
    char *text = render(&input);
    cr_assert_not_null(strstr(text, "60189-60190 }"));
    free(text);
    message_free(slice);
}
