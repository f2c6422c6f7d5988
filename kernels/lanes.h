/* SPDX-License-Identifier: MIT */
/* Lanes: sums kept in a fixed number of accumulators, so that loops vectorise with fixed bits. */
#ifndef QDB_KERNELS_LANES_H
#define QDB_KERNELS_LANES_H

/* Value i of an array goes to lane i % LANES; what is left at the end is added to lane 0. Loops
 * over lanes are functions of their own (LANES_LOOP): only then does gcc 12 keep the lanes in
 * registers. */
enum { LANES = 8 };

#define LANES_LOOP __attribute__((noinline)) static

static inline double sum_lanes(const double lane[LANES])
{
    double a = lane[0] + lane[4], b = lane[1] + lane[5];
    double c = lane[2] + lane[6], d = lane[3] + lane[7];
    return (a + c) + (b + d);
}

#endif
