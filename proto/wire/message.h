// SPDX-License-Identifier: GPL-2.0-or-later
// protobuf messages to bytes and back, bounded: what a peer sends cannot make more memory than its own size allows.
#ifndef TWOFOLD_WIRE_MESSAGE_H
#define TWOFOLD_WIRE_MESSAGE_H

#include <protobuf-c/protobuf-c.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/base/err.h"

// Unpacks one message of the given type, at most `len` * 32 + 64 KiB of memory, nesting at most 16. Free with message_free.
// ERR_MALFORMED, ERR_LIMIT, ERR_NOMEM. Strings are checked: UTF-8 without control bytes but line feed and tab.
MUST_USE
enum err message_decode(const ProtobufCMessageDescriptor *type, const void *bytes, size_t len,
                        ProtobufCMessage **ret_message);
void message_free(void *message); // NULL is fine

// free() the bytes.
MUST_USE
enum err message_encode(const ProtobufCMessage *message, uint8_t **ret_bytes, size_t *ret_len);

// A deep copy, to be freed with message_free.
MUST_USE
enum err message_copy(const ProtobufCMessage *message, ProtobufCMessage **ret_copy);

#endif
