// SPDX-License-Identifier: GPL-2.0-or-later
#include "controller/audit.h"

#include "controller/sentence.h"
#include "controller/store/audit.h"
#include "proto/base/log.h"
#include "proto/base/text.h"

enum err audit_write(struct store *store, const struct clock *clock, const struct audit_event *event, struct note *note)
{
    struct audit_row row = {.time_ms = clock_unix_ms(clock)};
    sentence_set(row.actor, sizeof(row.actor), "%s", event->actor);
    sentence_set(row.action, sizeof(row.action), "%s", event->action);
    sentence_set(row.object, sizeof(row.object), "%s", event->object);
    sentence_set(row.outcome, sizeof(row.outcome), "%s", event->outcome);
    enum err err = store_add_audit(store, &row, note);
    if (err != ERR_OK)
        return err;
    char hash[DIGEST_HEX_BYTES];
    hex_encode(row.hash, sizeof(row.hash), hash);
    log_event(LOG_LEVEL_INFO, "audit", LOG_U64("number", row.number), LOG_STR("actor", row.actor),
              LOG_STR("action", row.action), LOG_STR("object", row.object), LOG_STR("outcome", row.outcome),
              LOG_STR("hash", hash));
    return ERR_OK;
}

void audit_refused(struct store *store, const struct clock *clock, const struct audit_event *event)
{
    struct note note = {0};
    enum err err = store_begin(store, &note);
    if (err == ERR_OK)
        err = audit_write(store, clock, event, &note);
    if (err == ERR_OK)
        err = store_commit(store, &note);
    if (err == ERR_OK)
        return;
    store_rollback(store);
    log_event(LOG_LEVEL_ERROR, "audit.failed", LOG_STR("actor", event->actor), LOG_STR("action", event->action),
              LOG_STR("object", event->object), LOG_STR("outcome", event->outcome), LOG_STR("reason", note.text));
}
