// SPDX-License-Identifier: GPL-2.0-or-later
// The stored slice. The digest would keep a fuzzer out: the input is tried as the file, and then as the slice in a file with the right digest.
#include <stdlib.h>

#include "agent/control/slice_store.h"
#include "proto/wire/message.h"
#include "proto/wire/slice.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static void decode(const uint8_t *bytes, size_t len)
{
    struct stored_slice stored;
    struct note note = {0};

    if (slice_store_decode(bytes, len, "example.org", "web", &stored, &note))
        return;
    // What is enforced has passed its check.
    if (slice_check(stored.slice, &note))
        abort();
    message_free(stored.slice);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    ProtobufCMessage *slice;
    uint8_t *file;
    size_t file_len;

    decode(bytes, len);
    if (message_decode(&twofold__v1__slice__descriptor, bytes, len, &slice))
        return 0;
    if (slice_store_encode((Twofold__V1__Slice *)slice, 1, &file, &file_len) == ERR_OK) {
        decode(file, file_len);
        free(file);
    }
    message_free(slice);
    return 0;
}
