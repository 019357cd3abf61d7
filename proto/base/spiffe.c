// SPDX-License-Identifier: GPL-2.0-or-later
#include "proto/base/spiffe.h"

#include <stdio.h>
#include <string.h>

static bool is_lower_alnum(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

bool name_is_valid(const char *text)
{
    size_t len = strnlen(text, NAME_MAX_BYTES + 1);

    if (len == 0 || len > NAME_MAX_BYTES || !is_lower_alnum(text[0]) || !is_lower_alnum(text[len - 1]))
        return false;
    for (size_t i = 0; i < len; i++) {
        if (!is_lower_alnum(text[i]) && text[i] != '-' && text[i] != '.')
            return false;
        if (text[i] == '.' && text[i + 1] == '.')
            return false;
    }
    return true;
}

bool trust_domain_is_valid(const char *text)
{
    size_t len = strnlen(text, 256);

    if (len == 0 || len > 255 || !is_lower_alnum(text[0]) || !is_lower_alnum(text[len - 1]))
        return false;
    for (size_t i = 0; i < len; i++) {
        if (!is_lower_alnum(text[i]) && !strchr("-._", text[i]))
            return false;
        if (text[i] == '.' && text[i + 1] == '.')
            return false;
    }
    return true;
}

bool label_key_is_valid(const char *text)
{
    size_t len = strnlen(text, NAME_MAX_BYTES + 1);

    if (len == 0 || len > NAME_MAX_BYTES || !is_lower_alnum(text[0]) || !is_lower_alnum(text[len - 1]))
        return false;
    for (size_t i = 0; i < len; i++) {
        if (!is_lower_alnum(text[i]) && !strchr("-._/", text[i]))
            return false;
    }
    return true;
}

bool label_value_is_valid(const char *text)
{
    size_t len = strnlen(text, NAME_MAX_BYTES + 1);

    if (len > NAME_MAX_BYTES)
        return false;
    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        if (!is_lower_alnum(c) && !(c >= 'A' && c <= 'Z') && !strchr("-._", c))
            return false;
    }
    return true;
}

// Copies the part up to the next '/' or the end, and steps over that '/'. False when it does not fit.
static bool take_part(const char **text, char *room, size_t room_len)
{
    size_t len = strcspn(*text, "/");

    if (len >= room_len)
        return false;
    memcpy(room, *text, len);
    room[len] = '\0';
    *text += len;
    if (**text == '/')
        (*text)++;
    return true;
}

static const struct {
    const char *part;
    enum spiffe_kind kind;
} kinds[] = {
    {"host", SPIFFE_HOST},   {"agent", SPIFFE_AGENT}, {"controller", SPIFFE_CONTROLLER},
    {"admin", SPIFFE_ADMIN}, {"ns", SPIFFE_WORKLOAD},
};

static enum err parse_path(const char *path, struct spiffe_id *id)
{
    char part[16];

    if (!take_part(&path, part, sizeof(part)))
        return ERR_MALFORMED;
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (strcmp(part, kinds[i].part) != 0)
            continue;
        id->kind = kinds[i].kind;
        if (id->kind == SPIFFE_WORKLOAD &&
            (!take_part(&path, id->namespace_, sizeof(id->namespace_)) || !name_is_valid(id->namespace_) ||
             !take_part(&path, part, sizeof(part)) || strcmp(part, "sa") != 0))
            return ERR_MALFORMED;
        if (!take_part(&path, id->name, sizeof(id->name)) || !name_is_valid(id->name))
            return ERR_MALFORMED;
        return *path ? ERR_MALFORMED : ERR_OK;
    }
    return ERR_MALFORMED;
}

enum err spiffe_parse(const char *text, struct spiffe_id *ret_id)
{
    static const char scheme[] = "spiffe://";
    struct spiffe_id id = {0};

    size_t len = strnlen(text, SPIFFE_TEXT_BYTES);
    if (len == SPIFFE_TEXT_BYTES || strncmp(text, scheme, sizeof(scheme) - 1) != 0)
        return ERR_MALFORMED;
    // A slash at the end would otherwise pass as the end of the last part.
    if (text[len - 1] == '/')
        return ERR_MALFORMED;
    text += sizeof(scheme) - 1;
    if (!take_part(&text, id.trust_domain, sizeof(id.trust_domain)) || !trust_domain_is_valid(id.trust_domain))
        return ERR_MALFORMED;
    enum err err = parse_path(text, &id);
    if (!err)
        *ret_id = id;
    return err;
}

void spiffe_format(const struct spiffe_id *id, char ret_text[SPIFFE_TEXT_BYTES])
{
    if (id->kind == SPIFFE_WORKLOAD) {
        snprintf(ret_text, SPIFFE_TEXT_BYTES, "spiffe://%s/ns/%s/sa/%s", id->trust_domain, id->namespace_, id->name);
        return;
    }
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (kinds[i].kind == id->kind)
            snprintf(ret_text, SPIFFE_TEXT_BYTES, "spiffe://%s/%s/%s", id->trust_domain, kinds[i].part, id->name);
    }
}
