// SPDX-License-Identifier: GPL-2.0-or-later
// Any bytes as a slice. One that slice_check passes is canonical, comes through a delta from nothing unchanged, can be searched and shown.
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "proto/wire/message.h"
#include "proto/wire/slice.h"
#include "proto/wire/slice_text.h"

static void must(bool holds)
{
    if (!holds)
        abort();
}

static void use(Twofold__V1__Slice *slice)
{
    uint8_t before[DIGEST_BYTES], after[DIGEST_BYTES];
    Twofold__V1__SliceDelta *delta;
    Twofold__V1__Slice *made;
    struct buf buf;

    must(slice_digest(slice, before) == ERR_OK);
    must(slice_diff(NULL, slice, 1, &delta) == ERR_OK);
    must(slice_patch(NULL, delta, &made, NULL) == ERR_OK);
    must(slice_digest(made, after) == ERR_OK && memcmp(before, after, sizeof(before)) == 0);
    message_free(delta);
    message_free(made);
    slice_sort(slice);
    must(slice_digest(slice, after) == ERR_OK && memcmp(before, after, sizeof(before)) == 0);
    for (size_t i = 0; i < slice->n_peers; i++)
        must(slice_peer(slice, slice->peers[i]->host) == slice->peers[i]);
    for (size_t i = 0; i < slice->n_rules; i++) {
        const Twofold__V1__Rule *rule = slice->rules[i];
        for (size_t k = 0; k < rule->n_peers; k++)
            must(slice_rule(slice, rule->direction, rule->peers[k], rule->ports[0]->protocol,
                            (uint16_t)rule->ports[0]->first));
    }
    buf_init(&buf, 1 << 20);
    enum err err = slice_text(slice, &buf);
    must(err == ERR_OK || err == ERR_LIMIT);
    buf_free(&buf);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ProtobufCMessage *message;
    struct note note = {0};

    if (message_decode(&twofold__v1__slice__descriptor, data, size, &message))
        return 0;
    if (slice_check((Twofold__V1__Slice *)message, &note) == ERR_OK)
        use((Twofold__V1__Slice *)message);
    else
        must(note.text[0] != '\0');
    message_free(message);
    return 0;
}
