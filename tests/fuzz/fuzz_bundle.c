// SPDX-License-Identifier: GPL-2.0-or-later
// Any bytes as a bundle and as an acknowledgement. Each has one encoding only.
#include <stdlib.h>
#include <string.h>

#include "proto/wire/bundle.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t blob[BUNDLE_BLOB_BYTES_MAX], bytes[PAIR_ACK_BYTES];
    struct bundle bundle;
    struct pair_ack ack;
    size_t len;

    if (bundle_decode(data, size, &bundle) == ERR_OK &&
        (bundle_encode(&bundle, blob, sizeof(blob), &len) || len != size || memcmp(blob, data, size) != 0))
        abort();
    if (pair_ack_decode(data, size, &ack) == ERR_OK) {
        pair_ack_encode(&ack, bytes);
        if (memcmp(bytes, data, sizeof(bytes)) != 0)
            abort();
    }
    return 0;
}
