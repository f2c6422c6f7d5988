/* SPDX-License-Identifier: MIT */
#include "study/interval.h"

#include <math.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/memory.h"
#include "kernels/statistics.h"

static const double z95 =
    1.959963984540054; /* 97.5 % quantile of the standard normal distribution */

struct share share_of(int64_t hits, int64_t n)
{
    if (n <= 0)
        return (struct share){ hits, n, NAN, NAN, NAN };
    const double m = (double)n, p = (double)hits / m, z2 = z95 * z95;
    const double centre = (p + z2 / (2 * m)) / (1 + z2 / m);
    const double half = z95 / (1 + z2 / m) * sqrt(p * (1 - p) / m + z2 / (4 * m * m));
    /* at the ends the bound is exact; rounding would leave it just outside */
    return (struct share){ hits, n, p, hits ? centre - half : 0, hits < n ? centre + half : 1 };
}

enum { DRAWS = 1999 };

/* Ratio of the sums, and its error. */
static double ratio_of(const double *num, const double *den, const uint32_t *pick, size_t c,
                       double *error)
{
    double n = 0, d = 0, squares = 0;
    for (size_t i = 0; i < c; i++) {
        n += num[pick[i]];
        d += den[pick[i]];
    }
    const double ratio = n / d;
    for (size_t i = 0; i < c; i++) {
        const double off = num[pick[i]] - ratio * den[pick[i]];
        squares += off * off;
    }
    *error = sqrt(squares * (double)c / (double)(c - 1)) / fabs(d);
    return ratio;
}

static void studentised(const double *num, const double *den, struct clustered_mean *m)
{
    const size_t c = (size_t)m->clusters;
    uint32_t *pick = x_scratch(c * sizeof *pick);
    double *t = x_scratch(DRAWS * sizeof *t), error, spread;
    uint64_t state = 1;
    int64_t n = 0;
    for (size_t i = 0; i < c; i++)
        pick[i] = (uint32_t)i;
    ratio_of(num, den, pick, c, &error);
    for (int k = 0; k < DRAWS; k++) {
        for (size_t i = 0; i < c; i++)
            pick[i] = (uint32_t)((hash_draw(&state) >> 32) * c >> 32);
        const double off = ratio_of(num, den, pick, c, &spread) - m->value;
        if (spread > 0)
            t[n++] = off / spread;
    }
    static const double p[] = { 0.025, 0.975 };
    double q[2] = { 0, 0 };
    if (n)
        quantiles_f64(t, n, p, 2, q);
    m->low = m->value - (error > 0 ? q[1] * error : error);
    m->high = m->value - (error > 0 ? q[0] * error : error);
    free(pick);
    free(t);
}

struct clustered_mean clustered_ratio_of(const double *num, const double *den, size_t clusters)
{
    struct clustered_mean m = { .clusters = (int64_t)clusters, .low = NAN, .high = NAN };
    double n = 0, d = 0;
    for (size_t i = 0; i < clusters; i++) {
        n += num[i];
        d += den[i];
    }
    m.value = clusters ? n / d : (double)NAN;
    if (clusters >= MIN_CLUSTERS && isfinite(m.value))
        studentised(num, den, &m);
    return m;
}

struct clustered_mean clustered_mean_of(const double *sum, const int64_t *n, size_t clusters)
{
    double *den = x_alloc(clusters * sizeof *den + 1);
    int64_t total = 0;
    for (size_t i = 0; i < clusters; i++) {
        den[i] = (double)n[i];
        total += n[i];
    }
    struct clustered_mean m = clustered_ratio_of(sum, den, clusters);
    m.n = total;
    free(den);
    return m;
}
