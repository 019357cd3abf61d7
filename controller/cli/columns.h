// SPDX-License-Identifier: GPL-2.0-or-later
// Aligned tables of plain text. Cells are copied; line breaks, tabs and other control bytes become spaces.
#ifndef TWOFOLD_CONTROLLER_CLI_COLUMNS_H
#define TWOFOLD_CONTROLLER_CLI_COLUMNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "controller/cli/command.h"

#define COLUMNS_MAX 16

struct columns;

// `heads` ends with NULL. NULL when there is no memory; the other calls then do nothing.
struct columns *columns_new(const char *const *heads);
void columns_free(struct columns *columns);

// The next cell, from left to right; a row is full when all columns are. NULL and "" print as "-".
void columns_cell(struct columns *columns, const char *format, ...) __attribute__((format(printf, 2, 3)));
// A line below the row just filled, indented: what did not fit into a cell.
void columns_line(struct columns *columns, const char *format, ...) __attribute__((format(printf, 2, 3)));

// False when memory ran out on the way: nothing is printed then.
bool columns_print(const struct columns *columns, FILE *out);
// Prints and frees, and says so when memory ran out.
enum exit_code columns_finish(struct columns *columns, FILE *out);

#endif
