// SPDX-License-Identifier: GPL-2.0-or-later
// Notes about a policy as messages.
#ifndef TWOFOLD_CONTROLLER_FINDINGS_H
#define TWOFOLD_CONTROLLER_FINDINGS_H

#include "admin.pb-c.h"
#include "proto/base/err.h"
#include "proto/base/note.h"

// A plain value; the messages point into the notes.
struct findings {
    size_t count;
    Twofold__V1__Finding *pointers[NOTES_MAX + 1];
    Twofold__V1__Finding items[NOTES_MAX + 1];
    char more[64];
};

void findings_fill(struct findings *findings, struct notes *notes);

#endif
