/* SPDX-License-Identifier: MIT */
/* Kernels of a level for the summary of an array, written once: each level_*.c includes this after
 * kernels/rows_body.h. Element i is added in lane i % DOUBLES, so that every level gives the same
 * bits. */
#ifndef QDB_KERNELS_MOMENTS_BODY_H
#define QDB_KERNELS_MOMENTS_BODY_H

#include "kernels/rows_body.h"

/* Elements [0, n), n a multiple of DOUBLES: extremes of each lane, counts, sums of x and x^2. */
struct moment_lanes {
    float lo[DOUBLES], hi[DOUBLES];
    int32_t zero[DOUBLES], odd[DOUBLES];
    double sum[DOUBLES], squares[DOUBLES];
};

INLINE void first_moments(const float *x, int n, struct moment_lanes *out)
{
    enum { SIDES = DOUBLES / WIDE };
    part lo[SIDES], hi[SIDES];
    whole_part zero[SIDES] = { { 0 } }, odd[SIDES] = { { 0 } };
    struct doubles sum = { 0 }, squares = { 0 };
    UNROLL for (int k = 0; k < SIDES; k++) lo[k] = hi[k] = (part){ 0 } + x[0];
    for (int i = 0; i < n; i += DOUBLES) {
        UNROLL for (int k = 0; k < SIDES; k++)
        {
            const part v = part_at(x + i + k * WIDE);
            lo[k] = part_min(v, lo[k]);
            hi[k] = part_max(v, hi[k]);
            zero[k] -= v == 0.0f;
            odd[k] |= ((whole_part)v & 0x7fffffff) > 0x7f7fffff;
        }
        EACH_DOUBLE {
            const double_part v = doubles_at(x + i + k * WIDE_DOUBLES);
            sum.p[k] += v;
            squares.p[k] += v * v;
        }
    }
    memcpy(out->lo, lo, sizeof lo);
    memcpy(out->hi, hi, sizeof hi);
    memcpy(out->zero, zero, sizeof zero);
    memcpy(out->odd, odd, sizeof odd);
    memcpy(out->sum, &sum, sizeof sum);
    memcpy(out->squares, &squares, sizeof squares);
}

/* Sums of the second to fourth power of the distance from the mean. */
INLINE void central_moments(const float *x, int n, double mean, double power[3][DOUBLES])
{
    struct doubles two = { 0 }, three = { 0 }, four = { 0 };
    int i = 0;
    for (; i + DOUBLES <= n; i += DOUBLES)
        EACH_DOUBLE {
            const double_part d = doubles_at(x + i + k * WIDE_DOUBLES) - mean, d2 = d * d;
            two.p[k] += d2;
            three.p[k] += d2 * d;
            four.p[k] += d2 * d2;
        }
    memcpy(power[0], &two, sizeof two);
    memcpy(power[1], &three, sizeof three);
    memcpy(power[2], &four, sizeof four);
    for (int k = 0; i + k < n; k++) {
        const double d = (double)x[i + k] - mean, d2 = d * d;
        power[0][k] += d2;
        power[1][k] += d2 * d;
        power[2][k] += d2 * d2;
    }
}

static bool moments_of_floats(const float *x, int n, struct moments *out)
{
    struct moment_lanes a;
    double power[3][DOUBLES];
    const int whole = n - n % DOUBLES;
    struct moments m = { .min = x[0], .max = x[0] };
    int32_t odd = 0;
    first_moments(x, whole, &a);
    for (int k = 0; whole + k < n; k++) {
        const float v = x[whole + k];
        const double wide = (double)v;
        a.lo[k] = v < a.lo[k] ? v : a.lo[k];
        a.hi[k] = v > a.hi[k] ? v : a.hi[k];
        a.zero[k] += v == 0;
        a.odd[k] |= !isfinite(v);
        a.sum[k] += wide;
        a.squares[k] += wide * wide;
    }
    for (int k = 0; k < DOUBLES; k++) {
        m.min = a.lo[k] < m.min ? a.lo[k] : m.min;
        m.max = a.hi[k] > m.max ? a.hi[k] : m.max;
        m.zero += a.zero[k];
        odd |= a.odd[k];
    }
    if (odd)
        return false;
    m.sum = doubles_sum(a.sum);
    m.squares = doubles_sum(a.squares);
    central_moments(x, n, m.sum / n, power);
    m.m2 = doubles_sum(power[0]);
    m.m3 = doubles_sum(power[1]);
    m.m4 = doubles_sum(power[2]);
    *out = m;
    return true;
}

#endif
