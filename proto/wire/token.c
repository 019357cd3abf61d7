// SPDX-License-Identifier: GPL-2.0-or-later
#include "proto/wire/token.h"

#include <string.h>

#include "proto/base/buf.h"
#include "proto/base/secret.h"
#include "proto/base/text.h"

static const char prefix[] = "tfj1.";

enum {
    PREFIX_BYTES = sizeof(prefix) - 1,
    // id, secret, pin, and two texts with a length byte each
    PAYLOAD_BYTES_MAX = TOKEN_ID_BYTES + TOKEN_SECRET_BYTES + DIGEST_BYTES + 1 + NAME_MAX_BYTES + 1 + 255,
};

_Static_assert(PREFIX_BYTES + (4 * PAYLOAD_BYTES_MAX + 2) / 3 + 1 <= TOKEN_TEXT_BYTES, "a token's text has room");

static enum err take_fixed(struct cursor *cursor, uint8_t *room, size_t len)
{
    const uint8_t *bytes;
    enum err err = cursor_bytes(cursor, len, &bytes);
    if (!err)
        memcpy(room, bytes, len);
    return err;
}

static enum err take_text(struct cursor *cursor, char *room, size_t room_len)
{
    const uint8_t *bytes;
    uint8_t len;

    enum err err = cursor_u8(cursor, &len);
    if (err)
        return err;
    if (len >= room_len)
        return ERR_MALFORMED;
    err = cursor_bytes(cursor, len, &bytes);
    if (err)
        return err;
    if (memchr(bytes, 0, len))
        return ERR_MALFORMED;
    memcpy(room, bytes, len);
    room[len] = '\0';
    return ERR_OK;
}

static enum err parse(struct cursor *cursor, struct token *token)
{
    enum err err = take_fixed(cursor, token->id, sizeof(token->id));
    if (!err)
        err = take_fixed(cursor, token->secret, sizeof(token->secret));
    if (!err)
        err = take_fixed(cursor, token->ca_sha384, sizeof(token->ca_sha384));
    if (!err)
        err = take_text(cursor, token->host, sizeof(token->host));
    if (!err)
        err = take_text(cursor, token->trust_domain, sizeof(token->trust_domain));
    if (err)
        return err;
    if (cursor->left || !name_is_valid(token->host) || !trust_domain_is_valid(token->trust_domain))
        return ERR_MALFORMED;
    return ERR_OK;
}

enum err token_decode(const char *text, struct token *ret_token)
{
    static const char space[] = " \t\r\n";
    char body[TOKEN_TEXT_BYTES];
    uint8_t payload[PAYLOAD_BYTES_MAX];
    struct token token = {0};
    size_t len;

    text += strspn(text, space);
    len = strcspn(text, space);
    if (text[len + strspn(text + len, space)] != '\0' || len < PREFIX_BYTES || len >= sizeof(body) ||
        memcmp(text, prefix, PREFIX_BYTES) != 0)
        return ERR_MALFORMED;
    memcpy(body, text + PREFIX_BYTES, len - PREFIX_BYTES);
    body[len - PREFIX_BYTES] = '\0';
    enum err err = base64url_decode(body, payload, sizeof(payload), &len);
    if (!err) {
        struct cursor cursor = {payload, len};
        err = parse(&cursor, &token);
    }
    if (!err)
        *ret_token = token;
    secret_wipe(&token, sizeof(token));
    secret_wipe(body, sizeof(body));
    secret_wipe(payload, sizeof(payload));
    return err ? ERR_MALFORMED : ERR_OK;
}

enum err token_encode(const struct token *token, char ret_text[TOKEN_TEXT_BYTES])
{
    struct buf payload;
    size_t host_len = strlen(token->host);
    size_t domain_len = strlen(token->trust_domain);

    if (!name_is_valid(token->host) || !trust_domain_is_valid(token->trust_domain))
        return ERR_INVALID;
    buf_init(&payload, PAYLOAD_BYTES_MAX);
    enum err err = buf_append(&payload, token->id, sizeof(token->id));
    if (!err)
        err = buf_append(&payload, token->secret, sizeof(token->secret));
    if (!err)
        err = buf_append(&payload, token->ca_sha384, sizeof(token->ca_sha384));
    if (!err)
        err = buf_append_u8(&payload, (uint8_t)host_len);
    if (!err)
        err = buf_append(&payload, token->host, host_len);
    if (!err)
        err = buf_append_u8(&payload, (uint8_t)domain_len);
    if (!err)
        err = buf_append(&payload, token->trust_domain, domain_len);
    if (!err) {
        memcpy(ret_text, prefix, PREFIX_BYTES);
        base64url_encode(buf_bytes(&payload), payload.len, ret_text + PREFIX_BYTES);
    }
    buf_free_secret(&payload);
    return err;
}
