/* SPDX-License-Identifier: MIT */
/* Statistics: against direct computation in long double, edge cases, same bits however cut. */
#include "tests/harness/unit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/statistics.h"

enum { N = 100003 };

static float *noise(int64_t n, uint64_t seed)
{
    float *x = test_malloc((size_t)n * sizeof *x);
    for (int64_t i = 0; i < n; i++) {
        double u = (double)(unit_random(&seed) >> 11) * 0x1p-53;
        double w = (double)(unit_random(&seed) >> 11) * 0x1p-53;
        x[i] = (float)(3 + sqrt(-2 * log(u + 1e-300)) * cos(6.283185307179586 * w));
    }
    return x;
}

static void assert_near(double got, double want, double relative)
{
    if (isnan(want) || isinf(want) ? !(isnan(got) == isnan(want) && (isnan(want) || got == want))
                                   : !(fabs(got - want) <= relative * fmax(fabs(want), 1e-30)))
        fail_msg("%.17g is not %.17g", got, want);
}

/* The definitions, written down once more without any care for speed. */
static void check_summary(const float *x, int64_t n, const struct summary *s)
{
    long double sum = 0, squares = 0, m2 = 0, m4 = 0;
    int64_t m = 0, nan = 0, inf = 0, zero = 0, at = -1;
    double lo = INFINITY, hi = -INFINITY;
    for (int64_t i = 0; i < n; i++) {
        nan += isnan(x[i]) != 0;
        inf += isinf(x[i]) != 0;
        zero += x[i] == 0;
        if (!isfinite(x[i]))
            continue;
        m++;
        sum += x[i];
        squares += (long double)x[i] * x[i];
        lo = fmin(lo, x[i]);
        hi = fmax(hi, x[i]);
        if (at < 0 || fabsf(x[i]) > fabsf(x[at]))
            at = i;
    }
    for (int64_t i = 0; i < n; i++) {
        long double d = isfinite(x[i]) ? x[i] - sum / m : 0;
        m2 += d * d;
        m4 += d * d * d * d;
    }
    assert_int_equal(s->n, n);
    assert_int_equal(s->nan, nan);
    assert_int_equal(s->inf, inf);
    assert_int_equal(s->zero, zero);
    assert_int_equal(s->absmax_at, at);
    assert_true(s->min == lo && s->max == hi && s->absmax == (double)fabsf(x[at]));
    assert_near(s->mean, (double)(sum / m), 1e-13);
    assert_near(s->sd, (double)sqrtl(m2 / m), 1e-13);
    assert_near(s->rms, (double)sqrtl(squares / m), 1e-13);
    assert_near(s->l2, (double)sqrtl(squares), 1e-13);
    assert_near(s->kurt + 3, (double)(m4 / m / (m2 / m * (m2 / m))), 1e-12);
}

static void summaries_equal_the_definitions(void **state)
{
    (void)state;
    float *x = noise(N, 1);
    const int64_t sizes[] = { 2, 7, 8, 9, 100, 4095, 4096, 4097, 8192, N };
    struct summary s;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        summary_of(NULL, x, sizes[i], &s);
        check_summary(x, sizes[i], &s);
    }
    assert_true(fabs(s.kurt) < 0.1); /* normal numbers */
    assert_near(s.mean, 3, 0.01);
    for (int i = 0; i < N; i += 97)
        x[i] = i % 3 == 0 ? NAN : i % 3 == 1 ? -INFINITY : 0;
    for (int i = 4096; i < 8192; i++) /* a chunk without a finite value */
        x[i] = NAN;
    x[77777] = -250;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        summary_of(NULL, x, sizes[i], &s);
        check_summary(x, sizes[i], &s);
    }
    assert_int_equal(s.absmax_at, 77777);
    for (int i = 0; i < N; i++) /* far from zero: no cancellation */
        x[i] = 10000 + (float)(i % 2);
    summary_of(NULL, x, N - 1, &s);
    assert_near(s.sd, 0.5, 1e-12);
    assert_near(s.kurt, -2, 1e-9);
    test_free(x);
}

static void any_cut_and_thread_count_gives_the_same_bits(void **state)
{
    (void)state;
    float *x = noise(N * 8, 2);
    const int threads[] = { 1, 2, 3, 16 };
    struct summary first, s;
    x[5000] = NAN;
    summary_of(NULL, x, N * 8, &first);
    for (int k = 0; k < 4; k++) {
        struct pool *pool = pool_new(threads[k]);
        struct summary_stream *stream = test_malloc(sizeof *stream);
        uint64_t seed = (uint64_t)k;
        summary_of(pool, x, N * 8, &s);
        assert_memory_equal(&s, &first, sizeof s);
        summary_begin(stream);
        for (int64_t at = 0, step; at < N * 8; at += step) {
            step = (int64_t)(unit_random(&seed) % (unit_random(&seed) % 8 ? 3000 : 60000));
            step = step < N * 8 - at ? step : N * 8 - at;
            summary_add(stream, pool, x + at, step);
            if (step % 5 == 0)
                summary_end(stream, &s); /* looking does not disturb */
        }
        summary_end(stream, &s);
        assert_memory_equal(&s, &first, sizeof s);
        test_free(stream);
        pool_free(pool);
    }
    test_free(x);
}

static void summaries_of_odd_arrays(void **state)
{
    (void)state;
    struct summary s;
    const float nans[3] = { NAN, NAN, INFINITY }, zeros[5] = { 0, -0.0f, 0, 0, 0 }, one[1] = { -2 };
    const float huge[2] = { 3.4e38f, -3.4e38f }, tiny[3] = { 1e-45f, 2e-45f, 4e-45f };
    float tenths[1000];
    summary_of(NULL, NULL, 0, &s);
    assert_true(s.n == 0 && s.absmax_at == -1 && isnan(s.mean) && isnan(s.absmax) && isnan(s.l2));
    summary_of(NULL, nans, 3, &s);
    assert_true(s.n == 3 && s.nan == 2 && s.inf == 1 && s.absmax_at == -1 && isnan(s.rms));
    summary_of(NULL, zeros, 5, &s);
    assert_true(s.zero == 5 && s.mean == 0 && s.sd == 0 && s.absmax == 0 && isnan(s.kurt));
    assert_int_equal(s.absmax_at, 0);
    summary_of(NULL, one, 1, &s);
    assert_true(s.min == -2 && s.max == -2 && s.absmax == 2 && s.sd == 0 && s.rms == 2);
    summary_of(NULL, huge, 2, &s);
    assert_near(s.rms, (double)3.4e38f, 1e-14);
    assert_near(s.kurt, -2, 1e-12);
    summary_of(NULL, tiny, 3, &s);
    assert_true(s.sd > 0 && isfinite(s.kurt));
    for (int i = 0; i < 1000; i++)
        tenths[i] = 0.1f;
    summary_of(NULL, tenths, 1000, &s);
    assert_true(s.sd == 0 && isnan(s.kurt) && s.mean == (double)0.1f);
}

static int by_value(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* Counting gives what selection gives, and leaves the values alone; it hears the flag. */
static void quantiles_of_many(void **state)
{
    (void)state;
    const double p[] = { 0.01, 0.5, 0.99, 0, 1, 0.333 };
    enum { K = sizeof p / sizeof *p };
    volatile sig_atomic_t cancel = 0;
    for (int kind = 0; kind < 4; kind++) {
        const int n = kind == 3 ? 7 : 70000;
        float *x = noise(n, (uint64_t)kind), *copy = test_malloc((size_t)n * sizeof *copy);
        for (int i = 0; i < n; i++) {
            x[i] = kind == 1 ? (float)(i % 5 - 2) : x[i]; /* ties, both signs */
            x[i] = kind == 2 && i % 3 ? (i % 3 == 1 ? NAN : -INFINITY) : x[i];
            copy[i] = x[i];
        }
        double got[K], want[K];
        quantiles(copy, n, p, K, want);
        assert_true(quantiles_of(x, n, p, K, got, &cancel));
        for (int k = 0; k < K; k++)
            assert_true(got[k] == want[k]);
        test_free(x);
        test_free(copy);
    }
    float *x = noise(70000, 9);
    double got = 7, half = 0.5;
    cancel = 1;
    assert_false(quantiles_of(x, 70000, &half, 1, &got, &cancel));
    assert_true(got == 7);
    for (int i = 0; i < 70000; i++)
        x[i] = NAN;
    assert_true(quantiles_of(x, 70000, &half, 1, &got, NULL) && isnan(got));
    test_free(x);
}

static void quantiles_equal_sorting(void **state)
{
    (void)state;
    const double p[] = { 0.01, 0.5, 0.99, 0, 1, 0.333 };
    enum { K = sizeof p / sizeof *p };
    for (int n = 1; n < 3000; n = n * 2 + 1) {
        float *x = noise(n, (uint64_t)n), *sorted = test_malloc((size_t)n * sizeof *sorted);
        double got[K], got64[K], *wide = test_malloc((size_t)n * sizeof *wide);
        for (int i = 0; i < n; i++) {
            x[i] = n % 3 ? x[i] : (float)(i % 4); /* many ties, too */
            wide[i] = (double)(sorted[i] = x[i]);
        }
        qsort(sorted, (size_t)n, sizeof *sorted, by_value);
        assert_int_equal(quantiles(x, n, p, K, got), n);
        assert_int_equal(quantiles_f64(wide, n, p, K, got64), n);
        for (int k = 0; k < K; k++) {
            double place = p[k] * (n - 1);
            int low = (int)place, high = low + 1 < n ? low + 1 : low;
            double a = (double)sorted[low], b = (double)sorted[high];
            assert_near(got[k], a + (place - low) * (b - a), 1e-15);
            assert_true(got64[k] == got[k]);
        }
        test_free(x);
        test_free(sorted);
        test_free(wide);
    }
    float holes[5] = { NAN, 3, INFINITY, 1, 2 }, none[2] = { NAN, INFINITY };
    assert_true(median(holes, 5) == 2);
    assert_true(isnan(median(none, 2)) && isnan(median(NULL, 0)));
}

static void histograms_count_everything_once(void **state)
{
    (void)state;
    const float x[] = { -1, 0, 0.5f, 1, 1.5f, 2, 3, NAN, INFINITY, -0.25f };
    struct histogram_rest rest;
    int64_t count[4];
    assert_true(histogram_of(x, 10, HISTOGRAM_LINEAR, 0, 2, 4, count, &rest));
    assert_true(count[0] == 1 && count[1] == 1 && count[2] == 1 && count[3] == 2);
    assert_true(rest.below == 2 && rest.above == 1 && rest.nonfinite == 2 && rest.zero == 0);
    assert_true(histogram_of(x, 10, HISTOGRAM_LOG, 0.25, 4, 4, count, &rest));
    assert_true(count[0] == 1 && count[1] == 1 && count[2] == 3 && count[3] == 2);
    assert_true(rest.below == 0 && rest.above == 0 && rest.nonfinite == 2 && rest.zero == 1);
    assert_near(histogram_edge(HISTOGRAM_LOG, 0.25, 4, 4, 2), 1, 1e-15);
    assert_true(histogram_edge(HISTOGRAM_LINEAR, 0, 2, 4, 3) == 1.5);
    assert_true(histogram_edge(HISTOGRAM_LINEAR, 0.1, 0.7, 3, 3) == 0.7);
    assert_false(histogram_of(x, 10, HISTOGRAM_LINEAR, 2, 2, 4, count, &rest));
    assert_false(histogram_of(x, 10, HISTOGRAM_LINEAR, NAN, 2, 4, count, &rest));
    assert_false(histogram_of(x, 10, HISTOGRAM_LINEAR, 0, INFINITY, 4, count, &rest));
    assert_false(histogram_of(x, 10, HISTOGRAM_LOG, 0, 2, 4, count, &rest));
    assert_false(histogram_of(x, 10, HISTOGRAM_LINEAR, 0, 2, 0, count, &rest));
}

static void pairs_equal_the_definitions(void **state)
{
    (void)state;
    float *a = noise(N, 3), *b = noise(N, 4);
    long double ref = 0, x = 0, product = 0, error = 0;
    struct pair_error e;
    int64_t at = -1, left = 0;
    double largest = -1;
    a[4000] = NAN;
    b[9000] = -INFINITY;
    a[9001] = b[9001] = INFINITY;
    for (int i = 0; i < N; i++) {
        b[i] = a[i] + 0.01f * b[i];
        if (!isfinite(a[i]) || !isfinite(b[i])) {
            left++;
            continue;
        }
        double d = (double)b[i] - (double)a[i];
        ref += (long double)a[i] * a[i];
        x += (long double)b[i] * b[i];
        product += (long double)a[i] * b[i];
        error += (long double)d * d;
        if (fabs(d) > largest) {
            largest = fabs(d);
            at = i;
        }
    }
    pair_error_of(a, b, N, &e);
    assert_int_equal(e.n, N);
    assert_int_equal(e.nonfinite, left);
    assert_int_equal(e.maxerr_at, at);
    assert_true(e.maxerr == largest);
    assert_near(e.relerr, (double)sqrtl(error / ref), 1e-13);
    assert_near(e.rmse, (double)sqrtl(error / (N - left)), 1e-13);
    assert_near(e.cos, (double)(product / sqrtl(ref * x)), 1e-13);
    assert_near(e.sqnr, (double)(10 * log10l(ref / error)), 1e-13);
    test_free(a);
    test_free(b);
}

static void pairs_at_the_edges(void **state)
{
    (void)state;
    const float zero[3] = { 0 }, x[3] = { 1, -2, 2 }, nan[3] = { NAN, NAN, NAN };
    struct pair_error e;
    pair_error_of(x, x, 3, &e);
    assert_true(e.relerr == 0 && e.rmse == 0 && e.maxerr == 0 && e.sqnr == INFINITY && e.cos == 1);
    assert_int_equal(e.maxerr_at, 0);
    pair_error_of(zero, x, 3, &e);
    assert_true(e.relerr == INFINITY && e.sqnr == -INFINITY && isnan(e.cos) && e.maxerr_at == 1);
    pair_error_of(zero, zero, 3, &e);
    assert_true(e.relerr == 0 && isnan(e.cos));
    pair_error_of(x, nan, 3, &e);
    assert_true(e.nonfinite == 3 && isnan(e.relerr) && isnan(e.maxerr) && e.maxerr_at == -1);
    pair_error_of(NULL, NULL, 0, &e);
    assert_true(e.n == 0 && isnan(e.rmse));

    const float scale[2] = { 0.5f, 0 }, y[4] = { 1, 1, 1, 1 }, q[4] = { 1.25f, 0.75f, 2, 0 };
    struct step_error steps = { 0 }, none = { 0 };
    step_error_add(y, q, 4, scale, 2, &steps);
    assert_true(step_error_rms(&steps) == 0.5);
    step_error_add(y, q, 2, scale + 1, 2, &none);
    assert_true(isnan(step_error_rms(&none)));
}

static void divergence_and_entropy(void **state)
{
    (void)state;
    const float p[3] = { 0, 0.6931472f, -INFINITY }, q[3] = { 0, 0, 0 };
    /* p = 1/3, 2/3, 0; q = 1/3 each: 2/3 ln 2 */
    assert_near(kl_of_logits(p, q, 3, -INFINITY), 2.0 / 3 * log(2), 1e-7);
    assert_true(kl_of_logits(p, p, 3, -INFINITY) == 0);
    assert_true(kl_of_logits(q, p, 3, -INFINITY) == INFINITY);
    const float far[2] = { 0, -20 }, far2[2] = { 0, -10 };
    const double all = kl_of_logits(far, far2, 2, -INFINITY);
    assert_near(all - kl_of_logits(far, far2, 2, KL_COMPAT_CUT),
                exp(-20) * (-10 + log1p(exp(-10))), 1e-8);
    const float big[2] = { 1000, 1000 };
    assert_near(log_sum_exp(big, 2), 1000 + log(2), 1e-15);
    assert_true(log_sum_exp(NULL, 0) == -INFINITY);

    const float even[4] = { 0.25f, 0.25f, 0.25f, 0.25f }, single[4] = { 1, 0, 0, 0 };
    const float broken[2] = { 1.5f, -0.5f };
    assert_near(entropy_nats(even, 4), log(4), 1e-15);
    assert_near(entropy_normalised(even, 4), 1, 1e-15);
    assert_true(entropy_nats(single, 4) == 0 && isnan(entropy_normalised(single, 1)));
    assert_true(isnan(entropy_nats(broken, 2)));
    assert_true(sink_mass(single, 4) == 1 && isnan(sink_mass(single, 0)));
}

enum { ROWS = 20, COLS = 16 };

/* Channel 3 is zero, channel 5 large everywhere, channel 7 huge at one token; token 0 is wild. */
static void outliers_are_told_apart(void **state)
{
    (void)state;
    float x[ROWS * COLS], scratch[COLS], absmax[COLS];
    int32_t absmax_row[COLS], hits[COLS], row_hits[ROWS];
    double squares[COLS], sum = 0;
    struct channel_table t = { absmax, absmax_row, hits, squares, row_hits };
    struct outlier_report r;
    for (int i = 0; i < ROWS * COLS; i++)
        x[i] = i % 2 ? 1.0f : -1.0f;
    for (int row = 0; row < ROWS; row++) {
        x[row * COLS + 3] = 0;
        x[row * COLS + 5] = -30;
    }
    x[9 * COLS + 7] = 100;
    x[4 * COLS + 2] = NAN;
    for (int c = 0; c < COLS; c++)
        x[c] = 1e6f;
    for (int i = COLS; i < ROWS * COLS; i++)
        sum += isnan(x[i]) ? 0 : (double)x[i] * (double)x[i];
    outliers_of(x, ROWS, COLS, 1, 3, &t, scratch, &r);
    assert_int_equal(r.rows, 19);
    assert_int_equal(r.live, 15);
    assert_near(r.rms, sqrt(sum / (15 * 19)), 1e-14);
    assert_near(r.threshold, 3 * r.rms, 1e-15);
    assert_int_equal(r.hits, 20);
    assert_int_equal(hits[5], 19);
    assert_int_equal(hits[7], 1);
    assert_int_equal(row_hits[0], 0);
    assert_int_equal(row_hits[9], 2);
    assert_int_equal(absmax_row[3], -1);
    assert_int_equal(absmax_row[5], 1);
    assert_true(r.absmax == 100 && r.absmax_row == 9 && r.absmax_col == 7);
    assert_true(r.median_absmax == 1 && r.ratio == 100);
    assert_int_equal(outlier_kind(hits[5], r.rows), OUTLIER_PERSISTENT);
    assert_int_equal(outlier_kind(hits[7], r.rows), OUTLIER_FEW_TOKENS);
    assert_int_equal(outlier_kind(0, r.rows), OUTLIER_NONE);
    assert_int_equal(outlier_kind(5, 100), OUTLIER_FEW_TOKENS);
    outliers_of(x, ROWS, COLS, 0, 3, &t, scratch, &r);
    assert_true(r.absmax == 1e6 && r.live == COLS && row_hits[0] == COLS);
    outliers_of(x, 1, COLS, 1, 3, &t, scratch, &r); /* only the first token: nothing is left */
    assert_true(r.rows == 0 && r.live == 0 && r.hits == 0 && isnan(r.rms) && r.absmax_col == -1);
}

static void the_table_is_complete(void **state)
{
    (void)state;
    const float x[4] = { 1, -2, 3, 0 }, p[2] = { 0.5f, 0.5f };
    const char *grammar[] = { "min", "max",  "absmax",  "mean", "sd",  "rms",  "l2",
                              "kurt", "nan", "entropy", "inf",  "zero" };
    double v;
    for (size_t i = 0; i < statistic_count(); i++) {
        const struct statistic *s = statistic_at(i);
        assert_ptr_equal(statistic_find(s->name), s);
        assert_true(!s->alias || statistic_find(s->alias) == s);
        assert_true(s->brief[0] && s->edge[0] && s->unit);
        for (int l = 0; l < 3; l++)
            assert_true(s->lines[l][0] && strlen(s->lines[l]) <= 92);
        if (s->kind == STATISTIC_ARRAY)
            assert_true(statistic_of(s->name, NULL, x, 4, &v));
    }
    assert_null(statistic_at(statistic_count()));
    for (size_t i = 0; i < sizeof grammar / sizeof *grammar; i++)
        assert_true(statistic_of(grammar[i], NULL, x, 4, &v));
    assert_true(statistic_of("l2", NULL, x, 4, &v) && v == sqrt(14));
    assert_true(statistic_of("ZERO", NULL, x, 4, &v) && v == 1);
    assert_true(statistic_of("std", NULL, x, 4, &v) && v == sqrt(3.25));
    assert_true(statistic_of("entropy", NULL, p, 2, &v) && fabs(v - log(2)) < 1e-15);
    assert_true(statistic_of("entropy_norm", NULL, p, 2, &v) && fabs(v - 1) < 1e-15);
    assert_true(statistic_of("sink", NULL, p, 2, &v) && v == 0.5);
    assert_true(statistic_between("relerr", x, p, 0, &v) && isnan(v));
    assert_true(statistic_between("cos", x, x, 4, &v) && v == 1);
    assert_true(statistic_between("kl", x, x, 4, &v) && v == 0);
    assert_false(statistic_of("relerr", NULL, x, 4, &v));
    assert_false(statistic_of("median", NULL, x, 4, &v));
    assert_false(statistic_of("nonsense", NULL, x, 4, &v));
    assert_false(statistic_between("rms", x, x, 4, &v));
}

UNIT_MAIN(CASE(summaries_equal_the_definitions),
          CASE(any_cut_and_thread_count_gives_the_same_bits),
          CASE(summaries_of_odd_arrays),
          CASE(quantiles_equal_sorting), CASE(quantiles_of_many),
          CASE(histograms_count_everything_once),
          CASE(pairs_equal_the_definitions),
          CASE(pairs_at_the_edges),
          CASE(divergence_and_entropy),
          CASE(outliers_are_told_apart),
          CASE(the_table_is_complete))
