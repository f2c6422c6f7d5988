/* SPDX-License-Identifier: MIT */
#include "study/patch_grid.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "kernels/logits.h"

/* Elements [at, at + n) of every `step` of the activation come from `data`. */
struct patch {
    const float *data;
    int64_t at, n, step, count;
};

struct grid {
    struct run *from, *to;
    const struct metric *metric;
    float *logits[2]; /* of `from`, of the run under test */
    int32_t top;      /* of `from` */
};

static void apply(void *data, const struct event *ev, float *x)
{
    const struct patch *p = data;
    (void)ev;
    for (int64_t i = 0; i < p->count; i++)
        memcpy(x + i * p->step + p->at, p->data + i * p->step + p->at, (size_t)p->n * sizeof *x);
}

/* Logits after the last token. */
static enum st last_logits(struct run *r, struct progress *p, float *out, struct err *e)
{
    const struct graph *g = run_graph(r);
    const struct position to = { 0, g->values[g->hidden].node + 1 };
    struct tensor x;
    enum st st = position_compare(run_position(r), to) < 0 ? run_forward(r, to, p, NULL, e) : ST_OK;
    if (!st)
        st = run_read(r, 0, g->hidden, &x, e);
    const int64_t last = run_n_tokens(r) - 1;
    return st ? st : run_head(r, x.data + last * shape_per_token(&x.shape), 1, out, e);
}

static double value_of(const struct grid *g, const float *logits)
{
    struct logits_pair pair;
    const int64_t n = run_graph(g->from)->vocab;
    logits_pair_of(g->logits[0], logits, n, g->top, &pair);
    switch (g->metric->kind) {
    case METRIC_KL: return pair.kl;
    case METRIC_TOP1: return pair.top[0] == pair.top[1];
    case METRIC_LOGRATIO: return pair.log_prob[1];
    case METRIC_LOGITDIFF: return (double)logits[g->metric->a] - (double)logits[g->metric->b];
    }
    return NAN;
}

/* The metric with one patch of `value` in force. */
static enum st try_patch(struct grid *g, int value, struct patch *patch, const struct progress *p,
                         double *out, struct err *e)
{
    struct progress silent = { NULL, p ? p->cancel : NULL, NULL };
    const int handle = run_transform(g->to, value, apply, patch);
    enum st st = last_logits(g->to, &silent, g->logits[1], e);
    run_untransform(g->to, handle);
    if (!st)
        *out = value_of(g, g->logits[1]);
    return st;
}

static int point_of(const struct graph *g, int block, enum patch_by by, struct shape *shape)
{
    if (by == PATCH_BLOCK) {
        *shape = g->values[g->blocks[block].output].shape;
        return g->blocks[block].output;
    }
    struct buf name = { 0 };
    buf_printf(&name, "blk.%d.attn.z", block);
    const int v = graph_point(g, str_from(buf_str(&name)), shape, NULL);
    buf_free(&name);
    return v >= 0 && shape_axis(shape, AXIS_HEAD) >= 0 ? v : -1;
}

/* Where column c of the point lies. */
static struct patch place(const struct shape *resolved, enum patch_by by, int64_t c)
{
    const int axis = shape_axis(resolved, by == PATCH_HEAD ? AXIS_HEAD : AXIS_TOK);
    struct patch p = { .n = 1, .count = 1 };
    for (int d = 0; d < resolved->rank; d++) {
        if (d < axis)
            p.count *= resolved->d[d].n;
        else if (d > axis)
            p.n *= resolved->d[d].n;
    }
    p.step = p.n * resolved->d[axis].n;
    p.at = c * p.n;
    return p;
}

/* From the last block to the first, so that blocks before are not run again. */
static enum st fill(struct grid *g, enum patch_by by, struct progress *p, struct patch_grid *out,
                    struct err *e)
{
    const struct graph *graph = run_graph(g->to);
    enum st st = ST_OK;
    double done = 0;
    for (int64_t b = out->rows; b-- > 0 && !st;) {
        struct shape shape;
        struct tensor x;
        const int v = point_of(graph, (int)b, by, &shape);
        st = run_read(g->from, 0, v, &x, e);
        const struct shape resolved = shape_resolve(shape, run_n_tokens(g->to), 0);
        for (int64_t c = 0; c < out->cols && !st; c++) {
            struct patch patch = place(&resolved, by, c);
            double value;
            patch.data = x.data;
            if (!progress_tick(p, "patch-grid", done++, (double)(out->rows * out->cols)))
                return st_fail(e, ST_CANCELLED, "interrupted");
            if (!(st = try_patch(g, v, &patch, p, &value, e)))
                out->restored[b * out->cols + c] = (value - out->to) / (out->from - out->to);
        }
    }
    return st;
}

/* Both prompts as they are. */
static enum st start(struct grid *g, const int32_t *from, const int32_t *to, int64_t n,
                     struct progress *p, struct patch_grid *out, struct err *e)
{
    struct progress silent = { NULL, p ? p->cancel : NULL, NULL };
    enum st st = run_input(g->from, from, NULL, NULL, n, e);
    if (!st)
        st = run_input(g->to, to, NULL, NULL, n, e);
    if (!st)
        st = last_logits(g->from, &silent, g->logits[0], e);
    if (!st)
        st = last_logits(g->to, &silent, g->logits[1], e);
    if (st)
        return st;
    struct logits_pair pair;
    logits_pair_of(g->logits[0], g->logits[0], run_graph(g->from)->vocab, -1, &pair);
    g->top = (int32_t)pair.top[0];
    out->from = value_of(g, g->logits[0]);
    out->to = value_of(g, g->logits[1]);
    if (out->from == out->to || !isfinite(out->from - out->to))
        return st_fail(e, ST_STATE, "the metric does not tell the two prompts apart (%g and %g)",
                       out->from, out->to);
    return ST_OK;
}

enum st patch_grid_of(const struct model *m, const struct run_options *o, const int32_t *from,
                      const int32_t *to, int64_t n, enum patch_by by, const struct metric *metric,
                      struct progress *p, struct patch_grid *out, struct err *e)
{
    *out = (struct patch_grid){ 0 };
    const struct graph *graph = m->graph;
    struct shape shape;
    if (graph->logits < 0)
        return st_fail(e, ST_UNSUPPORTED, "the model has no output head");
    for (int b = 0; b < graph->n_blocks; b++)
        if (point_of(graph, b, by, &shape) < 0)
            return st_fail(e, ST_NOTFOUND, "block %d of %s has no heads to patch", b, graph->arch);
    void *logits;
    enum st st = mem_alloc(&logits, (size_t)(2 * graph->vocab) * sizeof(float), "logits", e);
    if (st)
        return st;
    struct run_options options = *o;
    options.span = 0;
    struct grid g = { run_new(m, &options),
                      run_new(m, &options),
                      metric,
                      { logits, (float *)logits + graph->vocab },
                      0 };
    const struct shape resolved = shape_resolve(shape, n, 0);
    out->rows = graph->n_blocks;
    out->cols = resolved.d[shape_axis(&resolved, by == PATCH_HEAD ? AXIS_HEAD : AXIS_TOK)].n;
    out->restored = x_alloc((size_t)(out->rows * out->cols) * sizeof *out->restored + 1);
    for (int64_t i = 0; i < out->rows * out->cols; i++)
        out->restored[i] = NAN;
    st = start(&g, from, to, n, p, out, e);
    if (!st)
        st = fill(&g, by, p, out, e);
    run_free(g.from);
    run_free(g.to);
    mem_free(logits);
    return st;
}
