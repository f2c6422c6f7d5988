/* SPDX-License-Identifier: MIT */
#include "study/agreement.h"

#include <math.h>
#include <stdlib.h>

#include "base/memory.h"
#include "kernels/logits.h"
#include "kernels/statistics.h"

static const double bin_from[AGREE_BINS] = { 0, 0.25, 0.5, 0.75, 0.95 };
enum { CUT = -16 };

static void count_top(const struct scored_token *t, struct collector *c, struct token_figures *f)
{
    if (!c->scratch)
        c->scratch = x_alloc(2 * AGREE_TOP * sizeof *c->scratch);
    int32_t *a = c->scratch, *b = a + AGREE_TOP;
    const int64_t n = logits_top(t->logits[0], t->vocab, AGREE_TOP, a);
    logits_top(t->logits[1], t->vocab, AGREE_TOP, b);
    for (int64_t k = 0; k < n; k++) {
        f->top[k] = 0;
        for (int64_t i = 0; i <= k; i++)
            for (int64_t j = 0; j <= k; j++)
                f->top[k] += a[i] == b[j];
    }
    f->confidence = exp((double)t->logits[0][a[0]] - t->pair->log_sum[0]);
}

void token_collect(void *collector, const struct scored_token *t)
{
    struct collector *c = collector;
    if (t->next < 0)
        return;
    const struct logits_pair *pair = t->pair;
    struct token_figures f = { .kl = pair->kl,
                               .log_prob = { pair->log_prob[0], pair->log_prob[1] },
                               .same_top = pair->top[0] == pair->top[1] };
    f.kl_cut = kl_of_logits(t->logits[0], t->logits[1], t->vocab, CUT);
    for (int64_t i = 0; i < t->vocab; i++) {
        const double p = (double)t->logits[0][i] - pair->log_sum[0],
                     q = (double)t->logits[1][i] - pair->log_sum[1];
        f.accepted += exp(p < q ? p : q);
    }
    count_top(t, c, &f);
    x_grow(&c->list, &c->cap, c->n + 1, sizeof *c->list);
    c->list[c->n++] = f;
}

void collector_free(struct collector *c)
{
    free(c->list);
    free(c->scratch);
    *c = (struct collector){ 0 };
}

/* Sums over tokens of x, y, their squares and product. */
struct moments {
    double n, x, y, xx, yy, xy;
};

static void add(struct moments *m, double x, double y)
{
    m->n++;
    m->x += x;
    m->y += y;
    m->xx += x * x;
    m->yy += y * y;
    m->xy += x * y;
}

/* Square of the error of the mean, tokens being independent. */
static double error_of(double sum, double squares, double n)
{
    const double mean = sum / n;
    return sqrt(fmax(0, (squares / n - mean * mean) / (n - 1)));
}

static double covariance(const struct moments *m)
{
    return (m->xy / m->n - m->x / m->n * (m->y / m->n)) / (m->n - 1);
}

static double delta_p(const struct token_figures *f)
{
    return exp(f->log_prob[1]) - exp(f->log_prob[0]);
}

void agreement_of(const struct token_figures *list, size_t n, struct agreement *out)
{
    struct moments p = { 0 };
    double sum = 0, squares = 0;
    *out = (struct agreement){ .n = (int64_t)n };
    for (int b = 0; b < AGREE_BINS; b++)
        out->bins[b].from = bin_from[b];
    for (size_t i = 0; i < n; i++) {
        const struct token_figures *f = &list[i];
        const double d = delta_p(f);
        int b = AGREE_BINS - 1;
        while (b > 0 && f->confidence < bin_from[b])
            b--;
        add(&p, f->log_prob[0], f->log_prob[1]);
        sum += d;
        squares += d * d;
        out->accepted += f->accepted;
        for (int k = 0; k < AGREE_TOP; k++)
            out->top[k] += f->top[k] / (k + 1.0);
        out->bins[b].n++;
        out->bins[b].kl += f->kl;
        out->bins[b].top1 += f->same_top;
    }
    const double count = (double)n;
    out->delta_p_mean = 100 * sum / count;
    out->delta_p_rms = 100 * sqrt(squares / count);
    out->correlation = covariance(&p) / (error_of(p.x, p.xx, p.n) * error_of(p.y, p.yy, p.n));
    out->accepted /= count;
    for (int k = 0; k < AGREE_TOP; k++)
        out->top[k] /= count;
    for (int b = 0; b < AGREE_BINS; b++) {
        out->bins[b].kl /= (double)out->bins[b].n;
        out->bins[b].top1 /= (double)out->bins[b].n;
    }
}

void peer_figures_of(const struct token_figures *list, size_t n, struct peer_figures *o)
{
    enum { N = 6 };
    static const double p[N] = { 0, 0.01, 0.5, 0.99, 0.999, 1 };
    struct moments nll = { 0 }, kl = { 0 }, delta = { 0 }, squares = { 0 };
    double q[N], same = 0, *values = x_scratch(n * sizeof *values + 1);
    for (size_t i = 0; i < n; i++) {
        const double d = delta_p(&list[i]);
        add(&nll, -list[i].log_prob[1], -list[i].log_prob[0]);
        add(&kl, list[i].kl_cut, 0);
        add(&delta, d, 0);
        add(&squares, d * d, 0);
        same += list[i].same_top;
        values[i] = list[i].kl_cut;
    }
    const double count = (double)n, mine = error_of(nll.x, nll.xx, count),
                 base = error_of(nll.y, nll.yy, count), both = covariance(&nll);
    quantiles_f64(values, (int64_t)n, p, N, q);
    free(values);
    *o = (struct peer_figures){ .n = (int64_t)n,
                                .ppl = exp(nll.x / count),
                                .base_ppl = exp(nll.y / count),
                                .correlation = 100 * both / (mine * base),
                                .log_ratio = (nll.x - nll.y) / count,
                                .kl = kl.x / count,
                                .kl_error = error_of(kl.x, kl.xx, count),
                                .delta_p = 100 * delta.x / count,
                                .delta_p_error = 100 * error_of(delta.x, delta.xx, count),
                                .delta_p_rms = 100 * sqrt(squares.x / count),
                                .same_top = 100 * same / count };
    o->ppl_error = o->ppl * mine;
    o->base_ppl_error = o->base_ppl * base;
    o->log_ratio_error = sqrt(fmax(0, mine * mine + base * base - 2 * both));
    o->delta_p_rms_error = 100 * 100 * 0.5 / o->delta_p_rms
                           * error_of(squares.x, squares.xx, count);
    o->same_top_error = 100 * sqrt(same / count * (1 - same / count) / (count - 1));
    o->kl_min = q[0], o->kl_p1 = q[1], o->kl_median = q[2];
    o->kl_p99 = q[3], o->kl_p999 = q[4], o->kl_max = q[5];
}
