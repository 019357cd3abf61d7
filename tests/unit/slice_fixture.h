// SPDX-License-Identifier: GPL-2.0-or-later
// Slices for tests: one that uses every field, and seeded random ones that slice_check passes. Everything is on the heap, element by element, so
// that a test can change any part and message_free releases the whole.
#ifndef TWOFOLD_TESTS_UNIT_SLICE_FIXTURE_H
#define TWOFOLD_TESTS_UNIT_SLICE_FIXTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "control.pb-c.h"
#include "slice.pb-c.h"

// A small deterministic generator (splitmix64): the same seed, the same test.
struct dice {
    uint64_t state;
};
uint64_t dice_roll(struct dice *dice, uint64_t sides); // 0 .. sides-1

// Host "web" of example.org with peers api, cache and db, rules in both directions and with each choice of layers, IPv4 and IPv6,
// two pinholes and two revoked hosts. Canonical.
Twofold__V1__Slice *fixture_slice(void);

// Names come from a small pool, so that two random slices share some of their elements. Canonical.
Twofold__V1__Slice *fixture_random_slice(struct dice *dice);

// Puts every list of the slice out of order.
void fixture_shuffle(Twofold__V1__Slice *slice, struct dice *dice);

// Replaces a text.
void fixture_set(char **text, const char *value);

// Grows a list by one element, which it takes over.
void fixture_push(void *list, size_t *count, void *item);
void fixture_push_text(char ***list, size_t *count, const char *text);
void fixture_push_bytes(ProtobufCBinaryData **list, size_t *count, const void *bytes, size_t len);

Twofold__V1__Peer *fixture_add_peer(Twofold__V1__Slice *slice, const char *host, uint32_t slot, const char *address,
                                    const char *workload);
Twofold__V1__Rule *fixture_add_rule(Twofold__V1__Slice *slice, const char *name, Twofold__V1__Direction direction,
                                    bool ipsec, bool https);
Twofold__V1__Pinhole *fixture_add_pinhole(Twofold__V1__Slice *slice, const char *name,
                                          Twofold__V1__Direction direction);
void fixture_add_port(Twofold__V1__PortRange ***ports, size_t *count, Twofold__V1__Protocol protocol, uint32_t first,
                      uint32_t last);
void fixture_add_prefix(Twofold__V1__Pinhole *pinhole, const char *prefix);

// A field that no version knows (number 100, a varint), as it would come from a newer sender.
void fixture_add_unknown(ProtobufCMessage *message);

#define IN  TWOFOLD__V1__DIRECTION__DIRECTION_IN
#define OUT TWOFOLD__V1__DIRECTION__DIRECTION_OUT
#define TCP TWOFOLD__V1__PROTOCOL__PROTOCOL_TCP
#define UDP TWOFOLD__V1__PROTOCOL__PROTOCOL_UDP

#endif
