// SPDX-License-Identifier: GPL-2.0-or-later
// Any text as the authority and as the forwarded header of a CONNECT. What is taken comes back from its own text.
#include <stdlib.h>
#include <string.h>

#include "proto/wire/authority.h"

static void expect_same(const struct ip_endpoint *a, const struct ip_endpoint *b)
{
    if (a->port != b->port || a->port == 0 || ip_compare(&a->ip, &b->ip) != 0)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ip_endpoint endpoint, back;
    char shown[IP_ENDPOINT_TEXT_BYTES], forwarded[FORWARDED_TEXT_BYTES];

    char *text = calloc(1, size + 1);
    if (!text)
        abort();
    if (size)
        memcpy(text, data, size);
    if (authority_parse(text, &endpoint) == ERR_OK) {
        ip_endpoint_format(&endpoint, shown);
        if (authority_parse(shown, &back) != ERR_OK)
            abort();
        expect_same(&endpoint, &back);
    }
    if (forwarded_parse(text, &endpoint) == ERR_OK) {
        forwarded_format(&endpoint, forwarded);
        if (forwarded_parse(forwarded, &back) != ERR_OK)
            abort();
        expect_same(&endpoint, &back);
    }
    free(text);
    return 0;
}
