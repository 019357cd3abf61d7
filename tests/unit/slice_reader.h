// SPDX-License-Identifier: GPL-2.0-or-later
// Slices for tests, from the text that proto/wire/slice_text.h writes. A text that is wrong ends the test.
#ifndef TWOFOLD_TESTS_UNIT_SLICE_READER_H
#define TWOFOLD_TESTS_UNIT_SLICE_READER_H

#include "slice.pb-c.h"

// Canonical (slice_sort), not checked. Free with message_free.
Twofold__V1__Slice *slice_from_text(const char *text);

#endif
