/* SPDX-License-Identifier: MIT */
#include "study/anytime.h"

#include <math.h>

#include "base/hash.h"

int64_t anytime_at(int64_t i, int64_t n)
{
    enum { ROUNDS = 4 };
    int half = 1; /* bits: a Feistel network over 2 * half of them, walked until it is below n */
    while (half < 31 && (int64_t)1 << 2 * half < n)
        half++;
    const uint64_t mask = ((uint64_t)1 << half) - 1;
    uint64_t x = (uint64_t)i;
    do {
        uint64_t left = x >> half, right = x & mask;
        for (uint64_t round = 0; round < ROUNDS; round++) {
            uint64_t state = round << 32 | right;
            const uint64_t mixed = left ^ (hash_draw(&state) & mask);
            left = right;
            right = mixed;
        }
        x = left << half | right;
    } while (x >= (uint64_t)n);
    return (int64_t)x;
}

/* Sums over clusters of y, y^2, y^3, y = sum - mean n: how far each is from the mean. */
struct moments {
    double count, two, three;
};

static struct moments moments_of(const double *sum, const int64_t *n, size_t clusters, double mean)
{
    struct moments m = { .count = (double)clusters };
    for (size_t i = 0; i < clusters; i++) {
        const double y = sum[i] - mean * (double)n[i];
        m.two += y * y;
        m.three += y * y * y;
    }
    return m;
}

/* Half the width for t clusters, in standard deviations of one. */
static double radius(double t)
{
    static const double alpha = 0.05, narrowest = 64;
    const double r = (-2 * log(alpha) + log(-2 * log(alpha)) + 1) / narrowest;
    return sqrt(2 * (t * r + 1) / (t * t * r) * log(sqrt(t * r + 1) / alpha));
}

/* The studentised mean whose transform, free of skewness, is x; t clusters. */
static double hall(double x, double skewness, double t)
{
    const double a = skewness / 3, b = skewness / 6;
    return fabs(skewness) < 1e-6 ? x : sqrt(t) / a * (cbrt(1 + 3 * a * (x / sqrt(t) - b / t)) - 1);
}

struct clustered_mean anytime_mean_of(const double *sum, const int64_t *n, size_t clusters)
{
    struct clustered_mean m = { .clusters = (int64_t)clusters, .low = NAN, .high = NAN };
    double total = 0;
    for (size_t i = 0; i < clusters; i++) {
        total += sum[i];
        m.n += n[i];
    }
    m.value = total / (double)m.n;
    if (clusters < ANYTIME_FIRST || !isfinite(m.value))
        return m;
    const struct moments s = moments_of(sum, n, clusters, m.value);
    const double t = s.count, variance = s.two / t, each = (double)m.n / t;
    const double skewness = variance > 0 ? s.three / t / pow(variance, 1.5) : 0;
    const double sd = sqrt(s.two / (t - 1)) / each, x = radius(t) * sqrt(t);
    m.low = m.value - sd * hall(x, skewness, t) / sqrt(t);
    m.high = m.value - sd * hall(-x, skewness, t) / sqrt(t);
    return m;
}

double anytime_none_of(int64_t n)
{
    return n > 0 ? 1 - pow(0.05 / (double)(n + 1), 1 / (double)n) : 1;
}
