// SPDX-License-Identifier: GPL-2.0-or-later
// The canonical order of a slice's lists (slice.proto), for those files here that sort, check and merge. The qsort-shaped ones take
// pointers to list elements.
#ifndef TWOFOLD_WIRE_SLICE_ORDER_H
#define TWOFOLD_WIRE_SLICE_ORDER_H

#include <stdbool.h>

#include "slice.pb-c.h"

int slice_compare_text(const void *a, const void *b);
int slice_compare_bytes(const ProtobufCBinaryData *a, const ProtobufCBinaryData *b);
int slice_compare_keys(const char *name_a, Twofold__V1__Direction a, const char *name_b, Twofold__V1__Direction b);
int slice_compare_peers(const void *a, const void *b);
int slice_compare_rules(const void *a, const void *b);
int slice_compare_pinholes(const void *a, const void *b);
int slice_compare_ports(const void *a, const void *b);
int slice_compare_prefixes(const void *a, const void *b);

// Whether a sorted list of texts holds this one.
bool slice_has_text(char *const *texts, size_t count, const char *text);

#endif
