/* SPDX-License-Identifier: MIT */
#include "study/base_kl.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "kernels/statistics.h"

enum { ROWS = 16 /* of logits at a time */ };

const double base_quantiles[BASE_QUANTILES] = { 0,   0.001, 0.01, 0.05,  0.1, 0.5,
                                                0.9, 0.95,  0.99, 0.999, 1 };

/* Of a scored token. */
struct scored {
    double nll, base_nll, kl, dp;
    bool same_top;
};

struct work {
    const struct logits_base *base;
    struct run *run;
    float *logits, *row; /* [ROWS][vocab], [vocab] */
    double *kl, *dp;     /* [scored], for quantiles */
    struct base_divergence *out;
    double sum[4], square[4], dp4, cross; /* of nll, base_nll, kl, dp; dp^4; nll * base_nll */
    int64_t same;
};

/* One row of logits against the log-probabilities of the base. */
static struct scored compare(const float *logits, const float *base, int64_t n, int32_t next)
{
    struct scored s = { 0 };
    const double sum = log_sum_exp(logits, n);
    int64_t top = 0, base_top = 0;
    for (int64_t i = 0; i < n; i++) {
        top = logits[i] > logits[top] ? i : top;
        base_top = base[i] > base[base_top] ? i : base_top;
        if (base[i] > (float)KL_COMPAT_CUT)
            s.kl += exp((double)base[i]) * ((double)base[i] - (double)logits[i] + sum);
    }
    s.nll = sum - (double)logits[next];
    s.base_nll = -(double)base[next];
    s.dp = exp(-s.nll) - exp(-s.base_nll);
    s.same_top = top == base_top;
    return s;
}

static void add(struct work *w, const struct scored *s)
{
    const double x[] = { s->nll, s->base_nll, s->kl, s->dp };
    for (int i = 0; i < 4; i++) {
        w->sum[i] += x[i];
        w->square[i] += x[i] * x[i];
    }
    w->dp4 += pow(s->dp, 4);
    w->cross += s->nll * s->base_nll;
    w->same += s->same_top;
    w->kl[w->out->scored] = s->kl;
    w->dp[w->out->scored++] = s->dp;
}

static enum st score_chunk(struct work *w, const int32_t *ids, struct err *e)
{
    const struct graph *g = run_graph(w->run);
    const int64_t first = w->base->n_ctx / 2, vocab = w->base->n_vocab;
    struct tensor x;
    enum st st = run_read(w->run, 0, g->hidden, &x, e);
    for (int64_t i = 0; i < w->base->scored && !st; i += ROWS) {
        const int64_t n = w->base->scored - i < ROWS ? w->base->scored - i : ROWS;
        st = run_head(w->run, x.data + (first + i) * shape_per_token(&x.shape), n, w->logits, e);
        for (int64_t k = 0; k < n && !st; k++) {
            st = logits_row(w->base, w->out->chunks, i + k, w->row, e);
            const struct scored s = st ? (struct scored){ 0 }
                                       : compare(w->logits + k * vocab, w->row, vocab,
                                                 ids[first + i + k + 1]);
            if (!st)
                add(w, &s);
        }
    }
    return st;
}

static void show_part(struct progress *p, const char *label, double done, double total)
{
    const struct work *w = ((void **)p->data)[0];
    struct progress *front = ((void **)p->data)[1];
    if (total > 0 && !strcmp(label, "run"))
        progress_tick(front, "kl", (double)w->out->chunks + done / total,
                      (double)w->out->chunks_of);
}

static enum st all_chunks(struct work *w, int32_t bos, int32_t *input, struct progress *front,
                          struct err *e)
{
    const struct graph *g = run_graph(w->run);
    const struct position to = { 0, g->values[g->hidden].node + 1 };
    void *both[] = { w, front };
    struct progress inside = { show_part, front ? front->cancel : NULL, both };
    for (; w->out->chunks < w->out->chunks_of; w->out->chunks++) {
        const int32_t *ids = w->base->tokens + w->out->chunks * w->base->n_ctx;
        if (!progress_tick(front, "kl", (double)w->out->chunks, (double)w->out->chunks_of))
            return st_fail(e, ST_CANCELLED, "interrupted");
        memcpy(input, ids, (size_t)w->base->n_ctx * sizeof *input);
        if (bos >= 0)
            input[0] = bos;
        enum st st = run_input(w->run, input, NULL, NULL, w->base->n_ctx, e);
        if (!st)
            st = run_forward(w->run, to, &inside, NULL, e);
        if (!st)
            st = score_chunk(w, ids, e);
        if (st)
            return st;
    }
    return ST_OK;
}

static struct base_figure figure(double sum, double square, double n)
{
    const double mean = sum / n, variance = square / n - mean * mean;
    return (struct base_figure){ mean, variance > 0 && n > 1 ? sqrt(variance / (n - 1)) : 0 };
}

static void finish(struct work *w)
{
    struct base_divergence *d = w->out;
    const double n = (double)d->scored;
    if (!d->scored)
        return;
    d->nll = figure(w->sum[0], w->square[0], n);
    d->base_nll = figure(w->sum[1], w->square[1], n);
    d->kl = figure(w->sum[2], w->square[2], n);
    d->dp = figure(w->sum[3], w->square[3], n);
    const double covariance = (w->cross / n - d->nll.value * d->base_nll.value) / (n - 1);
    d->correlation = covariance / (d->nll.error * d->base_nll.error);
    d->log_ratio.value = d->nll.value - d->base_nll.value;
    d->log_ratio.error = sqrt(fmax(
        0, d->nll.error * d->nll.error + d->base_nll.error * d->base_nll.error - 2 * covariance));
    const struct base_figure square = figure(w->square[3], w->dp4, n);
    d->rms_dp.value = sqrt(square.value);
    d->rms_dp.error = d->rms_dp.value > 0 ? 0.5 * square.error / d->rms_dp.value : 0;
    const double same = (double)w->same / n;
    d->same_top = (struct base_figure){ same, n > 1 ? sqrt(same * (1 - same) / (n - 1)) : 0 };
    quantiles_f64(w->kl, d->scored, base_quantiles, BASE_QUANTILES, d->kl_at);
    quantiles_f64(w->dp, d->scored, base_quantiles, BASE_QUANTILES, d->dp_at);
}

enum st base_divergence_of(const struct model *m, const struct run_options *o,
                           const struct logits_base *base, struct progress *p,
                           struct base_divergence *out, struct err *e)
{
    if (!m->graph) {
        if (e)
            *e = m->no_graph;
        return m->no_graph.st;
    }
    if (m->graph->logits < 0)
        return st_fail(e, ST_UNSUPPORTED, "the model has no output head");
    if (m->graph->vocab != base->n_vocab)
        return st_fail(e, ST_UNSUPPORTED, "the vocabularies differ: %d tokens, the file's %d",
                       (int)m->graph->vocab, (int)base->n_vocab);
    struct base_divergence d = { .chunks_of = base->n_chunk };
    struct work w = { .base = base, .out = &d };
    void *logits;
    const size_t vocab = (size_t)base->n_vocab, scored = (size_t)(base->n_chunk * base->scored);
    enum st st = mem_alloc(&logits, (ROWS + 1) * vocab * sizeof(float), "logits", e);
    if (st)
        return st;
    w.logits = logits;
    w.row = w.logits + ROWS * vocab;
    w.kl = x_alloc(2 * scored * sizeof *w.kl);
    w.dp = w.kl + scored;
    struct run_options options = *o;
    options.span = 0;
    options.checkpoint_bytes = RUN_NO_CHECKPOINTS;
    w.run = run_new(m, &options);
    int32_t *input = x_alloc((size_t)base->n_ctx * sizeof *input);
    const bool bos = m->tokenizer && tokenizer_adds_bos(m->tokenizer);
    st = all_chunks(&w, bos ? tokenizer_bos(m->tokenizer) : -1, input, p, e);
    finish(&w);
    *out = d;
    free(input);
    run_free(w.run);
    free(w.kl);
    mem_free(logits);
    return st;
}
