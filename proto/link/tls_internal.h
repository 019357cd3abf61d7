// SPDX-License-Identifier: GPL-2.0-or-later
// Shared by tls*.c only.
#ifndef TWOFOLD_LINK_TLS_INTERNAL_H
#define TWOFOLD_LINK_TLS_INTERNAL_H

#include <wolfssl/options.h>

#include <wolfssl/error-ssl.h>
#include <wolfssl/ssl.h>
#include <wolfssl/wolfcrypt/error-crypt.h>

#include "proto/link/tls.h"

struct tls_context {
    unsigned holders;
    enum tls_side side;
    enum tls_peer_check peer_check;
    WOLFSSL_CTX *ctx;
    const struct trust *trust; // not owned; NULL with TLS_PEER_PIN
    const struct clock *clock;
    uint8_t pin[DIGEST_BYTES];
    char alpn[16];
    int keylog_fd; // -1: none
};

struct tls_session {
    struct tls_context *context; // held
    WOLFSSL *ssl;
    struct buf input;   // ciphertext not yet read by the library
    struct cursor lent; // the caller's ciphertext, read when `input` is empty
    struct buf output;  // ciphertext for the network
    bool established;
    enum err failure; // ERR_OK: none
    struct note failure_note;
    struct cert_facts *peer;
    struct buf peer_der;
    struct buf peer_root_der;
};

// The session has failed for good; the first reason stays.
enum err tls_fail(struct tls_session *session, enum err err, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

int tls_verify_callback(int preverified, WOLFSSL_X509_STORE_CTX *store);
int tls_receive_callback(WOLFSSL *ssl, char *room, int room_len, void *context);
int tls_send_callback(WOLFSSL *ssl, char *bytes, int len, void *context);
// Writes the session's secrets to the context's key log, if it has one.
void tls_keylog_start(struct tls_session *session);

#endif
