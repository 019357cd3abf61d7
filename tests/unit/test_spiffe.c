// SPDX-License-Identifier: GPL-2.0-or-later
#include <criterion/criterion.h>
#include <string.h>

#include "proto/base/spiffe.h"

Test(spiffe, text_comes_back)
{
    static const struct {
        const char *text;
        enum spiffe_kind kind;
        const char *name;
    } rows[] = {
        {"spiffe://example.org/host/web", SPIFFE_HOST, "web"},
        {"spiffe://example.org/agent/web", SPIFFE_AGENT, "web"},
        {"spiffe://example.org/controller/main", SPIFFE_CONTROLLER, "main"},
        {"spiffe://example.org/admin/alice", SPIFFE_ADMIN, "alice"},
        {"spiffe://example.org/ns/default/sa/web", SPIFFE_WORKLOAD, "web"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct spiffe_id id;
        char text[SPIFFE_TEXT_BYTES];
        cr_assert_eq(spiffe_parse(rows[i].text, &id), ERR_OK, "%s", rows[i].text);
        cr_assert_eq(id.kind, rows[i].kind);
        cr_assert_str_eq(id.name, rows[i].name);
        cr_assert_str_eq(id.trust_domain, "example.org");
        spiffe_format(&id, text);
        cr_assert_str_eq(text, rows[i].text);
    }
}

Test(spiffe, refuses_other_forms)
{
    static const char *const texts[] = {
        "",
        "spiffe://",
        "spiffe:///host/web",
        "spiffe://example.org",
        "spiffe://example.org/host",
        "spiffe://example.org/host/",
        "spiffe://example.org/host/web/",
        "spiffe://example.org/host/web/x",
        "spiffe://example.org/host//web",
        "spiffe://example.org/host/We",
        "spiffe://example.org/host/w%65b",
        "spiffe://example.org/host/web?x",
        "spiffe://example.org/host/web#x",
        "spiffe://example.org:80/host/web",
        "spiffe://user@example.org/host/web",
        "spiffe://example.org/../host/web",
        "spiffe://example.org/ns/default/sa",
        "spiffe://example.org/ns/default/xx/web",
        "spiffe://example.org/ns//sa/web",
        "spiffe://example.org/other/web",
        "SPIFFE://example.org/host/web",
        "https://example.org/host/web",
        " spiffe://example.org/host/web",
        "spiffe://example.org/host/"
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    };
    struct spiffe_id id;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        cr_assert_eq(spiffe_parse(texts[i], &id), ERR_MALFORMED, "%s", texts[i]);
}

Test(spiffe, names)
{
    cr_assert(name_is_valid("web-1.a"));
    cr_assert(!name_is_valid(""));
    cr_assert(!name_is_valid("-web"));
    cr_assert(!name_is_valid("web."));
    cr_assert(!name_is_valid("a..b"));
    cr_assert(!name_is_valid("a_b"));
    cr_assert(label_key_is_valid("example.org/role"));
    cr_assert(!label_key_is_valid("/role"));
    cr_assert(label_value_is_valid(""));
    cr_assert(label_value_is_valid("Front_End.1"));
    cr_assert(!label_value_is_valid("a b"));
    cr_assert(trust_domain_is_valid("example.org"));
    cr_assert(!trust_domain_is_valid("example..org"));
    cr_assert(!trust_domain_is_valid("Example.org"));
}
