/* SPDX-License-Identifier: MIT */
#include "study/base_kl.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "kernels/statistics.h"

enum { ROWS = 16 /* of logits at a time */ };

const double base_quantiles[BASE_QUANTILES] = { 0,    0.001, 0.01, 0.05, 0.1,   0.25, 0.5,
                                                0.75, 0.9,   0.95, 0.99, 0.999, 1 };

struct work {
    const struct logits_base *base;
    struct run *run;
    float *logits, *row; /* [ROWS][vocab], [vocab] */
    struct base_tokens tokens;
    struct base_divergence *out;
};

/* In float32 where llama-perplexity rounds to it: its last printed digit hangs on that. */
void base_tokens_add(struct base_tokens *t, const float *logits, const float *base, int64_t n,
                     int32_t next)
{
    int64_t top = 0, base_top = 0;
    double sum = 0, kl = 0;
    for (int64_t i = 1; i < n; i++) {
        top = logits[i] > logits[top] ? i : top;
        base_top = base[i] > base[base_top] ? i : base_top;
    }
    for (int64_t i = 0; i < n; i++)
        sum += (double)expf(logits[i] - logits[top]);
    const float log_sum = logits[top] + (float)log(sum);
    for (int64_t i = 0; i < n; i++)
        if (base[i] > (float)KL_COMPAT_CUT)
            kl += (double)(expf(base[i]) * (base[i] - logits[i] + log_sum));
    const float nll = log_sum - logits[next], base_nll = -base[next];
    x_grow(&t->list, &t->cap, t->n + 1, sizeof *t->list);
    t->list[t->n++] = (struct base_token){ .nll = (double)nll,
                                           .base_nll = (double)base_nll,
                                           .kl = kl,
                                           .dp = (double)(expf(-nll) - expf(-base_nll)),
                                           .same_top = top == base_top };
}

void base_tokens_free(struct base_tokens *t)
{
    free(t->list);
    *t = (struct base_tokens){ 0 };
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
            if (!st)
                base_tokens_add(&w->tokens, w->logits + k * vocab, w->row, vocab,
                                ids[first + i + k + 1]);
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

/* Perplexities, their ratio and difference; covariance: of the mean nll and base_nll. */
static void perplexities(struct base_divergence *d, double covariance)
{
    const double a = d->nll.error, b = d->base_nll.error;
    d->correlation = covariance / (a * b);
    d->log_ratio.value = d->nll.value - d->base_nll.value;
    d->log_ratio.error = sqrt(fmax(0, a * a + b * b - 2 * covariance));
    d->ppl.value = exp(d->nll.value);
    d->ppl.error = d->ppl.value * a;
    d->base_ppl.value = exp(d->base_nll.value);
    d->base_ppl.error = d->base_ppl.value * b;
    d->ratio.value = exp(d->log_ratio.value);
    d->ratio.error = d->ratio.value * d->log_ratio.error;
    d->difference.value = d->ppl.value - d->base_ppl.value;
    d->difference.error = sqrt(fmax(0, d->ppl.error * d->ppl.error
                                           + d->base_ppl.error * d->base_ppl.error
                                           - 2 * d->ppl.value * d->base_ppl.value * covariance));
}

void base_figures_of(const struct base_tokens *t, struct base_divergence *d)
{
    const double n = (double)t->n;
    double sum[4] = { 0 }, square[4] = { 0 }, dp4 = 0, cross = 0, same = 0;
    double *kl = x_scratch(2 * t->n * sizeof *kl + 1), *dp = kl + t->n;
    for (size_t k = 0; k < t->n; k++) {
        const struct base_token *s = &t->list[k];
        const double x[] = { s->nll, s->base_nll, s->kl, s->dp };
        for (int i = 0; i < 4; i++) {
            sum[i] += x[i];
            square[i] += x[i] * x[i];
        }
        dp4 += pow(s->dp, 4);
        cross += s->nll * s->base_nll;
        same += s->same_top;
        kl[k] = s->kl;
        dp[k] = s->dp;
    }
    d->scored = (int64_t)t->n;
    d->nll = figure(sum[0], square[0], n);
    d->base_nll = figure(sum[1], square[1], n);
    d->kl = figure(sum[2], square[2], n);
    d->dp = figure(sum[3], square[3], n);
    perplexities(d, (cross / n - d->nll.value * d->base_nll.value) / (n - 1));
    const struct base_figure mean_square = figure(square[3], dp4, n);
    d->rms_dp.value = sqrt(mean_square.value);
    d->rms_dp.error = d->rms_dp.value > 0 ? 0.5 * mean_square.error / d->rms_dp.value : 0;
    same /= n;
    d->same_top = (struct base_figure){ same, n > 1 ? sqrt(same * (1 - same) / (n - 1)) : 0 };
    quantiles_f64(kl, d->scored, base_quantiles, BASE_QUANTILES, d->kl_at);
    quantiles_f64(dp, d->scored, base_quantiles, BASE_QUANTILES, d->dp_at);
    free(kl);
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
    const size_t vocab = (size_t)base->n_vocab;
    enum st st = mem_alloc(&logits, (ROWS + 1) * vocab * sizeof(float), "logits", e);
    if (st)
        return st;
    w.logits = logits;
    w.row = w.logits + ROWS * vocab;
    struct run_options options = *o;
    options.span = 0;
    options.checkpoint_bytes = RUN_NO_CHECKPOINTS;
    w.run = run_new(m, &options);
    int32_t *input = x_alloc((size_t)base->n_ctx * sizeof *input);
    const bool bos = m->tokenizer && tokenizer_adds_bos(m->tokenizer);
    st = all_chunks(&w, bos ? tokenizer_bos(m->tokenizer) : -1, input, p, e);
    if (w.tokens.n)
        base_figures_of(&w.tokens, &d);
    *out = d;
    free(input);
    run_free(w.run);
    base_tokens_free(&w.tokens);
    mem_free(logits);
    return st;
}
