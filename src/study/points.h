/* SPDX-License-Identifier: MIT */
/* A walk over many points of a run, span after span, without computing a block again for each of
 * them. */
#ifndef QDB_STUDY_POINTS_H
#define QDB_STUDY_POINTS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/progress.h"
#include "engine/run.h"

/* A point of a span; x is borrowed until it returns. */
typedef void points_fn(void *data, int span, int value, const struct tensor *x);

/* Call fn for every value with want[value] set that has been computed, in order of span and
 * execution. ST_CANCELLED. */
NODISCARD enum st points_walk(struct run *r, const bool *want, struct progress *p,
                              const char *label, points_fn *fn, void *data, struct err *e);

#endif
