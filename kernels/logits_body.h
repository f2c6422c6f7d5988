/* SPDX-License-Identifier: MIT */
/* Kernels of a level for rows of logits, written once: each level_*.c includes this. Everything is
 * in double, element i in lane i % DOUBLES, so that every level gives the same bits. */
#ifndef QDB_KERNELS_LOGITS_BODY_H
#define QDB_KERNELS_LOGITS_BODY_H

#include "kernels/rows_body.h"

typedef uint64_t double_bits __attribute__((vector_size(LEVEL_VECTOR)));
typedef int64_t double_mask __attribute__((vector_size(LEVEL_VECTOR)));

INLINE double_part doubles_choose(double_mask mask, double_part yes, double_part no)
{
    return (double_part)(((double_mask)yes & mask) | ((double_mask)no & ~mask));
}

/* e^x for x <= 0, to 3 units in the last place; 0 below -708, NaN for NaN. x = k ln 2 + r, and the
 * Taylor polynomial of e^r, whose rest is below 2^-57 for abs(r) < 0.35. */
INLINE double_part exp_doubles(double_part x)
{
    static const double c[] = { 1.0 / 6227020800, 1.0 / 479001600, 1.0 / 39916800, 1.0 / 3628800,
                                1.0 / 362880,     1.0 / 40320,     1.0 / 5040,     1.0 / 720,
                                1.0 / 120,        1.0 / 24,        1.0 / 6,        0.5,
                                1.0,              1.0 };
    /* 1.5 * 2^52: what is added to it is rounded to a whole number, which its last bits hold */
    const double_part zero = { 0 }, round = zero + 6755399441055744.0;
    const double_mask low = x < zero - 708.0;
    const double_part a = doubles_choose(low, zero - 708.0, x);
    const double_part at = a * 1.44269504088896340736 + round, k = at - round;
    const double_part r = (a - k * 6.93147180369123816490e-01) - k * 1.90821492927058770002e-10;
    double_part p = zero + c[0];
    UNROLL for (int i = 1; i < 14; i++) p = p * r + c[i];
    p *= (double_part)(((double_bits)at + 1023) << 52);
    return doubles_choose(low, zero, p);
}

/* Sixteen elements of both rows. p = e^(ref - most[0]), q = e^(x - most[1]): sums of p, of q, and
 * of p (ref - x), in which p = 0 counts nothing. */
INLINE void pair_sixteen(const float *ref, const float *x, const double most[2],
                         struct doubles sum[3])
{
    const double_part zero = { 0 };
    EACH_DOUBLE {
        const double_part a = doubles_at(ref + k * WIDE_DOUBLES);
        const double_part b = doubles_at(x + k * WIDE_DOUBLES);
        const double_part p = exp_doubles(a - most[0]);
        sum[0].p[k] += p;
        sum[1].p[k] += exp_doubles(b - most[1]);
        sum[2].p[k] += doubles_choose(p == zero, zero, p * (a - b));
    }
}

static void pair_sums(const float *ref, const float *x, int64_t n, const double most[2],
                      double out[3][DOUBLES])
{
    struct doubles sum[3];
    memcpy(sum, out, sizeof sum);
    int64_t i = 0;
    for (; i + DOUBLES <= n; i += DOUBLES)
        pair_sixteen(ref + i, x + i, most, sum);
    if (i < n) {
        float a[DOUBLES], b[DOUBLES];
        for (int k = 0; k < DOUBLES; k++)
            a[k] = b[k] = -INFINITY;
        for (int k = 0; k < n - i; k++) { /* not a choice per element: see part_first */
            a[k] = ref[i + k];
            b[k] = x[i + k];
        }
        pair_sixteen(a, b, most, sum);
    }
    memcpy(out, sum, sizeof sum);
}

static float largest_number(const float *x, int64_t n, bool *nan)
{
    return largest_of(x, n, nan);
}

#define LOGITS_KERNELS { .largest = largest_number, .pair_sums = pair_sums }

#endif
