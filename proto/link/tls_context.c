// SPDX-License-Identifier: GPL-2.0-or-later
#include <wolfssl/options.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proto/base/secret.h"
#include "proto/link/tls_internal.h"
#include "proto/link/trust.h"

#define CIPHER_SUITES  "TLS13-AES256-GCM-SHA384"
#define CHAIN_DEPTH    4
#define ALPN_BYTES_MAX 15

// What did not work while a context was made, with the library's reason.
static enum err setup_failed(struct note *note, const char *what, int result)
{
    return note_set(note, result == MEMORY_E ? ERR_NOMEM : ERR_CRYPTO, "TLS cannot be set up: %s (%s)", what,
                    wolfSSL_ERR_reason_error_string((unsigned long)result));
}

static enum err check_own_certificate(const struct tls_config *config, struct note *note)
{
    struct cert_facts *facts = calloc(1, sizeof(*facts));
    uint8_t point[KEY_POINT_BYTES];

    if (!facts)
        return note_set(note, ERR_NOMEM, "TLS cannot be set up: out of memory");
    enum err err = cert_parse(config->certificate, config->certificate_len, facts, note);
    if (err) {
        note_prefix(note, "TLS cannot be set up: the own certificate: ");
    } else {
        key_public_point(config->key, point);
        if (memcmp(point, facts->public_point, sizeof(point)) != 0)
            err =
                note_set(note, ERR_INVALID, "TLS cannot be set up: the private key does not belong to the certificate");
    }
    free(facts);
    return err;
}

static enum err use_chain(struct tls_context *context, const struct tls_config *config, struct note *note)
{
    struct buf chain;
    char *pem = NULL;

    buf_init(&chain, 1 << 20);
    enum err err = cert_der_to_pem(config->certificate, config->certificate_len, &pem);
    if (!err)
        err = buf_append(&chain, pem, strlen(pem));
    if (!err && config->root) {
        free(pem);
        pem = NULL;
        err = cert_der_to_pem(config->root, config->root_len, &pem);
        if (!err)
            err = buf_append(&chain, pem, strlen(pem));
    }
    free(pem);
    if (err) {
        note_set(note, err, "TLS cannot be set up: the certificates: %s", err_text(err));
    } else {
        int result = wolfSSL_CTX_use_certificate_chain_buffer(context->ctx, buf_bytes(&chain), (long)chain.len);
        if (result != WOLFSSL_SUCCESS)
            err = setup_failed(note, "the own certificate is not accepted", result);
    }
    buf_free(&chain);
    return err;
}

static enum err use_identity(struct tls_context *context, const struct tls_config *config, struct note *note)
{
    uint8_t *der;
    size_t len;

    enum err err = check_own_certificate(config, note);
    if (!err)
        err = use_chain(context, config, note);
    if (err)
        return err;
    err = key_private_der(config->key, &der, &len);
    if (err)
        return note_set(note, err, "TLS cannot be set up: the private key: %s", err_text(err));
    int result = wolfSSL_CTX_use_PrivateKey_buffer(context->ctx, der, (long)len, WOLFSSL_FILETYPE_ASN1);
    secret_wipe(der, len);
    free(der);
    return result == WOLFSSL_SUCCESS ? ERR_OK : setup_failed(note, "the private key is not accepted", result);
}

static enum err use_anchors(struct tls_context *context, struct note *note)
{
    size_t count = context->trust ? trust_count(context->trust) : 0;

    for (size_t i = 0; i < count; i++) {
        size_t len;
        const uint8_t *der = trust_root_der(context->trust, i, &len);
        int result = wolfSSL_CTX_load_verify_buffer_ex(context->ctx, der, (long)len, WOLFSSL_FILETYPE_ASN1, 0,
                                                       WOLFSSL_LOAD_FLAG_DATE_ERR_OKAY);
        if (result != WOLFSSL_SUCCESS)
            return setup_failed(note, "a trusted root is not accepted", result);
    }
    return ERR_OK;
}

static enum err set_parameters(struct tls_context *context, struct note *note)
{
    int groups[] = {WOLFSSL_ECC_X25519, WOLFSSL_ECC_SECP384R1};
    int verify =
        WOLFSSL_VERIFY_PEER | (context->peer_check == TLS_PEER_REQUIRED ? WOLFSSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0);

    if (wolfSSL_CTX_set_cipher_list(context->ctx, CIPHER_SUITES) != WOLFSSL_SUCCESS)
        return setup_failed(note, "the cipher suite is not there", 0);
    if (wolfSSL_CTX_set_groups(context->ctx, groups, 2) != WOLFSSL_SUCCESS)
        return setup_failed(note, "the key exchange groups are not there", 0);
    if (context->side == TLS_SERVER && wolfSSL_CTX_no_ticket_TLSv13(context->ctx) != 0)
        return setup_failed(note, "session tickets cannot be switched off", 0);
    wolfSSL_CTX_set_session_cache_mode(context->ctx, WOLFSSL_SESS_CACHE_OFF);
    wolfSSL_CTX_set_verify(context->ctx, verify, tls_verify_callback);
    wolfSSL_CTX_set_verify_depth(context->ctx, CHAIN_DEPTH);
    wolfSSL_CTX_SetIORecv(context->ctx, tls_receive_callback);
    wolfSSL_CTX_SetIOSend(context->ctx, tls_send_callback);
    return ERR_OK;
}

static enum err open_keylog(struct tls_context *context, const char *path, struct note *note)
{
    if (!path)
        return ERR_OK;
    context->keylog_fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (context->keylog_fd < 0)
        return note_set(note, err_from_errno(errno), "the key log %s cannot be opened: %s", path, strerror(errno));
    return ERR_OK;
}

static enum err set_up(struct tls_context *context, const struct tls_config *config, struct note *note)
{
    context->ctx =
        wolfSSL_CTX_new(config->side == TLS_SERVER ? wolfTLSv1_3_server_method() : wolfTLSv1_3_client_method());
    if (!context->ctx)
        return note_set(note, ERR_NOMEM, "TLS cannot be set up: out of memory");
    enum err err = set_parameters(context, note);
    if (!err)
        err = use_anchors(context, note);
    if (!err && config->key)
        err = use_identity(context, config, note);
    if (!err)
        err = open_keylog(context, config->keylog_path, note);
    return err;
}

static bool is_consistent(const struct tls_config *config)
{
    bool pin = config->peer_check == TLS_PEER_PIN;

    if (pin ? config->side != TLS_CLIENT || !config->pin : !config->trust)
        return false;
    if (config->peer_check == TLS_PEER_OPTIONAL && config->side != TLS_SERVER)
        return false;
    if (!config->key != !config->certificate || (config->side == TLS_SERVER && !config->key))
        return false;
    return config->clock && config->alpn && strlen(config->alpn) <= ALPN_BYTES_MAX;
}

enum err tls_context_new(const struct tls_config *config, struct tls_context **ret_context, struct note *note)
{
    if (!is_consistent(config))
        return note_set(note, ERR_INVALID,
                        "TLS cannot be set up: this combination of key, certificate, trust and check makes no sense");
    struct tls_context *context = calloc(1, sizeof(*context));
    if (!context)
        return note_set(note, ERR_NOMEM, "TLS cannot be set up: out of memory");
    context->holders = 1;
    context->side = config->side;
    context->peer_check = config->peer_check;
    context->trust = config->trust;
    context->clock = config->clock;
    context->keylog_fd = -1;
    memcpy(context->alpn, config->alpn, strlen(config->alpn));
    if (config->peer_check == TLS_PEER_PIN)
        memcpy(context->pin, config->pin, sizeof(context->pin));
    enum err err = set_up(context, config, note);
    if (err) {
        tls_context_drop(context);
        return err;
    }
    *ret_context = context;
    return ERR_OK;
}

struct tls_context *tls_context_hold(struct tls_context *context)
{
    context->holders++;
    return context;
}

void tls_context_drop(struct tls_context *context)
{
    if (!context || --context->holders > 0)
        return;
    if (context->ctx)
        wolfSSL_CTX_free(context->ctx);
    if (context->keylog_fd >= 0)
        close(context->keylog_fd);
    free(context);
}
