// SPDX-License-Identifier: GPL-2.0-or-later
// The kernel's IPsec error counters (/proc/net/xfrm_stat), each with what it means: the truth about drops. Parsing is pure.
#ifndef TWOFOLD_AGENT_NETWORK_XFRM_STAT_H
#define TWOFOLD_AGENT_NETWORK_XFRM_STAT_H

#include <stddef.h>
#include <stdint.h>

#include "proto/base/err.h"

#define XFRM_STAT_LIST(X)                                                                                           \
    X(InError, "arrived, other errors")                                                                             \
    X(InBufferError, "arrived, no memory")                                                                          \
    X(InHdrError, "arrived, broken ESP header")                                                                     \
    X(InNoStates, "arrived for an SA that is not here: the sender's keys are older or newer than ours")             \
    X(InStateProtoError, "arrived and failed authentication: wrong key, or forged")                                 \
    X(InStateModeError, "arrived for an SA of another mode")                                                        \
    X(InStateSeqError, "arrived with a sequence number seen before or too old: replayed")                           \
    X(InStateExpired, "arrived for an SA at its hard limit")                                                        \
    X(InStateMismatch, "arrived with addresses that are not its SA's")                                              \
    X(InStateInvalid, "arrived for an SA that is being removed")                                                    \
    X(InTmplMismatch, "arrived outside IPsec, or by another peer's SA, where the policy demands the peer's own SA") \
    X(InNoPols, "arrived with no policy")                                                                           \
    X(InPolBlock, "arrived and met the floor: no rule lets them in")                                                \
    X(InPolError, "arrived and met a policy that could not be used")                                                \
    X(OutError, "leaving, other errors")                                                                            \
    X(OutBundleGenError, "leaving, no route through the SA")                                                        \
    X(OutBundleCheckError, "leaving, the route through the SA became stale")                                        \
    X(OutNoStates, "leaving without an SA: not up yet, gone, or caught by the floor because no rule lets them out") \
    X(OutStateProtoError, "leaving, encryption failed")                                                             \
    X(OutStateModeError, "leaving, too big for the path or wrong mode")                                             \
    X(OutStateSeqError, "leaving, sequence numbers used up")                                                        \
    X(OutStateExpired, "leaving by an SA at its hard limit")                                                        \
    X(OutPolBlock, "leaving and blocked by a policy")                                                               \
    X(OutPolDead, "leaving by a policy that is being removed")                                                      \
    X(OutPolError, "leaving and met a policy that could not be used")                                               \
    X(FwdHdrError, "forwarded, broken header")                                                                      \
    X(OutStateInvalid, "leaving by an SA that is being removed")                                                    \
    X(AcquireError, "no SA could be asked for")                                                                     \
    X(OutStateDirError, "leaving by an SA that is for arriving packets")                                            \
    X(InStateDirError, "arrived for an SA that is for leaving packets")

enum xfrm_stat_name {
#define XFRM_STAT_ENUM(name, meaning) XFRM_STAT_##name,
    XFRM_STAT_LIST(XFRM_STAT_ENUM)
#undef XFRM_STAT_ENUM
        XFRM_STAT_COUNT
};

struct xfrm_stat {
    uint64_t values[XFRM_STAT_COUNT]; // packets; 0 where the kernel does not count it
};

const char *xfrm_stat_text(enum xfrm_stat_name name); // "InNoStates"
const char *xfrm_stat_meaning(enum xfrm_stat_name name);

// Lines "XfrmInNoStates <blank> 12"; unknown names are skipped. ERR_MALFORMED.
MUST_USE enum err xfrm_stat_parse(const char *text, struct xfrm_stat *ret_stat);
// ERR_UNSUPPORTED when the kernel keeps no such counters.
MUST_USE enum err xfrm_stat_read(struct xfrm_stat *ret_stat);

#endif
