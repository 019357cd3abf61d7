// SPDX-License-Identifier: GPL-2.0-or-later
// protobuf messages as JSON, by their descriptors: the field names of the .proto files are the names people's scripts rely on.
// Addresses (bytes fields named address or addresses) become text, other bytes hexadecimal, enumerations their last word in lower
// case ("tcp", "out", "refused"). Every field is there, defaults too; absent messages are null.
#ifndef TWOFOLD_CONTROLLER_CLI_JSON_H
#define TWOFOLD_CONTROLLER_CLI_JSON_H

#include <jansson.h>
#include <protobuf-c/protobuf-c.h>

#include "controller/cli/command.h"

// NULL when there is no memory. The caller owns the value.
json_t *json_message(const ProtobufCMessage *message);

// Prints and frees; `json` may be NULL (no memory).
enum exit_code json_print(json_t *json, FILE *out);

#endif
