// SPDX-License-Identifier: GPL-2.0-or-later
// The keys of SAs for the proof (--export-secrets): lines of tshark's `esp_sa` table, so that a capture of the underlay can be read by
// someone else's tool. Only ever called when the switch was given.
#ifndef TWOFOLD_AGENT_NETWORK_EXPORT_H
#define TWOFOLD_AGENT_NETWORK_EXPORT_H

#include <stddef.h>

#include "agent/network/keying.h"
#include "proto/base/err.h"
#include "proto/base/note.h"

#define EXPORT_LINE_BYTES 320

// "IPv4","192.0.2.1","192.0.2.2","0x00002041","AES-GCM with 16 octet ICV [RFC4106]","0x<key and salt>","NULL","" and a line feed. Pure.
void export_line(const struct sa *sa, char ret_line[EXPORT_LINE_BYTES]);

// Appends the SA's line to FOLDER/esp_sa (mode 0600): SAs of all epochs stay, so that a whole capture can be read.
MUST_USE enum err export_sa(const char *folder, const struct sa *sa, struct note *note);

#endif
