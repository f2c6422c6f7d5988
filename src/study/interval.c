/* SPDX-License-Identifier: MIT */
#include "study/interval.h"

#include <math.h>

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

struct clustered_mean clustered_mean_of(const double *sum, const int64_t *n, size_t clusters)
{
    struct clustered_mean m = { .clusters = (int64_t)clusters, .low = NAN, .high = NAN };
    double total = 0, squares = 0;
    for (size_t i = 0; i < clusters; i++) {
        total += sum[i];
        m.n += n[i];
    }
    m.value = m.n ? total / (double)m.n : (double)NAN;
    if (clusters < MIN_CLUSTERS)
        return m;
    for (size_t i = 0; i < clusters; i++) {
        const double off = sum[i] - m.value * (double)n[i];
        squares += off * off;
    }
    const double c = (double)clusters, error = sqrt(squares * c / (c - 1)) / (double)m.n;
    m.low = m.value - z95 * error;
    m.high = m.value + z95 * error;
    return m;
}
