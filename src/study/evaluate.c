/* SPDX-License-Identifier: MIT */
#include "study/evaluate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "kernels/statistics.h"
#include "study/anytime.h"
#include "study/evaluator.h"

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
    *out = (struct evaluation_set){ segments, tokens, first, memory, false };
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

int64_t evaluation_scored(const struct evaluation_set *set)
{
    return set->tokens - !set->open - set->first;
}

int64_t part_segments(const struct evaluation_set *set, struct evaluation_part part)
{
    return set->segments > part.from ? (set->segments - part.from + part.step - 1) / part.step : 0;
}

int64_t part_segment(const struct evaluation_set *set, struct evaluation_part part, int64_t i)
{
    return part.from + part.step * (part.anytime ? anytime_at(i, part_segments(set, part)) : i);
}

void broken_count(struct broken_logits *b, int which, double log_sum, int64_t segment, int64_t at)
{
    if (isfinite(log_sum) || b->tokens[which]++)
        return;
    b->segment[which] = segment;
    b->at[which] = at;
}

/* The mean and its interval, as the part is gone through. */
static struct clustered_mean interval_of(const struct measurement *m, const double *sum,
                                         const int64_t *count, size_t n)
{
    return m->part.anytime ? anytime_mean_of(sum, count, n) : clustered_mean_of(sum, count, n);
}

/* Sum i of a measurement, `offset` bytes into its sums. */
static double sum_at(const struct measurement *m, int64_t i, size_t offset)
{
    return *(const double *)(const void *)((const char *)&m->sums[i] + offset);
}

static struct clustered_mean mean_of(const struct measurement *a, const struct measurement *b,
                                     int64_t segments, size_t offset)
{
    const size_t n = (size_t)segments;
    double *sum = x_alloc(n * sizeof *sum + 1);
    int64_t *count = x_alloc(n * sizeof *count + 1);
    for (int64_t i = 0; i < segments; i++) {
        sum[i] = sum_at(a, i, offset) - (b ? sum_at(b, i, offset) : 0);
        count[i] = a->scored;
    }
    const struct clustered_mean m = interval_of(a, sum, count, n);
    free(sum);
    free(count);
    return m;
}

double segment_damage(const struct measurement *m, int64_t i, const struct metric *metric)
{
    const struct segment_sums *s = &m->sums[i];
    switch (metric->kind) {
    case METRIC_KL: return s->kl;
    case METRIC_TOP1: return (double)m->scored - s->top1;
    case METRIC_LOGRATIO: return s->log_ratio;
    case METRIC_LOGITDIFF: return s->logit_diff;
    }
    return NAN;
}

struct clustered_mean measurement_damage(const struct measurement *m, const struct metric *metric)
{
    double *sum = x_alloc((size_t)m->segments * sizeof *sum + 1);
    int64_t *count = x_alloc((size_t)m->segments * sizeof *count + 1);
    for (int64_t i = 0; i < m->segments; i++) {
        sum[i] = segment_damage(m, i, metric);
        count[i] = m->scored;
    }
    const struct clustered_mean mean = interval_of(m, sum, count, (size_t)m->segments);
    free(sum);
    free(count);
    return mean;
}

struct clustered_mean measurement_mean(const struct measurement *m, size_t offset)
{
    return mean_of(m, NULL, m->segments, offset);
}

struct clustered_mean measurement_top1(const struct measurement *m)
{
    struct clustered_mean top1 = measurement_mean(m, offsetof(struct segment_sums, top1));
    if (isnan(top1.low) || (top1.value > 0 && top1.value < 1))
        return top1;
    const double none = m->part.anytime ? anytime_none_of(top1.n) : share_of(0, top1.n).high;
    if (top1.value > 0)
        top1.low = 1 - none;
    else
        top1.high = none;
    return top1;
}

struct clustered_mean measurement_difference(const struct measurement *a,
                                             const struct measurement *b, size_t offset)
{
    return mean_of(a, b, a->segments < b->segments ? a->segments : b->segments, offset);
}

void measurement_divergence(const struct measurement *m, struct divergence *d)
{
    enum { N = 5, BEYOND = 10 };
    static const double p[N] = { 0.5, 0.9, 0.99, 0.999, 1 };
    double q[N];
    *d = (struct divergence){ .broken = m->broken,
                              .segments = m->segments,
                              .segments_of = m->segments_of,
                              .scored = m->segments * m->scored };
    d->kl = measurement_mean(m, offsetof(struct segment_sums, kl));
    d->top1 = measurement_top1(m);
    d->log_ratio = measurement_mean(m, offsetof(struct segment_sums, log_ratio));
    d->nll = measurement_mean(m, offsetof(struct segment_sums, nll)).value;
    d->ref_nll = measurement_mean(m, offsetof(struct segment_sums, ref_nll)).value;
    double *kl = x_scratch((size_t)d->scored * sizeof *kl + 1);
    memcpy(kl, m->kl, (size_t)d->scored * sizeof *kl);
    quantiles_f64(kl, d->scored, p, N, q);
    free(kl);
    const bool broken = m->broken.tokens[0] || m->broken.tokens[1];
    for (int i = 0; i < N; i++) /* rounding of 1 - p must not lose the tenth */
        if (broken || (i < N - 1 && (double)d->scored * (1 - p[i]) < BEYOND - 1e-6))
            q[i] = NAN;
    d->kl_median = q[0], d->kl_p90 = q[1], d->kl_p99 = q[2], d->kl_p999 = q[3], d->kl_max = q[4];
}

enum st divergence_of(const struct model *ref, const struct run_options *oref,
                      const struct model *m, const struct run_options *o,
                      const struct evaluation_set *set, struct evaluation_part part,
                      struct progress *p, struct divergence *out, struct err *e)
{
    const struct evaluation what = { .ref = ref, .model = m, .options = *oref, .set = set };
    struct evaluator *ev;
    struct measurement done;
    enum st st = evaluator_new(&what, &ev, e);
    if (st)
        return st;
    measurement_begin(ev, part, 0, &done);
    st = evaluator_measure(ev, o->plan, &done, p, e);
    measurement_divergence(&done, out);
    measurement_free(&done);
    evaluator_free(ev);
    return st;
}
