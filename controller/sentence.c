// SPDX-License-Identifier: GPL-2.0-or-later
#include "controller/sentence.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

// Octets that a character with this first octet has (RFC 3629).
static size_t character_len(unsigned char first)
{
    return first < 0x80 ? 1 : first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
}

void sentence_trim(char *text)
{
    size_t len = strlen(text);
    size_t start = len;
    while (start > 0 && ((unsigned char)text[start - 1] & 0xc0) == 0x80)
        start--;
    if (start > 0 && len - (start - 1) < character_len((unsigned char)text[start - 1]))
        text[start - 1] = '\0';
}

void sentence_set(char *room, size_t room_len, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int len = vsnprintf(room, room_len, format, arguments);
    va_end(arguments);
    if (len < 0)
        room[0] = '\0';
    else if ((size_t)len >= room_len)
        sentence_trim(room);
}
