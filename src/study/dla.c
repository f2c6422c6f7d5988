/* SPDX-License-Identifier: MIT */
#include "study/dla.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

/* One token of one run, and the direction in the residual stream that raises the logit. */
struct look {
    struct run *r;
    const struct graph *g;
    int span;
    int64_t row; /* of the span */
    double *direction;
    size_t neurons; /* to be listed */
    struct progress *progress;
};

/* The token's row of a value, in new memory from x_alloc; n elements. */
static enum st row_of(const struct look *k, int value, float **out, int64_t *n, struct err *e)
{
    struct tensor x;
    enum st st = run_read(k->r, k->span, value, &x, e);
    if (st)
        return st;
    *n = shape_per_token(&x.shape);
    *out = x_alloc((size_t)*n * sizeof **out);
    for (int64_t i = 0; i < *n; i++)
        (*out)[i] = x.data[k->row * *n + i];
    return ST_OK;
}

static void add(struct dla *d, int value, int64_t head, double x)
{
    x_grow(&d->parts, &d->cap, d->n + 1, sizeof *d->parts);
    d->parts[d->n++] = (struct dla_part){ value, head, x };
    if (head < 0)
        d->sum += x;
}

/* u of the head above: row a, or row a minus row b; the biases' part is added to *bias. */
static enum st head_row(const struct run *r, const struct node *head, int32_t a, int32_t b,
                        double *u, double *bias, struct err *e)
{
    const struct weight *w = run_weight(r, head->w[0]);
    const float *v = run_vector(r, head, 1);
    float *row = x_alloc((size_t)w->cols * sizeof *row);
    const int32_t ids[] = { a, b };
    enum st st = ST_OK;
    for (int k = 0; k < 2 && ids[k] >= 0 && !st; k++) {
        const double sign = k ? -1 : 1;
        st = weight_decode(w, (uint64_t)ids[k], 1, row, e);
        for (uint64_t i = 0; i < w->cols && !st; i++)
            u[i] = (k ? u[i] : 0) + sign * (double)row[i];
        if (v)
            *bias += sign * (double)v[ids[k]];
    }
    free(row);
    return st;
}

/* Turn u, which reads the norm's output, into the direction that reads its input x. */
static void through_norm(const struct run *r, const struct node *norm, const float *x, int64_t n,
                         double *u, double *bias)
{
    const float *gain = run_vector(r, norm, 0), *shift = run_vector(r, norm, 1);
    const bool layer = norm->op == OP_LAYER_NORM;
    double mean = 0, square = 0, drift = 0;
    for (int64_t i = 0; layer && i < n; i++)
        mean += (double)x[i] / (double)n;
    for (int64_t i = 0; i < n; i++)
        square += ((double)x[i] - mean) * ((double)x[i] - mean);
    const double scale = sqrt(square / (double)n + (double)norm->p.eps);
    for (int64_t i = 0; i < n; i++) {
        if (layer && shift)
            *bias += u[i] * (double)shift[i];
        u[i] *= (gain ? (double)gain[i] : 1.0) / scale;
        drift += u[i];
    }
    for (int64_t i = 0; layer && i < n; i++) /* the mean is taken from every part */
        u[i] -= drift / (double)n;
}

/* What the inputs of the projection that makes `value` give: z its input, back what a unit of each
 * of its entries adds to the logit; [*cols], from x_alloc. */
static enum st back_through(const struct look *k, const struct node *n, float **z, double **back,
                            int64_t *cols, struct err *e)
{
    const struct weight *w = run_weight(k->r, n->w[0]);
    enum st st = row_of(k, n->in[0], z, cols, e);
    if (st)
        return st;
    float *row = x_alloc((size_t)w->cols * sizeof *row);
    *back = x_alloc((size_t)w->cols * sizeof **back);
    for (uint64_t o = 0; o < w->rows && !st; o++) {
        st = weight_decode(w, o, 1, row, e);
        for (uint64_t i = 0; i < w->cols && !st; i++)
            (*back)[i] += k->direction[o] * (double)row[i];
    }
    free(row);
    if (st) {
        free(*z);
        free(*back);
    }
    return st;
}

/* Into the list of the largest, if it is one. */
static void keep(const struct look *k, struct dla_neuron x, struct dla *d)
{
    size_t at = d->n_neurons;
    d->all_neurons++;
    while (at > 0 && fabs(x.x) > fabs(d->neurons[at - 1].x))
        at--;
    if (at == k->neurons) {
        d->others += x.x;
        return;
    }
    if (d->n_neurons < k->neurons)
        d->n_neurons++;
    else
        d->others += d->neurons[k->neurons - 1].x;
    memmove(d->neurons + at + 1, d->neurons + at, (d->n_neurons - 1 - at) * sizeof *d->neurons);
    d->neurons[at] = x;
}

/* What each head, or each neuron if they are asked for, gives through the projection. */
static enum st split(const struct look *k, int value, struct dla *d, struct err *e)
{
    const struct node *n = &k->g->nodes[k->g->values[value].node];
    if (n->op != OP_LINEAR)
        return ST_OK;
    const struct node *from = &k->g->nodes[k->g->values[n->in[0]].node];
    const int64_t heads = from->op == OP_MIX ? from->p.heads : 0;
    int64_t cols;
    float *z;
    double *back;
    if (!heads && !k->neurons)
        return ST_OK;
    enum st st = back_through(k, n, &z, &back, &cols, e);
    if (st)
        return st;
    for (int64_t h = 0; h < heads; h++) {
        double x = 0;
        for (int64_t i = h * cols / heads; i < (h + 1) * cols / heads; i++)
            x += back[i] * (double)z[i];
        add(d, value, h, x);
    }
    for (int64_t i = 0; !heads && i < cols; i++)
        keep(k, (struct dla_neuron){ value, i, (double)z[i], back[i] * (double)z[i] }, d);
    free(z);
    free(back);
    return ST_OK;
}

/* The terms of the sum that makes `value`, in order of execution. */
static enum st terms(const struct look *k, int value, struct dla *d, struct err *e)
{
    const struct node *n = &k->g->nodes[k->g->values[value].node];
    enum st st = ST_OK;
    if (n->op == OP_ADD) {
        st = terms(k, n->in[0], d, e);
        return st ? st : terms(k, n->in[1], d, e);
    }
    if (!progress_tick(k->progress, "dla", k->g->values[value].node, k->g->n_nodes))
        return st_fail(e, ST_CANCELLED, "interrupted");
    float *x;
    int64_t width;
    if ((st = row_of(k, value, &x, &width, e)))
        return st;
    double sum = 0;
    for (int64_t i = 0; i < width; i++)
        sum += k->direction[i] * (double)x[i];
    free(x);
    add(d, value, -1, sum);
    return split(k, value, d, e);
}

static enum st find(struct look *k, int32_t a, int32_t b, struct dla *d, struct err *e)
{
    const struct graph *g = k->g;
    const struct node *head = &g->nodes[g->values[g->logits].node],
                      *norm = &g->nodes[g->values[head->in[0]].node];
    float *logits, *x;
    int64_t n;
    double bias = 0;
    enum st st = row_of(k, g->logits, &logits, &n, e);
    if (st)
        return st;
    d->logit = (double)logits[a] - (b < 0 ? 0 : (double)logits[b]);
    free(logits);
    if ((st = head_row(k->r, head, a, b, k->direction, &bias, e))
        || (st = row_of(k, norm->in[0], &x, &n, e)))
        return st;
    through_norm(k->r, norm, x, n, k->direction, &bias);
    free(x);
    st = terms(k, norm->in[0], d, e);
    if (!st && bias != 0)
        add(d, -1, -1, bias);
    d->rest = d->logit - d->sum;
    return st;
}

enum st dla_of(struct run *r, int64_t tok, int32_t a, int32_t b, size_t neurons, struct progress *p,
               struct dla *out, struct err *e)
{
    const struct graph *g = run_graph(r);
    if (g->logits < 0)
        return st_fail(e, ST_UNSUPPORTED, "the model has no output head");
    const struct node *head = &g->nodes[g->values[g->logits].node],
                      *norm = &g->nodes[g->values[head->in[0]].node];
    if (head->op != OP_LINEAR || (norm->op != OP_RMS_NORM && norm->op != OP_LAYER_NORM))
        return st_fail(e, ST_UNSUPPORTED, "the output head does not read a norm of the stream");
    struct look k = { .r = r, .g = g, .span = run_span_of(r, tok), .neurons = neurons,
                      .progress = p };
    struct dla d = { .neurons = x_alloc((neurons + 1) * sizeof *d.neurons) };
    k.row = tok - run_span(r, k.span).first;
    k.direction = x_alloc((size_t)g->width * sizeof *k.direction);
    enum st st = find(&k, a, b, &d, e);
    free(k.direction);
    if (st)
        dla_free(&d);
    else
        *out = d;
    return st;
}

void dla_free(struct dla *d)
{
    free(d->parts);
    free(d->neurons);
    *d = (struct dla){ 0 };
}
