/* SPDX-License-Identifier: MIT */
/* Sixteen lanes of sums whatever the machine's vectors are, so that the order of additions is part
 * of the source: PARTS vectors of LEVEL_VECTOR bytes. */
#ifndef QDB_KERNELS_LANES_BODY_H
#define QDB_KERNELS_LANES_BODY_H

#include <string.h>

#include "kernels/part_body.h"

enum {
    LANES = 16,
    PARTS = LANES * (int)sizeof(float) / LEVEL_VECTOR,
    BLOCK_TOKENS = 4 /* whose sums are made together, to share loads */
};

struct lanes {
    part p[PARTS];
};

#define EACH_PART UNROLL for (int i = 0; i < PARTS; i++)
#define EACH(rows, tokens) \
    UNROLL for (int r = 0; r < (rows); r++) UNROLL for (int t = 0; t < (tokens); t++)

typedef float lanes_half __attribute__((vector_size(LANES / 2 * sizeof(float))));
typedef float lanes_quarter __attribute__((vector_size(LANES / 4 * sizeof(float))));

/* Lanes i and i + 8, then i + 4, i + 2, i + 1. */
INLINE float lanes_sum(const struct lanes *sum)
{
    lanes_half half[2];
    lanes_quarter q[2];
    memcpy(half, sum, sizeof half);
    half[0] += half[1];
    memcpy(q, half, sizeof q);
    q[0] += q[1];
    return (q[0][0] + q[0][2]) + (q[0][1] + q[0][3]);
}

#endif
