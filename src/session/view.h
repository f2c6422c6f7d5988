/* SPDX-License-Identifier: MIT */
/* Views: dense numbers with named axes that remember where they came from. */
#ifndef QDB_SESSION_VIEW_H
#define QDB_SESSION_VIEW_H

#include <stdint.h>

#include "base/error.h"
#include "base/progress.h"
#include "file/weights.h"
#include "graph/shape.h"
#include "kernels/statistics.h"

struct session_run;

/* rank 0 is a single number. */
struct view {
    struct shape shape;
    float *data;               /* mem_alloc; row-major */
    double number;             /* of rank 0: the same as data[0], with all digits */
    int64_t *index[SHAPE_MAX]; /* of each dimension: the original index of each entry */
    char *name; /* of what it shows: canonical address or expression; NULL if nothing fits */
    struct session_run
        *run;  /* of activations: tells what the tokens are; NULL for weights and computed things */
    int value; /* value of the graph, -1 for weights and computed things */
    const struct weight *weight; /* whose bytes of the file these are, else NULL */
    const struct format_info *format; /* what they are stored in; NULL for computed things */
};

void view_free(struct view *v);
int64_t view_count(const struct view *v);
/* An uninitialised view of this shape; index filled 0, 1, 2, ... */
NODISCARD enum st view_new(const struct shape *s, const char *name, struct view *out,
                           struct err *e);
/* One number. */
NODISCARD enum st view_scalar(double x, struct view *out, struct err *e);
NODISCARD enum st view_copy(const struct view *v, struct view *out, struct err *e);
/* Elements between two looks at the user: well under a tenth of a second of any function. */
enum { VIEW_PIECE = 1 << 19 };
/* summary_of() and quantiles_of() of all elements; p may be NULL. ST_CANCELLED. */
NODISCARD enum st view_summary(const struct view *v, struct progress *p, struct summary *out,
                               struct err *e);
NODISCARD enum st view_quantiles(const struct view *v, const double *at, int k, struct progress *p,
                                 double *out, struct err *e);
/* pair_error_of() two views of one shape. */
NODISCARD enum st view_pair_error(const struct view *ref, const struct view *x, struct progress *p,
                                  struct pair_error *out, struct err *e);
/* Keep the n entries `keep` of dimension d, in that order. */
NODISCARD enum st view_narrow(struct view *v, int d, const int64_t *keep, int64_t n, struct err *e);

#endif
