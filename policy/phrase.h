// SPDX-License-Identifier: GPL-2.0-or-later
// Parts of a policy in words, for explanations and effects. Internal to policy/. Lists that do not fit end with "...".
#ifndef TWOFOLD_POLICY_PHRASE_H
#define TWOFOLD_POLICY_PHRASE_H

#include <stddef.h>

#include "policy/model.h"
#include "policy/view.h"

// "ipsec and https"
const char *phrase_layers(const struct policy_rule *rule);

// "tcp/80, udp/53"
void phrase_ports(const struct policy_ports *ports, char *text, size_t room);

// "192.0.2.0/24, 2001:db8::/64"
void phrase_cidrs(const struct policy_cidrs *cidrs, char *text, size_t room);

// "web, api"
void phrase_names(const struct policy_names *names, char *text, size_t room);

// "web1, web2 and 3 more"
void phrase_hosts(const struct policy_view *view, const uint64_t *set, char *text, size_t room);

#endif
