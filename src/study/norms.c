/* SPDX-License-Identifier: MIT */
#include "study/norms.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "kernels/statistics.h"

/* Is value v the stream s, or a norm of it? */
static bool is_stream(const struct graph *g, int v, int s)
{
    if (v == s)
        return true;
    const struct node *n = &g->nodes[g->values[v].node];
    return (n->op == OP_RMS_NORM || n->op == OP_LAYER_NORM) && n->in[0] == s;
}

void stream_additions(const struct graph *g, struct addition **out, size_t *n)
{
    struct addition *list = NULL;
    size_t cap = 0, count = 0;
    int stream = g->n_blocks ? g->blocks[0].input : g->embedding;
    for (int i = 0; i < g->n_nodes; i++) {
        const struct node *node = &g->nodes[i];
        if (node->op != OP_ADD || node->block < 0)
            continue;
        /* an operand that is the stream itself goes before one that is its norm */
        int side = node->in[0] == stream ? 0 : node->in[1] == stream ? 1 : -1;
        for (int k = 0; k < 2 && side < 0; k++)
            if (is_stream(g, node->in[k], stream))
                side = k;
        if (side < 0)
            continue;
        x_grow(&list, &cap, count + 1, sizeof *list);
        list[count++] = (struct addition){ node->in[side], node->in[1 - side], node->out };
        stream = node->out;
    }
    *out = list;
    *n = count;
}

/* Spans from the first on in which the value is there; an error of the engine when there is none.
 */
static enum st spans_of(struct run *r, int value, int *spans, int64_t *tokens, struct err *e)
{
    const struct shape *s = &run_graph(r)->values[value].shape;
    struct tensor x;
    if (s->d[0].axis != AXIS_TOK)
        return st_fail(e, ST_UNSUPPORTED, "%s has no rows of tokens",
                       run_graph(r)->values[value].name);
    enum st st = run_read(r, 0, value, &x, e);
    if (st)
        return st;
    *spans = 0;
    *tokens = 0;
    while (*spans < run_n_spans(r) && run_has(r, *spans, value))
        *tokens += run_span(r, (*spans)++).n;
    return ST_OK;
}

/* ---- points ---- */

struct gather {
    struct summary_stream all, rest;
    double *l2;
    int64_t tokens, width;
};

static double row_norm(const float *x, int64_t n)
{
    struct summary s;
    summary_of(NULL, x, n, &s);
    return s.l2;
}

static void add_rows(struct gather *k, const struct tensor *x)
{
    const int64_t rows = x->shape.d[0].n, width = shape_per_token(&x->shape);
    const int64_t apart = k->tokens == 0;
    k->width = width;
    summary_add(&k->all, NULL, x->data, rows * width);
    summary_add(&k->rest, NULL, x->data + apart * width, (rows - apart) * width);
    for (int64_t t = 0; t < rows; t++)
        k->l2[k->tokens++] = row_norm(x->data + t * width, width);
}

enum st norms_of_point(struct run *r, int value, struct point_norms *out, struct err *e)
{
    int spans;
    int64_t tokens;
    struct summary all, rest;
    enum st st = spans_of(r, value, &spans, &tokens, e);
    if (st)
        return st;
    struct gather *k = x_alloc(sizeof *k);
    k->l2 = x_alloc((size_t)tokens * sizeof *k->l2);
    summary_begin(&k->all);
    summary_begin(&k->rest);
    for (int s = 0; s < spans && !st; s++) {
        struct tensor x;
        if (!(st = run_read(r, s, value, &x, e)))
            add_rows(k, &x);
    }
    if (!st) {
        summary_end(&k->all, &all);
        summary_end(&k->rest, &rest);
        *out = (struct point_norms){ .tokens = tokens,
                                     .first = k->l2[0],
                                     .l2 = median_f64(k->l2 + 1, tokens - 1),
                                     .rms = rest.rms,
                                     .kurt = rest.kurt,
                                     .absmax_rest = rest.absmax,
                                     .absmax = all.absmax,
                                     .tok = all.absmax_at < 0 ? -1 : all.absmax_at / k->width,
                                     .chan = all.absmax_at < 0 ? -1 : all.absmax_at % k->width,
                                     .nonfinite = all.nan + all.inf };
    }
    free(k->l2);
    free(k);
    return st;
}

/* ---- additions ---- */

enum st norms_of_addition(struct run *r, const struct addition *a, struct update_norms *out,
                          struct err *e)
{
    int spans;
    int64_t tokens, at = 0;
    enum st st = spans_of(r, a->sum, &spans, &tokens, e);
    if (st)
        return st;
    double *gain = x_alloc((size_t)(2 * tokens) * sizeof *gain), *cosine = gain + tokens;
    for (int s = 0; s < spans && !st; s++) {
        struct tensor x;
        void *copy = NULL;
        if ((st = run_read(r, s, a->before, &x, e)))
            break;
        const int64_t rows = x.shape.d[0].n, width = shape_per_token(&x.shape);
        if ((st = mem_alloc(&copy, (size_t)(rows * width) * sizeof(float), "a point", e)))
            break;
        memcpy(copy, x.data, (size_t)(rows * width) * sizeof(float));
        st = run_read(r, s, a->update, &x, e);
        for (int64_t t = 0; t < rows && !st; t++, at++) {
            struct pair_error p;
            pair_error_of((float *)copy + t * width, x.data + t * width, width, &p);
            gain[at] = p.gain;
            cosine[at] = p.cos;
        }
        mem_free(copy);
    }
    if (!st)
        *out = (struct update_norms){ .gain = NAN,
                                      .first_gain = gain[0],
                                      .cos = NAN,
                                      .first_cos = cosine[0] };
    if (!st && tokens > 1) {
        out->gain = median_f64(gain + 1, tokens - 1);
        out->cos = median_f64(cosine + 1, tokens - 1);
    }
    free(gain);
    return st;
}
