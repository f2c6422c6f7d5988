/* SPDX-License-Identifier: MIT */
/* Statistics against their formulas in long double. */
#include "kernels/statistics.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/level.h"
#include "tests/kern/checks.h"

typedef long double wide;

static float *draw_array(struct trial *t, const char *name, int64_t n, enum draw_kind kind)
{
    float *x = guard(t, name, n, sizeof *x, sizeof *x, GUARD_IN);
    draw_floats(t, kind, x, n);
    return x;
}

static void expect_moments(const struct summary *s, const float *x, int64_t n)
{
    wide sum = 0, m2 = 0, m4 = 0, squares = 0;
    int64_t finite = 0;
    for (int64_t i = 0; i < n; i++)
        if (isfinite(x[i])) {
            sum += (wide)x[i];
            squares += (wide)x[i] * (wide)x[i];
            finite++;
        }
    const wide mean = sum / finite;
    for (int64_t i = 0; i < n; i++)
        if (isfinite(x[i])) {
            const wide d = (wide)x[i] - mean;
            m2 += d * d;
            m4 += d * d * d * d;
        }
    const double rms = (double)sqrtl(squares / finite), sd = (double)sqrtl(m2 / finite);
    expect_near("mean", 0, s->mean, (double)mean, 1e-12 * rms);
    expect_near("rms", 0, s->rms, rms, 1e-12 * rms);
    expect_near("l2", 0, s->l2, (double)sqrtl(squares), 1e-12 * (double)sqrtl(squares));
    expect_near("sd", 0, s->sd, sd, 1e-9 * rms);
    if (sd > 1e-3 * rms)
        expect_near("kurt", 0, s->kurt, (double)(m4 / finite / (m2 / finite) / (m2 / finite)) - 3,
                    1e-8 * (fabs(s->kurt) + 3));
}

static void expect_counts(const struct summary *s, const float *x, int64_t n)
{
    int64_t nan = 0, inf = 0, zero = 0, at = -1;
    double min = NAN, max = NAN;
    for (int64_t i = 0; i < n; i++) {
        nan += isnan(x[i]) != 0;
        inf += isinf(x[i]) != 0;
        zero += x[i] == 0;
        if (!isfinite(x[i]))
            continue;
        min = fmin(min, (double)x[i]);
        max = fmax(max, (double)x[i]);
        if (at < 0 || fabsf(x[i]) > fabsf(x[at]))
            at = i;
    }
    expect_int("n", 0, s->n, n);
    expect_int("nan", 0, s->nan, nan);
    expect_int("inf", 0, s->inf, inf);
    expect_int("zero", 0, s->zero, zero);
    expect_int("absmax_at", 0, s->absmax_at, at);
    expect_near("min", 0, s->min, min, 0);
    expect_near("max", 0, s->max, max, 0);
    expect_near("absmax", 0, s->absmax, at < 0 ? (double)NAN : fabs((double)x[at]), 0);
}

/* Whole, by threads, and piece by piece: the same bits. */
void check_summary(struct trial *t)
{
    const enum draw_kind kind = draw_kind(t, DRAW__COUNT);
    const int64_t n = draw_length(t, 0, draw_int(t, 0, 5) ? 9000 : 300000);
    kern_note("%d numbers, %s", (int)n, draw_name(kind));
    const float *x = draw_array(t, "x", n, kind);
    struct summary whole, shared, pieces, plain;
    static struct summary_stream stream;
    struct pool *pool = pool_new((int)draw_int(t, 2, 3));
    guard_seal();
    level_force(&level_c);
    summary_of(NULL, x, n, &plain);
    level_force(t->level);
    CALL(summary_of, NULL, x, n, &whole);
    CALL(summary_of, pool, x, n, &shared);
    summary_begin(&stream);
    for (int64_t i = 0, step; i < n; i += step) {
        step = draw_int(t, 1, n / 3 + 1);
        step = step < n - i ? step : n - i;
        CALL(summary_add, &stream, draw(t) & 1 ? pool : NULL, x + i, step);
    }
    CALL(summary_end, &stream, &pieces);
    pool_free(pool);
    expect_counts(&whole, x, n);
    if (whole.absmax_at >= 0)
        expect_moments(&whole, x, n);
    if (memcmp(&whole, &plain, sizeof whole) != 0)
        kern_fail("other bits at level c");
    if (memcmp(&whole, &shared, sizeof whole) != 0)
        kern_fail("other bits with threads");
    if (memcmp(&whole, &pieces, sizeof whole) != 0)
        kern_fail("other bits piece by piece");
}

static int ascending(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

void check_quantiles(struct trial *t)
{
    const enum draw_kind kind = draw_kind(t, DRAW__COUNT);
    const int64_t n = draw_length(t, 0, 5000);
    kern_note("%d numbers, %s", (int)n, draw_name(kind));
    GUARD(t, float, scratch, n, GUARD_OUT);
    GUARD(t, float, sorted, n, GUARD_OUT);
    draw_floats(t, kind, scratch, n);
    int64_t finite = 0, got;
    for (int64_t i = 0; i < n; i++)
        if (isfinite(scratch[i]))
            sorted[finite++] = scratch[i];
    qsort(sorted, (size_t)finite, sizeof *sorted, ascending);
    const double p[4] = { 0, 0.5, (draw_unit(t) + 1) / 2, 1 };
    double out[4];
    CALL_TO(got, quantiles, scratch, n, p, 4, out);
    expect_int("finite", 0, got, finite);
    for (int i = 0; i < 4; i++) {
        const double at = p[i] * (double)(finite - 1), low = floor(at);
        if (finite == 0) {
            expect_int("quantile is NaN", i, isnan(out[i]), 1);
            continue;
        }
        const double a = (double)sorted[(int64_t)low], b = (double)sorted[(int64_t)ceil(at)];
        expect_near("quantile", i, out[i], a + (at - low) * (b - a), 1e-9 * (fabs(a) + fabs(b)));
    }
}

void check_histogram(struct trial *t)
{
    const enum draw_kind kind = draw_kind(t, DRAW__COUNT);
    const enum histogram_scale scale = draw(t) & 1 ? HISTOGRAM_LOG : HISTOGRAM_LINEAR;
    const int64_t n = draw_length(t, 0, 5000);
    const int bins = (int)draw_int(t, 1, 60);
    const double lo = scale == HISTOGRAM_LOG ? 1e-3 : -0.75, hi = scale == HISTOGRAM_LOG ? 9 : 0.5;
    kern_note("%d numbers, %s, %d bins", (int)n, draw_name(kind), bins);
    const float *x = draw_array(t, "x", n, kind);
    GUARD(t, int64_t, count, bins, GUARD_OUT);
    struct histogram_rest rest;
    bool ok;
    guard_seal();
    CALL_TO(ok, histogram_of, x, n, scale, lo, hi, bins, count, &rest);
    expect_int("ok", 0, ok, 1);
    int64_t below = rest.below, finite = 0;
    for (int i = 0; i <= bins; below += i < bins ? count[i] : 0, i++) {
        const double edge = histogram_edge(scale, lo, hi, bins, i), near = 1e-9 * (1 + fabs(edge));
        int64_t least = 0, most = 0;
        finite = 0;
        for (int64_t k = 0; k < n; k++) {
            const double v = scale == HISTOGRAM_LOG ? fabs((double)x[k]) : (double)x[k];
            if (!isfinite(x[k]) || (scale == HISTOGRAM_LOG && v == 0))
                continue;
            finite++;
            least += v < edge - near;
            most += v <= edge + near;
        }
        if (below < least || below > most)
            kern_fail("%lld numbers below edge %d, not %lld", (long long)below, i,
                      (long long)least);
    }
    expect_int("numbers in all", 0, below + rest.above, finite);
    expect_int("the rest", 0, rest.zero + rest.nonfinite, n - finite);
}

/* The reference but for two errors in chunks of their own, the second one larger. */
static void plant_errors(struct trial *t, const float *ref, float *x, int64_t n)
{
    memcpy(x, ref, (size_t)n * sizeof *x);
    x[draw_int(t, 0, STATISTICS_CHUNK - 1)] += 4.0f;
    x[draw_int(t, STATISTICS_CHUNK, n - 1)] -= draw(t) & 1 ? 4.5f : 7.0f;
}

void check_pair(struct trial *t)
{
    const bool planted = t->number % 8 == 4;
    const enum draw_kind kind = planted ? DRAW_UNIFORM : draw_kind(t, DRAW__COUNT);
    const int64_t n = planted ? draw_int(t, STATISTICS_CHUNK + 1, 3 * STATISTICS_CHUNK)
                              : draw_length(t, 0, 9000);
    kern_note("%d pairs, %s", (int)n, draw_name(kind));
    const float *ref = draw_array(t, "ref", n, kind);
    float *x = draw_array(t, "x", n, kind);
    for (int64_t i = 0; (t->number & 1) && i < n; i++) /* near the reference */
        x[i] = ref[i] * (1 + 0x1p-8f * (float)draw_unit(t));
    if (planted)
        plant_errors(t, ref, x, n);
    guard_seal();
    struct pair_error e;
    wide r2 = 0, x2 = 0, rx = 0, e2 = 0;
    int64_t odd = 0, at = -1;
    double largest = NAN;
    for (int64_t i = 0; i < n; i++) {
        const wide d = (wide)x[i] - (wide)ref[i];
        if (!isfinite(x[i]) || !isfinite(ref[i])) {
            odd++;
            continue;
        }
        r2 += (wide)ref[i] * (wide)ref[i];
        x2 += (wide)x[i] * (wide)x[i];
        rx += (wide)ref[i] * (wide)x[i];
        e2 += d * d;
        if (at < 0 || fabs((double)x[i] - (double)ref[i]) > largest) {
            largest = fabs((double)x[i] - (double)ref[i]);
            at = i;
        }
    }
    CALL(pair_error_of, ref, x, n, &e);
    expect_int("n", 0, e.n, n);
    expect_int("nonfinite", 0, e.nonfinite, odd);
    expect_int("maxerr_at", 0, e.maxerr_at, at);
    if (n == odd)
        return;
    const double relerr = e2 == 0 ? 0 : (double)sqrtl(e2 / r2);
    const double rmse = (double)sqrtl(e2 / (n - odd));
    expect_near("maxerr", 0, e.maxerr, largest, 0);
    expect_near("rmse", 0, e.rmse, rmse, 1e-9 * rmse);
    expect_near("relerr", 0, e.relerr, relerr, 1e-9 * relerr);
    const double gain = r2 > 0 ? (double)sqrtl(x2 / r2) : (double)NAN;
    expect_near("gain", 0, e.gain, gain, 1e-9 * gain);
    if (e2 > 0 && r2 > 0)
        expect_near("sqnr", 0, e.sqnr, -20 * log10(relerr), 1e-7);
    if (r2 > 0 && x2 > 0)
        expect_near("cos", 0, e.cos, (double)(rx / (sqrtl(r2) * sqrtl(x2))), 1e-9);
}

static wide define_log_sum(const float *x, int64_t n)
{
    wide max = -INFINITY, sum = 0;
    for (int64_t i = 0; i < n; i++)
        max = isnan(x[i]) ? (wide)NAN : fmaxl(max, (wide)x[i]);
    for (int64_t i = 0; i < n; i++)
        sum += expl((wide)x[i] - max);
    return max + logl(sum);
}

/* Logits: log-sum-exp and divergence; probabilities: entropy. */
void check_distribution(struct trial *t)
{
    const enum draw_kind kind = draw_kind(t, DRAW_ZERO + 1);
    const int64_t n = draw_length(t, 1, 5000);
    kern_note("%d logits, %s", (int)n, draw_name(kind));
    float *a = draw_array(t, "a", n, kind), *b = draw_array(t, "b", n, kind);
    GUARD(t, float, p, n, GUARD_IN);
    const wide all_a = define_log_sum(a, n), all_b = define_log_sum(b, n);
    wide kl = 0, entropy = 0, size = 0;
    for (int64_t i = 0; i < n; i++) {
        const wide la = (wide)a[i] - all_a, lb = (wide)b[i] - all_b;
        p[i] = (float)expl(la);
        kl += expl(la) * (la - lb);
        size += expl(la) * (fabsl(la) + fabsl(lb));
        entropy -= p[i] > 0 ? (wide)p[i] * logl((wide)p[i]) : 0;
    }
    guard_seal();
    double got;
    CALL_TO(got, log_sum_exp, a, n);
    expect_near("log_sum_exp", 0, got, (double)all_a, 1e-9 * (1 + fabs((double)all_a)));
    CALL_TO(got, kl_of_logits, a, b, n, (double)-INFINITY);
    expect_near("kl", 0, got, (double)kl, 1e-9 * (1 + (double)size));
    CALL_TO(got, entropy_nats, p, n);
    expect_near("entropy", 0, got, (double)entropy, 1e-9 * (1 + (double)entropy));
}

/* What counts of x [rows][cols]: magnitudes of finite values, from row `apart` on. */
static float *draw_magnitudes(struct trial *t, const float *x, int64_t rows, int64_t cols,
                              int64_t apart)
{
    GUARD(t, float, a, rows * cols, GUARD_OUT);
    for (int64_t i = 0; i < rows * cols; i++)
        a[i] = i >= apart * cols && isfinite(x[i]) ? fabsf(x[i]) : 0;
    return a;
}

/* Channel by channel; the absmax of those that are not zero goes to `live`, their number back. */
static int64_t expect_channels(const float *a, int64_t rows, int64_t cols,
                               const struct channel_table *got, double threshold, float *live)
{
    int64_t n = 0;
    for (int64_t c = 0; c < cols; c++) {
        wide sum = 0;
        int64_t first = -1, hits = 0;
        for (int64_t r = 0; r < rows; r++) {
            const float v = a[r * cols + c];
            sum += (wide)v * (wide)v;
            hits += (double)v > threshold;
            if (v > (first < 0 ? 0 : a[first * cols + c]))
                first = r;
        }
        const float largest = first < 0 ? 0 : a[first * cols + c];
        expect_near("absmax", c, (double)got->absmax[c], (double)largest, 0);
        expect_near("squares", c, got->squares[c], (double)sum, 1e-12 * (double)sum);
        expect_int("hits of a channel", c, got->hits[c], hits);
        expect_int("absmax_row of a channel", c, got->absmax_row[c], first);
        if (largest > 0)
            live[n++] = largest;
    }
    return n;
}

/* The report, of `live` channels with these largest values, which are put in order. */
static void expect_report(const struct outlier_report *got, const float *a, int64_t rows,
                          int64_t cols, int64_t counted, float *live, int64_t n)
{
    wide all = 0;
    int64_t at = 0, hits = 0;
    for (int64_t c = 0; c < cols; c++) /* channels first: the first one, and there the first row */
        for (int64_t r = 0; r < rows; r++) {
            const int64_t i = r * cols + c;
            at = a[i] > a[at] ? i : at;
            all += (wide)a[i] * (wide)a[i];
            hits += (double)a[i] > got->threshold;
        }
    qsort(live, (size_t)n, sizeof *live, ascending);
    const double rms = n ? (double)sqrtl(all / (n * counted)) : (double)NAN;
    const double half = n ? ((double)live[(n - 1) / 2] + (double)live[n / 2]) / 2 : (double)NAN;
    const double most = n ? (double)live[n - 1] : (double)NAN;
    expect_int("rows", 0, got->rows, counted);
    expect_int("live", 0, got->live, n);
    expect_int("hits", 0, got->hits, hits);
    expect_near("rms", 0, got->rms, rms, 1e-12 * rms);
    expect_near("threshold", 0, got->threshold, 3 * rms, 1e-11 * rms);
    expect_near("absmax", 0, got->absmax, most, 0);
    expect_near("median_absmax", 0, got->median_absmax, half, 1e-12 * half);
    expect_near("ratio", 0, got->ratio, most / half, 1e-11 * most / half);
    expect_int("absmax_row", 0, got->absmax_row, n ? at / cols : -1);
    expect_int("absmax_col", 0, got->absmax_col, n ? at % cols : -1);
}

void check_outliers(struct trial *t)
{
    const enum draw_kind kind = draw_kind(t, DRAW__COUNT);
    const int64_t rows = draw_int(t, 1, 40), cols = draw_length(t, 1, 700);
    const int64_t apart = draw_int(t, 0, rows > 1);
    kern_note("%d rows, %d channels, %s", (int)rows, (int)cols, draw_name(kind));
    const float *x = draw_array(t, "x", rows * cols, kind);
    GUARD(t, float, absmax, cols, GUARD_OUT);
    GUARD(t, float, scratch, cols, GUARD_OUT);
    GUARD(t, float, live, cols, GUARD_OUT);
    GUARD(t, int32_t, absmax_row, cols, GUARD_OUT);
    GUARD(t, int32_t, hits, cols, GUARD_OUT);
    GUARD(t, int32_t, row_hits, rows, GUARD_OUT);
    GUARD(t, double, squares, cols, GUARD_OUT);
    struct channel_table table = { absmax, absmax_row, hits, squares,
                                   draw(t) & 3 ? row_hits : NULL };
    struct outlier_report out;
    const float *a = draw_magnitudes(t, x, rows, cols, apart);
    guard_seal();
    CALL(outliers_of, x, rows, cols, apart, 3.0, &table, scratch, &out);
    const int64_t n = expect_channels(a, rows, cols, &table, out.threshold, live);
    expect_report(&out, a, rows, cols, rows - apart, live, n);
    for (int64_t r = 0; table.row_hits && r < rows; r++) {
        int64_t here = 0;
        for (int64_t c = 0; c < cols; c++)
            here += (double)a[r * cols + c] > out.threshold;
        expect_int("hits of a row", r, row_hits[r], here);
    }
}

/* ---- the scan ---- */

static void expect_same_scan(const struct ties *a, const struct ties *b)
{
    expect_int("finite", 0, a->scan.finite, b->scan.finite);
    expect_int("count", 0, a->count, b->count);
    expect_int("first", 0, a->first, b->first);
    expect_near("absmax", 0, (double)a->scan.absmax, (double)b->scan.absmax, 0);
    expect_near("squares", 0, a->scan.squares, b->scan.squares, 0);
}

void check_scan(struct trial *t)
{
    const enum draw_kind kind = draw_kind(t, DRAW__COUNT);
    const int64_t n = draw_length(t, 0, draw_int(t, 0, 5) ? 3000 : 200000);
    kern_note("%d numbers, %s", (int)n, draw_name(kind));
    float *x = guard(t, "x", n, sizeof *x, sizeof *x, GUARD_IN);
    draw_floats(t, kind, x, n);
    const float most = n ? x[draw_int(t, 0, n - 1)] : 0;
    for (int64_t i = 0; !(draw(t) & 3) && i < n; i++) /* many have the largest magnitude */
        if (!(draw(t) & 3) || fabsf(x[i]) > fabsf(most))
            x[i] = draw(t) & 1 ? most : -most;
    for (int64_t i = draw_int(t, 0, 2); !(draw(t) & 7) && n && i; i--)
        x[draw_int(t, 0, n - 1)] = draw(t) & 1 ? NAN : -INFINITY;
    guard_seal();
    struct ties got, shared, want;
    struct scan scan;
    struct pool *pool = pool_new(3);
    level_force(&level_c);
    ties_of(NULL, x, n, &want);
    level_force(t->level);
    CALL(ties_of, NULL, x, n, &got);
    CALL(ties_of, pool, x, n, &shared);
    CALL(scan_of, pool, x, n, &scan);
    pool_free(pool);
    expect_int("finite of the scan alone", 0, scan.finite, got.scan.finite);
    bool finite = true;
    wide squares = 0;
    float absmax = 0;
    int64_t count = 0, first = -1;
    for (int64_t i = 0; i < n; i++) {
        finite = finite && isfinite(x[i]);
        squares += (wide)x[i] * (wide)x[i];
        absmax = fmaxf(absmax, fabsf(x[i]));
    }
    for (int64_t i = n; finite && i-- > 0;)
        if (fabsf(x[i]) == absmax) {
            count++;
            first = i;
        }
    expect_int("finite", 1, got.scan.finite, finite);
    expect_int("count", 1, got.count, count);
    expect_int("first", 1, got.first, first);
    if (!finite)
        return;
    expect_same_scan(&got, &want);
    expect_same_scan(&shared, &want);
    expect_near("absmax", 1, (double)got.scan.absmax, (double)absmax, 0);
    if (squares < 1e38L && squares > 1e-30L)
        expect_near("squares", 1, got.scan.squares, (double)squares, 1e-5 * (double)squares);
}
