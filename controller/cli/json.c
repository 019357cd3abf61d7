// SPDX-License-Identifier: GPL-2.0-or-later
#include "controller/cli/json.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/ip.h"
#include "proto/base/text.h"

static json_t *bytes_value(const ProtobufCFieldDescriptor *field, const ProtobufCBinaryData *bytes)
{
    bool address = strcmp(field->name, "address") == 0 || strcmp(field->name, "addresses") == 0;
    char text[IP_TEXT_BYTES];
    struct ip ip;
    if (address && !ip_from_bytes(bytes->data, bytes->len, &ip)) {
        ip_format(&ip, text);
        return json_string(text);
    }
    char *hex = malloc(2 * bytes->len + 1);
    if (!hex)
        return NULL;
    hex_encode(bytes->data, bytes->len, hex);
    json_t *value = json_string(hex);
    free(hex);
    return value;
}

// "PROTOCOL_TCP" of Protocol is "tcp"; "DIRECTION_UNSPECIFIED" is "unspecified".
static json_t *enum_value(const ProtobufCEnumDescriptor *type, int number)
{
    char text[64];
    const ProtobufCEnumValue *value = protobuf_c_enum_descriptor_get_value(type, number);
    if (!value)
        return json_integer(number);
    const char *name = value->name;
    size_t prefix = strlen(type->short_name);
    if (strncasecmp(name, type->short_name, prefix) == 0 && name[prefix] == '_')
        name += prefix + 1;
    snprintf(text, sizeof(text), "%s", name);
    for (char *letter = text; *letter; letter++)
        *letter = (char)tolower((unsigned char)*letter);
    return json_string(text);
}

static json_t *field_value(const ProtobufCFieldDescriptor *field, const void *at)
{
    switch (field->type) {
    case PROTOBUF_C_TYPE_BOOL:
        return json_boolean(*(const protobuf_c_boolean *)at);
    case PROTOBUF_C_TYPE_UINT32:
        return json_integer(*(const uint32_t *)at);
    case PROTOBUF_C_TYPE_UINT64:
        return json_integer((json_int_t) * (const uint64_t *)at);
    case PROTOBUF_C_TYPE_ENUM:
        return enum_value(field->descriptor, *(const int *)at);
    case PROTOBUF_C_TYPE_STRING:
        return json_string(*(const char *const *)at ? *(const char *const *)at : "");
    case PROTOBUF_C_TYPE_BYTES:
        return bytes_value(field, at);
    case PROTOBUF_C_TYPE_MESSAGE:
        return *(const ProtobufCMessage *const *)at ? json_message(*(const ProtobufCMessage *const *)at) : json_null();
    default:
        return json_null(); // the protos use no other types
    }
}

static size_t value_bytes(const ProtobufCFieldDescriptor *field)
{
    switch (field->type) {
    case PROTOBUF_C_TYPE_BOOL:
        return sizeof(protobuf_c_boolean);
    case PROTOBUF_C_TYPE_UINT32:
        return sizeof(uint32_t);
    case PROTOBUF_C_TYPE_UINT64:
        return sizeof(uint64_t);
    case PROTOBUF_C_TYPE_ENUM:
        return sizeof(int);
    case PROTOBUF_C_TYPE_BYTES:
        return sizeof(ProtobufCBinaryData);
    default:
        return sizeof(void *);
    }
}

static json_t *list_value(const ProtobufCFieldDescriptor *field, const char *message)
{
    size_t count = *(const size_t *)(message + field->quantifier_offset);
    const char *items = *(const char *const *)(message + field->offset);
    json_t *list = json_array();
    for (size_t i = 0; list && i < count; i++) {
        if (json_array_append_new(list, field_value(field, items + i * value_bytes(field)))) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

// Members of a oneof that are not set are left out.
static bool is_set(const ProtobufCFieldDescriptor *field, const char *message)
{
    if (!(field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF))
        return true;
    return *(const uint32_t *)(message + field->quantifier_offset) == field->id;
}

json_t *json_message(const ProtobufCMessage *message)
{
    const char *bytes = (const char *)message;
    json_t *object = json_object();
    for (unsigned i = 0; object && i < message->descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &message->descriptor->fields[i];
        if (!is_set(field, bytes))
            continue;
        json_t *value = field->label == PROTOBUF_C_LABEL_REPEATED ? list_value(field, bytes)
                                                                  : field_value(field, bytes + field->offset);
        if (json_object_set_new(object, field->name, value)) {
            json_decref(object);
            return NULL;
        }
    }
    return object;
}

enum exit_code json_print(json_t *json, FILE *out)
{
    const struct note note = {.text = "There is not enough memory to print the answer."};
    if (!json || json_dumpf(json, out, JSON_INDENT(2) | JSON_ENSURE_ASCII)) {
        json_decref(json);
        return command_fail(ERR_NOMEM, &note);
    }
    fputc('\n', out);
    json_decref(json);
    return EXIT_CODE_OK;
}
