// SPDX-License-Identifier: GPL-2.0-or-later
#include "proto/wire/message.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define MEMORY_PER_BYTE   32
#define MEMORY_BASE_BYTES (64u << 10)
#define NESTING_MAX       16

// What one decoding may still allocate. Memory comes from malloc, so that any message is freed the same way.
struct budget {
    size_t left;
    bool exceeded;
};

static void *budget_alloc(void *context, size_t size)
{
    struct budget *budget = context;

    if (size > budget->left) {
        budget->exceeded = true;
        return NULL;
    }
    budget->left -= size;
    return malloc(size);
}

static void budget_free(void *context, void *bytes)
{
    (void)context;
    free(bytes);
}

// UTF-8 (RFC 3629: shortest form, no surrogates, at most U+10FFFF) without control bytes but line feed and tab.
static bool text_is_clean(const char *text)
{
    const uint8_t *at = (const uint8_t *)text;

    while (*at) {
        uint8_t lead = *at++;
        if (lead < 0x80) {
            if ((lead < 0x20 && lead != '\n' && lead != '\t') || lead == 0x7f)
                return false;
            continue;
        }
        unsigned more = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : 1;
        if (lead < 0xc2 || lead > 0xf4)
            return false;
        uint32_t point = lead & (0x3fu >> more);
        for (unsigned i = 0; i < more; i++, at++) {
            if ((*at & 0xc0) != 0x80)
                return false;
            point = point << 6 | (*at & 0x3f);
        }
        static const uint32_t smallest[] = {0, 0x80, 0x800, 0x10000};
        if (point < smallest[more] || point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff))
            return false;
    }
    return true;
}

static enum err check_message(const ProtobufCMessage *message, unsigned depth);

static enum err check_value(const ProtobufCFieldDescriptor *field, const void *value, unsigned depth)
{
    if (field->type == PROTOBUF_C_TYPE_STRING) {
        const char *text = *(char *const *)value;
        return !text || text_is_clean(text) ? ERR_OK : ERR_MALFORMED;
    }
    if (field->type == PROTOBUF_C_TYPE_MESSAGE) {
        const ProtobufCMessage *inner = *(ProtobufCMessage *const *)value;
        return inner ? check_message(inner, depth + 1) : ERR_OK;
    }
    return ERR_OK;
}

static enum err check_field(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field, unsigned depth)
{
    const char *base = (const char *)message;

    if (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) {
        if (*(const uint32_t *)(const void *)(base + field->quantifier_offset) != field->id)
            return ERR_OK;
    }
    if (field->label != PROTOBUF_C_LABEL_REPEATED)
        return check_value(field, base + field->offset, depth);
    if (field->type != PROTOBUF_C_TYPE_STRING && field->type != PROTOBUF_C_TYPE_MESSAGE)
        return ERR_OK;
    size_t count = *(const size_t *)(const void *)(base + field->quantifier_offset);
    void *const *values = *(void *const *const *)(const void *)(base + field->offset);
    for (size_t i = 0; i < count; i++) {
        enum err err = check_value(field, &values[i], depth);
        if (err)
            return err;
    }
    return ERR_OK;
}

static enum err check_message(const ProtobufCMessage *message, unsigned depth)
{
    if (depth > NESTING_MAX)
        return ERR_LIMIT;
    for (unsigned i = 0; i < message->descriptor->n_fields; i++) {
        enum err err = check_field(message, &message->descriptor->fields[i], depth);
        if (err)
            return err;
    }
    return ERR_OK;
}

enum err message_decode(const ProtobufCMessageDescriptor *type, const void *bytes, size_t len,
                        ProtobufCMessage **ret_message)
{
    struct budget budget = {.left = len * MEMORY_PER_BYTE + MEMORY_BASE_BYTES};
    ProtobufCAllocator allocator = {.alloc = budget_alloc, .free = budget_free, .allocator_data = &budget};

    if (len > (SIZE_MAX - MEMORY_BASE_BYTES) / MEMORY_PER_BYTE)
        return ERR_LIMIT;
    // Our messages do not contain themselves, so that their types bound the nesting of what is unpacked.
    ProtobufCMessage *message = protobuf_c_message_unpack(type, &allocator, len, len ? bytes : (const uint8_t *)"");
    if (!message)
        return budget.exceeded ? ERR_LIMIT : ERR_MALFORMED;
    enum err err = check_message(message, 0);
    if (err) {
        message_free(message);
        return err;
    }
    *ret_message = message;
    return ERR_OK;
}

void message_free(void *message)
{
    if (message)
        protobuf_c_message_free_unpacked(message, NULL);
}

enum err message_encode(const ProtobufCMessage *message, uint8_t **ret_bytes, size_t *ret_len)
{
    size_t len = protobuf_c_message_get_packed_size(message);
    uint8_t *bytes = malloc(len ? len : 1);
    if (!bytes)
        return ERR_NOMEM;
    *ret_len = protobuf_c_message_pack(message, bytes);
    *ret_bytes = bytes;
    return ERR_OK;
}

enum err message_copy(const ProtobufCMessage *message, ProtobufCMessage **ret_copy)
{
    uint8_t *bytes;
    size_t len;

    enum err err = message_encode(message, &bytes, &len);
    if (err)
        return err;
    ProtobufCMessage *copy = protobuf_c_message_unpack(message->descriptor, NULL, len, bytes);
    free(bytes);
    if (!copy)
        return ERR_NOMEM;
    *ret_copy = copy;
    return ERR_OK;
}
