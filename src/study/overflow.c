/* SPDX-License-Identifier: MIT */
#include "study/overflow.h"

#include <math.h>

#include "study/points.h"

static void look(void *data, int span, int value, const struct tensor *x)
{
    struct point_range *p = (struct point_range *)data + value;
    const int64_t n = shape_count(&x->shape), cols = x->shape.d[x->shape.rank - 1].n;
    range_use_add(x->data, n / cols, cols, &p->use);
    for (int64_t i = 0; i < n; i++) {
        const double a = fabs((double)x->data[i]);
        if (isfinite(a) && (p->at < 0 || a > p->absmax)) {
            p->absmax = a;
            p->span = span;
            p->at = i;
        }
    }
}

enum st overflow_of(struct run *r, const bool *want, struct progress *p, struct point_range *out,
                    struct err *e)
{
    for (int v = 0; v < run_graph(r)->n_values; v++)
        out[v] = (struct point_range){ .span = -1, .at = -1 };
    return points_walk(r, want, p, "overflow", look, out, e);
}
