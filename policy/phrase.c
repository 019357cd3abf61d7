// SPDX-License-Identifier: GPL-2.0-or-later
#include "policy/phrase.h"

#include <stdio.h>
#include <string.h>

#define HOSTS_NAMED_MAX 3

const char *phrase_layers(const struct policy_rule *rule)
{
    if (rule->ipsec && rule->https)
        return "ipsec and https";
    return rule->ipsec ? "ipsec" : "https";
}

struct list {
    char *text;
    size_t room;
    size_t used;
    bool full;
};

static void add(struct list *list, const char *item)
{
    size_t len = strlen(item), needed = len + (list->used ? 2 : 0);
    if (list->full)
        return;
    if (list->used + needed + sizeof(", ...") > list->room) {
        list->used +=
            (size_t)snprintf(list->text + list->used, list->room - list->used, "%s...", list->used ? ", " : "");
        list->full = true;
        return;
    }
    list->used +=
        (size_t)snprintf(list->text + list->used, list->room - list->used, "%s%s", list->used ? ", " : "", item);
}

void phrase_ports(const struct policy_ports *ports, char *text, size_t room)
{
    struct list list = {.text = text, .room = room};
    char port[POLICY_PORT_TEXT_BYTES];
    text[0] = 0;
    for (size_t i = 0; i < ports->count; i++) {
        policy_port_format(&ports->items[i], port);
        add(&list, port);
    }
}

void phrase_cidrs(const struct policy_cidrs *cidrs, char *text, size_t room)
{
    struct list list = {.text = text, .room = room};
    char prefix[IP_PREFIX_TEXT_BYTES];
    text[0] = 0;
    for (size_t i = 0; i < cidrs->count; i++) {
        ip_prefix_format(&cidrs->items[i].prefix, prefix);
        add(&list, prefix);
    }
}

void phrase_names(const struct policy_names *names, char *text, size_t room)
{
    struct list list = {.text = text, .room = room};
    text[0] = 0;
    for (size_t i = 0; i < names->count; i++)
        add(&list, names->items[i].text);
}

void phrase_hosts(const struct policy_view *view, const uint64_t *set, char *text, size_t room)
{
    size_t count = view_set_count(view, set), named = 0;
    struct list list = {.text = text, .room = room - sizeof(" and 4294967295 more")};
    snprintf(text, room, "nobody");
    for (size_t i = 0; i < view->host_count && named < HOSTS_NAMED_MAX; i++) {
        if (view_has(set, i)) {
            add(&list, view->hosts[i].host->name);
            named++;
        }
    }
    if (count > named)
        snprintf(text + list.used, room - list.used, " and %zu more", count - named);
}
