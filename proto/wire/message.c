// SPDX-License-Identifier: GPL-2.0-or-later
#include "proto/wire/message.h"

#include <malloc.h>
#include <stdlib.h>

#include "proto/wire/message_scan.h"

#define BLOCK_HEAD_BYTES sizeof(size_t) // what malloc keeps beside a block

// What one decoding may hold at once. Memory comes from malloc, so that any message is freed the same way.
struct budget {
    size_t left;
    enum err err;
};

static void *budget_alloc(void *context, size_t size)
{
    struct budget *budget = context;

    if (size > budget->left) {
        budget->err = ERR_LIMIT;
        return NULL;
    }
    void *bytes = malloc(size);
    if (!bytes) {
        budget->err = ERR_NOMEM;
        return NULL;
    }
    // What is counted is what the block really takes: many short texts cost more in heads and rounding than in bytes.
    size_t cost = malloc_usable_size(bytes) + BLOCK_HEAD_BYTES;
    if (cost > budget->left) {
        free(bytes);
        budget->err = ERR_LIMIT;
        return NULL;
    }
    budget->left -= cost;
    return bytes;
}

static void budget_free(void *context, void *bytes)
{
    struct budget *budget = context;

    if (!bytes)
        return;
    budget->left += malloc_usable_size(bytes) + BLOCK_HEAD_BYTES;
    free(bytes);
}

enum err message_decode(const ProtobufCMessageDescriptor *type, const void *bytes, size_t len,
                        ProtobufCMessage **ret_message)
{
    const uint8_t *in = len ? bytes : (const uint8_t *)"";

    if (len > (SIZE_MAX - MESSAGE_MEMORY_BASE_BYTES) / MESSAGE_MEMORY_PER_BYTE)
        return ERR_LIMIT;
    enum err err = message_scan(type, in, len);
    if (err)
        return err;
    struct budget budget = {.left = len * MESSAGE_MEMORY_PER_BYTE + MESSAGE_MEMORY_BASE_BYTES, .err = ERR_MALFORMED};
    ProtobufCAllocator allocator = {.alloc = budget_alloc, .free = budget_free, .allocator_data = &budget};
    ProtobufCMessage *message = protobuf_c_message_unpack(type, &allocator, len, in);
    if (!message)
        return budget.err;
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

// Every message inside one field, whether it is repeated, a member of a oneof or alone.
static enum err check_field_known(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field,
                                  struct note *note)
{
    const char *base = (const char *)message;
    const void *place = base + field->offset;
    ProtobufCMessage *const *inner = place;
    size_t count = 1;

    if (field->type != PROTOBUF_C_TYPE_MESSAGE)
        return ERR_OK;
    if (field->label == PROTOBUF_C_LABEL_REPEATED) {
        count = *(const size_t *)(const void *)(base + field->quantifier_offset);
        inner = *(ProtobufCMessage *const *const *)place;
    } else if (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) {
        count = *(const uint32_t *)(const void *)(base + field->quantifier_offset) == field->id;
    }
    for (size_t i = 0; i < count; i++) {
        enum err err = inner[i] ? message_check_known(inner[i], note) : ERR_OK;
        if (err)
            return err;
    }
    return ERR_OK;
}

enum err message_check_known(const ProtobufCMessage *message, struct note *note)
{
    const ProtobufCMessageDescriptor *type = message->descriptor;

    if (message->n_unknown_fields)
        return note_set(
            note, ERR_UNSUPPORTED,
            "field %u of a %s is not known here: what it would mean cannot be enforced; upgrade this host's software",
            message->unknown_fields[0].tag, type->short_name);
    for (unsigned i = 0; i < type->n_fields; i++) {
        enum err err = check_field_known(message, &type->fields[i], note);
        if (err)
            return err;
    }
    return ERR_OK;
}
