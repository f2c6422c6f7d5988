/* SPDX-License-Identifier: MIT */
/* Regions: the part of an activation that a breakpoint looks at, as dense numbers that know which
 * tokens, heads and channels they are. */
#ifndef QDB_SESSION_REGION_H
#define QDB_SESSION_REGION_H

#include <stdint.h>

#include "base/error.h"
#include "base/text.h"
#include "engine/run.h"
#include "graph/address.h"

struct region {
    struct shape shape;
    const float *data;         /* row-major; of the activation itself where all of it is meant */
    float *own;                /* mem_alloc, when it was cut out; else NULL */
    int64_t *index[SHAPE_MAX]; /* numbers of the entries of a dimension; NULL = 0, 1, 2, ... */
    int64_t first_token;       /* number in the run of entry 0 of axis tok */
};

/* Does the slice speak only of axes that the shape has, in a way that needs no look at the data?
 * ST_SYNTAX or ST_UNSUPPORTED with a caret. */
NODISCARD enum st region_check(const struct address *a, const struct shape *s, struct err *e);
/* Cut what the slice of `a` (NULL = everything) names out of x, which belongs to a span of the run;
 * tokens are numbered over the whole run. *out is the caller's, also when it is empty: a span
 * without any of the tokens has a shape with a 0. ST_RANGE for an index outside an axis. */
NODISCARD enum st region_cut(const struct address *a, const struct run *r, int span,
                             const struct tensor *x, struct region *out, struct err *e);
void region_free(struct region *r);

int64_t region_count(const struct region *r);
/* Number of entry i of dimension d, as addresses count. */
int64_t region_entry(const struct region *r, int d, int64_t i);
/* The same element, counted in the whole activation of that shape. */
int64_t region_element(const struct region *r, const struct shape *whole, int64_t at);
/* Append where element `at` is: "tok=3, chan=17". */
void region_place(const struct region *r, int64_t at, struct buf *out);

#endif
