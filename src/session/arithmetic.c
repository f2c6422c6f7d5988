/* SPDX-License-Identifier: MIT */
/* Views are added, multiplied, and put through functions. */
#include "session/arithmetic.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

static double apply(char op, double a, double b)
{
    switch (op) {
    case '+': return a + b;
    case '-': return a - b;
    case '*': return a * b;
    default: return a / b;
    }
}

/* The axes of a result, and for each of them how far an operand moves per entry (0: it stays). */
struct pairing {
    struct shape shape;
    int64_t a[SHAPE_MAX], b[SHAPE_MAX]; /* strides */
    int from_a[SHAPE_MAX],
        from_b[SHAPE_MAX]; /* dimension of the operand whose indices it takes, or -1 */
};

static int64_t stride(const struct shape *s, int d)
{
    int64_t n = 1;
    for (int i = d + 1; i < s->rank; i++)
        n *= s->d[i].n;
    return s->d[d].n == 1 ? 0 : n;
}

static enum st pair_axes(const struct shape *a, const struct shape *b, struct pairing *out,
                         struct err *e)
{
    struct pairing p = { .shape = *a };
    for (int d = 0; d < a->rank; d++) {
        int other = shape_axis(b, a->d[d].axis);
        p.from_a[d] = d;
        p.from_b[d] = -1;
        p.a[d] = stride(a, d);
        p.b[d] = other < 0 ? 0 : stride(b, other);
        if (other < 0 || b->d[other].n == a->d[d].n || b->d[other].n == 1)
            continue;
        if (a->d[d].n != 1) {
            st_fail(e, ST_RANGE,
                    "axis %s has %" PRId64 " %s on the left and %" PRId64 " on the right",
                    axis_info(a->d[d].axis)->name, a->d[d].n,
                    text_plural((uint64_t)a->d[d].n, "entry", "entries"), b->d[other].n);
            return st_hint(e, "slice both alike, or take one entry of one side");
        }
        p.shape.d[d].n = b->d[other].n;
        p.from_a[d] = -1;
        p.from_b[d] = other;
    }
    for (int d = 0; d < b->rank; d++) {
        if (shape_axis(a, b->d[d].axis) >= 0)
            continue;
        if (p.shape.rank == SHAPE_MAX)
            return st_fail(e, ST_UNSUPPORTED, "the result would have more than %d axes", SHAPE_MAX);
        int k = p.shape.rank++;
        p.shape.d[k] = b->d[d];
        p.a[k] = 0;
        p.b[k] = stride(b, d);
        p.from_a[k] = -1;
        p.from_b[k] = d;
    }
    *out = p;
    return ST_OK;
}

static enum st fill(char op, const struct view *a, const struct view *b, const struct pairing *p,
                    struct view *out, struct progress *progress, struct err *e)
{
    int64_t at[SHAPE_MAX] = { 0 }, ia = 0, ib = 0;
    for (int64_t i = 0, n = view_count(out); i < n; i++) {
        if (i % VIEW_PIECE == 0 && !progress_tick(progress, "computing", (double)i, (double)n))
            return st_fail(e, ST_CANCELLED, "interrupted");
        out->data[i] = (float)apply(op, a->shape.rank ? a->data[ia] : a->number,
                                    b->shape.rank ? b->data[ib] : b->number);
        for (int d = p->shape.rank - 1; d >= 0; d--) {
            ia += p->a[d];
            ib += p->b[d];
            if (++at[d] < p->shape.d[d].n)
                break;
            ia -= p->a[d] * at[d];
            ib -= p->b[d] * at[d];
            at[d] = 0;
        }
    }
    return ST_OK;
}

enum st view_combine(char op, struct view *a, struct view *b, struct progress *progress,
                     struct err *e)
{
    struct pairing pair;
    struct view v;
    enum st st = pair_axes(&a->shape, &b->shape, &pair, e);
    if (!st)
        st = view_new(&pair.shape, "the result", &v, e);
    if (!st && (st = fill(op, a, b, &pair, &v, progress, e)))
        view_free(&v);
    if (!st) {
        if (!pair.shape.rank) {
            v.number = apply(op, a->number, b->number);
            v.data[0] = (float)v.number;
        }
        for (int d = 0; d < pair.shape.rank; d++) {
            const int64_t *from = pair.from_a[d] >= 0 ? a->index[pair.from_a[d]]
                                                      : b->index[pair.from_b[d]];
            memcpy(v.index[d], from, (size_t)pair.shape.d[d].n * sizeof *from);
        }
        v.run = a->run ? a->run : b->run;
        view_free(a);
        *a = v;
    }
    view_free(b);
    return st;
}

static double call(enum function f, double x)
{
    switch (f) {
    case ABSOLUTE: return fabs(x);
    case LOGARITHM: return log(x);
    case EXPONENTIAL: return exp(x);
    case ROOT: return sqrt(x);
    default: return -x;
    }
}

enum st view_map(enum function f, struct view *v, struct progress *progress, struct err *e)
{
    for (int64_t i = 0, n = view_count(v); i < n; i++) {
        if (i % VIEW_PIECE == 0 && !progress_tick(progress, "computing", (double)i, (double)n))
            return st_fail(e, ST_CANCELLED, "interrupted");
        v->data[i] = (float)call(f, v->data[i]);
    }
    if (!v->shape.rank) {
        v->number = call(f, v->number);
        v->data[0] = (float)v->number;
    }
    v->value = -1;
    v->weight = NULL;
    v->format = NULL;
    return ST_OK;
}
