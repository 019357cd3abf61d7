// SPDX-License-Identifier: GPL-2.0-or-later
// What the controller's tests share: a folder of their own, a clock that they set, a store, requests for certificates.
#ifndef TWOFOLD_TESTS_UNIT_CONTROLLER_FIXTURE_H
#define TWOFOLD_TESTS_UNIT_CONTROLLER_FIXTURE_H

#include <limits.h>
#include <stdint.h>

#include "control.pb-c.h"
#include "controller/store/hosts.h"
#include "controller/store/store.h"
#include "controller/store/tokens.h"
#include "proto/base/clock.h"
#include "proto/link/key.h"

#define FIXTURE_NOW 1767225600ull // 2026-01-01T00:00:00Z

struct fixture_time {
    uint64_t boot_ms;
    uint64_t unix_ms;
};
extern struct fixture_time fixture_time;
extern const struct clock fixture_clock;
void fixture_advance(uint64_t ms);

// A new folder below TMPDIR; removed by fixture_remove.
const char *fixture_folder(void);
const char *fixture_path(const char *name); // in it; one result lives at a time
void fixture_remove(void);

struct ip fixture_ip(const char *text);
struct host_record fixture_host(const char *name, uint32_t slot, const char *address);
struct token_record fixture_token(const char *host, const char *address, uint8_t fill,
                                  uint8_t secret[TOKEN_SECRET_BYTES]);

// Three keys and requests for them, as an agent makes them.
struct fixture_requests {
    struct key *keys[3];
    Twofold__V1__CertificateRequests message;
};
void fixture_requests_make(struct fixture_requests *requests);
void fixture_requests_free(struct fixture_requests *requests);

#endif
