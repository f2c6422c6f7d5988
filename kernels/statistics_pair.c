/* SPDX-License-Identifier: MIT */
/* Error metrics of an array against its reference, and distances between distributions. */
#include <math.h>
#include <string.h>

#include "kernels/lanes.h"
#include "kernels/statistics.h"

enum { CHUNK = STATISTICS_CHUNK };

/* n is a multiple of LANES; the results are [LANES] each. */
LANES_LOOP void pair_lanes(const float *ref, const float *x, int n, double *ref_out, double *x_out,
                           double *product_out, double *error_out)
{
    double r2[LANES] = { 0 }, x2[LANES] = { 0 }, rx[LANES] = { 0 }, e2[LANES] = { 0 };
    for (int i = 0; i < n; i += LANES) {
        for (int l = 0; l < LANES; l++) {
            double r = (double)ref[i + l], v = (double)x[i + l], e = v - r;
            r2[l] += r * r;
            x2[l] += v * v;
            rx[l] += r * v;
            e2[l] += e * e;
        }
    }
    memcpy(ref_out, r2, sizeof r2);
    memcpy(x_out, x2, sizeof x2);
    memcpy(product_out, rx, sizeof rx);
    memcpy(error_out, e2, sizeof e2);
}

/* n <= CHUNK pairs. A value that is not finite makes `error` not finite, and nothing else does: the
 * square of a float's difference cannot overflow a double. */
static void chunk_sums(const float *ref, const float *x, int n, struct pair_sums *out)
{
    double r2[LANES], x2[LANES], rx[LANES], e2[LANES];
    int whole = n - n % LANES;
    pair_lanes(ref, x, whole, r2, x2, rx, e2);
    for (int i = whole; i < n; i++) {
        double r = (double)ref[i], v = (double)x[i], e = v - r;
        r2[0] += r * r;
        x2[0] += v * v;
        rx[0] += r * v;
        e2[0] += e * e;
    }
    *out = (struct pair_sums){ sum_lanes(r2), sum_lanes(x2), sum_lanes(rx), sum_lanes(e2) };
}

/* Copy the pairs in which both are finite; returns how many. */
static int keep_finite(const float *ref, const float *x, int n, float *ref_out, float *x_out)
{
    int m = 0;
    for (int i = 0; i < n; i++) {
        if (isfinite(ref[i]) && isfinite(x[i])) {
            ref_out[m] = ref[i];
            x_out[m++] = x[i];
        }
    }
    return m;
}

int pair_sums_of(const float *ref, const float *x, int n, struct pair_sums *out)
{
    chunk_sums(ref, x, n, out);
    if (isfinite(out->error))
        return n;
    float a[CHUNK], b[CHUNK];
    const int kept = keep_finite(ref, x, n, a, b);
    chunk_sums(a, b, kept, out);
    return kept;
}

/* The largest difference of a chunk that begins at index `at`. */
static void chunk_max(const float *ref, const float *x, int n, int64_t at, struct pair_error *out)
{
    for (int i = 0; i < n; i++) {
        double e = fabs((double)x[i] - (double)ref[i]);
        if (isfinite(e) && (e > out->maxerr || out->maxerr_at < 0)) {
            out->maxerr = e;
            out->maxerr_at = at + i;
        }
    }
}

void pair_error_begin(struct pair_stream *s)
{
    *s = (struct pair_stream){ .e = { 0, 0, -1, NAN, NAN, NAN, NAN, NAN, NAN } };
}

void pair_error_add(struct pair_stream *to, const float *ref, const float *x, int64_t n)
{
    struct pair_sums *all = &to->all, s;
    struct pair_error *out = &to->e;
    for (int64_t at = 0; at < n; at += CHUNK) {
        int m = n - at < CHUNK ? (int)(n - at) : CHUNK;
        out->nonfinite += m - pair_sums_of(ref + at, x + at, m, &s);
        /* a difference larger than all before has a square that is larger than theirs */
        if (out->maxerr_at < 0 || s.error >= out->maxerr * out->maxerr)
            chunk_max(ref + at, x + at, m, out->n + at, out);
        all->ref += s.ref;
        all->x += s.x;
        all->product += s.product;
        all->error += s.error;
    }
    out->n += n;
}

void pair_error_end(const struct pair_stream *s, struct pair_error *out)
{
    const struct pair_sums *all = &s->all;
    *out = s->e;
    if (out->n == out->nonfinite)
        return;
    out->rmse = sqrt(all->error / (double)(out->n - out->nonfinite));
    out->relerr = all->error == 0 ? 0 : sqrt(all->error / all->ref);
    out->sqnr = all->error == 0 ? INFINITY : 10 * log10(all->ref / all->error);
    if (all->ref > 0)
        out->gain = sqrt(all->x / all->ref);
    if (all->ref > 0 && all->x > 0)
        out->cos = fmax(-1, fmin(1, all->product / (sqrt(all->ref) * sqrt(all->x))));
}

void pair_error_of(const float *ref, const float *x, int64_t n, struct pair_error *out)
{
    struct pair_stream s;
    pair_error_begin(&s);
    pair_error_add(&s, ref, x, n);
    pair_error_end(&s, out);
}

void step_error_add(const float *ref, const float *x, int64_t n, const float *scale, int sub_size,
                    struct step_error *out)
{
    for (int64_t i = 0; i < n; i++) {
        double s = (double)scale[i / sub_size], e = ((double)x[i] - (double)ref[i]) / s;
        if (s == 0 || !isfinite(e))
            continue;
        out->squares += e * e;
        out->clipped += fabs(e) > CLIPPED_STEPS;
        out->n++;
    }
}

double step_error_rms(const struct step_error *s)
{
    return s->n ? sqrt(s->squares / (double)s->n) : NAN;
}

double code_entropy(const int64_t *count, int64_t n)
{
    double bits = 0, all = 0;
    for (int64_t i = 0; i < n; i++)
        all += (double)count[i];
    for (int64_t i = 0; i < n; i++)
        if (count[i] > 0)
            bits -= (double)count[i] / all * log2((double)count[i] / all);
    return all > 0 ? bits : NAN;
}

double log_sum_exp(const float *logits, int64_t n)
{
    float largest = -INFINITY;
    double sum = 0;
    for (int64_t i = 0; i < n; i++) {
        if (isnan(logits[i]))
            return NAN;
        largest = logits[i] > largest ? logits[i] : largest;
    }
    if (isinf(largest))
        return (double)largest;
    for (int64_t i = 0; i < n; i++)
        sum += exp((double)logits[i] - (double)largest);
    return (double)largest + log(sum);
}

/* One term of the divergence; p = 0 counts nothing whatever q is. */
static double kl_term(double logp, double logq, double cut)
{
    if (logp <= cut || logp == -INFINITY)
        return 0;
    return exp(logp) * (logp - logq);
}

double kl_of_logits(const float *ref, const float *x, int64_t n, double cut)
{
    double sum = 0, ref_all = log_sum_exp(ref, n), x_all = log_sum_exp(x, n);
    for (int64_t i = 0; i < n; i++)
        sum += kl_term((double)ref[i] - ref_all, (double)x[i] - x_all, cut);
    return sum;
}

double entropy_nats(const float *p, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++) {
        if (!(p[i] >= 0))
            return NAN;
        if (p[i] > 0)
            sum -= (double)p[i] * log((double)p[i]);
    }
    return sum;
}

double entropy_normalised(const float *p, int64_t n)
{
    return n < 2 ? NAN : entropy_nats(p, n) / log((double)n);
}

double sink_mass(const float *p, int64_t n) { return n > 0 ? (double)p[0] : NAN; }

double entropy_floor(const float *logits, int64_t n)
{
    double mean = 0, squares = 0;
    if (n < 2)
        return NAN;
    for (int64_t i = 0; i < n; i++)
        mean += (double)logits[i] / (double)n;
    for (int64_t i = 0; i < n; i++)
        squares += ((double)logits[i] - mean) * ((double)logits[i] - mean);
    const double sb = sqrt(squares) * sqrt((double)n / (double)(n - 1));
    const double w = (double)(n - 1) * exp(-sb);
    return log1p(w) + sb * w / (1 + w);
}
