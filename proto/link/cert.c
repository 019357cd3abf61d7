// SPDX-License-Identifier: GPL-2.0-or-later
// Reading certificates: the form only. What may be believed is decided in trust.c.
#include "proto/link/cert.h"

#include <wolfssl/options.h>

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <wolfssl/wolfcrypt/asn_public.h>

#include "proto/link/cert_form.h"

#define SERIAL_BYTES_MAX 20
#define PEM_BEGIN        "-----BEGIN CERTIFICATE-----"

struct reading {
    struct cert_facts *facts;
    struct cert_view *view;
    struct note *note;
    unsigned uris;
};

static enum err malformed(struct reading *reading, const char *what)
{
    return note_set(reading->note, ERR_MALFORMED, "the certificate is malformed: %s", what);
}

// ---- alternative names (RFC 5280, 4.2.1.6), by their type and never by how they look

enum general_name { NAME_DNS = DER_CONTEXT(2), NAME_URI = DER_CONTEXT(6), NAME_IP = DER_CONTEXT(7) };

static bool copy_text(const struct cursor *value, char *room, size_t room_len)
{
    if (value->left == 0 || value->left >= room_len)
        return false;
    for (size_t i = 0; i < value->left; i++)
        if (value->bytes[i] <= ' ' || value->bytes[i] > '~')
            return false;
    memcpy(room, value->bytes, value->left);
    room[value->left] = 0;
    return true;
}

static enum err read_uri(struct reading *reading, const struct cursor *value)
{
    char text[SPIFFE_TEXT_BYTES];

    if (reading->uris++ > 0)
        return note_set(reading->note, ERR_IDENTITY,
                        "the certificate has more than one URI name: a SPIFFE certificate has exactly one");
    if (!copy_text(value, text, sizeof(text)) || spiffe_parse(text, &reading->facts->id))
        return note_set(reading->note, ERR_IDENTITY,
                        "the certificate's URI name is not a SPIFFE ID of a form known here");
    return ERR_OK;
}

static enum err read_dns(struct reading *reading, const struct cursor *value)
{
    struct cert_facts *facts = reading->facts;

    if (facts->name_count == CERT_NAMES_MAX)
        return malformed(reading, "too many DNS names");
    char *name = facts->names[facts->name_count];
    if (!copy_text(value, name, sizeof(facts->names[0])))
        return malformed(reading, "a DNS name has bytes that no name has");
    if (strchr(name, '/') || strchr(name, ':'))
        return note_set(reading->note, ERR_IDENTITY, "the certificate has '%s' as a DNS name: that proves no identity",
                        name);
    facts->name_count++;
    return ERR_OK;
}

static enum err read_ip(struct reading *reading, const struct cursor *value)
{
    struct cert_facts *facts = reading->facts;

    if (facts->address_count == CERT_ADDRESSES_MAX)
        return malformed(reading, "too many IP addresses");
    if (ip_from_bytes(value->bytes, value->left, &facts->addresses[facts->address_count]))
        return malformed(reading, "an IP address is neither 4 nor 16 bytes long");
    facts->address_count++;
    return ERR_OK;
}

static enum err read_names(struct reading *reading, struct cursor in)
{
    struct cursor names, value;
    uint8_t tag;
    enum err err = ERR_OK;

    if (der_read(&in, DER_SEQUENCE, &names) || in.left || names.left == 0)
        return malformed(reading, "the alternative names");
    while (names.left && !err) {
        if (der_read_any(&names, &tag, &value, NULL))
            return malformed(reading, "the alternative names");
        if (tag == NAME_URI)
            err = read_uri(reading, &value);
        else if (tag == NAME_DNS)
            err = read_dns(reading, &value);
        else if (tag == NAME_IP)
            err = read_ip(reading, &value);
    }
    return err;
}

// ---- the other extensions

static enum err read_basic_constraints(struct reading *reading, struct cursor in)
{
    struct cursor content;
    uint32_t path_len;

    reading->view->has_basic_constraints = true;
    if (der_read(&in, DER_SEQUENCE, &content) || in.left)
        return malformed(reading, "the basic constraints");
    if (der_next_is(&content, DER_BOOLEAN) &&
        (der_read_boolean(&content, &reading->facts->is_ca) || !reading->facts->is_ca))
        return malformed(reading, "the basic constraints"); // false is the default, and defaults are not written
    if (content.left && (!reading->facts->is_ca || der_read_u32(&content, &path_len) || content.left))
        return malformed(reading, "the basic constraints");
    return ERR_OK;
}

static enum err read_key_usage(struct reading *reading, struct cursor in)
{
    struct cursor bits;

    reading->view->has_key_usage = true;
    if (der_read(&in, DER_BIT_STRING, &bits) || in.left || bits.left < 2 || bits.left > 3 || bits.bytes[0] > 7)
        return malformed(reading, "the key usage");
    for (unsigned bit = 0; bit < 8 * (bits.left - 1); bit++)
        if (bits.bytes[1 + bit / 8] & (0x80 >> bit % 8))
            reading->view->key_usage |= (uint16_t)(1u << bit);
    return ERR_OK;
}

static enum err read_extended_key_usage(struct reading *reading, struct cursor in)
{
    struct cursor usages, oid;

    reading->view->has_extended_key_usage = true;
    if (der_read(&in, DER_SEQUENCE, &usages) || in.left || usages.left == 0)
        return malformed(reading, "the extended key usage");
    while (usages.left) {
        if (der_read_oid(&usages, &oid))
            return malformed(reading, "the extended key usage");
        if (cert_oid_is(&oid, &cert_oid_server_auth))
            reading->view->server_auth = true;
        else if (cert_oid_is(&oid, &cert_oid_client_auth))
            reading->view->client_auth = true;
    }
    return ERR_OK;
}

static enum err read_subject_key_id(struct reading *reading, struct cursor in)
{
    if (der_read(&in, DER_OCTET_STRING, &reading->view->subject_key_id) || in.left)
        return malformed(reading, "the subject key identifier");
    return ERR_OK;
}

static enum err read_authority_key_id(struct reading *reading, struct cursor in)
{
    struct cursor content;

    if (der_read(&in, DER_SEQUENCE, &content) || in.left)
        return malformed(reading, "the authority key identifier");
    if (der_next_is(&content, DER_CONTEXT(0)) && der_read(&content, DER_CONTEXT(0), &reading->view->authority_key_id))
        return malformed(reading, "the authority key identifier");
    return ERR_OK; // issuer and serial may follow: the issuer's name is checked anyway
}

static enum err read_label(struct reading *reading, struct cursor *labels)
{
    struct cert_facts *facts = reading->facts;
    struct cursor pair, key, value;

    if (facts->label_count == CERT_LABELS_MAX)
        return malformed(reading, "too many labels");
    struct cert_label *label = &facts->labels[facts->label_count];
    if (der_read(labels, DER_SEQUENCE, &pair) || der_read(&pair, DER_UTF8, &key) || der_read(&pair, DER_UTF8, &value) ||
        pair.left || !copy_text(&key, label->key, sizeof(label->key)) ||
        (value.left && !copy_text(&value, label->value, sizeof(label->value))) || !label_key_is_valid(label->key) ||
        !label_value_is_valid(label->value))
        return malformed(reading, "a label");
    for (size_t i = 0; i < facts->label_count; i++)
        if (strcmp(facts->labels[i].key, label->key) == 0)
            return malformed(reading, "a label twice");
    facts->label_count++;
    return ERR_OK;
}

static enum err read_host(struct reading *reading, struct cursor in)
{
    struct cursor content, labels;
    enum err err = ERR_OK;

    if (der_read(&in, DER_SEQUENCE, &content) || in.left || der_read_u32(&content, &reading->facts->slot) ||
        der_read(&content, DER_SEQUENCE, &labels) || content.left)
        return malformed(reading, "the extension with slot and labels");
    while (labels.left && !err)
        err = read_label(reading, &labels);
    return err;
}

static const struct extension {
    const struct cert_oid *oid;
    enum err (*read)(struct reading *reading, struct cursor value);
} extensions[] = {
    {&cert_oid_alternative_names, read_names},
    {&cert_oid_basic_constraints, read_basic_constraints},
    {&cert_oid_key_usage, read_key_usage},
    {&cert_oid_extended_key_usage, read_extended_key_usage},
    {&cert_oid_subject_key_id, read_subject_key_id},
    {&cert_oid_authority_key_id, read_authority_key_id},
    {&cert_oid_host, read_host},
};

static enum err read_extension(struct reading *reading, struct cursor *list, unsigned *seen)
{
    struct cursor extension, oid, value;
    bool critical = false;

    if (der_read(list, DER_SEQUENCE, &extension) || der_read_oid(&extension, &oid) ||
        (der_next_is(&extension, DER_BOOLEAN) && (der_read_boolean(&extension, &critical) || !critical)) ||
        der_read(&extension, DER_OCTET_STRING, &value) || extension.left)
        return malformed(reading, "an extension");
    for (unsigned i = 0; i < sizeof(extensions) / sizeof(extensions[0]); i++) {
        if (!cert_oid_is(&oid, extensions[i].oid))
            continue;
        if (*seen & 1u << i)
            return malformed(reading, "an extension twice");
        *seen |= 1u << i;
        return extensions[i].read(reading, value);
    }
    return critical ? malformed(reading, "a critical extension that is not known here") : ERR_OK;
}

static enum err read_extensions(struct reading *reading, struct cursor in)
{
    struct cursor list;
    unsigned seen = 0;
    enum err err = ERR_OK;

    if (der_read(&in, DER_SEQUENCE, &list) || in.left || list.left == 0)
        return malformed(reading, "the extensions");
    while (list.left && !err)
        err = read_extension(reading, &list, &seen);
    return err;
}

// ---- the certificate (RFC 5280, 4.1)

static enum err read_serial(struct reading *reading, struct cursor *in)
{
    struct cursor serial;

    if (der_read_unsigned(in, &serial) || serial.left > SERIAL_BYTES_MAX)
        return malformed(reading, "the serial number");
    memcpy(reading->facts->serial, serial.bytes, serial.left);
    reading->facts->serial_len = serial.left;
    return ERR_OK;
}

static enum err read_element(struct cursor *in, uint8_t tag, struct cursor *ret_whole)
{
    struct cursor content;
    uint8_t found;
    return der_read_any(in, &found, &content, ret_whole) || found != tag ? ERR_MALFORMED : ERR_OK;
}

static enum err read_body(struct reading *reading, struct cursor in)
{
    struct cert_facts *facts = reading->facts;
    struct cert_view *view = reading->view;
    struct cursor version, algorithm, validity, extensions_;
    uint32_t number;

    if (der_read(&in, DER_CONTEXT_SET(0), &version) || der_read_u32(&version, &number) || version.left || number != 2)
        return malformed(reading, "it is not version 3");
    enum err err = read_serial(reading, &in);
    if (err)
        return err;
    if (read_element(&in, DER_SEQUENCE, &algorithm) ||
        !der_equal(&algorithm, view->algorithm.bytes, view->algorithm.left))
        return malformed(reading, "its two signature algorithms differ");
    if (read_element(&in, DER_SEQUENCE, &view->issuer) || der_read(&in, DER_SEQUENCE, &validity) ||
        der_read_time(&validity, &facts->not_before) || der_read_time(&validity, &facts->not_after) || validity.left ||
        read_element(&in, DER_SEQUENCE, &view->subject) || read_element(&in, DER_SEQUENCE, &view->spki))
        return malformed(reading, "names, validity or key");
    if (cert_read_spki(&view->spki, facts->public_point) == ERR_MALFORMED)
        return malformed(reading, "the public key");
    digest_sha384(view->spki.bytes, view->spki.left, facts->spki_sha384);
    if (der_read(&in, DER_CONTEXT_SET(3), &extensions_) || in.left)
        return malformed(reading, "the extensions");
    return read_extensions(reading, extensions_);
}

static enum err read_certificate(struct reading *reading, const uint8_t *der, size_t len)
{
    struct cursor in = {der, len}, whole, body;

    if (len > CERT_DER_BYTES_MAX)
        return malformed(reading, "it is larger than 16 KiB");
    if (der_read(&in, DER_SEQUENCE, &whole) || in.left)
        return malformed(reading, "it is not one DER element");
    if (read_element(&whole, DER_SEQUENCE, &reading->view->body) ||
        read_element(&whole, DER_SEQUENCE, &reading->view->algorithm) ||
        der_read_bits(&whole, &reading->view->signature) || whole.left)
        return malformed(reading, "body and signature");
    struct cursor outer = reading->view->body;
    if (der_read(&outer, DER_SEQUENCE, &body))
        return malformed(reading, "the body");
    enum err err = read_body(reading, body);
    if (!err && reading->uris == 0 && !reading->facts->is_ca)
        err = note_set(reading->note, ERR_IDENTITY, "the certificate has no URI name, so it names no SPIFFE ID");
    return err;
}

enum err cert_read(const uint8_t *der, size_t len, struct cert_facts *ret_facts, struct cert_view *ret_view,
                   struct note *note)
{
    struct cert_facts *facts = calloc(1, sizeof(*facts));
    struct cert_view view = {0};

    if (!facts)
        return note_set(note, ERR_NOMEM, "the certificate cannot be read: out of memory");
    struct reading reading = {.facts = facts, .view = &view, .note = note};
    enum err err = read_certificate(&reading, der, len);
    if (!err) {
        *ret_facts = *facts;
        if (ret_view)
            *ret_view = view;
    }
    free(facts);
    return err;
}

enum err cert_parse(const uint8_t *der, size_t len, struct cert_facts *ret_facts, struct note *note)
{
    return cert_read(der, len, ret_facts, NULL, note);
}

enum err cert_pem_to_der(const uint8_t *pem, size_t len, size_t index, uint8_t **ret_der, size_t *ret_len)
{
    const uint8_t *end = pem + len;
    const uint8_t *at = pem;
    DerBuffer *buffer = NULL;

    for (size_t i = 0;; i++) {
        at = memmem(at, (size_t)(end - at), PEM_BEGIN, strlen(PEM_BEGIN));
        if (!at)
            return ERR_NOT_FOUND;
        if (i == index)
            break;
        at += strlen(PEM_BEGIN);
    }
    if (wc_PemToDer(at, end - at, CERT_TYPE, &buffer, NULL, NULL, NULL) || !buffer || buffer->length == 0 ||
        buffer->length > CERT_DER_BYTES_MAX) {
        wc_FreeDer(&buffer);
        return ERR_MALFORMED;
    }
    uint8_t *der = malloc(buffer->length);
    if (der) {
        memcpy(der, buffer->buffer, buffer->length);
        *ret_der = der;
        *ret_len = buffer->length;
    }
    wc_FreeDer(&buffer);
    return der ? ERR_OK : ERR_NOMEM;
}

enum err cert_der_to_pem(const uint8_t *der, size_t len, char **ret_pem)
{
    if (len == 0 || len > CERT_DER_BYTES_MAX)
        return ERR_INVALID;
    size_t room = len * 2 + 128;
    char *pem = malloc(room);
    if (!pem)
        return ERR_NOMEM;
    int made = wc_DerToPem(der, (word32)len, (byte *)pem, (word32)room - 1, CERT_TYPE);
    if (made <= 0) {
        free(pem);
        return ERR_CRYPTO;
    }
    pem[made] = 0;
    *ret_pem = pem;
    return ERR_OK;
}
