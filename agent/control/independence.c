// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/control/independence.h"

#include <string.h>

// "wolfSSL 5.7.2" and "wolfSSL 5.8.0" are the same code: the first word decides.
static bool same_code(const char *a, const char *b)
{
    size_t len = strcspn(a, " ");

    return len && len == strcspn(b, " ") && memcmp(a, b, len) == 0;
}

bool independence_check(const Twofold__V1__RoleStatus *network, const Twofold__V1__RoleStatus *https,
                        struct notes *notes)
{
    size_t before = notes->count + notes->dropped;

    if (!network || !https) {
        notes_add(notes, 0, 0, "it is not known yet whether the layers are independent: the %s role has not reported",
                  network ? "https" : "network");
        return false;
    }
    if (same_code(network->cipher_code, https->cipher_code))
        notes_add(notes, 0, 0,
                  "both layers use the cipher code of %.64s: one flaw opens both; use the kernel's data plane",
                  https->cipher_code);
    if (network->key_sha384[0] && strcmp(network->key_sha384, https->key_sha384) == 0)
        notes_add(notes, 0, 0, "both layers use the same private key: enrol the host again");
    if (network->ca_sha384[0] && strcmp(network->ca_sha384, https->ca_sha384) == 0)
        notes_add(notes, 0, 0, "both layers trust the same CA: give the controller two CAs and enrol the host again");
    if (network->uid == https->uid)
        notes_add(notes, 0, 0, "both layers run as uid %u: give each role a user of its own", network->uid);
    if (network->pid == https->pid)
        notes_add(notes, 0, 0, "both layers run in process %u", network->pid);
    return notes->count + notes->dropped == before;
}
