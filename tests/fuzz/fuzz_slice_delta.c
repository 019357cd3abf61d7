// SPDX-License-Identifier: GPL-2.0-or-later
// A base and a delta: two bytes with the base's length, the base, and the rest. The rest is a delta, whose digests are put right (a fuzzer
// does not find a hash), or, with the length's first bit set, a second slice to go to.
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "proto/wire/message.h"
#include "proto/wire/slice.h"

static void must(bool holds)
{
    if (!holds)
        abort();
}

static void set_digest(ProtobufCBinaryData *field, const Twofold__V1__Slice *slice)
{
    free(field->data);
    field->data = malloc(DIGEST_BYTES);
    field->len = DIGEST_BYTES;
    must(field->data && slice_digest(slice, field->data) == ERR_OK);
}

static void expect_outcome(const Twofold__V1__Slice *made, const ProtobufCBinaryData *digest)
{
    uint8_t own[DIGEST_BYTES];
    must(slice_check(made, NULL) == ERR_OK);
    must(slice_digest(made, own) == ERR_OK && digest->len == sizeof(own) &&
         memcmp(own, digest->data, sizeof(own)) == 0);
}

static void between(const Twofold__V1__Slice *from, const Twofold__V1__Slice *to)
{
    Twofold__V1__SliceDelta *delta;
    Twofold__V1__Slice *made;
    must(slice_diff(from, to, 1, &delta) == ERR_OK);
    must(slice_patch(from, delta, &made, NULL) == ERR_OK);
    expect_outcome(made, &delta->digest);
    message_free(made);
    message_free(delta);
}

// As it came; then from this base; then with the digest of what a patch without removals makes, where that can be known.
static void apply(const Twofold__V1__Slice *from, Twofold__V1__SliceDelta *delta)
{
    Twofold__V1__Slice *made, outcome = TWOFOLD__V1__SLICE__INIT;
    struct note note = {0};

    if (slice_patch(from, delta, &made, &note) == ERR_OK) {
        expect_outcome(made, &delta->digest);
        message_free(made);
    } else {
        must(note.text[0] != '\0');
    }
    set_digest(&delta->from, from);
    if (slice_patch(from, delta, &made, NULL) == ERR_OK) {
        expect_outcome(made, &delta->digest);
        message_free(made);
    }
    // From nothing, the outcome is what the delta lists.
    free(delta->from.data);
    delta->from = (ProtobufCBinaryData){0};
    outcome.settings = delta->settings;
    outcome.peers = delta->peers;
    outcome.n_peers = delta->n_peers;
    outcome.rules = delta->rules;
    outcome.n_rules = delta->n_rules;
    outcome.pinholes = delta->pinholes;
    outcome.n_pinholes = delta->n_pinholes;
    outcome.revoked = delta->revoked;
    outcome.n_revoked = delta->n_revoked;
    set_digest(&delta->digest, &outcome);
    enum err err = slice_patch(from, delta, &made, NULL);
    if (err == ERR_OK) {
        expect_outcome(made, &delta->digest);
        message_free(made);
    }
    bool good = slice_check(&outcome, NULL) == ERR_OK && message_check_known(&delta->base, NULL) == ERR_OK &&
                delta->n_peers_removed + delta->n_rules_removed + delta->n_pinholes_removed == 0;
    must(good == (err == ERR_OK));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ProtobufCMessage *base, *rest;

    if (size < 2)
        return 0;
    bool is_slice = data[0] & 0x80;
    size_t len = (size_t)(data[0] & 0x7f) << 8 | data[1];
    data += 2, size -= 2;
    if (len > size || message_decode(&twofold__v1__slice__descriptor, data, len, &base))
        return 0;
    const ProtobufCMessageDescriptor *type =
        is_slice ? &twofold__v1__slice__descriptor : &twofold__v1__slice_delta__descriptor;
    if (slice_check((Twofold__V1__Slice *)base, NULL) == ERR_OK &&
        message_decode(type, data + len, size - len, &rest) == ERR_OK) {
        if (!is_slice)
            apply((Twofold__V1__Slice *)base, (Twofold__V1__SliceDelta *)rest);
        else if (slice_check((Twofold__V1__Slice *)rest, NULL) == ERR_OK)
            between((Twofold__V1__Slice *)base, (Twofold__V1__Slice *)rest);
        message_free(rest);
    }
    message_free(base);
    return 0;
}
