// SPDX-License-Identifier: GPL-2.0-or-later
// What the controller can say to keying: words of pairs and bundles, whole, changed, in any order, while time passes and the kernel refuses.
// The input is a list of steps: what, where, and a byte to change there. With all right certificates nothing may be up that the
// peer's words did not bring up.
#include <stdlib.h>
#include <string.h>

// A fuzz target is linked with the library only.
#include "tests/unit/keying_one.c"
#include "tests/unit/pki.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define STEPS_MAX 64

enum step {
    STEP_ACK, // the peer's, at byte `where` xored with `change`
    STEP_DONE,
    STEP_BUNDLE,        // the peer's present one, changed likewise
    STEP_NEW_BUNDLE,    // of its next epoch, signed
    STEP_SIGNED_CHANGE, // one that is changed before it is signed
    STEP_TIME,
    STEP_CLOCK,
    STEP_KERNEL,
    STEP_SLICE,
    STEP_RAW, // the rest of the input as a word
    STEPS,
};

static struct one *one;
static struct one_peer *peer;

// Keys are in memory that a leak checker does not look into.
static void end(void)
{
    one_peer_free(peer);
    one_free(one);
    free(peer);
    free(one);
}

static void begin(void)
{
    struct note note;

    if (!one) {
        one = calloc(1, sizeof(*one));
        peer = calloc(1, sizeof(*peer));
        one_init(one);
        one_peer_init(one, peer);
        atexit(end);
    }
    // Another keying with the same certificates.
    keying_free(one->keying);
    unlink(one->path);
    one->unix_s = ONE_NOW;
    one->install_err = one->switch_err = ERR_OK;
    struct keying_config config = {&one->clock, one->path, "alpha", one->pki.trust, &actions, one};
    expect_ok(keying_new(&config, &one->keying, &note));
    expect_ok(keying_set_identity(one->keying, one->leaf.key, one->leaf.der, one->leaf.len, &note));
    expect_ok(one_slice(one, "bravo", 2, "192.0.2.2", NULL, &note));
    keying_publish_again(one->keying);
    peer->bundle.epoch = 1000;
    one_peer_sign(peer);
}

static void word(enum derive_word said, uint8_t where, uint8_t change)
{
    uint8_t body[PAIR_ACK_BYTES];
    struct note note;

    one_peer_word(one, peer, said, body);
    body[where % sizeof(body)] ^= change;
    enum err err = keying_on_pair(one->keying, "bravo", body, sizeof(body), &note);
    if (change && where % sizeof(body) >= 31 && err == ERR_OK)
        abort(); // a changed MAC passed
}

static void bundle(uint8_t where, uint8_t change, bool sign)
{
    size_t at = (size_t)where * peer->blob_len / 256;
    struct note note;

    peer->blob[at] ^= change;
    if (sign)
        expect_ok(key_sign(peer->leaf.key, peer->blob, peer->blob_len, peer->signature));
    uint64_t accepted = keying_counters(one->keying)->bundles_accepted;
    // Without a right signature it is at best one that is known already.
    if (one_hear_bundle(one, peer, &note) == ERR_OK && change && !sign &&
        keying_counters(one->keying)->bundles_accepted != accepted)
        abort();
    peer->blob[at] ^= change;
    if (sign)
        expect_ok(key_sign(peer->leaf.key, peer->blob, peer->blob_len, peer->signature));
}

static void slice(uint8_t where)
{
    struct note note;
    enum err err = where & 1 ? one_slice(one, "bravo", 2, "192.0.2.2", NULL, &note)
                             : one_slice(one, "charlie", 3, "192.0.2.3", where & 2 ? "bravo" : NULL, &note);
    if (err)
        abort();
}

static void do_step(enum step step, uint8_t where, uint8_t change)
{
    switch (step) {
    case STEP_ACK:
    case STEP_DONE:
        word(step == STEP_ACK ? DERIVE_ACK : DERIVE_DONE, where, change);
        break;
    case STEP_BUNDLE:
    case STEP_SIGNED_CHANGE:
        bundle(where, change, step == STEP_SIGNED_CHANGE);
        break;
    case STEP_NEW_BUNDLE:
        peer->bundle.epoch += where;
        one_peer_sign(peer);
        bundle(0, 0, false);
        break;
    case STEP_TIME:
        one_wait(one, (uint64_t)(where % 40) * 1000);
        break;
    case STEP_CLOCK:
        one->unix_s = ONE_NOW + (uint64_t)where * 60;
        break;
    case STEP_KERNEL:
        one->install_err = where & 1 ? ERR_KERNEL : where & 2 ? ERR_EXISTS : ERR_OK;
        one->switch_err = where & 4 ? ERR_KERNEL : ERR_OK;
        break;
    case STEP_SLICE:
        slice(where);
        break;
    case STEP_RAW:
    case STEPS:
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct keying_peer_state state;
    struct note note;
    bool said_ack = false;

    begin();
    for (unsigned i = 0; i < STEPS_MAX && size >= 3; i++) {
        enum step step = data[0] % STEPS;
        if (step == STEP_RAW) {
            if (keying_on_pair(one->keying, "bravo", data + 1, size - 1, &note) == ERR_OK)
                abort();
            break;
        }
        said_ack =
            said_ack || (step == STEP_ACK && data[2] == 0) || (step == STEP_ACK && data[1] % PAIR_ACK_BYTES < 31);
        do_step(step, data[1], data[2]);
        if (!said_ack && keying_peer_state(one->keying, "bravo", &state) == ERR_OK && state.up)
            abort(); // nobody has shown the keys
        data += 3;
        size -= 3;
    }
    return 0;
}
