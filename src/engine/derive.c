/* SPDX-License-Identifier: MIT */
#include "engine/derive.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

/* One alias of one span on its way. */
struct job {
    struct run *r;
    const struct graph *g;
    const struct node *node; /* that makes the value behind the alias */
    int span;
    struct span rows;
    const struct tensor *x; /* what it is computed from */
    struct tensor *out;
    struct err *e;
};

static int64_t row_of(const struct tensor *t) { return shape_per_token(&t->shape); }

/* Channels of each head, from side by side (0 1 | 2 3 | ...) to halves (0 2 ... | 1 3 ...), or
 * back. */
static void halves(const struct tensor *x, float *out, bool back)
{
    const int64_t size = x->shape.d[2].n, heads = x->shape.d[0].n * x->shape.d[1].n;
    for (int64_t h = 0; h < heads; h++)
        for (int64_t i = 0; i < size; i++) {
            const int64_t pair = h * size + i, half = h * size + i / 2 + i % 2 * (size / 2);
            out[back ? pair : half] = x->data[back ? half : pair];
        }
}

/* [a][b][chan] to [b][a][chan]. */
static void swap(const struct tensor *x, float *out)
{
    const int64_t a = x->shape.d[0].n, b = x->shape.d[1].n, n = x->shape.d[2].n;
    for (int64_t i = 0; i < a; i++)
        for (int64_t k = 0; k < b; k++)
            memcpy(out + (k * a + i) * n, x->data + (i * b + k) * n, (size_t)n * sizeof *out);
}

/* Mean (0 of an RMS norm) and divisor of one token. */
static double divisor(const struct node *norm, const float *x, int64_t n, double *mean)
{
    double sum = 0, squares = 0;
    for (int64_t i = 0; i < n; i++)
        sum += (double)x[i];
    *mean = norm->op == OP_LAYER_NORM ? sum / (double)n : 0;
    for (int64_t i = 0; i < n; i++) {
        const double d = (double)x[i] - *mean;
        squares += d * d;
    }
    return sqrt(squares / (double)n + (double)norm->p.eps);
}

static enum st bare(struct job *j)
{
    const int64_t n = row_of(j->x), tokens = j->x->shape.d[0].n;
    for (int64_t t = 0; t < tokens; t++) {
        const float *x = j->x->data + t * n;
        double mean;
        const double by = divisor(j->node, x, n, &mean);
        for (int64_t i = 0; i < n; i++)
            j->out->data[t * n + i] = (float)(((double)x[i] - mean) / by);
    }
    return ST_OK;
}

static enum st divisors(struct job *j)
{
    const int64_t n = row_of(j->x), tokens = j->x->shape.d[0].n;
    double mean;
    for (int64_t t = 0; t < tokens; t++)
        j->out->data[t] = (float)divisor(j->node, j->x->data + t * n, n, &mean);
    return ST_OK;
}

static enum st in_halves(struct job *j)
{
    halves(j->x, j->out->data, false);
    return ST_OK;
}

static enum st heads_first(struct job *j)
{
    swap(j->x, j->out->data);
    return ST_OK;
}

static enum st no_bias(struct job *j)
{
    const int64_t n = row_of(j->x), all = shape_count(&j->x->shape);
    for (int64_t i = 0; i < all; i++)
        j->out->data[i] = j->x->data[i] - j->node->v[1][i % n];
    return ST_OK;
}

/* Row of a learned table per token: tokens of a run count up. */
static enum st positions(struct job *j)
{
    const int64_t n = row_of(j->out);
    enum st st = ST_OK;
    for (int64_t t = 0; t < j->rows.n && !st; t++)
        st = weight_decode(j->node->w[0], (uint64_t)(j->rows.first + t + j->node->p.offset), 1,
                           j->out->data + t * n, j->e);
    return st;
}

static bool cancelled(const struct job *j)
{
    const volatile sig_atomic_t *flag = run_cancel(j->r);
    return flag && *flag;
}

static const struct node *reader_of(const struct graph *g, int value)
{
    for (int i = 0; i < g->n_nodes; i++)
        if (g->nodes[i].op == OP_LINEAR && g->nodes[i].in[0] == value)
            return &g->nodes[i];
    return NULL;
}

/* Each head of z through its columns of the output projection. */
static enum st results(struct job *j)
{
    const struct weight *w = reader_of(j->g, j->node->out)->w[0];
    const int64_t tokens = j->x->shape.d[0].n, heads = j->x->shape.d[1].n,
                  size = j->x->shape.d[2].n, width = j->out->shape.d[2].n;
    float *row = x_alloc((size_t)w->cols * sizeof *row);
    enum st st = ST_OK;
    for (int64_t o = 0; o < width && !st; o++) {
        st = cancelled(j) ? st_fail(j->e, ST_CANCELLED, "interrupted")
                          : weight_decode(w, (uint64_t)o, 1, row, j->e);
        for (int64_t i = 0; i < tokens * heads && !st; i++) {
            const float *z = j->x->data + i * size, *of = row + i % heads * size;
            double sum = 0;
            for (int64_t c = 0; c < size; c++)
                sum += (double)z[c] * (double)of[c];
            j->out->data[i * width + o] = (float)sum;
        }
    }
    free(row);
    return st;
}

/* Products of the span's queries with the keys of span `of`, where they were masked. */
static enum st masked_products(struct job *j, const float *q, const struct shape *qs, int of)
{
    struct tensor k;
    enum st st = run_read(j->r, of, j->node->in[1], &k, j->e);
    if (st)
        return st;
    const int64_t heads = qs->d[1].n, size = qs->d[2].n, group = heads / k.shape.d[1].n,
                  keys = j->out->shape.d[2].n, first = run_span(j->r, of).first;
    for (int64_t h = 0; h < heads; h++)
        for (int64_t t = 0; t < j->rows.n; t++)
            for (int64_t i = 0; i < k.shape.d[0].n && first + i < keys; i++) {
                float *at = &j->out->data[(h * j->rows.n + t) * keys + first + i];
                if (isfinite(*at))
                    continue;
                const float *a = q + (t * heads + h) * size,
                            *b = k.data + (i * k.shape.d[1].n + h / group) * size;
                double sum = 0;
                for (int64_t c = 0; c < size; c++)
                    sum += (double)a[c] * (double)b[c];
                *at = (float)sum;
            }
    return ST_OK;
}

/* Scores before their scale, and the products that the mask hides. */
static enum st products(struct job *j)
{
    struct tensor q;
    enum st st = run_read(j->r, j->span, j->node->in[0], &q, j->e);
    if (st)
        return st;
    const struct shape shape = q.shape;
    const size_t bytes = (size_t)shape_count(&shape) * sizeof *q.data;
    void *copy;
    if ((st = mem_alloc(&copy, bytes, "queries", j->e)))
        return st;
    memcpy(copy, q.data, bytes);
    struct tensor x;
    st = run_read(j->r, j->span, j->node->out, &x, j->e);
    for (int64_t i = 0, n = st ? 0 : shape_count(&x.shape); i < n; i++)
        j->out->data[i] = x.data[i] / j->node->p.scale;
    for (int of = 0; of <= j->span && !st; of++)
        st = cancelled(j) ? st_fail(j->e, ST_CANCELLED, "interrupted")
                          : masked_products(j, copy, &shape, of);
    mem_free(copy);
    return st;
}

/* How each kind is made, and from what: the value itself, its node's first input, or nothing. */
static const struct kind {
    enum st (*make)(struct job *j);
    enum { FROM_VALUE, FROM_INPUT, FROM_NOTHING } from;
} kinds[] = {
    [DERIVE_HALVES] = { in_halves, FROM_VALUE },
    [DERIVE_BARE] = { bare, FROM_INPUT },
    [DERIVE_DIVISOR] = { divisors, FROM_INPUT },
    [DERIVE_RESULT] = { results, FROM_VALUE },
    [DERIVE_PRODUCTS] = { products, FROM_NOTHING },
    [DERIVE_HEADS] = { heads_first, FROM_VALUE },
    [DERIVE_NO_BIAS] = { no_bias, FROM_VALUE },
    [DERIVE_POSITIONS] = { positions, FROM_NOTHING },
};

enum st derive_read(struct run *r, int span, const struct point_alias *a, struct tensor *out,
                    struct err *e)
{
    const struct graph *g = run_graph(r);
    const struct node *node = &g->nodes[g->values[a->value].node];
    struct tensor x = { 0 }, y;
    const enum st ready = run_ready(r, span, a->value, e);
    if (ready)
        return ready;
    struct job j = { r, g, node, span, run_span(r, span), &x, &y, e };
    y.shape = shape_resolve(a->shape, j.rows.n, j.rows.first + j.rows.n);
    const int64_t n = shape_count(&y.shape);
    void *p;
    enum st st = n < 0 || n > INT64_MAX / (int64_t)sizeof(float)
                     ? st_fail(e, ST_NOMEM, "%s is too large", a->name)
                     : mem_alloc(&p, (size_t)n * sizeof(float), a->name, e);
    if (st)
        return st;
    y.data = p;
    const struct kind *k = &kinds[a->derive];
    if (!a->derive || k->from == FROM_VALUE)
        st = run_read(r, span, a->value, &x, e);
    else if (k->from == FROM_INPUT)
        st = run_read(r, span, node->in[0], &x, e);
    if (!st && a->derive)
        st = k->make(&j);
    else if (!st)
        memcpy(y.data, x.data, (size_t)n * sizeof *y.data);
    if (st)
        mem_free(p);
    else
        *out = y;
    return st;
}

bool derive_has_back(enum derivation d)
{
    return d == DERIVE_SAME || d == DERIVE_HALVES || d == DERIVE_BARE || d == DERIVE_HEADS
           || d == DERIVE_NO_BIAS;
}

bool derive_back(const struct graph *g, const struct point_alias *a, const struct tensor *x,
                 struct tensor *out)
{
    const struct node *node = &g->nodes[g->values[a->value].node];
    const int64_t n = shape_count(&x->shape), row = row_of(x);
    const float *gain = node->v[0], *bias = node->v[1];
    if (a->derive == DERIVE_SAME)
        memcpy(out->data, x->data, (size_t)n * sizeof *x->data);
    else if (a->derive == DERIVE_HALVES)
        halves(x, out->data, true);
    else if (a->derive == DERIVE_HEADS)
        swap(x, out->data);
    else if (a->derive == DERIVE_BARE)
        for (int64_t i = 0; i < n; i++)
            out->data[i] = x->data[i] * (gain ? gain[i % row] : 1) + (bias ? bias[i % row] : 0);
    else if (a->derive == DERIVE_NO_BIAS)
        for (int64_t i = 0; i < n; i++)
            out->data[i] = x->data[i] + bias[i % row];
    return derive_has_back(a->derive);
}
