// SPDX-License-Identifier: GPL-2.0-or-later
#include "proto/wire/bundle.h"

#include <string.h>

#include "proto/base/buf.h"

// With their closing zero byte: part of the format.
static const char bundle_label[] = "Twofold-bundle-v1";
static const char ack_label[] = "Twofold-ack-v1";

#define SLOT_MAX ((1u << 20) - 1)

static enum err take_fixed(struct cursor *cursor, void *room, size_t len)
{
    const uint8_t *bytes;
    enum err err = cursor_bytes(cursor, len, &bytes);
    if (!err)
        memcpy(room, bytes, len);
    return err;
}

static enum err expect_label(struct cursor *cursor, const char *label, size_t len)
{
    const uint8_t *bytes;
    enum err err = cursor_bytes(cursor, len, &bytes);
    if (err)
        return err;
    return memcmp(bytes, label, len) == 0 ? ERR_OK : ERR_UNSUPPORTED;
}

static enum err take_host(struct cursor *cursor, char room[NAME_MAX_BYTES + 1])
{
    const uint8_t *bytes;
    uint8_t len;

    enum err err = cursor_u8(cursor, &len);
    if (err)
        return err;
    if (len > NAME_MAX_BYTES)
        return ERR_MALFORMED;
    err = cursor_bytes(cursor, len, &bytes);
    if (err)
        return err;
    memcpy(room, bytes, len);
    room[len] = '\0';
    return strlen(room) == len && name_is_valid(room) ? ERR_OK : ERR_MALFORMED;
}

static enum err check(const struct bundle *bundle)
{
    if (bundle->suite != BUNDLE_SUITE_ECP384_AES256GCM16)
        return ERR_UNSUPPORTED;
    if (!name_is_valid(bundle->host) || bundle->epoch == 0 || bundle->slot == 0 || bundle->slot > SLOT_MAX ||
        bundle->point[0] != 4 || bundle->not_after <= bundle->not_before)
        return ERR_MALFORMED;
    return ERR_OK;
}

enum err bundle_decode(const uint8_t *blob, size_t len, struct bundle *ret_bundle)
{
    struct cursor cursor = {blob, len};
    struct bundle bundle = {0};
    uint16_t suite = 0;

    enum err err = expect_label(&cursor, bundle_label, sizeof(bundle_label));
    if (!err)
        err = cursor_u16(&cursor, &suite);
    bundle.suite = suite;
    if (!err && suite != BUNDLE_SUITE_ECP384_AES256GCM16)
        err = ERR_UNSUPPORTED;
    if (!err)
        err = take_host(&cursor, bundle.host);
    if (!err)
        err = take_fixed(&cursor, bundle.signer_spki_sha384, sizeof(bundle.signer_spki_sha384));
    if (!err)
        err = cursor_u64(&cursor, &bundle.epoch);
    if (!err)
        err = cursor_u32(&cursor, &bundle.slot);
    if (!err)
        err = take_fixed(&cursor, bundle.point, sizeof(bundle.point));
    if (!err)
        err = take_fixed(&cursor, bundle.nonce, sizeof(bundle.nonce));
    if (!err)
        err = cursor_u64(&cursor, &bundle.not_before);
    if (!err)
        err = cursor_u64(&cursor, &bundle.not_after);
    if (!err && cursor.left)
        err = ERR_MALFORMED;
    if (!err)
        err = check(&bundle);
    if (!err)
        *ret_bundle = bundle;
    return err;
}

enum err bundle_encode(const struct bundle *bundle, uint8_t *room, size_t room_len, size_t *ret_len)
{
    struct buf buf;
    size_t host_len = strnlen(bundle->host, sizeof(bundle->host));

    enum err err = check(bundle);
    if (err)
        return err;
    buf_init(&buf, room_len);
    err = buf_append(&buf, bundle_label, sizeof(bundle_label));
    if (!err)
        err = buf_append_u16(&buf, (uint16_t)bundle->suite);
    if (!err)
        err = buf_append_u8(&buf, (uint8_t)host_len);
    if (!err)
        err = buf_append(&buf, bundle->host, host_len);
    if (!err)
        err = buf_append(&buf, bundle->signer_spki_sha384, sizeof(bundle->signer_spki_sha384));
    if (!err)
        err = buf_append_u64(&buf, bundle->epoch);
    if (!err)
        err = buf_append_u32(&buf, bundle->slot);
    if (!err)
        err = buf_append(&buf, bundle->point, sizeof(bundle->point));
    if (!err)
        err = buf_append(&buf, bundle->nonce, sizeof(bundle->nonce));
    if (!err)
        err = buf_append_u64(&buf, bundle->not_before);
    if (!err)
        err = buf_append_u64(&buf, bundle->not_after);
    if (!err) {
        memcpy(room, buf_bytes(&buf), buf.len);
        *ret_len = buf.len;
    }
    buf_free(&buf);
    return err;
}

_Static_assert(PAIR_ACK_BYTES == sizeof(ack_label) + 8 + 8 + DIGEST_BYTES, "the layout of an acknowledgement");

enum err pair_ack_decode(const uint8_t *bytes, size_t len, struct pair_ack *ret_ack)
{
    struct cursor cursor = {bytes, len};
    struct pair_ack ack;

    if (len != PAIR_ACK_BYTES)
        return ERR_MALFORMED;
    enum err err = expect_label(&cursor, ack_label, sizeof(ack_label));
    if (!err)
        err = cursor_u64(&cursor, &ack.sender_epoch);
    if (!err)
        err = cursor_u64(&cursor, &ack.receiver_epoch);
    if (!err)
        err = take_fixed(&cursor, ack.mac, sizeof(ack.mac));
    if (!err)
        *ret_ack = ack;
    return err;
}

static uint8_t *put_u64(uint8_t *at, uint64_t value)
{
    for (int shift = 56; shift >= 0; shift -= 8)
        *at++ = (uint8_t)(value >> shift);
    return at;
}

void pair_ack_encode(const struct pair_ack *ack, uint8_t ret_bytes[PAIR_ACK_BYTES])
{
    uint8_t *at = ret_bytes;

    memcpy(at, ack_label, sizeof(ack_label));
    at = put_u64(at + sizeof(ack_label), ack->sender_epoch);
    at = put_u64(at, ack->receiver_epoch);
    memcpy(at, ack->mac, sizeof(ack->mac));
}
