// SPDX-License-Identifier: GPL-2.0-or-later
// The single values of a policy text: names, CIDRs, ports, layers, labels. Internal to policy/.
#ifndef TWOFOLD_POLICY_VALUES_H
#define TWOFOLD_POLICY_VALUES_H

#include "policy/model.h"
#include "policy/reader.h"

// A name by proto/base/spiffe.h's name_is_valid, kept; NULL and a finding.
const char *values_name(struct reader *reader, const struct tree_node *node, const char *what);

// Readers of fields; the target is the struct named.
void values_hosts(struct reader *reader, const struct tree_node *node, struct policy_names *names);
void values_segments(struct reader *reader, const struct tree_node *node, const char *what, struct policy_names *names);
void values_cidrs(struct reader *reader, const struct tree_node *node, struct policy_cidrs *cidrs);
void values_ports(struct reader *reader, const struct tree_node *node, struct policy_ports *ports);
void values_labels(struct reader *reader, const struct tree_node *node, struct policy_segment *segment);
void values_layers(struct reader *reader, const struct tree_node *node, struct policy_rule *rule);

#endif
