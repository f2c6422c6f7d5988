/* SPDX-License-Identifier: MIT */
/* Head-room: how far the values of every point are from what narrower formats can hold. */
#ifndef QDB_STUDY_OVERFLOW_H
#define QDB_STUDY_OVERFLOW_H

#include "base/error.h"
#include "base/progress.h"
#include "engine/run.h"
#include "kernels/statistics.h"

struct point_range {
    struct range_use use; /* over all spans; rows are blocked along the last axis */
    double absmax;        /* of what is finite; 0 when nothing is */
    int span;             /* where: span and element of it, -1 if nothing is finite */
    int64_t at;
};

/* The chosen values of the graph as far as they have been computed; out [n_values]: use.n is 0
 * where nothing was looked at. ST_CANCELLED: what is done is in out. */
NODISCARD enum st overflow_of(struct run *r, const bool *want, struct progress *p,
                              struct point_range *out, struct err *e);

#endif
