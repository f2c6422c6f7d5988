/* SPDX-License-Identifier: MIT */
/* Points as other engines have them, where they are not the numbers of a point of ours. */
#ifndef QDB_ENGINE_DERIVE_H
#define QDB_ENGINE_DERIVE_H

#include "engine/run.h"

/* What the alias names, of one span: computed, in double where numbers are added up, from points of
 * the run that lie behind its position. out->data is the caller's (mem_free); key axes are as long
 * as those of the span. ST_STATE, ST_NOMEM, ST_CANCELLED. */
NODISCARD enum st derive_read(struct run *r, int span, const struct point_alias *a,
                              struct tensor *out, struct err *e);

/* The other way: from tensor x [a->shape] of what the alias names to the point behind it, written
 * to out [shape of that value], which is not x. False where there is no way back. */
bool derive_back(const struct graph *g, const struct point_alias *a, const struct tensor *x,
                 struct tensor *out);
bool derive_has_back(enum derivation d);

#endif
