/* SPDX-License-Identifier: MIT */
#include "study/layer_error.h"

#include <math.h>
#include <string.h>

#include "base/memory.h"

static bool reads(const struct node *n, const struct weight *w)
{
    return op_info(n->op)->matrix && n->w[0] == w;
}

/* The span that the run is in, or ended last; -1: it has not begun. */
static int span_of(const struct run *r)
{
    const struct position at = run_position(r);
    return at.node ? at.span : at.span - 1;
}

static bool has_inputs(const struct run *r, int span, const struct node *n)
{
    bool there = span >= 0;
    for (int i = 0; there && i < n->n_in; i++)
        there = run_has(r, span, n->in[i]);
    return there;
}

int64_t layers_waiting(const struct run *r, const struct weight *w)
{
    const struct graph *g = run_graph(r);
    int64_t waiting = 0;
    for (int n = 0; n < g->n_nodes; n++)
        waiting += reads(&g->nodes[n], w) && !has_inputs(r, span_of(r), &g->nodes[n]);
    return waiting;
}

/* A copy of the first n tokens of an input; false: it is not there. */
static enum st input(struct run *r, int span, int value, int64_t n, void **out, struct err *e)
{
    struct tensor x;
    enum st st = run_read(r, span, value, &x, e);
    const int64_t tokens = run_span(r, span).n, all = st ? 0 : shape_count(&x.shape);
    const size_t bytes = tokens ? (size_t)(all / tokens * n) * sizeof(float) : 0;
    if (!st)
        st = mem_alloc(out, bytes ? bytes : 1, "inputs of a layer", e);
    if (!st)
        memcpy(*out, x.data, bytes);
    return st;
}

static enum st outputs(struct run *r, int node, const struct weight *w, struct form *form,
                       const float *const *in, const int32_t *ids, int64_t n, struct pool *pool,
                       struct tensor *out, struct err *e)
{
    struct plan plan = { 0 };
    plan_set(&plan, run_model(r), w, form);
    enum st st = node_evaluate(run_model(r), &plan, node, in, ids, n, COMPUTE_EXACT, pool, out, e);
    plan_free(&plan);
    return st;
}

static void add(const struct tensor *right, const struct tensor *got, struct layer_error *out)
{
    const int64_t n = shape_count(&right->shape);
    for (int64_t i = 0; i < n; i++) {
        const double x = (double)right->data[i], d = (double)got->data[i] - x;
        if (!isfinite(x) || !isfinite(d))
            continue;
        out->signal += x * x;
        out->noise += d * d;
    }
}

/* Everything about one layer; `truth` NULL: the model's own weight. */
static enum st layer(struct run *r, int span, int node, const struct weight *w, struct form *truth,
                     struct form *form, int64_t n, struct pool *pool, struct layer_error *out,
                     struct err *e)
{
    const struct node *nd = &run_graph(r)->nodes[node];
    const int32_t *ids = run_tokens(r) + run_span(r, span).first;
    void *in[NODE_MAX_IN] = { 0 };
    const float *x[NODE_MAX_IN] = { 0 };
    struct tensor right = { .data = NULL }, got = { .data = NULL };
    enum st st = ST_OK;
    for (int i = 0; i < nd->n_in && !st; i++) {
        st = input(r, span, nd->in[i], n, &in[i], e);
        x[i] = in[i];
    }
    if (!st)
        st = outputs(r, node, w, truth, x, ids, n, pool, &right, e);
    if (!st)
        st = outputs(r, node, w, form, x, ids, n, pool, &got, e);
    if (!st) {
        add(&right, &got, out);
        out->layers++;
    }
    mem_free(right.data);
    mem_free(got.data);
    for (int i = 0; i < nd->n_in; i++)
        mem_free(in[i]);
    return st;
}

enum st layer_error_of(struct run *r, const struct weight *w, const struct weight *from,
                       struct form *form, int64_t most, struct pool *pool, struct layer_error *out,
                       struct err *e)
{
    const struct graph *g = run_graph(r);
    const int span = span_of(r);
    struct form *truth = NULL;
    struct layer_error sum = { 0 };
    enum st st = ST_OK;
    if (span >= 0 && from != w)
        st = form_borrow(run_model(r), w, from, &truth, e);
    sum.tokens = span < 0 ? 0 : run_span(r, span).n < most ? run_span(r, span).n : most;
    for (int n = 0; n < g->n_nodes && !st; n++) {
        if (reads(&g->nodes[n], w) && has_inputs(r, span, &g->nodes[n]))
            st = layer(r, span, n, w, truth, form, sum.tokens, pool, &sum, e);
    }
    form_drop(truth);
    if (!st)
        *out = sum;
    return st;
}
