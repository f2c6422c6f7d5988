/* SPDX-License-Identifier: MIT */
#include "study/points.h"

/* Values [first, end) are produced by one block, or by the nodes between two. */
static int end_of_group(const struct graph *g, int first)
{
    int end = first + 1;
    while (end < g->n_values
           && g->nodes[g->values[end].node].block == g->nodes[g->values[first].node].block)
        end++;
    return end;
}

static enum st walk_group(struct run *r, int span, int first, int end, const bool *want,
                          points_fn *fn, void *data, struct err *e)
{
    struct tensor x;
    /* The last one first: what lies before it is held then. */
    for (int v = end - 1; v >= first; v--)
        if (want[v] && run_has(r, span, v) && !run_skips(r, v)) {
            enum st st = run_read(r, span, v, &x, e);
            if (st)
                return st;
            break;
        }
    for (int v = first; v < end; v++) {
        if (!want[v] || !run_has(r, span, v))
            continue;
        enum st st = run_read(r, span, v, &x, e);
        if (st)
            return st;
        fn(data, span, v, &x);
    }
    return ST_OK;
}

enum st points_walk(struct run *r, const bool *want, struct progress *p, const char *label,
                    points_fn *fn, void *data, struct err *e)
{
    const struct graph *g = run_graph(r);
    const double total = (double)run_n_spans(r) * g->n_values;
    for (int span = 0; span < run_n_spans(r); span++)
        for (int first = 0, end; first < g->n_values; first = end) {
            end = end_of_group(g, first);
            if (!progress_tick(p, label, (double)span * g->n_values + first, total))
                return st_fail(e, ST_CANCELLED, "interrupted");
            enum st st = walk_group(r, span, first, end, want, fn, data, e);
            if (st)
                return st;
        }
    return ST_OK;
}
