/* SPDX-License-Identifier: MIT */
/* Kernels of a level for the scan of every point of a run, written once: each level_*.c includes
 * this. Element i is added in lane i % SCAN_LANES, so that every level gives the same bits. */
#ifndef QDB_KERNELS_SCAN_BODY_H
#define QDB_KERNELS_SCAN_BODY_H

#include "kernels/parts_body.h"

enum {
    SCAN_LANES = 16,
    SCAN_PARTS = SCAN_LANES / WIDE,
    SCAN_RUN = 64 * SCAN_LANES, /* elements between two sums in double */
    MAGNITUDE = 0x7fffffff
};

#define EACH_SCAN_PART UNROLL for (int k = 0; k < SCAN_PARTS; k++)

INLINE whole_part larger(whole_part a, whole_part b)
{
#if defined __AVX512F__ && LEVEL_VECTOR == 64
    return (whole_part)_mm512_max_epi32((__m512i)a, (__m512i)b);
#elif defined __AVX2__ && LEVEL_VECTOR == 32
    return (whole_part)_mm256_max_epi32((__m256i)a, (__m256i)b);
#else
    const whole_part above = a > b;
    return (a & above) | (b & ~above);
#endif
}

/* Elements [0, n), n a multiple of SCAN_LANES and at most SCAN_RUN. */
INLINE void scan_run(const float *x, int64_t n, struct scan_part *out, whole_part top[SCAN_PARTS])
{
    part sum[SCAN_PARTS] = { { 0 } };
    float lane[SCAN_LANES];
    for (int64_t i = 0; i < n; i += SCAN_LANES)
        EACH_SCAN_PART {
            const part v = part_at(x + i + k * WIDE);
            top[k] = larger((whole_part)v & MAGNITUDE, top[k]);
            sum[k] += v * v;
        }
    memcpy(lane, sum, sizeof lane);
    for (int k = 0; k < SCAN_LANES; k++)
        out->squares += (double)lane[k];
}

static void scan_floats(const float *x, int64_t n, struct scan_part *out)
{
    struct scan_part p = { 0, 0 };
    whole_part top[SCAN_PARTS] = { { 0 } };
    int32_t lane[SCAN_LANES];
    int64_t i = 0;
    while (i + SCAN_LANES <= n) {
        const int64_t left = (n - i) / SCAN_LANES * SCAN_LANES;
        const int64_t m = left < SCAN_RUN ? left : SCAN_RUN;
        scan_run(x + i, m, &p, top);
        i += m;
    }
    memcpy(lane, top, sizeof lane);
    for (int k = 0; k < SCAN_LANES; k++)
        p.top = lane[k] > p.top ? lane[k] : p.top;
    for (; i < n; i++) {
        int32_t bits;
        memcpy(&bits, &x[i], sizeof bits);
        bits &= MAGNITUDE;
        p.top = bits > p.top ? bits : p.top;
        p.squares += (double)x[i] * (double)x[i];
    }
    *out = p;
}

static int64_t scan_count(const float *x, int64_t n, int32_t magnitude)
{
    whole_part count[SCAN_PARTS] = { { 0 } };
    int32_t lane[SCAN_LANES];
    int64_t i = 0, total = 0;
    for (; i + SCAN_LANES <= n; i += SCAN_LANES)
        EACH_SCAN_PART count[k] -=
            ((whole_part)part_at(x + i + k * WIDE) & MAGNITUDE) == magnitude;
    memcpy(lane, count, sizeof lane);
    for (int k = 0; k < SCAN_LANES; k++)
        total += lane[k];
    for (; i < n; i++) {
        int32_t bits;
        memcpy(&bits, &x[i], sizeof bits);
        total += (bits & MAGNITUDE) == magnitude;
    }
    return total;
}

#define SCAN_KERNELS { .scan = scan_floats, .count = scan_count }

#endif
