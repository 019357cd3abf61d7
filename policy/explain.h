// SPDX-License-Identifier: GPL-2.0-or-later
// One question about one flow, and the parts that answer it. Internal to policy/.
#ifndef TWOFOLD_POLICY_EXPLAIN_H
#define TWOFOLD_POLICY_EXPLAIN_H

#include "policy/model.h"
#include "policy/policy.h"
#include "policy/view.h"

struct end {
    const char *given;
    size_t host; // VIEW_NONE: an address outside
    const struct inventory_host *revoked;
    bool by_address;
    struct ip address;
    const char *name; // of the host, or the address as given
};

struct question {
    const struct policy_view *view;
    struct end source;
    struct end destination;
    struct policy_port port;
    char port_text[POLICY_PORT_TEXT_BYTES];
};

struct explain_match {
    const struct view_rule *rule; // NULL: no rule comes near
    bool from;
    bool to;
    bool port;
    bool reversed;
};

bool explain_ports_have(const struct policy_ports *ports, const struct policy_port *port);
void explain_name(struct explanation *explanation, const char *name, struct place place);

// explain_rule.c: the rule that carries the flow between two hosts, or the one that comes nearest; and what to say of it.
struct explain_match explain_nearest(const struct question *question);
bool explain_is_whole(const struct explain_match *match);
void explain_allow(const struct question *question, const struct policy_rule *rule, struct explanation *explanation);
void explain_deny(const struct question *question, const struct explain_match *nearest,
                  struct explanation *explanation);

// explain_failsafe.c: the pinhole at the end where it works, or NULL; false when no pinhole has to do with the flow.
const struct policy_pinhole *explain_pinhole(const struct question *question, Twofold__V1__Direction direction);
bool explain_failsafe(const struct question *question, struct explanation *explanation);
// For a flow with a machine that is no host.
void explain_deny_outside(const struct question *question, struct explanation *explanation);

#endif
