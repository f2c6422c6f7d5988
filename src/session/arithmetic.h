/* SPDX-License-Identifier: MIT */
/* Arithmetic over views: axes are matched by name. */
#ifndef QDB_SESSION_ARITHMETIC_H
#define QDB_SESSION_ARITHMETIC_H

#include "session/view.h"

/* Both hear the user: ST_CANCELLED; progress may be NULL.
 *
 * *a = *a op *b for op + - * /; *b is freed. The result has the axes of a, then the new ones of b;
 * entries of an axis that both have are paired in order, one entry serves all. ST_RANGE when their
 * numbers differ, ST_UNSUPPORTED for too many axes, ST_NOMEM; then *a stays as it was. */
NODISCARD enum st view_combine(char op, struct view *a, struct view *b, struct progress *progress,
                               struct err *e);

enum function { NEGATE, ABSOLUTE, LOGARITHM, EXPONENTIAL, ROOT, N_FUNCTIONS };
/* Apply it to every element in place; log is natural. */
NODISCARD enum st view_map(enum function f, struct view *v, struct progress *progress,
                           struct err *e);

#endif
