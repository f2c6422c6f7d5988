/* SPDX-License-Identifier: MIT */
#include "kernels/logits.h"

#include <math.h>

#include "kernels/level.h"

void logits_begin(struct logits_stream *s, int64_t target)
{
    *s = (struct logits_stream){ .target = target,
                                 .most = { -INFINITY, -INFINITY },
                                 .target_logit = { NAN, NAN },
                                 .top = { -1, -1 } };
}

/* Sums were made with `from` as the largest; nothing is left of them beside a much larger one. */
static void rescale(double sum[LOGITS_LANES], double from, double to)
{
    const double factor = exp(from - to);
    for (int i = 0; i < LOGITS_LANES; i++)
        sum[i] = factor > 0 ? sum[i] * factor : 0;
}

/* Take the largest of a tile of row `which` into account. */
static void grow(struct logits_stream *s, int which, const float *x, int64_t n)
{
    bool nan = false;
    const float most = level_now()->logits.largest(x, n, &nan);
    s->nan[which] |= nan;
    if (s->top[which] >= 0 && !((double)most > s->most[which]))
        return;
    for (int64_t i = 0; i < n; i++)
        if (x[i] == most) {
            s->top[which] = s->n + i;
            break;
        }
    if (!((double)most > s->most[which]))
        return;
    if (s->most[which] > -INFINITY) {
        rescale(s->sum[which], s->most[which], (double)most);
        if (which == 0)
            rescale(s->sum[2], s->most[which], (double)most);
    }
    s->most[which] = (double)most;
}

void logits_add(struct logits_stream *s, const float *ref, const float *x, int64_t n)
{
    const float *row[] = { ref, x };
    double most[2];
    for (int i = 0; i < 2; i++) {
        grow(s, i, row[i], n);
        most[i] = isinf(s->most[i]) ? 0 : s->most[i]; /* +inf: nothing of its sums is used */
        if (s->target >= s->n && s->target < s->n + n)
            s->target_logit[i] = (double)row[i][s->target - s->n];
    }
    level_now()->logits.pair_sums(ref, x, n, most, s->sum);
    s->n += n;
}

static double lanes_sum(const double lane[LOGITS_LANES])
{
    double v[LOGITS_LANES];
    for (int i = 0; i < LOGITS_LANES; i++)
        v[i] = lane[i];
    for (int half = LOGITS_LANES / 2; half; half /= 2)
        for (int i = 0; i < half; i++)
            v[i] += v[i + half];
    return v[0];
}

void logits_end(const struct logits_stream *s, struct logits_pair *out)
{
    bool defined = true;
    for (int i = 0; i < 2; i++) {
        out->log_sum[i] = s->nan[i]            ? (double)NAN
                          : isinf(s->most[i]) ? s->most[i]
                                               : s->most[i] + log(lanes_sum(s->sum[i]));
        out->log_prob[i] = s->target_logit[i] - out->log_sum[i];
        out->top[i] = s->top[i];
        defined = defined && isfinite(out->log_sum[i]);
    }
    out->kl = NAN;
    if (defined)
        out->kl = lanes_sum(s->sum[2]) / lanes_sum(s->sum[0])
                  - (out->log_sum[0] - out->log_sum[1]);
}

void logits_pair_of(const float *ref, const float *x, int64_t n, int64_t target,
                    struct logits_pair *out)
{
    struct logits_stream s;
    logits_begin(&s, target);
    for (int64_t i = 0; i < n; i += LOGITS_TILE)
        logits_add(&s, ref + i, x + i, n - i < LOGITS_TILE ? n - i : LOGITS_TILE);
    logits_end(&s, out);
}

bool logits_before(const float *x, int64_t a, int64_t b)
{
    if (isnan(x[a]) || isnan(x[b]))
        return isnan(x[a]) == isnan(x[b]) ? a < b : isnan(x[b]);
    return x[a] != x[b] ? x[a] > x[b] : a < b;
}

/* id[0..n) is a heap, the last in rank on top, but for place i. */
static void sift(const float *x, int32_t *id, int64_t n, int64_t i)
{
    const int32_t moving = id[i];
    for (int64_t child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && logits_before(x, id[child], id[child + 1]))
            child++;
        if (!logits_before(x, moving, id[child]))
            break;
        id[i] = id[child];
    }
    id[i] = moving;
}

int64_t logits_top(const float *x, int64_t n, int64_t k, int32_t *id)
{
    const int64_t have = k < n ? k : n;
    for (int64_t i = 0; i < have; i++)
        id[i] = (int32_t)i;
    for (int64_t i = have / 2 - 1; i >= 0; i--)
        sift(x, id, have, i);
    for (int64_t i = have; i < n && have > 0; i++)
        if (logits_before(x, i, id[0])) {
            id[0] = (int32_t)i;
            sift(x, id, have, 0);
        }
    for (int64_t left = have - 1; left > 0; left--) {
        const int32_t last = id[0];
        id[0] = id[left];
        id[left] = last;
        sift(x, id, left, 0);
    }
    return have < 0 ? 0 : have;
}
