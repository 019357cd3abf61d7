// SPDX-License-Identifier: GPL-2.0-or-later
// A certificate request as a host sends it.
#include "proto/link/cert.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t point[KEY_POINT_BYTES];
    struct note note;

    (void)!cert_request_check(data, size, point, &note);
    return 0;
}
