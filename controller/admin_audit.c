// SPDX-License-Identifier: GPL-2.0-or-later
// Admin/ListAudit.
#include <stdlib.h>
#include <string.h>

#include "admin.pb-c.h"
#include "controller/handlers.h"
#include "controller/store/audit.h"

#define AUDIT_LIMIT_DEFAULT 100u
#define AUDIT_LIMIT_MAX     1000u

struct page {
    size_t count;
    struct audit_row rows[AUDIT_LIMIT_MAX];
    Twofold__V1__AuditEntry entries[AUDIT_LIMIT_MAX];
    Twofold__V1__AuditEntry *pointers[AUDIT_LIMIT_MAX];
};

static enum err add_row(void *context, const struct audit_row *row)
{
    struct page *page = context;
    struct audit_row *kept = &page->rows[page->count];
    Twofold__V1__AuditEntry *entry = &page->entries[page->count];
    *kept = *row;
    *entry = (Twofold__V1__AuditEntry)TWOFOLD__V1__AUDIT_ENTRY__INIT;
    entry->number = kept->number;
    entry->time_ms = kept->time_ms;
    entry->actor = kept->actor;
    entry->action = kept->action;
    entry->object = kept->object;
    entry->outcome = kept->outcome;
    entry->hash = (ProtobufCBinaryData){DIGEST_BYTES, kept->hash};
    page->pointers[page->count++] = entry;
    return ERR_OK;
}

void handle_list_audit(struct call *call, const ProtobufCMessage *message)
{
    const Twofold__V1__ListAuditRequest *request = (const Twofold__V1__ListAuditRequest *)message;
    uint32_t limit = request->limit != 0 ? request->limit : AUDIT_LIMIT_DEFAULT;
    struct note note = {0};
    struct page *page = calloc(1, sizeof(*page));
    if (page == NULL) {
        call_refuse_text(call, ERR_NOMEM, "the controller is out of memory");
        return;
    }
    bool intact = false;
    struct store *store = call->daemon->state.store;
    enum err err = store_audit_intact(store, &intact, &note);
    if (err == ERR_OK)
        err = store_each_audit(store, request->after, limit < AUDIT_LIMIT_MAX ? limit : AUDIT_LIMIT_MAX, add_row, page,
                               &note);
    if (err != ERR_OK) {
        call_refuse(call, err, &note);
    } else {
        Twofold__V1__ListAuditResponse response = TWOFOLD__V1__LIST_AUDIT_RESPONSE__INIT;
        response.entries = page->pointers;
        response.n_entries = page->count;
        response.intact = intact;
        call_answer(call, &response.base);
    }
    free(page);
}
