// SPDX-License-Identifier: GPL-2.0-or-later
// The last slice that was in force, on disk: FOLDER/slice.pb. A host that starts without its controller enforces it.
//
// Format: "Twofold-slice-v1\0" (17), unix seconds at which it came into force (8, network order), SHA-384 over those two and the rest (48), the
// slice in its canonical encoding.
#ifndef TWOFOLD_AGENT_CONTROL_SLICE_STORE_H
#define TWOFOLD_AGENT_CONTROL_SLICE_STORE_H

#include <stddef.h>
#include <stdint.h>

#include "proto/base/err.h"
#include "proto/base/note.h"
#include "slice.pb-c.h"

#define SLICE_STORE_BYTES_MAX (16u << 20)

struct stored_slice {
    Twofold__V1__Slice *slice; // owned; message_free
    uint64_t applied_at;       // unix seconds
};

// Form, digest and slice_check; then that it is the slice of this host in this trust domain. ERR_CORRUPT, ERR_IDENTITY; the note says what.
MUST_USE enum err slice_store_decode(const uint8_t *bytes, size_t len, const char *trust_domain, const char *host,
                                     struct stored_slice *ret_stored, struct note *note);

// free() the bytes. ERR_LIMIT past SLICE_STORE_BYTES_MAX.
MUST_USE enum err slice_store_encode(const Twofold__V1__Slice *slice, uint64_t applied_at, uint8_t **ret_bytes,
                                     size_t *ret_len);

// ERR_NOT_FOUND when there is none yet; what is damaged is left where it is and refused.
MUST_USE enum err slice_store_load(const char *folder, const char *trust_domain, const char *host,
                                   struct stored_slice *ret_stored, struct note *note);

// Two steps, so that a full disk shows before the slice comes into force: FOLDER/slice-next.pb, then its rename over slice.pb.
MUST_USE enum err slice_store_stage(const char *folder, const Twofold__V1__Slice *slice, uint64_t applied_at,
                                    struct note *note);
MUST_USE enum err slice_store_publish(const char *folder, struct note *note);

#endif
