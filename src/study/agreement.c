/* SPDX-License-Identifier: MIT */
#include "study/agreement.h"

#include <math.h>
#include <stdlib.h>

#include "base/memory.h"
#include "kernels/logits.h"
#include "kernels/statistics.h"

static const double bin_from[AGREE_BINS] = { 0, 0.25, 0.5, 0.75, 0.95 };

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
