// SPDX-License-Identifier: GPL-2.0-or-later
// protobuf's wire format (protobuf.dev, "Encoding"): fields of a varint tag (number << 3 | wire type) and a value. It is walked here
// once before protobuf-c sees it, because that library cuts text at a zero byte, merges fields that come twice and follows nesting as
// deep as it goes.
#include "proto/wire/message_scan.h"

#include <assert.h>
#include <stdbool.h>

#include "proto/base/buf.h"
#include "proto/base/text.h"
#include "proto/wire/message.h"

#define VARINT_BYTES_MAX 10
#define FIELD_NUMBER_MAX ((1u << 29) - 1)
#define TYPE_FIELDS_MAX  64 // bits of `seen`

static enum err take_varint(struct cursor *cursor, uint64_t *ret_value)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < VARINT_BYTES_MAX; i++) {
        uint8_t byte;
        enum err err = cursor_u8(cursor, &byte);
        if (err)
            return err;
        // The tenth byte holds the 64th bit alone.
        if (i == VARINT_BYTES_MAX - 1 && byte > 1)
            return ERR_MALFORMED;
        value |= (uint64_t)(byte & 0x7f) << (7 * i);
        if (!(byte & 0x80)) {
            *ret_value = value;
            return ERR_OK;
        }
    }
    return ERR_MALFORMED;
}

// The bytes of a value; of those with a length, without it.
static enum err take_value(struct cursor *cursor, ProtobufCWireType wire, struct cursor *ret_value)
{
    uint64_t len = 0;
    enum err err = ERR_OK;

    switch (wire) {
    case PROTOBUF_C_WIRE_TYPE_VARINT:
        *ret_value = (struct cursor){cursor->bytes, 0};
        return take_varint(cursor, &len);
    case PROTOBUF_C_WIRE_TYPE_64BIT:
        len = 8;
        break;
    case PROTOBUF_C_WIRE_TYPE_32BIT:
        len = 4;
        break;
    case PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED:
        err = take_varint(cursor, &len);
        break;
    default: // groups, and what was never given a meaning
        return ERR_MALFORMED;
    }
    if (!err && len > cursor->left)
        err = ERR_MALFORMED;
    if (err)
        return err;
    ret_value->left = (size_t)len;
    return cursor_bytes(cursor, (size_t)len, &ret_value->bytes);
}

static bool is_oneof(const ProtobufCFieldDescriptor *field)
{
    return field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF;
}

// Which bit of `seen` stands for the field. The members of a oneof share that of the first of them.
static unsigned slot_of(const ProtobufCMessageDescriptor *type, const ProtobufCFieldDescriptor *field)
{
    const ProtobufCFieldDescriptor *first = type->fields;

    if (!is_oneof(field))
        return (unsigned)(field - first);
    while (!is_oneof(first) || first->quantifier_offset != field->quantifier_offset)
        first++;
    return (unsigned)(first - type->fields);
}

static enum err scan(const ProtobufCMessageDescriptor *type, struct cursor *cursor, unsigned depth);

static enum err scan_known(const ProtobufCFieldDescriptor *field, ProtobufCWireType wire, struct cursor *value,
                           unsigned depth)
{
    bool has_length = field->type == PROTOBUF_C_TYPE_STRING || field->type == PROTOBUF_C_TYPE_BYTES ||
                      field->type == PROTOBUF_C_TYPE_MESSAGE;
    if (has_length != (wire == PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED))
        return ERR_MALFORMED;
    if (field->type == PROTOBUF_C_TYPE_STRING)
        return text_clean_len(value->bytes, value->left) == value->left ? ERR_OK : ERR_MALFORMED;
    if (field->type == PROTOBUF_C_TYPE_MESSAGE)
        return scan(field->descriptor, value, depth + 1);
    return ERR_OK;
}

static enum err scan(const ProtobufCMessageDescriptor *type, struct cursor *cursor, unsigned depth)
{
    uint64_t seen = 0;

    assert(type->n_fields <= TYPE_FIELDS_MAX);
    if (depth > MESSAGE_NESTING_MAX)
        return ERR_LIMIT;
    while (cursor->left) {
        uint64_t tag;
        struct cursor value;
        enum err err = take_varint(cursor, &tag);
        if (!err && (tag >> 3 == 0 || tag >> 3 > FIELD_NUMBER_MAX))
            err = ERR_MALFORMED;
        ProtobufCWireType wire = (ProtobufCWireType)(tag & 7);
        if (!err)
            err = take_value(cursor, wire, &value);
        if (err)
            return err;
        const ProtobufCFieldDescriptor *field = protobuf_c_message_descriptor_get_field(type, (unsigned)(tag >> 3));
        if (!field)
            continue;
        uint64_t bit = UINT64_C(1) << slot_of(type, field);
        if (field->label != PROTOBUF_C_LABEL_REPEATED && seen & bit)
            return ERR_MALFORMED;
        seen |= bit;
        err = scan_known(field, wire, &value, depth);
        if (err)
            return err;
    }
    return ERR_OK;
}

enum err message_scan(const ProtobufCMessageDescriptor *type, const uint8_t *bytes, size_t len)
{
    struct cursor cursor = {bytes, len};
    return scan(type, &cursor, 0);
}
