/* SPDX-License-Identifier: MIT */
/* Dense numbers with named axes. */
#include "session/view.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

void view_free(struct view *v)
{
    for (int d = 0; d < SHAPE_MAX; d++)
        free(v->index[d]);
    mem_free(v->data);
    free(v->name);
    *v = (struct view){ .value = -1 };
}

int64_t view_count(const struct view *v) { return shape_count(&v->shape); }

enum st view_new(const struct shape *s, const char *name, struct view *out, struct err *e)
{
    struct view v = { .shape = *s, .value = -1 };
    int64_t n = shape_count(s);
    if (n < 0 || n > INT64_MAX / (int64_t)sizeof(float))
        return st_fail(e, ST_NOMEM, "%s is too large", name ? name : "the result");
    void *p;
    enum st st = mem_alloc(&p, (size_t)n * sizeof(float), name ? name : "the result", e);
    if (st)
        return st;
    v.data = p;
    for (int d = 0; d < s->rank; d++) {
        v.index[d] = x_alloc((size_t)s->d[d].n * sizeof *v.index[d]);
        for (int64_t i = 0; i < s->d[d].n; i++)
            v.index[d][i] = i;
    }
    v.name = name ? x_strdup(name) : NULL;
    *out = v;
    return ST_OK;
}

enum st view_scalar(double x, struct view *out, struct err *e)
{
    static const struct shape none = { 0 };
    enum st st = view_new(&none, NULL, out, e);
    if (!st) {
        out->data[0] = (float)x;
        out->number = x;
    }
    return st;
}

enum st view_copy(const struct view *v, struct view *out, struct err *e)
{
    struct view copy;
    enum st st = view_new(&v->shape, v->name, &copy, e);
    if (st)
        return st;
    memcpy(copy.data, v->data, (size_t)view_count(v) * sizeof *v->data);
    for (int d = 0; d < v->shape.rank; d++)
        memcpy(copy.index[d], v->index[d], (size_t)v->shape.d[d].n * sizeof *v->index[d]);
    copy.number = v->number;
    copy.run = v->run;
    copy.value = v->value;
    copy.weight = v->weight;
    copy.format = v->format;
    *out = copy;
    return ST_OK;
}

enum st view_summary(const struct view *v, struct progress *p, struct summary *out, struct err *e)
{
    struct summary_stream s;
    const int64_t n = view_count(v);
    summary_begin(&s);
    for (int64_t i = 0; i < n; i += VIEW_PIECE) {
        if (!progress_tick(p, "summary", (double)i, (double)n))
            return st_fail(e, ST_CANCELLED, "interrupted");
        summary_add(&s, NULL, v->data + i, n - i < VIEW_PIECE ? n - i : VIEW_PIECE);
    }
    summary_end(&s, out);
    return ST_OK;
}

enum st view_quantiles(const struct view *v, const double *at, int k, struct progress *p,
                       double *out, struct err *e)
{
    return quantiles_of(v->data, view_count(v), at, k, out, p ? p->cancel : NULL)
               ? ST_OK
               : st_fail(e, ST_CANCELLED, "interrupted");
}

enum st view_pair_error(const struct view *ref, const struct view *x, struct progress *p,
                        struct pair_error *out, struct err *e)
{
    struct pair_stream s;
    const int64_t n = view_count(x);
    pair_error_begin(&s);
    for (int64_t i = 0; i < n; i += VIEW_PIECE) {
        if (!progress_tick(p, "comparing", (double)i, (double)n))
            return st_fail(e, ST_CANCELLED, "interrupted");
        pair_error_add(&s, ref->data + i, x->data + i, n - i < VIEW_PIECE ? n - i : VIEW_PIECE);
    }
    pair_error_end(&s, out);
    return ST_OK;
}

enum st view_narrow(struct view *v, int d, const int64_t *keep, int64_t n, struct err *e)
{
    struct shape shape = v->shape;
    shape.d[d].n = n;
    struct view out;
    enum st st = view_new(&shape, v->name, &out, e);
    if (st)
        return st;
    int64_t outer = 1, inner = 1, old = v->shape.d[d].n;
    for (int i = 0; i < d; i++)
        outer *= shape.d[i].n;
    for (int i = d + 1; i < shape.rank; i++)
        inner *= shape.d[i].n;
    for (int64_t o = 0; o < outer; o++)
        for (int64_t k = 0; k < n; k++)
            memcpy(out.data + (o * n + k) * inner, v->data + (o * old + keep[k]) * inner,
                   (size_t)inner * sizeof(float));
    for (int i = 0; i < shape.rank; i++)
        for (int64_t k = 0; k < shape.d[i].n; k++)
            out.index[i][k] = v->index[i][i == d ? keep[k] : k];
    out.run = v->run;
    out.value = v->value;
    out.weight = v->weight;
    out.format = v->format;
    view_free(v);
    *v = out;
    return ST_OK;
}
