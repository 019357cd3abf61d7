// SPDX-License-Identifier: GPL-2.0-or-later
// Locked memory in small pieces: the secrets of many pairs share pages, because a process may lock few (RLIMIT_MEMLOCK, 8 MiB by
// default).
#ifndef TWOFOLD_AGENT_NETWORK_KEYING_VAULT_H
#define TWOFOLD_AGENT_NETWORK_KEYING_VAULT_H

#include "agent/network/derive.h"
#include "proto/base/err.h"

struct keying_vault;
MUST_USE enum err keying_vault_new(struct keying_vault **ret_vault);
void keying_vault_free(struct keying_vault *vault); // wipes what was not given back
// Zero. ERR_NOMEM, also when no more may be locked.
MUST_USE enum err keying_vault_take(struct keying_vault *vault, struct derive_secrets **ret_secrets);
void keying_vault_give_back(struct keying_vault *vault, struct derive_secrets *secrets); // wipes; NULL is fine

#endif
