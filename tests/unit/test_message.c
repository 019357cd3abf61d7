// SPDX-License-Identifier: GPL-2.0-or-later
// What message_decode takes from a stranger, and what it refuses. Bytes are written by hand: tag = number << 3 | wire type.
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "control.pb-c.h"
#include "proto/wire/message.h"
#include "role.pb-c.h"
#include "tests/unit/slice_fixture.h"

#define SLICE    &twofold__v1__slice__descriptor
#define RULE     &twofold__v1__rule__descriptor
#define SETTINGS &twofold__v1__settings__descriptor
#define HELLO    &twofold__v1__hello__descriptor
#define AGENT    &twofold__v1__agent_message__descriptor

static enum err decode(const ProtobufCMessageDescriptor *type, const void *bytes, size_t len)
{
    ProtobufCMessage *message = NULL;
    // A heap copy of exactly this length, so that a sanitizer sees every byte read past its end.
    uint8_t *copy = malloc(len ? len : 1);
    memcpy(copy, bytes, len);
    enum err err = message_decode(type, copy, len, &message);
    free(copy);
    cr_expect_eq(err == ERR_OK, message != NULL);
    message_free(message);
    return err;
}

#define DECODE(type, literal) decode(type, literal, sizeof(literal) - 1)

Test(message, empty_is_a_message)
{
    ProtobufCMessage *message;
    cr_assert_eq(message_decode(SLICE, NULL, 0, &message), ERR_OK);
    cr_assert_eq(((Twofold__V1__Slice *)message)->n_peers, 0);
    message_free(message);
    message_free(NULL);
}

Test(message, round_trip_and_copy)
{
    Twofold__V1__Slice *slice = fixture_slice();
    ProtobufCMessage *received, *copy;
    uint8_t *bytes, *again;
    size_t len, again_len;
    cr_assert_eq(message_encode(&slice->base, &bytes, &len), ERR_OK);
    cr_assert_eq(message_decode(SLICE, bytes, len, &received), ERR_OK);
    cr_assert_eq(message_copy(received, &copy), ERR_OK);
    cr_assert_eq(message_encode(copy, &again, &again_len), ERR_OK);
    cr_assert_eq(len, again_len);
    cr_assert_eq(memcmp(bytes, again, len), 0);
    free(bytes);
    free(again);
    message_free(slice);
    message_free(received);
    message_free(copy);
}

Test(message, every_cut_is_refused_or_a_shorter_message)
{
    Twofold__V1__Slice *slice = fixture_slice();
    uint8_t *bytes;
    size_t len, good = 0;
    cr_assert_eq(message_encode(&slice->base, &bytes, &len), ERR_OK);
    for (size_t cut = 0; cut < len; cut++) {
        enum err err = decode(SLICE, bytes, cut);
        cr_assert(err == ERR_OK || err == ERR_MALFORMED);
        good += err == ERR_OK;
    }
    // Only between top-level fields: nothing, settings, 3 peers, 4 rules, 2 pinholes, 1 of 2 revoked.
    cr_assert_eq(good, 1 + 1 + 3 + 4 + 2 + 1);
    free(bytes);
    message_free(slice);
}

// ---- form

Test(message, refuses_what_is_no_protobuf)
{
    cr_expect_eq(DECODE(HELLO, "\x0a"), ERR_MALFORMED);                                         // no length
    cr_expect_eq(DECODE(HELLO, "\x0a\x05web"), ERR_MALFORMED);                                  // length past the end
    cr_expect_eq(DECODE(HELLO, "\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), ERR_MALFORMED); // 2^64-1 bytes
    cr_expect_eq(DECODE(HELLO, "\x0a\xff\xff\xff\xff\x0f"), ERR_MALFORMED);                     // 2^32-1 bytes
    cr_expect_eq(DECODE(HELLO, "\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"), ERR_MALFORMED); // 66 bits
    cr_expect_eq(DECODE(HELLO, "\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), ERR_MALFORMED); // 11 bytes
    cr_expect_eq(DECODE(HELLO, "\x10"), ERR_MALFORMED);                                             // no value
    cr_expect_eq(DECODE(HELLO, "\x10\x80"), ERR_MALFORMED);                                         // no end
    cr_expect_eq(DECODE(HELLO, "\x00\x01"), ERR_MALFORMED);                                         // field 0
    cr_expect_eq(DECODE(HELLO, "\x80\x80\x80\x80\x10\x01"), ERR_MALFORMED);                         // field 2^29
    cr_expect_eq(DECODE(HELLO, "\x0b\x0c"), ERR_MALFORMED);                                         // a group
    cr_expect_eq(DECODE(HELLO, "\xa3\x06\xa4\x06"), ERR_MALFORMED);                                 // an unknown group
    cr_expect_eq(DECODE(HELLO, "\x0e"), ERR_MALFORMED);                                             // wire type 6
    cr_expect_eq(DECODE(HELLO, "\x0f"), ERR_MALFORMED);                                             // wire type 7
    cr_expect_eq(DECODE(HELLO, "\xa1\x06\0\0\0\0\0\0\0"), ERR_MALFORMED);                           // 7 of 8 bytes
    cr_expect_eq(DECODE(HELLO, "\xa5\x06\0\0\0"), ERR_MALFORMED);                                   // 3 of 4 bytes
}

Test(message, refuses_the_wrong_wire_type)
{
    cr_expect_eq(DECODE(HELLO, "\x08\x01"), ERR_MALFORMED);             // version as a number
    cr_expect_eq(DECODE(HELLO, "\x12\x01x"), ERR_MALFORMED);            // generation as a text
    cr_expect_eq(DECODE(HELLO, "\x1d\x01\x02\x03\x04"), ERR_MALFORMED); // digest as 32 bits
    cr_expect_eq(DECODE(HELLO, "\x15\x01\x02\x03\x04"), ERR_MALFORMED); // a varint's field as 32 bits
    cr_expect_eq(DECODE(SLICE, "\x08\x01"), ERR_MALFORMED);             // settings as a number
    cr_expect_eq(DECODE(RULE, "\x12\x02\x01\x02"), ERR_MALFORMED);      // a packed enum that is not repeated
}

Test(message, refuses_a_single_field_twice)
{
    cr_expect_eq(DECODE(HELLO, "\x10\x01"), ERR_OK);
    cr_expect_eq(DECODE(HELLO, "\x10\x01\x10\x02"), ERR_MALFORMED);
    cr_expect_eq(DECODE(HELLO, "\x0a\x01x\x0a\x01y"), ERR_MALFORMED);
    cr_expect_eq(DECODE(SLICE, "\x0a\x02\x08\x01\x0a\x02\x08\x02"), ERR_MALFORMED); // settings, which would be merged
    cr_expect_eq(DECODE(SLICE, "\x12\x00\x12\x00"), ERR_OK);                        // peers are repeated
}

Test(message, refuses_two_members_of_a_oneof)
{
    cr_expect_eq(DECODE(AGENT, "\x0a\x02\x10\x01"), ERR_OK);                        // hello
    cr_expect_eq(DECODE(AGENT, "\x0a\x02\x10\x01\x0a\x02\x10\x01"), ERR_MALFORMED); // hello twice
    cr_expect_eq(DECODE(AGENT, "\x0a\x02\x10\x01\x12\x00"), ERR_MALFORMED);         // hello and a result
    cr_expect_eq(DECODE(AGENT, "\x2a\x00\x0a\x00"), ERR_MALFORMED);                 // status and hello
}

// ---- text

Test(message, takes_utf8)
{
    cr_expect_eq(DECODE(HELLO, "\x0a\x05"
                               "a\tb\nc"),
                 ERR_OK);
    cr_expect_eq(DECODE(HELLO, "\x0a\x02\xc3\xbc"), ERR_OK);
    cr_expect_eq(DECODE(HELLO, "\x0a\x02\xc2\xa0"), ERR_OK);
    cr_expect_eq(DECODE(HELLO, "\x0a\x03\xe2\x82\xac"), ERR_OK);
    cr_expect_eq(DECODE(HELLO, "\x0a\x03\xed\x9f\xbf"), ERR_OK);     // U+D7FF
    cr_expect_eq(DECODE(HELLO, "\x0a\x03\xee\x80\x80"), ERR_OK);     // U+E000
    cr_expect_eq(DECODE(HELLO, "\x0a\x04\xf4\x8f\xbf\xbf"), ERR_OK); // U+10FFFF
}

Test(message, refuses_other_text)
{
    cr_expect_eq(DECODE(HELLO, "\x0a\x03"
                               "a\0b"),
                 ERR_MALFORMED); // would be cut to "a"
    cr_expect_eq(DECODE(HELLO, "\x0a\x01\0"), ERR_MALFORMED);
    cr_expect_eq(DECODE(HELLO, "\x0a\x01\x1b"), ERR_MALFORMED); // escape
    cr_expect_eq(DECODE(HELLO, "\x0a\x01\r"), ERR_MALFORMED);
    cr_expect_eq(DECODE(HELLO, "\x0a\x01\x7f"), ERR_MALFORMED);
    cr_expect_eq(DECODE(HELLO, "\x0a\x02\xc2\x80"), ERR_MALFORMED); // U+0080
    cr_expect_eq(DECODE(HELLO, "\x0a\x02\xc2\x9b"), ERR_MALFORMED); // a terminal's CSI
    cr_expect_eq(DECODE(HELLO, "\x0a\x02\xc2\x9f"), ERR_MALFORMED);
    cr_expect_eq(DECODE(HELLO, "\x0a\x01\x80"), ERR_MALFORMED); // continuation alone
    cr_expect_eq(DECODE(HELLO, "\x0a\x01\xc3"), ERR_MALFORMED); // cut short
    cr_expect_eq(DECODE(HELLO, "\x0a\x02\xe2\x82"), ERR_MALFORMED);
    cr_expect_eq(DECODE(HELLO, "\x0a\x02\xc3x"), ERR_MALFORMED);        // no continuation
    cr_expect_eq(DECODE(HELLO, "\x0a\x02\xc0\xaf"), ERR_MALFORMED);     // '/' in two bytes
    cr_expect_eq(DECODE(HELLO, "\x0a\x03\xe0\x80\xaf"), ERR_MALFORMED); // in three
    cr_expect_eq(DECODE(HELLO, "\x0a\x04\xf0\x80\x80\xaf"), ERR_MALFORMED);
    cr_expect_eq(DECODE(HELLO, "\x0a\x03\xed\xa0\x80"), ERR_MALFORMED);     // a surrogate
    cr_expect_eq(DECODE(HELLO, "\x0a\x04\xf4\x90\x80\x80"), ERR_MALFORMED); // U+110000
    cr_expect_eq(DECODE(HELLO, "\x0a\x04\xf5\x80\x80\x80"), ERR_MALFORMED);
    // Inside: a peer's name, a rule's peer (repeated), the text of a oneof's member.
    cr_expect_eq(DECODE(SLICE, "\x12\x03\x0a\x01\x01"), ERR_MALFORMED);
    cr_expect_eq(DECODE(SLICE, "\x1a\x06\x1a\x01x\x1a\x01\x01"), ERR_MALFORMED);
    cr_expect_eq(DECODE(AGENT, "\x0a\x03\x0a\x01\x01"), ERR_MALFORMED);
    cr_expect_eq(DECODE(&twofold__v1__local_response__descriptor, "\x1a\x01\x01"), ERR_MALFORMED);
    // Bytes may hold anything.
    cr_expect_eq(DECODE(HELLO, "\x1a\x02\0\xff"), ERR_OK);
}

// ---- memory

// `count` times the same few bytes.
static enum err decode_many(const ProtobufCMessageDescriptor *type, const void *unit, size_t len, size_t count)
{
    uint8_t *bytes = malloc(len * count);
    for (size_t i = 0; i < count; i++)
        memcpy(bytes + i * len, unit, len);
    enum err err = decode(type, bytes, len * count);
    free(bytes);
    return err;
}

Test(message, amplification_ends_at_the_budget)
{
    // Two bytes on the wire make a Peer of about 100.
    cr_expect_eq(decode_many(SLICE, "\x12\x00", 2, 100), ERR_OK);
    cr_expect_eq(decode_many(SLICE, "\x12\x00", 2, 1000000), ERR_LIMIT);
    cr_expect_eq(decode_many(SLICE, "\x1a\x00", 2, 1000000), ERR_LIMIT);
    // The largest message of all, by the number of its fields.
    cr_expect_eq(decode_many(&twofold__v1__flows__descriptor, "\x0a\x00", 2, 1000000), ERR_LIMIT);
    cr_expect_eq(decode_many(&twofold__v1__agent_status__descriptor, "\x12\x00", 2, 1000000), ERR_LIMIT);
    // Many levels of nothing: a rule in a slice with ports in it.
    cr_expect_eq(decode_many(SLICE, "\x1a\x04\x22\x00\x22\x00", 6, 300000), ERR_LIMIT);
}

Test(message, honest_messages_stay_within_the_budget)
{
    // The shortest that are real: names of one letter, every element with nothing but them.
    cr_expect_eq(decode_many(SLICE, "\x2a\x02h1", 4, 65536), ERR_OK);
    cr_expect_eq(decode_many(RULE, "\x1a\x02h1", 4, 16384), ERR_OK);
    cr_expect_eq(decode_many(SLICE, "\x12\x0c\x0a\x02h1\x10\x01\x1a\x04\xc0\0\2\1", 14, 16384), ERR_OK);
    // A peer's state with a name, one flag and an epoch.
    cr_expect_eq(decode_many(&twofold__v1__agent_status__descriptor,
                             "\x12\x0f\x0a\x02h1\x10\x01\x20\x80\x80\x80\x80\x80\x80\x80\x01", 17, 16384),
                 ERR_OK);
}

// ---- unknown fields

Test(message, keeps_unknown_fields_and_tells_of_them)
{
    struct note note = {0};
    ProtobufCMessage *message;
    uint8_t *bytes;
    size_t len;
    static const char wire[] = "\x0a\x01x\xa0\x06\x05\xa1\x06\0\0\0\0\0\0\0\0\xa5\x06\0\0\0\0\xaa\x06\x01\0";
    cr_assert_eq(message_decode(HELLO, wire, sizeof(wire) - 1, &message), ERR_OK);
    cr_assert_eq(message->n_unknown_fields, 4);
    cr_assert_eq(message_check_known(message, &note), ERR_UNSUPPORTED);
    cr_assert(strstr(note.text, "field 100 of a Hello"), "%s", note.text);
    cr_assert_eq(message_check_known(message, NULL), ERR_UNSUPPORTED);
    cr_assert_eq(message_encode(message, &bytes, &len), ERR_OK);
    cr_assert_eq(len, sizeof(wire) - 1);
    cr_assert_eq(memcmp(bytes, wire, len), 0);
    free(bytes);
    message_free(message);
}

Test(message, finds_unknown_fields_at_any_depth)
{
    ProtobufCMessage *message;
    // AgentMessage.status (oneof) . peers (repeated) . field 100
    cr_assert_eq(message_decode(AGENT, "\x2a\x05\x12\x03\xa0\x06\x05", 7, &message), ERR_OK);
    cr_assert_eq(message_check_known(message, NULL), ERR_UNSUPPORTED);
    message_free(message);
    // The same without it; the members of the oneof that are not set are not looked at.
    cr_assert_eq(message_decode(AGENT, "\x2a\x04\x12\x02\x10\x01", 6, &message), ERR_OK);
    cr_assert_eq(message_check_known(message, NULL), ERR_OK);
    message_free(message);
    cr_assert_eq(message_decode(AGENT, "", 0, &message), ERR_OK);
    cr_assert_eq(message_check_known(message, NULL), ERR_OK);
    message_free(message);
}

// ---- nesting: none of our messages contains itself, so the bound is tried with one that does.

struct nest {
    ProtobufCMessage base;
    struct nest *inner;
};
extern const ProtobufCMessageDescriptor nest_type;
static const ProtobufCFieldDescriptor nest_fields[] = {
    {.name = "inner",
     .id = 1,
     .label = PROTOBUF_C_LABEL_NONE,
     .type = PROTOBUF_C_TYPE_MESSAGE,
     .offset = offsetof(struct nest, inner),
     .descriptor = &nest_type},
};
static const unsigned nest_names[] = {0};
static const ProtobufCIntRange nest_numbers[] = {{1, 0}, {0, 1}};

static void nest_init(ProtobufCMessage *message)
{
    *(struct nest *)message = (struct nest){.base = {.descriptor = &nest_type}};
}

const ProtobufCMessageDescriptor nest_type = {
    .magic = PROTOBUF_C__MESSAGE_DESCRIPTOR_MAGIC,
    .name = "Nest",
    .short_name = "Nest",
    .c_name = "Nest",
    .package_name = "",
    .sizeof_message = sizeof(struct nest),
    .n_fields = 1,
    .fields = nest_fields,
    .fields_sorted_by_name = nest_names,
    .n_field_ranges = 1,
    .field_ranges = nest_numbers,
    .message_init = nest_init,
};

static enum err decode_nested(unsigned depth)
{
    // From the inside out: each level is a tag and the length of what is inside.
    uint8_t bytes[4096], *at = bytes + sizeof(bytes);
    size_t len = 0;
    for (unsigned i = 0; i < depth; i++) {
        uint8_t head[3] = {0x0a, (uint8_t)(len & 0x7f), 0};
        size_t head_len = 2;
        if (len > 0x7f) {
            head[1] |= 0x80;
            head[2] = (uint8_t)(len >> 7);
            head_len = 3;
        }
        at -= head_len;
        memcpy(at, head, head_len);
        len += head_len;
    }
    return decode(&nest_type, at, len);
}

Test(message, nesting_is_bounded)
{
    cr_assert_eq(decode_nested(1), ERR_OK);
    cr_assert_eq(decode_nested(MESSAGE_NESTING_MAX), ERR_OK);
    cr_assert_eq(decode_nested(MESSAGE_NESTING_MAX + 1), ERR_LIMIT);
    cr_assert_eq(decode_nested(1000), ERR_LIMIT);
}
