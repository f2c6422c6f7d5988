/* SPDX-License-Identifier: MIT */
/* Which entries of an array the slice of an address means: indices, texts of tokens, top8(STAT). */
#ifndef QDB_SESSION_SLICE_H
#define QDB_SESSION_SLICE_H

#include "base/progress.h"
#include "graph/address.h"
#include "session/view.h"

struct session_run;

/* The entries asked for along each dimension of `full`, the sizes; selectors take all for now.
 * lists[d]: shape->d[d].n entries, the caller's to free also on failure (NULL: not come so far).
 * r: the run whose tokens tok="TEXT" is looked up in, NULL = none. ST_NOTFOUND, ST_RANGE with the
 * columns of the item. */
NODISCARD enum st slice_entries(const struct address *a, const struct shape *full,
                                const struct session_run *r, struct shape *shape,
                                int64_t *lists[SHAPE_MAX], struct err *e);
/* Then, once the numbers are there, what top8(STAT) and its kin leave of them. ST_NOTFOUND,
 * ST_CANCELLED. */
NODISCARD enum st slice_select(const struct address *a, const struct shape *full, struct view *v,
                               struct progress *p, struct err *e);

#endif
