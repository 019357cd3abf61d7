// SPDX-License-Identifier: GPL-2.0-or-later
// Values as people read them, in the command's tables.
#ifndef TWOFOLD_CONTROLLER_CLI_FORMAT_H
#define TWOFOLD_CONTROLLER_CLI_FORMAT_H

#include <stddef.h>
#include <stdint.h>

#include "admin.pb-c.h"

// Makes text from elsewhere fit to be shown on one line: control characters (C0, DEL, C1 in UTF-8) become blanks, in place.
char *format_plain(char *text);

#define FORMAT_BYTES 32

// "2026-03-01T10:00:00Z"; "-" for 0.
const char *format_time(uint64_t unix_seconds, char text[FORMAT_BYTES]);
// "2026-03-01T10:00:00.123Z"
const char *format_time_ms(uint64_t unix_ms, char text[FORMAT_BYTES]);
// "45s", "12m", "3h 5m", "4d 2h"
const char *format_age(uint64_t seconds, char text[FORMAT_BYTES]);
// "512 B", "1.4 KiB", "12 MiB"
const char *format_bytes(uint64_t bytes, char text[FORMAT_BYTES]);
// "38 ms", "1.204 s"
const char *format_elapsed(uint32_t ms, char text[FORMAT_BYTES]);
// "9c1d 0a33 …": the first 16 hexadecimal digits of a hash, in groups, so that two people can compare them.
const char *format_hash(const char *hex, char text[FORMAT_BYTES]);

#define FORMAT_LIST_BYTES 512
// "192.0.2.1, 2001:db8::1"
const char *format_addresses(const ProtobufCBinaryData *addresses, size_t count, char text[FORMAT_LIST_BYTES]);
// "env=prod, role=web"
const char *format_labels(Twofold__V1__Label *const *labels, size_t count, char text[FORMAT_LIST_BYTES]);
const char *format_words(char *const *words, size_t count, char text[FORMAT_LIST_BYTES]);

// The part of a SPIFFE ID behind its trust domain; "-" for none.
const char *format_identity(const char *spiffe_id);

#endif
