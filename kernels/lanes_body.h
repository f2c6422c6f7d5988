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

/* Lanes i and i + 8, then i + 4, i + 2, i + 1. */
INLINE float lanes_sum(const struct lanes *sum)
{
    float v[LANES];
    memcpy(v, sum, sizeof v);
    UNROLL for (int half = LANES / 2; half; half /= 2) UNROLL for (int i = 0; i < half; i++)
        v[i] += v[i + half];
    return v[0];
}

#endif
