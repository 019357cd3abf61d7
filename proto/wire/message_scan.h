// SPDX-License-Identifier: GPL-2.0-or-later
// The check of a message's bytes before protobuf-c unpacks them. For message.c only.
#ifndef TWOFOLD_WIRE_MESSAGE_SCAN_H
#define TWOFOLD_WIRE_MESSAGE_SCAN_H

#include <protobuf-c/protobuf-c.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/base/err.h"

// What message_decode says of form, text, repetition and nesting. ERR_MALFORMED, ERR_LIMIT.
MUST_USE enum err message_scan(const ProtobufCMessageDescriptor *type, const uint8_t *bytes, size_t len);

#endif
