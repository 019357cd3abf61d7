// SPDX-License-Identifier: GPL-2.0-or-later
// What a policy text says, after reading. Internal to policy/. Everything lives in the policy's arena.
#ifndef TWOFOLD_POLICY_MODEL_H
#define TWOFOLD_POLICY_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "policy/arena.h"
#include "proto/base/ip.h"
#include "slice.pb-c.h"

enum {
    POLICY_REKEY_SECONDS_MIN = 2,
    POLICY_REKEY_SECONDS_MAX = 3600,
    POLICY_PORT_CAPTURE = 15001, // where the agents capture local flows
    POLICY_PORT_TUNNEL = 15008,  // where they accept tunnels
};

struct place {
    unsigned line;
    unsigned column;
};

struct policy_label {
    const char *key;
    const char *value;
};

struct policy_name {
    const char *text;
    struct place place;
    size_t segment; // of a reference to a segment: its index, set by the check
};

struct policy_names {
    size_t count;
    struct policy_name *items;
};

struct policy_cidr {
    struct ip_prefix prefix;
    struct place place;
};

struct policy_cidrs {
    size_t count;
    struct policy_cidr *items;
};

struct policy_port {
    Twofold__V1__Protocol protocol;
    uint16_t first;
    uint16_t last;
    struct place place;
};

// As written until the check is through; then by (protocol, first), disjoint, neighbours merged.
struct policy_ports {
    size_t count;
    struct policy_port *items;
};

// The union of what its selectors select.
struct policy_segment {
    const char *name;
    struct place place;
    size_t label_count;
    struct policy_label *labels; // all must match
    struct policy_names hosts;
    struct policy_cidrs cidrs;
    struct policy_names segments;
};

struct policy_rule {
    const char *name;
    struct place place;
    struct policy_names from;
    struct policy_names to;
    struct policy_ports ports;
    bool layers_given;
    bool ipsec;
    bool https;
};

struct policy_pinhole {
    const char *name;
    struct place place;
    Twofold__V1__Direction direction;
    bool cidrs_given;          // otherwise any address
    struct policy_cidrs cidrs; // sorted and disjoint after the check
    struct policy_ports ports;
};

struct policy {
    struct arena arena;
    size_t segment_count;
    struct policy_segment *segments; // by name
    size_t rule_count;
    struct policy_rule *rules; // as written
    bool failsafe_given;
    size_t pinhole_count;
    struct policy_pinhole *pinholes; // as written, or the default ones
    uint32_t rekey_seconds;
    bool independence_required;
};

// The segment with this name, or NULL.
const struct policy_segment *policy_segment(const struct policy *policy, const char *name);

// Of a pinhole's CIDRs, which the check has sorted and made disjoint.
bool policy_cidrs_have(const struct policy_cidrs *cidrs, const struct ip *address);

// "tcp/80" or "tcp/9000-9010".
#define POLICY_PORT_TEXT_BYTES 24
void policy_port_format(const struct policy_port *port, char ret_text[POLICY_PORT_TEXT_BYTES]);

#endif
