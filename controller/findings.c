// SPDX-License-Identifier: GPL-2.0-or-later
#include "controller/findings.h"

#include <stdio.h>

#include "controller/sentence.h"

static void add(struct findings *findings, unsigned line, unsigned column, char *text)
{
    Twofold__V1__Finding *finding = &findings->items[findings->count];
    *finding = (Twofold__V1__Finding)TWOFOLD__V1__FINDING__INIT;
    finding->line = line;
    finding->column = column;
    finding->text = text;
    findings->pointers[findings->count++] = finding;
}

void findings_fill(struct findings *findings, struct notes *notes)
{
    findings->count = 0;
    for (size_t i = 0; i < notes->count; i++) {
        sentence_trim(notes->items[i].text);
        add(findings, notes->items[i].line, notes->items[i].column, notes->items[i].text);
    }
    if (notes->dropped > 0) {
        snprintf(findings->more, sizeof(findings->more), "and %zu more", notes->dropped);
        add(findings, 0, 0, findings->more);
    }
}
