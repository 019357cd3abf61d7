// SPDX-License-Identifier: GPL-2.0-or-later
#include "proto/base/log.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LINE_BYTES_MAX  8192
#define VALUE_BYTES_MAX 1024

static const char *log_role;
static enum log_level log_threshold = LOG_LEVEL_INFO;

static const char *const level_names[] = {
    [LOG_LEVEL_ERROR] = "error",
    [LOG_LEVEL_WARNING] = "warning",
    [LOG_LEVEL_INFO] = "info",
    [LOG_LEVEL_DEBUG] = "debug",
};

struct line {
    char text[LINE_BYTES_MAX];
    size_t len;
};

// One byte is kept free for the line feed.
static void put(struct line *line, char c)
{
    if (line->len < sizeof(line->text) - 1)
        line->text[line->len++] = c;
}

static void put_text(struct line *line, const char *text)
{
    for (; *text; text++)
        put(line, *text);
}

static bool is_plain(const char *text)
{
    if (!*text)
        return false;
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (c <= ' ' || c > '~' || c == '"' || c == '\\' || c == '=')
            return false;
    }
    return true;
}

static void put_quoted(struct line *line, const char *text)
{
    static const char digits[] = "0123456789abcdef";
    size_t written = 0;

    put(line, '"');
    for (; *text && written < VALUE_BYTES_MAX; text++, written++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\') {
            put(line, '\\');
            put(line, (char)c);
        } else if (c < ' ' || c == 0x7f) {
            put_text(line, "\\x");
            put(line, digits[c >> 4]);
            put(line, digits[c & 15]);
        } else {
            put(line, (char)c);
        }
    }
    if (*text)
        put_text(line, "...");
    put(line, '"');
}

static void put_field(struct line *line, const struct log_field *field)
{
    char number[24];

    put(line, ' ');
    put_text(line, field->key);
    put(line, '=');
    switch (field->kind) {
    case LOG_KIND_STR:
        if (is_plain(field->text ? field->text : "") && strlen(field->text) <= VALUE_BYTES_MAX)
            put_text(line, field->text);
        else
            put_quoted(line, field->text ? field->text : "");
        break;
    case LOG_KIND_U64:
        snprintf(number, sizeof(number), "%" PRIu64, field->number);
        put_text(line, number);
        break;
    case LOG_KIND_HEX32:
        snprintf(number, sizeof(number), "%08" PRIx64, field->number);
        put_text(line, number);
        break;
    }
}

void log_fields(enum log_level level, const char *event, const struct log_field *fields)
{
    struct line line = {.len = 0};
    struct timespec now;
    struct tm utc;
    char stamp[40];

    if (level > log_threshold)
        return;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    size_t len = strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%S", &utc);
    snprintf(stamp + len, sizeof(stamp) - len, ".%03ldZ ", now.tv_nsec / 1000000);
    put_text(&line, stamp);
    put_text(&line, level_names[level]);
    put(&line, ' ');
    put_text(&line, event);
    if (log_role)
        put_field(&line, &LOG_STR("role", log_role));
    for (; fields->key; fields++)
        put_field(&line, fields);
    line.text[line.len++] = '\n';
    // One write, so that lines of several processes do not mix. A log that cannot be written has no other place to go.
    if (write(STDERR_FILENO, line.text, line.len) < 0)
        return;
}

void log_set_role(const char *role)
{
    log_role = role;
}

void log_set_level(enum log_level level)
{
    log_threshold = level;
}
