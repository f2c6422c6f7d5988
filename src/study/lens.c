/* SPDX-License-Identifier: MIT */
#include "study/lens.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "kernels/statistics.h"

void lens_free(struct lens *l)
{
    free(l->values);
    free(l->kl);
    mem_free(l->logits);
    *l = (struct lens){ 0 };
}

/* First node after the blocks: from there to `hidden` each must do one thing to one input. */
static enum st head_begins(const struct graph *g, int *first, struct err *e)
{
    if (g->logits < 0)
        return st_fail(e, ST_UNSUPPORTED, "the model has no output head");
    *first = g->n_blocks ? g->blocks[g->n_blocks - 1].end : g->values[g->embedding].node + 1;
    int x = g->n_blocks ? g->blocks[g->n_blocks - 1].output : g->embedding;
    for (int i = *first; i <= g->values[g->hidden].node; i++) {
        if (g->nodes[i].n_in != 1 || g->nodes[i].in[0] != x)
            return st_fail(e, ST_UNSUPPORTED, "%s is no norm of the residual stream alone",
                           g->nodes[i].name);
        x = g->nodes[i].out;
    }
    return ST_OK;
}

/* Rows x [n][width] through nodes [first, end); *out is new memory. */
static enum st apply(struct run *r, int first, int end, const float *x, int n, float **out,
                     struct err *e)
{
    float *now = NULL;
    for (int i = first; i < end; i++) {
        const float *const in[] = { now ? now : x };
        struct tensor y;
        enum st st = node_evaluate(run_model(r), run_plan(r), i, in, NULL, n, run_mode(r), NULL, &y,
                                   e);
        mem_free(now);
        if (st)
            return st;
        now = y.data;
    }
    *out = now;
    return ST_OK;
}

/* The residual stream at the token, stage after stage: rows [n][width]. */
static enum st collect(struct run *r, int span, int64_t row, struct progress *p, struct lens *l,
                       float *rows, struct err *e)
{
    const struct graph *g = run_graph(r);
    for (int i = 0; i <= g->n_blocks; i++) {
        const int v = i ? g->blocks[i - 1].output : g->embedding;
        struct tensor x;
        if (i && !run_has(r, span, v))
            break;
        if (!progress_tick(p, "lens", i, g->n_blocks + 1))
            return st_fail(e, ST_CANCELLED, "interrupted");
        enum st st = run_read(r, span, v, &x, e);
        if (st)
            return st;
        const int64_t width = shape_per_token(&x.shape);
        memcpy(rows + l->n * width, x.data + row * width, (size_t)width * sizeof *rows);
        l->values[l->n++] = v;
    }
    return ST_OK;
}

static enum st read_final(struct run *r, int span, int64_t row, struct lens *l, struct err *e)
{
    const struct graph *g = run_graph(r);
    struct tensor x;
    if (!run_has(r, span, g->logits))
        return ST_OK;
    enum st st = run_read(r, span, g->logits, &x, e);
    if (!st) {
        l->final = l->logits + (g->n_blocks + 1) * l->vocab;
        memcpy(l->final, x.data + row * l->vocab, (size_t)l->vocab * sizeof *l->final);
    }
    return st;
}

static enum st compute(struct run *r, int first, int64_t token, struct progress *p, struct lens *l,
                       float *rows, struct err *e)
{
    const struct graph *g = run_graph(r);
    const int span = run_span_of(r, token);
    const int64_t row = token - run_span(r, span).first;
    float *hidden = NULL;
    enum st st = collect(r, span, row, p, l, rows, e);
    if (!st)
        st = apply(r, first, g->values[g->hidden].node + 1, rows, l->n, &hidden, e);
    if (!st)
        st = run_head(r, hidden ? hidden : rows, l->n, l->logits, e);
    mem_free(hidden);
    if (!st)
        st = read_final(r, span, row, l, e);
    for (int i = 0; i < l->n && !st; i++)
        l->kl[i] = l->final ? kl_of_logits(l->final, l->logits + i * l->vocab, l->vocab, -INFINITY)
                            : (double)NAN;
    return st;
}

enum st lens_of(struct run *r, int64_t token, struct progress *p, struct lens *out, struct err *e)
{
    const struct graph *g = run_graph(r);
    int first = 0;
    if (token < 0 || token >= run_n_tokens(r))
        return st_fail(e, ST_RANGE, "there is no token %d", (int)token);
    enum st st = head_begins(g, &first, e);
    if (st)
        return st;
    const size_t stages = (size_t)g->n_blocks + 1;
    const size_t width = (size_t)shape_per_token(&g->values[g->embedding].shape);
    struct lens l = { .vocab = g->vocab };
    void *logits = NULL, *rows = NULL;
    st = mem_alloc(&logits, (stages + 1) * (size_t)g->vocab * sizeof(float), "logits of the stages",
                   e);
    if (!st)
        st = mem_alloc(&rows, stages * width * sizeof(float), "the residual stream", e);
    l.logits = logits;
    l.values = x_alloc(stages * sizeof *l.values);
    l.kl = x_alloc(stages * sizeof *l.kl);
    if (!st)
        st = compute(r, first, token, p, &l, rows, e);
    mem_free(rows);
    if (st)
        lens_free(&l);
    else
        *out = l;
    return st;
}
