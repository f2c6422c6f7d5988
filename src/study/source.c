/* SPDX-License-Identifier: MIT */
#include "study/source.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "engine/derive.h"

enum { NAMED_UNUSED = 3, NAMED_NEAR = 4 };

void trace_points_init(struct trace_points *t, struct trace *file)
{
    *t = (struct trace_points){ .file = *file, .value = -1 };
    *file = (struct trace){ 0 };
}

static void let_go(struct trace_points *t)
{
    mem_free(t->held);
    mem_free(t->rows);
    t->held = t->rows = NULL;
    t->value = -1;
}

void trace_points_free(struct trace_points *t)
{
    let_go(t);
    free(t->bound);
    buf_free(&t->unused);
    trace_close(&t->file);
}

/* The axes from `at` on are those of the shape, or the last of them are one: heads side by side. */
static bool fits_from(const struct trace_tensor *x, int at, const struct shape *s)
{
    int d = 0;
    while (at + d + 1 < x->rank && d + 1 < s->rank && x->shape[at + d] == (uint64_t)s->d[d].n)
        d++;
    uint64_t rest = 1;
    for (int k = d; k < s->rank; k++)
        rest *= (uint64_t)s->d[k].n;
    return at + d == x->rank - 1 && x->shape[at + d] == rest;
}

/* Axes of size 1 in front, a batch, do not count. */
static bool fits(const struct trace_tensor *x, const struct shape *s)
{
    const int64_t all = shape_count(s);
    if (all < 0 || (uint64_t)all != x->n)
        return false;
    int at = 0;
    while (at < x->rank && !fits_from(x, at, s) && x->shape[at] == 1)
        at++;
    return at < x->rank && fits_from(x, at, s);
}

static struct shape whole(const struct trace_points *t, struct shape s)
{
    return shape_resolve(s, (int64_t)t->file.n_ids, (int64_t)t->file.n_ids);
}

/* Bind the array of this name, if there is one and the point has none yet. */
static enum st bind(struct trace_points *t, const char *name, int value,
                    const struct point_alias *alias, struct shape shape, struct err *e)
{
    const struct trace_tensor *x = trace_find(&t->file, name);
    if (!x || (alias && !derive_has_back(alias->derive)))
        return ST_OK;
    shape = whole(t, shape);
    if (!fits(x, &shape)) {
        struct buf have = { 0 }, want = { 0 };
        for (int d = 0; d < x->rank; d++)
            buf_printf(&have, "%s%" PRIu64, d ? " x " : "", x->shape[d]);
        shape_print(&shape, &want);
        st_fail(e, ST_RANGE, "%s of the trace has %s entries; here it is %s", name,
                x->rank ? buf_str(&have) : "no", buf_str(&want));
        buf_free(&have);
        buf_free(&want);
        return st_where(e, "%s", t->file.path);
    }
    if (!t->bound[value].x) {
        t->bound[value] = (struct trace_bound){ x, alias };
        t->n_bound++;
    }
    return ST_OK;
}

static void note_unused(struct trace_points *t)
{
    for (size_t i = 0; i < t->file.n; i++) {
        if (graph_point(t->g, str_from(t->file.list[i].name), NULL, NULL) >= 0)
            continue;
        if (t->n_unused++ < NAMED_UNUSED)
            buf_printf(&t->unused, "%s%s", t->unused.n ? ", " : "", t->file.list[i].name);
    }
}

enum st trace_points_bind(struct trace_points *t, const struct graph *g, struct err *e)
{
    enum st st = ST_OK;
    let_go(t);
    free(t->bound);
    t->bound = x_alloc((size_t)g->n_values * sizeof *t->bound);
    t->g = g;
    t->n_bound = t->n_unused = 0;
    buf_clear(&t->unused);
    for (int v = 0; v < g->n_values && !st; v++)
        st = bind(t, g->values[v].name, v, NULL, g->values[v].shape, e);
    for (int i = 0; i < g->n_aliases && !st; i++)
        st = bind(t, g->aliases[i].name, g->aliases[i].value, &g->aliases[i], g->aliases[i].shape,
                  e);
    if (!st)
        note_unused(t);
    if (!st && !t->n_bound) {
        st_fail(e, ST_FORMAT, "none of its %zu arrays has the name of a point of this model: %s",
                t->file.n, buf_str(&t->unused));
        st_hint(e, "`info points` and `info names` list the names that are known");
        st = st_where(e, "%s", t->file.path);
    }
    if (st)
        t->g = NULL;
    return st;
}

/* The n-th point that the trace has, counted from `value` away in one direction; -1: none. */
static int nth_bound(const struct trace_points *t, int value, int step, int n)
{
    for (int v = value + step; v >= 0 && v < t->g->n_values; v += step)
        if (t->bound[v].x && !n--)
            return v;
    return -1;
}

enum st trace_points_lack(const struct trace_points *t, int value, struct err *e)
{
    struct buf near = { 0 };
    for (int k = -NAMED_NEAR / 2; k < NAMED_NEAR / 2; k++) { /* in the order of the graph */
        const int v = k < 0 ? nth_bound(t, value, -1, -k - 1) : nth_bound(t, value, 1, k);
        if (v >= 0)
            buf_printf(&near, "%s%s", near.n ? ", " : "", t->g->values[v].name);
    }
    st_fail(e, ST_NOTFOUND, "%s is not in the trace", t->g->values[value].name);
    if (near.n)
        st_hint(e, "nearby it has %s", buf_str(&near));
    buf_free(&near);
    return ST_NOTFOUND;
}

/* All tokens of a point into t->held. */
static enum st hold(struct trace_points *t, int value, struct err *e)
{
    const struct trace_bound *b = &t->bound[value];
    if (t->value == value)
        return ST_OK;
    let_go(t);
    void *p = NULL, *q = NULL;
    const struct shape shape = whole(t, t->g->values[value].shape);
    enum st st = mem_alloc(&p, b->x->n * sizeof(float), b->x->name, e);
    if (!st)
        st = trace_read(&t->file, b->x, p, e);
    if (!st && b->alias && b->alias->derive) {
        const struct tensor x = { whole(t, b->alias->shape), p };
        if (!(st = mem_alloc(&q, b->x->n * sizeof(float), b->x->name, e))) {
            struct tensor y = { shape, q };
            derive_back(t->g, b->alias, &x, &y);
            mem_free(p);
            p = q;
        }
    }
    if (st) {
        mem_free(p);
        return st;
    }
    t->held = p;
    t->value = value;
    return ST_OK;
}

/* The rows of the span: tokens [span.first, + n) and keys up to its end. */
static enum st cut(struct trace_points *t, struct span span, struct tensor *out, struct err *e)
{
    const struct shape all = whole(t, t->g->values[t->value].shape);
    const struct shape s = shape_resolve(t->g->values[t->value].shape, span.n, span.first + span.n);
    const int td = shape_axis(&s, AXIS_TOK), kd = shape_axis(&s, AXIS_KEY), last = s.rank - 1;
    void *p;
    if (shape_equal(&all, &s)) {
        *out = (struct tensor){ s, t->held };
        return ST_OK;
    }
    enum st st = mem_alloc(&p, (size_t)shape_count(&s) * sizeof(float), "rows of a trace", e);
    if (st)
        return st;
    mem_free(t->rows);
    t->rows = p;
    const int64_t n = s.d[last].n, rows = shape_count(&s) / n,
                  inner = td >= 0 && td < last ? shape_per_token(&s) / n : 1;
    for (int64_t r = 0; r < rows; r++) {
        int64_t from = r, of = s.rank > 1 ? s.d[td < 0 ? 0 : td].n : 1;
        if (td == 0 && last > 0) /* [tok][...] */
            from = r + span.first * inner;
        else if (td == 1 && kd == last) /* [head][tok][key] */
            from = r / of * all.d[1].n + r % of + span.first;
        memcpy(t->rows + r * n, t->held + from * all.d[last].n, (size_t)n * sizeof *t->rows);
    }
    *out = (struct tensor){ s, t->rows };
    return ST_OK;
}

static bool covers(const struct trace_points *t, const struct run *r, int span)
{
    const struct span s = run_span(r, span);
    return s.first + s.n <= (int64_t)t->file.n_ids;
}

bool source_has(const struct ref_source *from, const struct run *r, int span, int value)
{
    if (from->run)
        return run_has(from->run, span, value);
    return from->trace->g == run_graph(r) && from->trace->bound[value].x
           && covers(from->trace, r, span);
}

enum st source_read(struct ref_source *from, const struct run *r, int span, int value,
                    struct tensor *out, struct err *e)
{
    if (from->run)
        return run_read(from->run, span, value, out, e);
    if (from->trace->g == run_graph(r) && from->trace->bound[value].x
        && !covers(from->trace, r, span))
        return st_fail(e, ST_NOTFOUND, "the trace has %zu tokens, and span %d goes beyond",
                       from->trace->file.n_ids, span);
    if (!source_has(from, r, span, value))
        return trace_points_lack(from->trace, value, e);
    const enum st st = hold(from->trace, value, e);
    return st ? st : cut(from->trace, run_span(r, span), out, e);
}
