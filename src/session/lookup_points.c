/* SPDX-License-Identifier: MIT */
#include "session/lookup_points.h"

#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "engine/derive.h"
#include "session/capture.h"
#include "session/control.h"

enum st points_spans(const struct session_run *r, const struct address *a, int value, int *first,
                     int *end, struct err *e)
{
    const struct graph *g = run_graph(r->run);
    struct position at = run_position(r->run);
    *first = 0;
    *end = at.span + (at.node > g->values[value].node);
    if (!a->position.n)
        return ST_OK;
    struct position p;
    struct buf b = { 0 };
    buf_add(&b, a->position.p, a->position.n);
    if (!memchr(a->position.p, ':', a->position.n) && a->position.p[0] == 's')
        buf_adds(&b, ":end"); /* @s1 */
    enum st st = position_parse(r->run, str_of(b.p, b.n), &p, e);
    buf_free(&b);
    if (st)
        return st;
    *first = p.span;
    *end = p.span + 1;
    return ST_OK;
}

/* What is asked of a point, entry by entry; td: the token dimension (-1 none), kd: the key
 * dimension (-1 none). */
struct gathering {
    const struct match *m;
    int td, kd;
    int64_t *const *lists;
    struct view *v;
    struct span rows; /* what x holds */
    const struct tensor *x;
};

/* Copy from dimension d on: entries of x from `from` on, of the view from `to` on. */
static void gather(const struct gathering *g, int d, int64_t from, int64_t to)
{
    const struct shape *s = &g->v->shape;
    if (d == s->rank) {
        g->v->data[to] = g->x->data[from];
        return;
    }
    const int64_t n = g->x->shape.d[d].n, first = d == g->td ? g->rows.first : 0;
    for (int64_t i = 0; i < s->d[d].n; i++) {
        const int64_t k = g->lists[d][i] - first;
        if (k >= 0 && k < n) /* other rows are elsewhere, other keys not seen */
            gather(g, d + 1, from * n + k, to * s->d[d].n + i);
    }
}

static enum st gather_rows(void *data, struct span rows, const struct tensor *x, struct err *e)
{
    (void)e;
    struct gathering *g = data;
    struct tensor as = *x; /* an alias may see the same memory under another shape */
    as.shape = shape_resolve(g->m->shape, rows.n, g->kd >= 0 ? x->shape.d[x->shape.rank - 1].n : 0);
    g->rows = rows;
    g->x = &as;
    gather(g, 0, 0, 0);
    return ST_OK;
}

static enum st gather_derived(struct run *r, int span, const struct point_alias *a,
                              struct gathering *g, struct err *e)
{
    struct tensor x;
    enum st st = derive_read(r, span, a, &x, e);
    if (st)
        return st;
    st = gather_rows(g, run_span(r, span), &x, e);
    mem_free(x.data);
    return st;
}

/* The same of the reference; of a run r for what a span of it is. */
static enum st gather_beside(struct ref_source *ref, const struct run *r, int span,
                             struct gathering *g, struct err *e)
{
    struct tensor x;
    if (ref->run && g->m->derived)
        return gather_derived(ref->run, span, g->m->derived, g, e);
    enum st st = source_read(ref, r, span, g->m->value, &x, e);
    return st ? st : gather_rows(g, run_span(r, span), &x, e);
}

/* The tokens of the span that are asked for lie in *rows; false: none. */
static bool asks_for(const struct gathering *g, struct span span, struct span *rows)
{
    int64_t first = g->td < 0 ? span.first : INT64_MAX, end = g->td < 0 ? span.first + span.n : 0;
    for (int64_t i = 0; g->td >= 0 && i < g->v->shape.d[g->td].n; i++) {
        const int64_t t = g->lists[g->td][i];
        if (t < span.first || t >= span.first + span.n)
            continue;
        first = t < first ? t : first;
        end = t >= end ? t + 1 : end;
    }
    *rows = (struct span){ first, end > first ? end - first : 0 };
    return rows->n > 0;
}

enum st points_read_captured(const struct match *m, int64_t *const *lists, struct view *v,
                             struct err *e)
{
    void *p;
    enum st st = mem_alloc(&p, m->captured->x->n * sizeof(float), m->captured->x->name, e);
    if (st)
        return st;
    const struct tensor x = { m->shape, p };
    struct gathering g = { .m = m, .td = -1, .kd = -1, .lists = lists, .v = v, .x = &x };
    if (!(st = stored_floats(m->captured->x, p, e)))
        gather(&g, 0, 0, 0);
    mem_free(p);
    return st;
}

struct shape points_shape(const struct session_run *r, const struct match *m, int end)
{
    struct span last = run_span(r->run, end - 1);
    int64_t keys = last.first + last.n; /* no token sees more than all */
    return shape_resolve(m->shape, last.first + last.n, keys);
}

enum st points_read(const struct point_spans *from, const struct match *m, int td, int kd,
                    int64_t *const *lists, struct view *v, struct err *e)
{
    struct run *r = from->r->run;
    const struct graph *graph = run_graph(r);
    const bool scores = graph->nodes[graph->values[m->value].node].op == OP_SCORE;
    struct gathering g = { .m = m, .td = td, .kd = kd, .lists = lists, .v = v };
    enum st st = ST_OK;
    for (int64_t i = 0, n = view_count(v); i < n; i++)
        v->data[i] = scores ? -INFINITY : 0.0f; /* of keys that a token does not see */
    for (int s = from->first; s < from->end && !st; s++) {
        struct span rows;
        if (!asks_for(&g, run_span(r, s), &rows))
            continue;
        if (from->ref)
            st = gather_beside(from->ref, r, s, &g, e);
        else if (m->derived)
            st = gather_derived(r, s, m->derived, &g, e);
        else
            st = run_read_rows(r, s, m->value, rows, gather_rows, &g, e);
    }
    return st;
}

enum st points_beside(struct session *s, const struct address *a, const struct match *m,
                      struct point_spans *out, struct ref_source *ref, struct err *e)
{
    struct session_run *r = out->r;
    enum st st = points_spans(r, a, m->value, &out->first, &out->end, e);
    if (st)
        return st;
    if (!a->position.n)
        out->end = run_n_spans(r->run);
    const struct position to = { out->end - 1, run_graph(r->run)->values[m->value].node + 1 };
    if ((st = session_reference(s, r, to, s->progress, ref, e)))
        return st;
    while (!a->position.n && out->end > 1 && !source_has(ref, r->run, out->end - 1, m->value))
        out->end--; /* generated behind a trace */
    out->ref = ref;
    return ST_OK;
}
