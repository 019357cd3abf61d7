// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/network/derive.h"

#include <wolfssl/options.h>

#include <string.h>
#include <wolfssl/wolfcrypt/ecc.h>
#include <wolfssl/wolfcrypt/random.h>

#include "proto/base/secret.h"

#define FIELD_BYTES 48
#define ZERO_CPU    0 // SAs per processor (RFC 9611) would number them here

// With their closing zero byte.
static const char pair_label[] = "Twofold-pair-v1";

// Without it.
static const char *const word_labels[] = {[DERIVE_ACK] = "ack", [DERIVE_DONE] = "done"};

struct derive_key {
    WC_RNG random; // blinds the scalar
    ecc_key ecc;   // holds its numbers in place, so they are in locked memory with it
    uint8_t point[BUNDLE_POINT_BYTES];
};

static enum err key_alloc(struct derive_key **ret_key)
{
    void *memory;
    enum err err = secret_alloc(sizeof(struct derive_key), &memory);

    if (err)
        return err;
    struct derive_key *key = memory;
    if (wc_InitRng(&key->random)) {
        secret_free(key, sizeof(*key));
        return ERR_CRYPTO;
    }
    if (wc_ecc_init(&key->ecc) || wc_ecc_set_rng(&key->ecc, &key->random)) {
        wc_FreeRng(&key->random);
        secret_free(key, sizeof(*key));
        return ERR_CRYPTO;
    }
    *ret_key = key;
    return ERR_OK;
}

static bool export_point(struct derive_key *key)
{
    word32 len = sizeof(key->point);
    return wc_ecc_export_x963(&key->ecc, key->point, &len) == 0 && len == sizeof(key->point);
}

enum err derive_key_new(struct derive_key **ret_key)
{
    struct derive_key *key;
    enum err err = key_alloc(&key);

    if (err)
        return err;
    if (wc_ecc_make_key_ex(&key->random, FIELD_BYTES, &key->ecc, ECC_SECP384R1) || !export_point(key)) {
        derive_key_free(key);
        return ERR_CRYPTO;
    }
    *ret_key = key;
    return ERR_OK;
}

enum err derive_key_import(const uint8_t scalar[DERIVE_SCALAR_BYTES], struct derive_key **ret_key)
{
    struct derive_key *key;
    enum err err = key_alloc(&key);

    if (err)
        return err;
    if (wc_ecc_import_private_key_ex(scalar, DERIVE_SCALAR_BYTES, NULL, 0, &key->ecc, ECC_SECP384R1) ||
        wc_ecc_make_pub_ex(&key->ecc, NULL, &key->random) || wc_ecc_check_key(&key->ecc) || !export_point(key)) {
        derive_key_free(key);
        return ERR_INVALID;
    }
    *ret_key = key;
    return ERR_OK;
}

void derive_key_free(struct derive_key *key)
{
    if (!key)
        return;
    wc_ecc_free(&key->ecc);
    wc_FreeRng(&key->random);
    secret_free(key, sizeof(*key));
}

void derive_key_point(const struct derive_key *key, uint8_t ret_point[BUNDLE_POINT_BYTES])
{
    memcpy(ret_point, key->point, BUNDLE_POINT_BYTES);
}

static bool import_point(ecc_key *ecc, const uint8_t point[BUNDLE_POINT_BYTES])
{
    return point[0] == 4 && wc_ecc_import_x963_ex(point, BUNDLE_POINT_BYTES, ecc, ECC_SECP384R1) == 0;
}

enum err derive_check_point(const uint8_t point[BUNDLE_POINT_BYTES])
{
    ecc_key ecc;

    if (wc_ecc_init(&ecc))
        return ERR_NOMEM;
    // Coordinates below the field's size, on the curve, not infinity, and order times the point is infinity.
    bool good = import_point(&ecc, point) && wc_ecc_check_key(&ecc) == 0;
    wc_ecc_free(&ecc);
    return good ? ERR_OK : ERR_CRYPTO;
}

uint32_t derive_spi(uint32_t sender_slot, uint64_t receiver_epoch, uint64_t sender_epoch)
{
    return sender_slot << 12 | (uint32_t)(receiver_epoch & 63) << 6 | (uint32_t)(sender_epoch & 63);
}

static enum err agree(const struct derive_key *key, const uint8_t point[BUNDLE_POINT_BYTES], uint8_t ret_z[FIELD_BYTES])
{
    ecc_key peer;
    word32 len = FIELD_BYTES;

    if (wc_ecc_init(&peer))
        return ERR_NOMEM;
    // The agreement leaves the private key as it is, but for the state of its generator.
    bool good = import_point(&peer, point) && wc_ecc_shared_secret((ecc_key *)&key->ecc, &peer, ret_z, &len) == 0 &&
                len == FIELD_BYTES;
    wc_ecc_free(&peer);
    return good ? ERR_OK : ERR_CRYPTO;
}

static bool local_is_low(const struct derive_input *input)
{
    return strcmp(input->local.bundle->host, input->peer.bundle->host) < 0;
}

static enum err transcript(const struct derive_end *low, const struct derive_end *high, uint8_t ret_t[DIGEST_BYTES])
{
    const uint8_t suite[2] = {(uint8_t)(low->bundle->suite >> 8), (uint8_t)low->bundle->suite};
    struct digest_pieces *pieces;

    enum err err = digest_pieces_new(&pieces);
    if (err)
        return err;
    digest_pieces_add(pieces, pair_label, sizeof(pair_label));
    digest_pieces_add(pieces, suite, sizeof(suite));
    digest_pieces_add(pieces, low->blob, low->blob_len);
    digest_pieces_add(pieces, high->blob, high->blob_len);
    digest_pieces_finish(pieces, ret_t);
    return ERR_OK;
}

// ---- the inputs of HKDF-Expand and HMAC: small, of known length

struct bytes {
    size_t len;
    uint8_t at[256];
};

static void put(struct bytes *bytes, const void *from, size_t len)
{
    memcpy(bytes->at + bytes->len, from, len); // the callers' lengths are constants, 200 bytes at most
    bytes->len += len;
}

static void put_u8(struct bytes *bytes, uint8_t value)
{
    put(bytes, &value, 1);
}

static void put_u32(struct bytes *bytes, uint32_t value)
{
    for (int shift = 24; shift >= 0; shift -= 8)
        put_u8(bytes, (uint8_t)(value >> shift));
}

static void put_ip(struct bytes *bytes, const struct ip *ip)
{
    put_u8(bytes, ip->len);
    put(bytes, ip->bytes, ip->len);
}

// 0: from the low host to the high one.
static uint8_t direction(const struct derive_input *input, bool by_local)
{
    return local_is_low(input) == by_local ? 0 : 1;
}

static uint32_t spi(const struct derive_input *input, bool by_local)
{
    const struct bundle *sender = by_local ? input->local.bundle : input->peer.bundle;
    const struct bundle *receiver = by_local ? input->peer.bundle : input->local.bundle;
    return derive_spi(sender->slot, receiver->epoch, sender->epoch);
}

static void expand_sa(const uint8_t prk[DIGEST_BYTES], const uint8_t t[DIGEST_BYTES], const struct derive_input *input,
                      bool by_local, uint8_t ret_keys[DERIVE_PATHS_MAX][SA_KEY_BYTES])
{
    for (size_t i = 0; i < input->path_count; i++) {
        const struct derive_path *path = &input->paths[i];
        struct bytes info = {0};
        put(&info, "esp", 3);
        put_u8(&info, direction(input, by_local));
        put_u32(&info, spi(input, by_local));
        put_u32(&info, ZERO_CPU);
        put_ip(&info, by_local ? &path->local : &path->peer);
        put_ip(&info, by_local ? &path->peer : &path->local);
        put(&info, t, DIGEST_BYTES);
        digest_hkdf_expand(prk, info.at, info.len, ret_keys[i], SA_KEY_BYTES);
    }
}

static void expand_confirm(const uint8_t prk[DIGEST_BYTES], const uint8_t t[DIGEST_BYTES], uint8_t sender,
                           uint8_t ret_key[DIGEST_BYTES])
{
    struct bytes info = {0};

    put(&info, "conf", 4);
    put_u8(&info, sender);
    put(&info, t, DIGEST_BYTES);
    digest_hkdf_expand(prk, info.at, info.len, ret_key, DIGEST_BYTES);
}

static bool is_reflected(const struct derive_input *input)
{
    const struct bundle *local = input->local.bundle, *peer = input->peer.bundle;
    return strcmp(local->host, peer->host) == 0 || local->slot == peer->slot ||
           memcmp(local->point, peer->point, BUNDLE_POINT_BYTES) == 0 ||
           memcmp(local->nonce, peer->nonce, BUNDLE_NONCE_BYTES) == 0;
}

enum err derive_secrets(const struct derive_key *key, const struct derive_input *input,
                        struct derive_secrets *ret_secrets)
{
    const struct derive_end *low = local_is_low(input) ? &input->local : &input->peer;
    const struct derive_end *high = local_is_low(input) ? &input->peer : &input->local;
    uint8_t z[FIELD_BYTES], prk[DIGEST_BYTES], t[DIGEST_BYTES], salt[2 * BUNDLE_NONCE_BYTES];

    if (is_reflected(input))
        return ERR_IDENTITY;
    enum err err = transcript(low, high, t);
    if (!err)
        err = agree(key, input->peer.bundle->point, z);
    if (err)
        return err;
    memcpy(salt, low->bundle->nonce, BUNDLE_NONCE_BYTES);
    memcpy(salt + BUNDLE_NONCE_BYTES, high->bundle->nonce, BUNDLE_NONCE_BYTES);
    digest_hkdf_extract(salt, sizeof(salt), z, sizeof(z), prk);
    secret_wipe(z, sizeof(z));

    memset(ret_secrets, 0, sizeof(*ret_secrets));
    memcpy(ret_secrets->transcript, t, sizeof(t));
    expand_sa(prk, t, input, false, ret_secrets->inbound);
    expand_sa(prk, t, input, true, ret_secrets->outbound);
    expand_confirm(prk, t, direction(input, true), ret_secrets->confirm_local);
    expand_confirm(prk, t, direction(input, false), ret_secrets->confirm_peer);
    secret_wipe(prk, sizeof(prk));
    return ERR_OK;
}

void derive_confirm(const struct derive_secrets *secrets, const struct derive_input *input, enum derive_word word,
                    bool by_local, uint8_t ret_mac[DIGEST_BYTES])
{
    bool low_is_local = local_is_low(input);
    struct bytes said = {0};

    put(&said, word_labels[word], strlen(word_labels[word]));
    put(&said, secrets->transcript, DIGEST_BYTES);
    put_u32(&said, spi(input, low_is_local));
    put_u32(&said, spi(input, !low_is_local));
    for (size_t i = 0; i < input->path_count; i++) {
        put_ip(&said, low_is_local ? &input->paths[i].local : &input->paths[i].peer);
        put_ip(&said, low_is_local ? &input->paths[i].peer : &input->paths[i].local);
    }
    digest_hmac(by_local ? secrets->confirm_local : secrets->confirm_peer, DIGEST_BYTES, said.at, said.len, ret_mac);
}
