// SPDX-License-Identifier: GPL-2.0-or-later
// The headers of a CONNECT tunnel as ztunnel speaks HBONE: `:authority` (RFC 9110, 7.1; RFC 3986, 3.2) and `forwarded` (RFC 7239).
#ifndef TWOFOLD_WIRE_AUTHORITY_H
#define TWOFOLD_WIRE_AUTHORITY_H

#include "proto/base/err.h"
#include "proto/base/ip.h"

// "192.0.2.1:80" or "[2001:db8::1]:80"; a host name gives ERR_UNSUPPORTED, anything else ERR_MALFORMED.
MUST_USE enum err authority_parse(const char *text, struct ip_endpoint *ret_endpoint);

#define FORWARDED_TEXT_BYTES 128
// for="192.0.2.1:40000" and back; other parameters are skipped. Only the first element counts, the one nearest to the client.
// ERR_NOT_FOUND without `for`, ERR_UNSUPPORTED for an obfuscated or unknown node or one without a port, ERR_MALFORMED.
void forwarded_format(const struct ip_endpoint *source, char ret_text[FORWARDED_TEXT_BYTES]);
MUST_USE enum err forwarded_parse(const char *text, struct ip_endpoint *ret_source);

#endif
