// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/network/pair.h"

#include <string.h>

#include "proto/base/secret.h"

enum pair_state pair_next(bool leads, enum pair_state state, enum pair_event event)
{
    // clang-format off
    static const enum pair_state table[2][6][4] = {
        [true] = {
            //                  INSTALLED      ACK            DONE           POINTED
            [PAIR_NEW]      = {PAIR_OFFERED,  PAIR_NEW,      PAIR_NEW,      PAIR_NEW},
            [PAIR_OFFERED]  = {PAIR_OFFERED,  PAIR_READY,    PAIR_OFFERED,  PAIR_OFFERED},
            [PAIR_ANSWERED] = {PAIR_ANSWERED, PAIR_ANSWERED, PAIR_ANSWERED, PAIR_ANSWERED},
            [PAIR_READY]    = {PAIR_READY,    PAIR_READY,    PAIR_READY,    PAIR_SWITCHED},
            [PAIR_SWITCHED] = {PAIR_SWITCHED, PAIR_SWITCHED, PAIR_COMPLETE, PAIR_SWITCHED},
            [PAIR_COMPLETE] = {PAIR_COMPLETE, PAIR_COMPLETE, PAIR_COMPLETE, PAIR_COMPLETE},
        },
        [false] = {
            [PAIR_NEW]      = {PAIR_OFFERED,  PAIR_NEW,      PAIR_NEW,      PAIR_NEW},
            [PAIR_OFFERED]  = {PAIR_OFFERED,  PAIR_ANSWERED, PAIR_OFFERED,  PAIR_OFFERED},
            [PAIR_ANSWERED] = {PAIR_ANSWERED, PAIR_ANSWERED, PAIR_READY,    PAIR_ANSWERED},
            [PAIR_READY]    = {PAIR_READY,    PAIR_READY,    PAIR_READY,    PAIR_COMPLETE},
            [PAIR_SWITCHED] = {PAIR_SWITCHED, PAIR_SWITCHED, PAIR_SWITCHED, PAIR_SWITCHED},
            [PAIR_COMPLETE] = {PAIR_COMPLETE, PAIR_COMPLETE, PAIR_COMPLETE, PAIR_COMPLETE},
        },
    };
    // clang-format on
    return table[leads][state][event];
}

const char *pair_state_name(enum pair_state state)
{
    static const char *const names[] = {
        [PAIR_NEW] = "new",     [PAIR_OFFERED] = "offered",   [PAIR_ANSWERED] = "answered",
        [PAIR_READY] = "ready", [PAIR_SWITCHED] = "switched", [PAIR_COMPLETE] = "complete",
    };
    return names[state];
}

bool pair_is_unused(const struct pair *pair)
{
    return pair->state == PAIR_NEW || pair->state == PAIR_OFFERED;
}

enum err pair_make(const struct derive_key *key, const struct derive_input *input, struct derive_secrets *secrets,
                   struct pair *ret_pair)
{
    const struct bundle *local = input->local.bundle, *peer = input->peer.bundle;

    enum err err = derive_secrets(key, input, secrets);
    if (err)
        return err;
    *ret_pair = (struct pair){
        .state = PAIR_NEW,
        .leads = strcmp(local->host, peer->host) < 0,
        .local_epoch = local->epoch,
        .peer_epoch = peer->epoch,
        .inbound_spi = derive_spi(peer->slot, local->epoch, peer->epoch),
        .outbound_spi = derive_spi(local->slot, peer->epoch, local->epoch),
        .secrets = secrets,
    };
    derive_confirm(secrets, input, DERIVE_ACK, true, ret_pair->ack_out);
    derive_confirm(secrets, input, DERIVE_DONE, true, ret_pair->done_out);
    derive_confirm(secrets, input, DERIVE_ACK, false, ret_pair->ack_in);
    derive_confirm(secrets, input, DERIVE_DONE, false, ret_pair->done_in);
    secret_wipe(secrets->confirm_local, sizeof(secrets->confirm_local));
    secret_wipe(secrets->confirm_peer, sizeof(secrets->confirm_peer));
    return ERR_OK;
}

void pair_say(const struct pair *pair, enum derive_word word, uint8_t ret_body[PAIR_ACK_BYTES])
{
    struct pair_ack ack = {.sender_epoch = pair->local_epoch, .receiver_epoch = pair->peer_epoch};

    memcpy(ack.mac, word == DERIVE_ACK ? pair->ack_out : pair->done_out, sizeof(ack.mac));
    pair_ack_encode(&ack, ret_body);
}

enum err pair_hear(const struct pair *pair, const struct pair_ack *ack, enum derive_word *ret_word)
{
    if (secret_equal(ack->mac, pair->ack_in, sizeof(ack->mac)))
        *ret_word = DERIVE_ACK;
    else if (secret_equal(ack->mac, pair->done_in, sizeof(ack->mac)))
        *ret_word = DERIVE_DONE;
    else
        return ERR_CRYPTO;
    return ERR_OK;
}
