// SPDX-License-Identifier: GPL-2.0-or-later
#include <criterion/criterion.h>
#include <string.h>

#include "proto/wire/slice_text.h"

static char *host = (char *)"web";
static char *domain = (char *)"example.org";

Test(slice_text, refuses_what_no_slice_holds)
{
    Twofold__V1__Slice slice = TWOFOLD__V1__SLICE__INIT;
    Twofold__V1__Settings settings = TWOFOLD__V1__SETTINGS__INIT;
    Twofold__V1__Peer peer = TWOFOLD__V1__PEER__INIT, *peers[] = {&peer};
    Twofold__V1__Rule rule = TWOFOLD__V1__RULE__INIT, *rules[] = {&rule};
    Twofold__V1__PortRange port = TWOFOLD__V1__PORT_RANGE__INIT, *ports[] = {&port};
    ProtobufCBinaryData address = {3, (uint8_t *)"abc"};
    struct buf buf;
    buf_init(&buf, 4096);
    cr_assert_eq(slice_text(&slice, &buf), ERR_MALFORMED);
    settings.host = host;
    settings.trust_domain = domain;
    slice.settings = &settings;
    cr_assert_eq(slice_text(&slice, &buf), ERR_OK);
    peer.host = host;
    peer.addresses = &address;
    peer.n_addresses = 1;
    slice.peers = peers;
    slice.n_peers = 1;
    cr_assert_eq(slice_text(&slice, &buf), ERR_MALFORMED);
    slice.n_peers = 0;
    rule.name = host;
    slice.rules = rules;
    slice.n_rules = 1;
    cr_assert_eq(slice_text(&slice, &buf), ERR_MALFORMED);
    rule.direction = TWOFOLD__V1__DIRECTION__DIRECTION_OUT;
    rule.ports = ports;
    rule.n_ports = 1;
    cr_assert_eq(slice_text(&slice, &buf), ERR_MALFORMED);
    port.protocol = TWOFOLD__V1__PROTOCOL__PROTOCOL_TCP;
    cr_assert_eq(slice_text(&slice, &buf), ERR_OK);
    buf_free(&buf);
}

Test(slice_text, stops_at_the_bound_of_the_buffer)
{
    Twofold__V1__Slice slice = TWOFOLD__V1__SLICE__INIT;
    Twofold__V1__Settings settings = TWOFOLD__V1__SETTINGS__INIT;
    struct buf buf;
    settings.host = host;
    settings.trust_domain = domain;
    slice.settings = &settings;
    buf_init(&buf, 16);
    cr_assert_eq(slice_text(&slice, &buf), ERR_LIMIT);
    buf_free(&buf);
}
