/* SPDX-License-Identifier: MIT */
#include "study/evaluate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "kernels/logits.h"
#include "kernels/statistics.h"

enum { ROWS = 16 /* of logits at a time */, BATCH = 4 /* segments that pass together */ };

enum st evaluation_cut(const int32_t *ids, int64_t n, int64_t segments, int64_t tokens,
                       int64_t first, int32_t bos, struct evaluation_set *out, struct err *e)
{
    if (first < 0 || first > tokens - 2)
        return st_fail(e, ST_RANGE, "a segment of %d tokens scores nothing from position %d on",
                       (int)tokens, (int)first);
    if (n < tokens)
        return st_fail(e, ST_RANGE, "the text has %d %s, less than one segment of %d", (int)n,
                       text_plural((uint64_t)n, "token", "tokens"), (int)tokens);
    segments = segments < n / tokens ? segments : n / tokens;
    void *memory;
    enum st st = mem_alloc(&memory, (size_t)(segments * tokens) * sizeof *ids, "segments", e);
    if (st)
        return st;
    *out = (struct evaluation_set){ segments, tokens, first, memory };
    for (int64_t i = 0; i < segments; i++) {
        int32_t *to = out->ids + i * tokens;
        memcpy(to, ids + n / segments * i, (size_t)tokens * sizeof *to);
        if (bos >= 0)
            to[0] = bos;
    }
    return ST_OK;
}

void evaluation_free(struct evaluation_set *set)
{
    mem_free(set->ids);
    *set = (struct evaluation_set){ 0 };
}

/* Sums of one segment. */
struct segment_sums {
    double kl, top1, log_ratio, nll, ref_nll;
};

/* An evaluation under way: [0] the reference, [1] the model. */
struct work {
    const struct evaluation_set *set;
    struct evaluation_part part;
    struct run *run[2];
    struct tensor hidden[2]; /* of the batch */
    float *logits[2];        /* [ROWS][vocab] */
    double *kl;              /* [scored] */
    struct segment_sums *sums; /* [segments] */
    struct divergence *out;
    struct progress *front;
    int which; /* model that runs */
    int64_t batch; /* segments of the batch */
};

static bool show(const struct work *w, double part)
{
    return progress_tick(w->front, "kl", (double)w->out->segments + part * (double)w->batch,
                         (double)w->out->segments_of);
}

static void show_part(struct progress *p, const char *label, double done, double total)
{
    const struct work *w = p->data;
    if (total > 0 && !strcmp(label, "run"))
        show(w, (w->which + done / total) / 2);
}

/* Run the batch through one model, up to what the output head reads. */
static enum st pass(struct work *w, int which, const int32_t *ids, const int32_t *seq,
                    struct err *e)
{
    struct run *r = w->run[which];
    const struct graph *g = run_graph(r);
    const struct position to = { 0, g->values[g->hidden].node + 1 };
    struct progress inside = { show_part, w->front ? w->front->cancel : NULL, w };
    w->which = which;
    enum st st = run_input(r, ids, seq, NULL, w->batch * w->set->tokens, e);
    if (!st)
        st = run_forward(r, to, &inside, NULL, e);
    return st ? st : run_read(r, 0, g->hidden, &w->hidden[which], e);
}

static void score(struct work *w, const float *ref, const float *x, int32_t target,
                  struct segment_sums *s)
{
    struct logits_pair pair;
    logits_pair_of(ref, x, run_graph(w->run[0])->vocab, target, &pair);
    w->kl[w->out->scored++] = pair.kl;
    s->kl += pair.kl;
    s->top1 += pair.top[0] == pair.top[1];
    s->log_ratio += pair.log_prob[0] - pair.log_prob[1];
    s->ref_nll -= pair.log_prob[0];
    s->nll -= pair.log_prob[1];
}

/* Score segment i of the batch, whose tokens are ids. */
static enum st score_segment(struct work *w, int64_t i, const int32_t *ids, struct err *e)
{
    const int64_t tokens = w->set->tokens, vocab = run_graph(w->run[0])->vocab;
    struct segment_sums sums = { 0 };
    for (int64_t t = w->set->first; t < tokens - 1; t += ROWS) {
        const int64_t n = tokens - 1 - t < ROWS ? tokens - 1 - t : ROWS;
        for (int k = 0; k < 2; k++) {
            const float *x = w->hidden[k].data
                             + (i * tokens + t) * shape_per_token(&w->hidden[k].shape);
            enum st st = run_head(w->run[k], x, n, w->logits[k], e);
            if (st)
                return st;
        }
        for (int64_t j = 0; j < n; j++)
            score(w, w->logits[0] + j * vocab, w->logits[1] + j * vocab, ids[t + j + 1], &sums);
    }
    w->sums[w->out->segments++] = sums;
    return ST_OK;
}

static enum st all_segments(struct work *w, int32_t *ids, int32_t *seq, struct err *e)
{
    const int64_t tokens = w->set->tokens, of = w->out->segments_of;
    while (w->out->segments < of) {
        const int64_t done = w->out->segments;
        w->batch = of - done < BATCH ? of - done : BATCH;
        for (int64_t i = 0; i < w->batch * tokens; i++) {
            const int64_t segment = w->part.from + (done + i / tokens) * w->part.step;
            ids[i] = w->set->ids[segment * tokens + i % tokens];
            seq[i] = (int32_t)(i / tokens);
        }
        if (!show(w, 0))
            return st_fail(e, ST_CANCELLED, "interrupted");
        enum st st = pass(w, 0, ids, seq, e);
        if (!st)
            st = pass(w, 1, ids, seq, e);
        for (int64_t i = 0; i < w->batch && !st; i++)
            st = score_segment(w, i, ids + i * tokens, e);
        if (st)
            return st;
    }
    return ST_OK;
}

/* Mean of one of the sums, `offset` bytes into them. */
static struct clustered_mean mean_of(const struct work *w, size_t offset)
{
    const size_t n = (size_t)w->out->segments;
    double *sum = x_alloc(n * sizeof *sum + 1);
    int64_t *count = x_alloc(n * sizeof *count + 1);
    for (size_t i = 0; i < n; i++) {
        sum[i] = *(const double *)(const void *)((const char *)&w->sums[i] + offset);
        count[i] = w->set->tokens - 1 - w->set->first;
    }
    const struct clustered_mean m = clustered_mean_of(sum, count, n);
    free(sum);
    free(count);
    return m;
}

static void finish(const struct work *w)
{
    struct divergence *d = w->out;
    static const double p[] = { 0.5, 0.99, 1 };
    double q[3];
    d->scored = d->segments * (w->set->tokens - 1 - w->set->first);
    d->kl = mean_of(w, offsetof(struct segment_sums, kl));
    d->top1 = mean_of(w, offsetof(struct segment_sums, top1));
    d->log_ratio = mean_of(w, offsetof(struct segment_sums, log_ratio));
    d->nll = mean_of(w, offsetof(struct segment_sums, nll)).value;
    d->ref_nll = mean_of(w, offsetof(struct segment_sums, ref_nll)).value;
    quantiles_f64(w->kl, d->scored, p, 3, q);
    d->kl_median = q[0], d->kl_p99 = q[1], d->kl_max = q[2];
}

static enum st check(const struct model *m, const struct evaluation_set *set, struct err *e)
{
    if (!m->graph) {
        if (e)
            *e = m->no_graph;
        return m->no_graph.st;
    }
    if (m->graph->logits < 0)
        return st_fail(e, ST_UNSUPPORTED, "the model has no output head");
    for (int64_t i = 0; i < set->segments * set->tokens; i++)
        if (set->ids[i] < 0 || set->ids[i] >= m->graph->vocab)
            return st_fail(e, ST_FORMAT, "token %d of the text is not in the model's vocabulary",
                           set->ids[i]);
    return ST_OK;
}

enum st divergence_of(const struct model *ref, const struct run_options *oref,
                      const struct model *m, const struct run_options *o,
                      const struct evaluation_set *set, struct evaluation_part part,
                      struct progress *p, struct divergence *out, struct err *e)
{
    enum st st = check(ref, set, e);
    if (!st)
        st = check(m, set, e);
    if (!st && ref->graph->vocab != m->graph->vocab)
        st = st_fail(e, ST_UNSUPPORTED, "the vocabularies differ: %d tokens, reference %d",
                     (int)m->graph->vocab, (int)ref->graph->vocab);
    if (st)
        return st;
    struct divergence d = { 0 };
    if (set->segments > part.from)
        d.segments_of = (set->segments - part.from + part.step - 1) / part.step;
    struct work w = { .set = set, .part = part, .out = &d, .front = p };
    const size_t tokens = (size_t)(BATCH * set->tokens);
    const size_t rows = (size_t)(2 * ROWS * m->graph->vocab);
    float *logits = NULL;
    if ((st = mem_alloc((void **)&logits, rows * sizeof *logits, "the logits of two models", e)))
        return st;
    w.logits[0] = logits, w.logits[1] = logits + rows / 2;
    w.kl = x_alloc((size_t)(d.segments_of * set->tokens) * sizeof *w.kl + 1);
    w.sums = x_alloc((size_t)d.segments_of * sizeof *w.sums + 1);
    int32_t *ids = x_alloc(2 * tokens * sizeof *ids);
    struct run_options options[] = { *oref, *o };
    for (int i = 0; i < 2; i++) {
        options[i].span = 0;
        options[i].checkpoint_bytes = RUN_NO_CHECKPOINTS;
        w.run[i] = run_new(i ? m : ref, &options[i]);
    }
    st = all_segments(&w, ids, ids + tokens, e);
    finish(&w);
    *out = d;
    run_free(w.run[0]);
    run_free(w.run[1]);
    free(ids);
    free(w.sums);
    free(w.kl);
    mem_free(logits);
    return st;
}
