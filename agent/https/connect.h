// SPDX-License-Identifier: GPL-2.0-or-later
// The CONNECT request of a tunnel's flow (RFC 9113, 8.5; the headers that ztunnel sends) and its answer, as header lists. Pure.
#ifndef TWOFOLD_AGENT_HTTPS_CONNECT_H
#define TWOFOLD_AGENT_HTTPS_CONNECT_H

#include <stdbool.h>

#include "proto/base/err.h"
#include "proto/base/ip.h"
#include "proto/base/note.h"
#include "proto/link/h2.h"
#include "proto/wire/authority.h"

#define CONNECT_REASON_HEADER "twofold-reason"

struct connect_request {
    struct ip_endpoint authority; // where the flow wants to go
    bool has_source;
    struct ip_endpoint source; // from `forwarded`, as the peer says
};

// A request that came with `end` (no body) is refused, too. ERR_MALFORMED: answer 400; ERR_UNSUPPORTED: 400 as well (a host name, another
// method or protocol). The note is a sentence for both ends.
MUST_USE enum err connect_parse(const struct h2_headers *headers, bool end, struct connect_request *ret_request,
                                struct note *note);

// The headers that ask for a flow; the texts live in the struct.
#define CONNECT_HEADERS 3
struct connect_headers {
    char authority[IP_ENDPOINT_TEXT_BYTES];
    char forwarded[FORWARDED_TEXT_BYTES];
    struct h2_header items[CONNECT_HEADERS];
};
void connect_format(const struct ip_endpoint *destination, const struct ip_endpoint *source,
                    struct connect_headers *ret_headers);

// What the peer answered.
struct connect_answer {
    unsigned status;              // 100..599
    char reason[NOTE_TEXT_BYTES]; // its sentence, printable ASCII; ours when it sent none
};
MUST_USE enum err connect_parse_answer(const struct h2_headers *headers, struct connect_answer *ret_answer);

// `text` with every byte that is not printable ASCII replaced, cut to the room: for header values and for what peers say.
void connect_printable(const char *text, char *ret_text, size_t room);

#endif
