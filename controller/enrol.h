// SPDX-License-Identifier: GPL-2.0-or-later
// Enrolment: a join token and three certificate requests for a host's place in the store and three certificates; and renewal by
// the certificate that a host has. Works on store and CA only: no sockets.
#ifndef TWOFOLD_CONTROLLER_ENROL_H
#define TWOFOLD_CONTROLLER_ENROL_H

#include "control.pb-c.h"
#include "controller/ca.h"
#include "controller/limiter.h"
#include "controller/store/hosts.h"
#include "proto/base/clock.h"

#define TOKEN_SECONDS_MIN     60u
#define TOKEN_SECONDS_MAX     604800u
#define TOKEN_SECONDS_DEFAULT 3600u

struct enrolment {
    struct store *store;
    const struct ca *ca;
    const struct clock *clock;
    struct limiter *failures; // of each source
    struct bucket audited;    // failures written to the audit log, of all sources
    struct limiter *renewals; // of each source
};

struct enrolled {
    struct host_record host;
    struct ca_issued issued;
    uint64_t generation; // present one, behind the change
};

#define ENROL_FAILURE_RATE ((struct rate){.interval_ms = 6000, .burst = 10})
#define ENROL_RENEWAL_RATE ((struct rate){.interval_ms = 100, .burst = 4096})

// Uses the token up, takes the host into the store and issues its certificates: all of it or nothing. `source` is where the request came
// from; it becomes the host's address when the token names none.
// ERR_DENIED: the token does not permit it. Who doesn't know a token's secret learns nothing more; who does is told why. Each
// refusal is audited with its own outcome, up to a bound. ERR_LIMIT: too many failures from this source.
// ERR_EXISTS: the address belongs to another host. ERR_INVALID, ERR_MALFORMED, ERR_CRYPTO: the requests. ERR_FULL and kin: ours.
MUST_USE enum err enrol_by_token(struct enrolment *enrolment, const Twofold__V1__EnrolRequest *request,
                                 const struct ip *source, struct enrolled *ret_enrolled, struct note *note);

// New certificates for a host that shows its agent certificate (`peer`, verified). ERR_REVOKED, ERR_DENIED (a certificate that
// an enrolment has replaced), otherwise as above.
MUST_USE enum err enrol_renew(struct enrolment *enrolment, const struct cert_facts *peer,
                              const Twofold__V1__RenewRequest *request, const struct ip *source,
                              struct enrolled *ret_enrolled, struct note *note);

// Whether a verified agent certificate is one that its host may use now. ERR_OK, ERR_REVOKED, ERR_DENIED, or the store's errors.
MUST_USE enum err enrol_check_agent(struct enrolment *enrolment, const struct cert_facts *peer,
                                    struct host_record *ret_host, struct note *note);

// An address that can name a host: no loopback, multicast, link-local or unspecified one.
bool enrol_address_fits(const struct ip *address);

#endif
