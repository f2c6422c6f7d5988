/* SPDX-License-Identifier: MIT */
/* Agreement of two models on the same tokens: against sums written out. */
#include "tests/harness/unit.h"

#include <math.h>
#include <stdlib.h>

#include "kernels/logits.h"
#include "study/agreement.h"
#include "study/worst.h"

enum { VOCAB = 40, TOKENS = 300 };

struct drawn {
    float logits[2][TOKENS][VOCAB];
    int32_t next[TOKENS];
    struct collector tokens;
    struct worst worst;
    struct worst_token list[7];
};

static struct drawn *draw(void)
{
    static struct drawn d;
    uint64_t state = 4;
    collector_free(&d.tokens);
    d.worst = (struct worst){ .list = d.list, .most = 7 };
    for (int t = 0; t < TOKENS; t++) {
        struct logits_pair pair;
        const double scale = 1 + 12 * (double)(unit_random(&state) >> 11) * 0x1p-53;
        for (int i = 0; i < VOCAB; i++) {
            const double u = (double)(unit_random(&state) >> 11) * 0x1p-53,
                         v = (double)(unit_random(&state) >> 11) * 0x1p-53;
            d.logits[0][t][i] = (float)(3 * scale * (u - 0.5));
            d.logits[1][t][i] = d.logits[0][t][i] + (float)(v - 0.5);
        }
        d.next[t] = (int32_t)(unit_random(&state) % VOCAB);
        logits_pair_of(d.logits[0][t], d.logits[1][t], VOCAB, d.next[t], &pair);
        const struct scored_token token = { .segment = t / 10,
                                            .at = t % 10,
                                            .next = d.next[t],
                                            .vocab = VOCAB,
                                            .logits = { d.logits[0][t], d.logits[1][t] },
                                            .pair = &pair };
        token_collect(&d.tokens, &token);
        worst_collect(&d.worst, &token);
    }
    return &d;
}

/* Probabilities of a row, in double. */
static void softmax(const float *x, double *p)
{
    double sum = 0;
    for (int i = 0; i < VOCAB; i++)
        sum += p[i] = exp((double)x[i]);
    for (int i = 0; i < VOCAB; i++)
        p[i] /= sum;
}

static int rank_of(const double *p, int id)
{
    int rank = 0;
    for (int i = 0; i < VOCAB; i++)
        rank += p[i] > p[id];
    return rank;
}

/* Sums over the tokens, of which the figures are made. */
struct written_out {
    double accepted, delta, squares, top3, same, sure;
    double x, y, xx, yy, xy; /* -ln p(next) of the model and the reference */
    int n_sure;
    double vx, vy, c; /* variances and covariance of x and y */
};

static void write_out(const struct drawn *d, int t, struct written_out *s)
{
    double p[VOCAB], q[VOCAB], most = 0;
    softmax(d->logits[0][t], p);
    softmax(d->logits[1][t], q);
    for (int i = 0; i < VOCAB; i++) {
        s->accepted += fmin(p[i], q[i]);
        most = fmax(most, p[i]);
        s->top3 += rank_of(p, i) < 3 && rank_of(q, i) < 3;
        s->same += !rank_of(p, i) && !rank_of(q, i);
    }
    const double dp = q[d->next[t]] - p[d->next[t]];
    const double lp = -log(p[d->next[t]]), lq = -log(q[d->next[t]]);
    s->delta += dp, s->squares += dp * dp;
    s->x += lq, s->y += lp, s->xx += lq * lq, s->yy += lp * lp, s->xy += lq * lp;
    if (most >= 0.95) {
        s->n_sure++;
        s->sure += d->tokens.list[t].kl;
    }
}

static struct written_out written_out_of(const struct drawn *d)
{
    const double n = TOKENS;
    struct written_out s = { 0 };
    for (int t = 0; t < TOKENS; t++)
        write_out(d, t, &s);
    s.vx = s.xx / n - s.x / n * (s.x / n);
    s.vy = s.yy / n - s.y / n * (s.y / n);
    s.c = s.xy / n - s.x / n * (s.y / n);
    return s;
}

static void figures_equal_sums_written_out(void **unused)
{
    (void)unused;
    struct drawn *d = draw();
    const struct written_out s = written_out_of(d);
    const double n = TOKENS;
    struct agreement a;
    assert_true(s.n_sure > 0);
    agreement_of(d->tokens.list, d->tokens.n, &a);
    assert_within(a.accepted, s.accepted / n, 1e-9);
    assert_within(a.delta_p_mean, 100 * s.delta / n, 1e-9);
    assert_within(a.delta_p_rms, 100 * sqrt(s.squares / n), 1e-9);
    assert_within(a.top[2], s.top3 / 3 / n, 1e-12);
    assert_within(a.top[0], s.same / n, 1e-12);
    assert_int_equal(a.bins[4].n, s.n_sure);
    assert_within(a.bins[4].kl, s.sure / s.n_sure, 1e-12);
    assert_within(a.correlation, s.c / sqrt(s.vx * s.vy), 1e-9);
    collector_free(&d->tokens);
}

static void the_worst_are_kept_in_order(void **unused)
{
    (void)unused;
    struct drawn *d = draw();
    double last = INFINITY;
    assert_int_equal(d->worst.n, 7);
    for (int i = 0; i < 7; i++) {
        const struct worst_token *w = &d->worst.list[i];
        const int t = (int)(w->segment * 10 + w->at);
        int worse = 0;
        assert_true(w->kl == d->tokens.list[t].kl && w->kl <= last && w->next == d->next[t]);
        for (int k = 0; k < TOKENS; k++)
            worse += d->tokens.list[k].kl > w->kl;
        assert_int_equal(worse, i);
        assert_within(w->prob_next[1], exp(d->tokens.list[t].log_prob[1]), 1e-15);
        assert_within(w->prob[0][0], d->tokens.list[t].confidence, 1e-15);
        assert_true(w->prob[1][0] >= w->prob[1][1] && w->prob[1][1] >= w->prob[1][2]);
        last = w->kl;
    }
    collector_free(&d->tokens);
}

UNIT_MAIN(CASE(figures_equal_sums_written_out), CASE(the_worst_are_kept_in_order))
