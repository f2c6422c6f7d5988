/* SPDX-License-Identifier: MIT */
/* Lanes: sums kept in a fixed number of accumulators, so that loops vectorise with fixed bits. */
#ifndef QDB_KERNELS_LANES_H
#define QDB_KERNELS_LANES_H

enum { LANES = 8 };

static inline double sum_lanes(const double lane[LANES])
{
    double a = lane[0] + lane[4], b = lane[1] + lane[5];
    double c = lane[2] + lane[6], d = lane[3] + lane[7];
    return (a + c) + (b + d);
}

#endif
