// SPDX-License-Identifier: GPL-2.0-or-later
// protobuf messages to bytes and back, bounded: what a peer sends cannot make more memory than its own size allows.
#ifndef TWOFOLD_WIRE_MESSAGE_H
#define TWOFOLD_WIRE_MESSAGE_H

#include <protobuf-c/protobuf-c.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/base/err.h"
#include "proto/base/note.h"

#define MESSAGE_MEMORY_PER_BYTE   32
#define MESSAGE_MEMORY_BASE_BYTES (64u << 10)
#define MESSAGE_NESTING_MAX       16

// Unpacks one message of the given type, with at most `len` * 32 + 64 KiB of memory at any moment and nesting of at most 16. Free with
// message_free. Stricter than protobuf where no encoder of ours or of another language differs: text is UTF-8 without control
// characters but line feed and tab (no zero byte either), a field that is not repeated comes once, of a oneof one member. Fields that the type
// does not know are kept. ERR_MALFORMED, ERR_LIMIT, ERR_NOMEM.
MUST_USE enum err message_decode(const ProtobufCMessageDescriptor *type, const void *bytes, size_t len,
                                 ProtobufCMessage **ret_message);
void message_free(void *message); // NULL is fine

// free() the bytes.
MUST_USE enum err message_encode(const ProtobufCMessage *message, uint8_t **ret_bytes, size_t *ret_len);

// A deep copy, to be freed with message_free.
MUST_USE enum err message_copy(const ProtobufCMessage *message, ProtobufCMessage **ret_copy);

// Whether the type knows every field of the message and of those inside it. ERR_UNSUPPORTED; the note names the field.
MUST_USE enum err message_check_known(const ProtobufCMessage *message, struct note *note);

#endif
