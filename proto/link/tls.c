// SPDX-License-Identifier: GPL-2.0-or-later
// tls_feed -> the library's receive callback -> tls_handshake, tls_read
// tls_write -> the library's send callback, which always accepts -> tls_output
#include "proto/link/tls.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proto/base/text.h"
#include "proto/link/tls_internal.h"

#define INPUT_BYTES_MAX  (256u << 10)
#define OUTPUT_BYTES_MAX (8u << 20) // conn stops far below
#define RANDOM_BYTES     32

void tls_library_start(void)
{
    if (wolfSSL_Init() != WOLFSSL_SUCCESS)
        abort(); // nothing works without it, and nothing but memory can be missing
}

const char *tls_library_name(void)
{
    return "wolfSSL " LIBWOLFSSL_VERSION_STRING;
}

enum err tls_fail(struct tls_session *session, enum err err, const char *format, ...)
{
    va_list args;

    if (session->failure)
        return session->failure;
    session->failure = err;
    session->failure_note = (struct note){0};
    va_start(args, format);
    vsnprintf(session->failure_note.text, sizeof(session->failure_note.text), format, args);
    va_end(args);
    return err;
}

void tls_failure(const struct tls_session *session, struct note *note)
{
    if (note)
        *note = session->failure_note;
}

// ---- the library's side

int tls_receive_callback(WOLFSSL *ssl, char *room, int room_len, void *context)
{
    struct tls_session *session = context;
    size_t len = (size_t)room_len;

    (void)ssl;
    if (session->input.len > 0) {
        if (len > session->input.len)
            len = session->input.len;
        memcpy(room, buf_bytes(&session->input), len);
        buf_consume(&session->input, len);
    } else if (session->lent.left > 0) {
        if (len > session->lent.left)
            len = session->lent.left;
        memcpy(room, session->lent.bytes, len);
        session->lent.bytes += len;
        session->lent.left -= len;
    } else {
        return WOLFSSL_CBIO_ERR_WANT_READ;
    }
    return (int)len;
}

int tls_send_callback(WOLFSSL *ssl, char *bytes, int len, void *context)
{
    struct tls_session *session = context;

    (void)ssl;
    return buf_append(&session->output, bytes, (size_t)len) ? WOLFSSL_CBIO_ERR_GENERAL : len;
}

static const char *const secret_labels[] = {
    [CLIENT_EARLY_TRAFFIC_SECRET] = "CLIENT_EARLY_TRAFFIC_SECRET",
    [CLIENT_HANDSHAKE_TRAFFIC_SECRET] = "CLIENT_HANDSHAKE_TRAFFIC_SECRET",
    [SERVER_HANDSHAKE_TRAFFIC_SECRET] = "SERVER_HANDSHAKE_TRAFFIC_SECRET",
    [CLIENT_TRAFFIC_SECRET] = "CLIENT_TRAFFIC_SECRET_0",
    [SERVER_TRAFFIC_SECRET] = "SERVER_TRAFFIC_SECRET_0",
    [EARLY_EXPORTER_SECRET] = "EARLY_EXPORTER_SECRET",
    [EXPORTER_SECRET] = "EXPORTER_SECRET",
};

static int on_secret(WOLFSSL *ssl, int id, const unsigned char *secret, int len, void *context)
{
    struct tls_session *session = context;
    uint8_t random[RANDOM_BYTES];
    char random_hex[2 * RANDOM_BYTES + 1], secret_hex[2 * DIGEST_BYTES + 1], line[320];

    if (id < 0 || (size_t)id >= sizeof(secret_labels) / sizeof(secret_labels[0]) || len < 0 || len > DIGEST_BYTES ||
        wolfSSL_get_client_random(ssl, random, sizeof(random)) != sizeof(random))
        return 0;
    hex_encode(random, sizeof(random), random_hex);
    hex_encode(secret, (size_t)len, secret_hex);
    int line_len = snprintf(line, sizeof(line), "%s %s %s\n", secret_labels[id], random_hex, secret_hex);
    // One write a line: several processes may append to the same file. A lost line costs a proof, not the session.
    ssize_t written = write(session->context->keylog_fd, line, (size_t)line_len);
    (void)written;
    return 0;
}

void tls_keylog_start(struct tls_session *session)
{
    if (session->context->keylog_fd < 0)
        return;
    wolfSSL_KeepArrays(session->ssl); // the client's random is in there
    wolfSSL_set_tls13_secret_cb(session->ssl, on_secret, session);
}

// ---- a session

static enum err set_up(struct tls_session *session)
{
    char alpn[sizeof(session->context->alpn)];
    WOLFSSL *ssl = wolfSSL_new(session->context->ctx);

    if (!ssl)
        return ERR_NOMEM;
    session->ssl = ssl;
    wolfSSL_SetIOReadCtx(ssl, session);
    wolfSSL_SetIOWriteCtx(ssl, session);
    wolfSSL_SetCertCbCtx(ssl, session);
    memcpy(alpn, session->context->alpn, sizeof(alpn));
    if (wolfSSL_UseALPN(ssl, alpn, (unsigned)strlen(alpn), WOLFSSL_ALPN_FAILED_ON_MISMATCH) != WOLFSSL_SUCCESS)
        return ERR_NOMEM;
    if (session->context->side == TLS_CLIENT && wolfSSL_UseKeyShare(ssl, WOLFSSL_ECC_X25519) != WOLFSSL_SUCCESS)
        return ERR_CRYPTO;
    tls_keylog_start(session);
    return ERR_OK;
}

enum err tls_session_new(struct tls_context *context, struct tls_session **ret_session)
{
    struct tls_session *session = calloc(1, sizeof(*session));

    if (!session)
        return ERR_NOMEM;
    session->context = tls_context_hold(context);
    buf_init(&session->input, INPUT_BYTES_MAX);
    buf_init(&session->output, OUTPUT_BYTES_MAX);
    buf_init(&session->peer_der, CERT_DER_BYTES_MAX);
    buf_init(&session->peer_root_der, CERT_DER_BYTES_MAX);
    enum err err = set_up(session);
    if (err) {
        tls_session_free(session);
        return err;
    }
    *ret_session = session;
    return ERR_OK;
}

void tls_session_free(struct tls_session *session)
{
    if (!session)
        return;
    if (session->ssl)
        wolfSSL_free(session->ssl);
    free(session->peer);
    buf_free(&session->input);
    buf_free(&session->output);
    buf_free(&session->peer_der);
    buf_free(&session->peer_root_der);
    tls_context_drop(session->context);
    free(session);
}

enum err tls_feed(struct tls_session *session, const uint8_t *bytes, size_t len)
{
    enum err err = buf_append(&session->input, bytes, len);
    return err == ERR_LIMIT ? ERR_AGAIN : err;
}

enum err tls_lend(struct tls_session *session, const uint8_t *bytes, size_t len)
{
    if (session->input.len > 0)
        return tls_feed(session, bytes, len);
    session->lent = (struct cursor){bytes, len};
    return ERR_OK;
}

enum err tls_reclaim(struct tls_session *session)
{
    struct cursor left = session->lent;

    session->lent = (struct cursor){NULL, 0};
    return tls_feed(session, left.bytes, left.left);
}

// What the other side's alert tells a person.
static const char *alert_text(int code)
{
    switch (code) {
    case bad_certificate:
    case certificate_unknown:
    case unsupported_certificate:
        return "the peer does not accept our certificate; its log says why";
    case certificate_expired:
        return "the peer says that our certificate has expired; check that it was renewed, and the clocks of both "
               "hosts";
    case certificate_revoked:
        return "the peer says that our certificate is revoked";
    case unknown_ca:
        return "the peer does not trust the CA of our certificate";
    case certificate_required:
        return "the peer demands a certificate and we sent none";
    case no_application_protocol:
        return "the peer does not speak HTTP/2 on this port";
    case protocol_version:
        return "the peer does not speak TLS 1.3";
    case handshake_failure:
    case insufficient_security:
        return "the peer found no cipher suite or group in common: TLS_AES_256_GCM_SHA384 with X25519 or P-384 is "
               "needed";
    default:
        return NULL;
    }
}

static enum err fail_by_alert(struct tls_session *session)
{
    WOLFSSL_ALERT_HISTORY history;

    if (wolfSSL_get_alert_history(session->ssl, &history) != WOLFSSL_SUCCESS || history.last_rx.code < 0 ||
        history.last_rx.code == close_notify)
        return ERR_OK;
    const char *text = alert_text(history.last_rx.code);
    enum err err = history.last_rx.code == certificate_revoked ? ERR_REVOKED : ERR_DENIED;
    if (text)
        return tls_fail(session, err, "%s (TLS alert %d)", text, history.last_rx.code);
    return tls_fail(session, ERR_PROTOCOL, "the peer ended TLS with alert %d", history.last_rx.code);
}

static enum err fail_by_code(struct tls_session *session, int code)
{
    if (session->failure)
        return session->failure;
    enum err err = fail_by_alert(session);
    if (err)
        return err;
    switch (code) {
    case MEMORY_E:
        return tls_fail(session, ERR_NOMEM, "out of memory in TLS");
    case NO_PEER_CERT:
        return tls_fail(session, ERR_IDENTITY, "the peer sent no certificate");
    case UNKNOWN_ALPN_PROTOCOL_NAME_E:
        return tls_fail(session, ERR_PROTOCOL, "the peer does not offer '%s' (ALPN)", session->context->alpn);
    case VERSION_ERROR:
        return tls_fail(session, ERR_PROTOCOL, "the peer does not speak TLS 1.3");
    case UNSUPPORTED_SUITE:
    case MATCH_SUITE_ERROR:
    case BAD_KEY_SHARE_DATA:
        return tls_fail(session, ERR_PROTOCOL,
                        "no cipher suite or group in common with the peer: TLS_AES_256_GCM_SHA384 with X25519 or "
                        "P-384 is needed");
    case UNKNOWN_RECORD_TYPE:
    case INCOMPLETE_DATA:
        return tls_fail(session, ERR_PROTOCOL, "what came is not TLS");
    default:
        return tls_fail(session, ERR_PROTOCOL, "TLS failed: %s", wolfSSL_ERR_reason_error_string((unsigned long)code));
    }
}

static enum err finish(struct tls_session *session)
{
    char *name = NULL;
    unsigned short len = 0;
    const char *alpn = session->context->alpn;

    if (wolfSSL_ALPN_GetProtocol(session->ssl, &name, &len) != WOLFSSL_SUCCESS || len != strlen(alpn) ||
        memcmp(name, alpn, len) != 0)
        return tls_fail(session, ERR_PROTOCOL, "the peer does not offer '%s' (ALPN)", alpn);
    if (session->context->peer_check != TLS_PEER_OPTIONAL && session->peer_der.len == 0)
        return tls_fail(session, ERR_IDENTITY, "the peer sent no certificate");
    if (session->context->keylog_fd >= 0)
        wolfSSL_FreeArrays(session->ssl);
    session->established = true;
    return ERR_OK;
}

enum err tls_handshake(struct tls_session *session, struct note *note)
{
    enum err err = session->failure;

    if (session->established && !err)
        return ERR_OK;
    if (!err) {
        int result =
            session->context->side == TLS_SERVER ? wolfSSL_accept(session->ssl) : wolfSSL_connect(session->ssl);
        int code = result == WOLFSSL_SUCCESS ? 0 : wolfSSL_get_error(session->ssl, result);
        if (code == WOLFSSL_ERROR_WANT_READ || code == WOLFSSL_ERROR_WANT_WRITE)
            return ERR_AGAIN;
        err = result == WOLFSSL_SUCCESS ? finish(session) : fail_by_code(session, code);
    }
    if (err)
        tls_failure(session, note);
    return err;
}

enum err tls_read(struct tls_session *session, uint8_t *room, size_t room_len, size_t *ret_len)
{
    if (session->failure)
        return session->failure;
    if (!session->established)
        return ERR_AGAIN;
    int result = wolfSSL_read(session->ssl, room, (int)room_len);
    if (result > 0) {
        *ret_len = (size_t)result;
        return ERR_OK;
    }
    int code = wolfSSL_get_error(session->ssl, result);
    if (code == WOLFSSL_ERROR_WANT_READ || code == WOLFSSL_ERROR_WANT_WRITE)
        return ERR_AGAIN;
    if (code == WOLFSSL_ERROR_ZERO_RETURN)
        return ERR_CLOSED;
    return fail_by_code(session, code);
}

enum err tls_write(struct tls_session *session, const uint8_t *bytes, size_t len)
{
    if (session->failure)
        return session->failure;
    if (!session->established)
        return ERR_AGAIN;
    while (len > 0) {
        int part = len > (1u << 20) ? 1 << 20 : (int)len;
        int result = wolfSSL_write(session->ssl, bytes, part);
        if (result <= 0)
            return fail_by_code(session, wolfSSL_get_error(session->ssl, result));
        bytes += result;
        len -= (size_t)result;
    }
    return ERR_OK;
}

enum err tls_close_notify(struct tls_session *session)
{
    if (session->failure)
        return session->failure;
    int result = wolfSSL_shutdown(session->ssl);
    return result == WOLFSSL_SUCCESS || result == WOLFSSL_SHUTDOWN_NOT_DONE ? ERR_OK : ERR_CLOSED;
}

struct buf *tls_output(struct tls_session *session)
{
    return &session->output;
}

const struct cert_facts *tls_peer(const struct tls_session *session)
{
    return session->established && session->peer_der.len ? session->peer : NULL;
}

static const uint8_t *der_of(const struct buf *der, size_t *ret_len)
{
    if (der->len == 0)
        return NULL;
    *ret_len = der->len;
    return buf_bytes(der);
}

const uint8_t *tls_peer_der(const struct tls_session *session, size_t *ret_len)
{
    return der_of(&session->peer_der, ret_len);
}

const uint8_t *tls_peer_root_der(const struct tls_session *session, size_t *ret_len)
{
    return der_of(&session->peer_root_der, ret_len);
}

const char *tls_suite(const struct tls_session *session)
{
    const char *name = wolfSSL_get_cipher_name(session->ssl);

    if (!session->established || !name)
        return "none";
    return strcmp(name, "TLS13-AES256-GCM-SHA384") == 0 ? "TLS_AES_256_GCM_SHA384" : name;
}
