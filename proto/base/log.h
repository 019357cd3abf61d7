// SPDX-License-Identifier: GPL-2.0-or-later
// Logs: one line per event, key=value, to standard error (systemd's journal reads its level prefix). Pure code never logs; an
// error is logged once, at the edge that handles it. Secrets never go in.
//
//   log_event(LOG_LEVEL_INFO, "sa.installed", LOG_STR("peer", host), LOG_HEX32("spi", spi));
//   2026-03-01T10:00:00.123Z info sa.installed role=network peer=api spi=10080c1
#ifndef TWOFOLD_BASE_LOG_H
#define TWOFOLD_BASE_LOG_H

#include <stddef.h>
#include <stdint.h>

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

enum log_kind { LOG_KIND_STR, LOG_KIND_U64, LOG_KIND_HEX32 };

struct log_field {
    const char *key;
    enum log_kind kind;
    const char *text;
    uint64_t number;
};

#define LOG_STR(k, v)   ((struct log_field){.key = (k), .kind = LOG_KIND_STR, .text = (v)})
#define LOG_U64(k, v)   ((struct log_field){.key = (k), .kind = LOG_KIND_U64, .number = (v)})
#define LOG_HEX32(k, v) ((struct log_field){.key = (k), .kind = LOG_KIND_HEX32, .number = (v)})

#define log_event(level, event, ...) \
    log_fields((level), (event), (const struct log_field[]){__VA_ARGS__ __VA_OPT__(, ){.key = NULL}})

// `fields` ends with a field whose key is NULL. Values are quoted when they hold anything but [!-~] without quotes, and cut at
// 1,024 bytes; control bytes become \xNN, so that a peer cannot forge a line.
void log_fields(enum log_level level, const char *event, const struct log_field *fields);

// Written as role=NAME on each line. `role` must live as long as the process.
void log_set_role(const char *role);

// Events beyond this level are not written. The default is LOG_LEVEL_INFO.
void log_set_level(enum log_level level);

#endif
