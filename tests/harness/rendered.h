/* SPDX-License-Identifier: MIT */
/* Results as the renderers show them. */
#ifndef QDB_TESTS_HARNESS_RENDERED_H
#define QDB_TESTS_HARNESS_RENDERED_H

#include "repl/render.h"

extern const struct style rendered_plain; /* text, 80 columns, no colour */
/* What goes to standard output, and behind it in <> what goes to standard error; free. */
char *rendered(const struct result *r, const struct style *style);
void assert_rendered(const struct result *r, const struct style *style, const char *want);
int rendered_columns(const char *text); /* of its widest line */

#endif
