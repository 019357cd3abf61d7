// SPDX-License-Identifier: GPL-2.0-or-later
// The other roles of this host, as the https role meets them: slices, questions and certificates from control, SA reports from network. A slice is
// staged by prepare and put in force by commit; whatever changes the table, live flows and tunnels are asked about again.
#ifndef TWOFOLD_AGENT_HTTPS_NEIGHBOURS_H
#define TWOFOLD_AGENT_HTTPS_NEIGHBOURS_H

#include <stdbool.h>

#include "agent/https/https.h"
#include "proto/base/err.h"
#include "proto/base/note.h"
#include "role.pb-c.h"

struct channel;

struct neighbours {
    struct https *https;
    struct channel *control; // NULL: gone
    struct channel *network;
    struct table *staged;          // between prepare and commit
    Twofold__V1__SaReport *report; // the last one
    bool is_closing;
    void (*on_lost)(void *owner);
    void *owner;
};

// Serves the two channels of role_start. `on_lost` is called once when one of them ends or breaks the protocol: the role has to end.
MUST_USE enum err neighbours_open(struct neighbours *neighbours, struct https *https, void (*on_lost)(void *owner),
                                  void *owner, struct note *note);
void neighbours_close(struct neighbours *neighbours);
void neighbours_free(struct neighbours *neighbours); // after the loop

#endif
