// SPDX-License-Identifier: GPL-2.0-or-later
#include "controller/cli/format.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "proto/base/ip.h"

char *format_plain(char *text)
{
    for (char *at = text; *at; at++) {
        unsigned char byte = (unsigned char)*at, next = (unsigned char)at[1];
        if (byte < 0x20 || byte == 0x7f)
            *at = ' ';
        else if (byte == 0xc2 && next >= 0x80 && next < 0xa0)
            at[0] = at[1] = ' ';
    }
    return text;
}

const char *format_time(uint64_t unix_seconds, char text[FORMAT_BYTES])
{
    struct tm parts;
    time_t seconds = (time_t)unix_seconds;
    if (unix_seconds == 0 || !gmtime_r(&seconds, &parts) || !strftime(text, FORMAT_BYTES, "%Y-%m-%dT%H:%M:%SZ", &parts))
        snprintf(text, FORMAT_BYTES, "-");
    return text;
}

const char *format_time_ms(uint64_t unix_ms, char text[FORMAT_BYTES])
{
    format_time(unix_ms / 1000, text);
    size_t len = strlen(text);
    if (len > 1)
        snprintf(text + len - 1, FORMAT_BYTES - len + 1, ".%03uZ", (unsigned)(unix_ms % 1000));
    return text;
}

const char *format_age(uint64_t seconds, char text[FORMAT_BYTES])
{
    static const struct {
        uint64_t seconds;
        const char *unit;
    } units[] = {{86400, "d"}, {3600, "h"}, {60, "m"}, {1, "s"}};
    size_t i = 0;
    while (i < 3 && seconds < units[i].seconds)
        i++;
    unsigned long long whole = seconds / units[i].seconds;
    unsigned long long rest = i < 2 ? seconds % units[i].seconds / units[i + 1].seconds : 0;
    if (rest)
        snprintf(text, FORMAT_BYTES, "%llu%s %llu%s", whole, units[i].unit, rest, units[i + 1].unit);
    else
        snprintf(text, FORMAT_BYTES, "%llu%s", whole, units[i].unit);
    return text;
}

const char *format_bytes(uint64_t bytes, char text[FORMAT_BYTES])
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double value = (double)bytes;
    size_t unit = 0;
    while (value >= 1024 && unit < 6) {
        value /= 1024;
        unit++;
    }
    snprintf(text, FORMAT_BYTES, unit && value < 10 ? "%.1f %s" : "%.0f %s", value, units[unit]);
    return text;
}

const char *format_elapsed(uint32_t ms, char text[FORMAT_BYTES])
{
    if (ms < 1000)
        snprintf(text, FORMAT_BYTES, "%u ms", ms);
    else
        snprintf(text, FORMAT_BYTES, "%u.%03u s", ms / 1000, ms % 1000);
    return text;
}

const char *format_hash(const char *hex, char text[FORMAT_BYTES])
{
    if (strlen(hex) < 16)
        snprintf(text, FORMAT_BYTES, "-");
    else
        snprintf(text, FORMAT_BYTES, "%.4s %.4s %.4s %.4s", hex, hex + 4, hex + 8, hex + 12);
    return text;
}

// Appends with a comma before all but the first; what does not fit is left out.
static void add(char *text, const char *item)
{
    size_t used = strlen(text);
    snprintf(text + used, FORMAT_LIST_BYTES - used, "%s%s", used ? ", " : "", item);
}

static const char *or_dash(char *text)
{
    if (!text[0])
        strcpy(text, "-");
    return text;
}

const char *format_addresses(const ProtobufCBinaryData *addresses, size_t count, char text[FORMAT_LIST_BYTES])
{
    text[0] = 0;
    for (size_t i = 0; i < count; i++) {
        char address[IP_TEXT_BYTES];
        struct ip ip;
        if (ip_from_bytes(addresses[i].data, addresses[i].len, &ip))
            continue;
        ip_format(&ip, address);
        add(text, address);
    }
    return or_dash(text);
}

const char *format_labels(Twofold__V1__Label *const *labels, size_t count, char text[FORMAT_LIST_BYTES])
{
    text[0] = 0;
    for (size_t i = 0; i < count; i++) {
        char label[160];
        snprintf(label, sizeof(label), "%s=%s", labels[i]->key, labels[i]->value);
        add(text, label);
    }
    return or_dash(text);
}

const char *format_words(char *const *words, size_t count, char text[FORMAT_LIST_BYTES])
{
    text[0] = 0;
    for (size_t i = 0; i < count; i++)
        add(text, words[i]);
    return or_dash(text);
}

const char *format_identity(const char *spiffe_id)
{
    static const char scheme[] = "spiffe://";
    if (!spiffe_id[0])
        return "-";
    if (strncmp(spiffe_id, scheme, sizeof(scheme) - 1) != 0)
        return spiffe_id;
    const char *slash = strchr(spiffe_id + sizeof(scheme) - 1, '/');
    return slash ? slash + 1 : spiffe_id;
}
