// SPDX-License-Identifier: GPL-2.0-or-later
// TLS 1.3 (RFC 8446) with mutual authentication, as bytes in and bytes out: no sockets here. AES-256-GCM-SHA384 first; no resumption,
// no 0-RTT, no renegotiation. wolfSSL's only owner in `link` besides cert and key.
#ifndef TWOFOLD_LINK_TLS_H
#define TWOFOLD_LINK_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/base/buf.h"
#include "proto/base/clock.h"
#include "proto/base/err.h"
#include "proto/base/note.h"
#include "proto/link/cert.h"

enum tls_side { TLS_CLIENT, TLS_SERVER };

enum tls_peer_check {
    TLS_PEER_REQUIRED, // a certificate that chains to an anchor, always
    TLS_PEER_OPTIONAL, // server: none, or a good one
    TLS_PEER_PIN, // client, first contact: the root that the server sends must have the pinned SPKI hash, and the leaf chain to it
};

struct tls_config {
    enum tls_side side;
    enum tls_peer_check peer_check;
    const struct key *key;      // own; NULL: a client without a certificate
    const uint8_t *certificate; // DER, own leaf
    size_t certificate_len;
    const uint8_t *root; // DER, sent behind the leaf so that a first-contact client can pin it; NULL: not sent
    size_t root_len;
    const struct trust *trust; // anchors for the peer; outlives the context. NULL with TLS_PEER_PIN
    const uint8_t *pin;        // DIGEST_BYTES, with TLS_PEER_PIN
    const char *alpn;          // "h2": required of the peer
    const struct clock *clock;
    const char *keylog_path; // NSS key-log format, appended, mode 0600; NULL: none (proofs only)
};

// Immutable; counted, so that a new one can replace it while sessions live on.
struct tls_context;
MUST_USE enum err tls_context_new(const struct tls_config *config, struct tls_context **ret_context, struct note *note);
struct tls_context *tls_context_hold(struct tls_context *context);
void tls_context_drop(struct tls_context *context);

struct tls_session;
MUST_USE enum err tls_session_new(struct tls_context *context, struct tls_session **ret_session); // holds the context
void tls_session_free(struct tls_session *session);

// Ciphertext from the network goes in; what it makes available is read with tls_read. Bounded: ERR_AGAIN when more than 256 KiB
// is waiting to be read: read first.
MUST_USE enum err tls_feed(struct tls_session *session, const uint8_t *bytes, size_t len);

// The same without a copy: lends `bytes` until tls_reclaim, which keeps what is left of them as tls_feed would. For callers that read
// until ERR_AGAIN in between.
MUST_USE enum err tls_lend(struct tls_session *session, const uint8_t *bytes, size_t len);
MUST_USE enum err tls_reclaim(struct tls_session *session);

// Goes on with the handshake: ERR_OK when it is complete and the peer's certificate is verified (chain, validity, EKU, form of the
// SPIFFE ID), ERR_AGAIN when it waits for bytes, otherwise failed for good; the note says why in words for people.
MUST_USE enum err tls_handshake(struct tls_session *session, struct note *note);

// Plaintext: ERR_OK with *ret_len > 0, ERR_AGAIN, ERR_CLOSED on close_notify; anything else is for good, and tls_failure says why.
MUST_USE enum err tls_read(struct tls_session *session, uint8_t *room, size_t room_len, size_t *ret_len);
void tls_failure(const struct tls_session *session, struct note *note);

// Seals all of `bytes` into records of at most 16,384 bytes.
MUST_USE enum err tls_write(struct tls_session *session, const uint8_t *bytes, size_t len);
MUST_USE enum err tls_close_notify(struct tls_session *session);

// Ciphertext for the network; the caller consumes what it took.
struct buf *tls_output(struct tls_session *session);

// After the handshake. The peer's leaf facts (NULL: it sent none) live as long as the session; der too.
const struct cert_facts *tls_peer(const struct tls_session *session);
const uint8_t *tls_peer_der(const struct tls_session *session, size_t *ret_len);
const uint8_t *tls_peer_root_der(const struct tls_session *session, size_t *ret_len); // TLS_PEER_PIN: the pinned root
const char *tls_suite(const struct tls_session *session);                             // "TLS_AES_256_GCM_SHA384"

// Starts the library: once per process, before all else.
void tls_library_start(void);
const char *tls_library_name(void); // "wolfSSL 5.7.2"

#endif
