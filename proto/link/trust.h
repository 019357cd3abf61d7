// SPDX-License-Identifier: GPL-2.0-or-later
// What TLS asks of a set of trusted roots beyond cert.h. For tls*.c and trust.c only.
#ifndef TWOFOLD_LINK_TRUST_H
#define TWOFOLD_LINK_TRUST_H

#include "proto/link/cert.h"

bool trust_holds(const struct trust *trust, const uint8_t *der, size_t len);
size_t trust_count(const struct trust *trust);
const uint8_t *trust_root_der(const struct trust *trust, size_t index, size_t *ret_len);

#endif
