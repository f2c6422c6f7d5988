/* SPDX-License-Identifier: MIT */
/* Globs over dotted names: `*` and `?` within a segment, `[abc]`, `{0..3}`, `{q,k}`, `**` over
 * segments. */
#ifndef QDB_GRAPH_GLOB_H
#define QDB_GRAPH_GLOB_H

#include <stdbool.h>

#include "base/text.h"

/* A pattern without special characters matches itself alone. Malformed brackets match literally. */
bool glob_match(struct str pattern, struct str name);
bool glob_is_pattern(struct str s); /* has any special character */
/* Append the pattern with every `*` made `**`, which goes on over the dots. */
void glob_deeper(struct str pattern, struct buf *out);

#endif
