// SPDX-License-Identifier: GPL-2.0-or-later
// A slice as text for people and for golden files: one line for each element, in the slice's order, the same slice always the same text.
//
//   slice web generation 7 trust-domain example.org rekey 3600 independence reported
//   peer api slot 2 addresses 192.0.2.2 2001:db8::2 workloads spiffe://example.org/ns/default/sa/api
//   rule web-to-api out ports tcp/8080 tcp/9000-9010 layers ipsec https peers api
//   pinhole ssh in ports tcp/22 prefixes 0.0.0.0/0 ::/0
//   revoked intruder
#ifndef TWOFOLD_WIRE_SLICE_TEXT_H
#define TWOFOLD_WIRE_SLICE_TEXT_H

#include "proto/base/buf.h"
#include "proto/base/err.h"
#include "slice.pb-c.h"

// Appends the text. ERR_MALFORMED when an address, a direction or a protocol is none; ERR_LIMIT and ERR_NOMEM by the buffer.
MUST_USE enum err slice_text(const Twofold__V1__Slice *slice, struct buf *buf);

#endif
