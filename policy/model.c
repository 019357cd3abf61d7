// SPDX-License-Identifier: GPL-2.0-or-later
#include "policy/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int compare_names(const void *name, const void *segment)
{
    return strcmp(name, ((const struct policy_segment *)segment)->name);
}

const struct policy_segment *policy_segment(const struct policy *policy, const char *name)
{
    if (policy->segment_count == 0)
        return NULL;
    return bsearch(name, policy->segments, policy->segment_count, sizeof(*policy->segments), compare_names);
}

bool policy_cidrs_have(const struct policy_cidrs *cidrs, const struct ip *address)
{
    size_t low = 0, high = cidrs->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (ip_compare(&cidrs->items[middle].prefix.ip, address) <= 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low && ip_prefix_contains(&cidrs->items[low - 1].prefix, address);
}

void policy_port_format(const struct policy_port *port, char ret_text[POLICY_PORT_TEXT_BYTES])
{
    const char *protocol = port->protocol == TWOFOLD__V1__PROTOCOL__PROTOCOL_TCP ? "tcp" : "udp";
    if (port->first == port->last)
        snprintf(ret_text, POLICY_PORT_TEXT_BYTES, "%s/%u", protocol, port->first);
    else
        snprintf(ret_text, POLICY_PORT_TEXT_BYTES, "%s/%u-%u", protocol, port->first, port->last);
}
