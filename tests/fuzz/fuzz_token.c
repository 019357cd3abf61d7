// SPDX-License-Identifier: GPL-2.0-or-later
// Any text as a join token. One that is taken has one encoding, but for the white space around it.
#include <stdlib.h>
#include <string.h>

#include "proto/wire/token.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char again[TOKEN_TEXT_BYTES];
    struct token token;

    char *text = calloc(1, size + 1);
    if (!text)
        abort();
    memcpy(text, data, size);
    if (token_decode(text, &token) == ERR_OK && (token_encode(&token, again) || !strstr(text, again)))
        abort();
    free(text);
    return 0;
}
