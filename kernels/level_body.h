/* SPDX-License-Identifier: MIT */
/* The kernels of a level, written once: each level_*.c includes this with its own instruction set
 * and LEVEL_VECTOR, the size of its vectors in bytes, which changes no bit of any result. */
#ifndef QDB_KERNELS_LEVEL_BODY_H
#define QDB_KERNELS_LEVEL_BODY_H

#include <string.h>

#include "kernels/level.h"

/* Sixteen lanes whatever the machine's vectors are, so that the order of additions is part of the
 * source: PARTS vectors of LEVEL_VECTOR bytes. Vectors never cross a call: everything that takes
 * one is inlined. */
enum {
    LANES = 16,
    TILE = 4 * LANES, /* elements that make one leaf of the tree of sums */
    TREE_MAX = 32,    /* levels: enough for any int64 count of tiles that fits memory */
    PARTS = LANES * (int)sizeof(float) / LEVEL_VECTOR,
    BLOCK_ROWS = 2,
    BLOCK_TOKENS = 4 /* sums that are made together, to share loads */
};

typedef float part __attribute__((vector_size(LEVEL_VECTOR)));
struct lanes {
    part p[PARTS];
};

#define INLINE    static inline __attribute__((always_inline))
#define UNROLL    _Pragma("GCC unroll 8")
#define EACH_PART UNROLL for (int i = 0; i < PARTS; i++)
#define EACH(rows, tokens) \
    UNROLL for (int r = 0; r < (rows); r++) UNROLL for (int t = 0; t < (tokens); t++)

/* memcpy rather than a cast: the rows of a file are aligned to nothing. */
INLINE void load(struct lanes *v, const float *p)
{
    EACH_PART memcpy(&v->p[i], p + i * (LANES / PARTS), sizeof v->p[i]);
}

INLINE void add(struct lanes *sum, const struct lanes *a, const struct lanes *b)
{
    EACH_PART sum->p[i] = a->p[i] + b->p[i];
}

/* Part i of a tile: four products per lane, added as a tree of depth two. */
INLINE void tile_product(part *out, const float *a, const float *b, int i)
{
    enum { WIDTH = LANES / PARTS };
    part x[4], y[4];
    UNROLL for (int k = 0; k < 4; k++)
    {
        memcpy(&x[k], a + k * LANES + i * WIDTH, sizeof x[k]);
        memcpy(&y[k], b + k * LANES + i * WIDTH, sizeof y[k]);
    }
    *out = (x[0] * y[0] + x[1] * y[1]) + (x[2] * y[2] + x[3] * y[3]);
}

/* Lanes i and i + 8, then i + 4, i + 2, i + 1. */
INLINE float lanes_sum(const struct lanes *sum)
{
    float v[LANES];
    memcpy(v, sum, sizeof v);
    UNROLL for (int half = LANES / 2; half; half /= 2) UNROLL for (int i = 0; i < half; i++)
        v[i] += v[i + half];
    return v[0];
}

/* The products of a tile that is cut short at `n` elements, as if padded with zeros. */
INLINE void ragged_product(struct lanes *out, const float *a, const float *b, int64_t n)
{
    float v[TILE] = { 0 };
    for (int64_t k = 0; k < n; k++)
        v[k] = a[k] * b[k];
    load(out, v);
    for (int k = LANES; k < n; k += LANES) {
        struct lanes more;
        load(&more, v + k);
        add(out, out, &more);
    }
}

/* Sums of tiles as a binary counter: level l holds the sum of 2^l tiles when bit l of the count is
 * set, so that n tiles are added in a tree of depth log2(n) without knowing n beforehand. The sums
 * of several rows and tokens go through it together. */
struct trees {
    struct lanes level[TREE_MAX][BLOCK_ROWS][BLOCK_TOKENS];
};

INLINE void trees_push(struct trees *trees, uint64_t count, int rows, int tokens,
                       struct lanes leaf[][BLOCK_TOKENS])
{
    int l = 0;
    for (; count & 1; count >>= 1, l++)
        EACH(rows, tokens) add(&leaf[r][t], &trees->level[l][r][t], &leaf[r][t]);
    EACH(rows, tokens) trees->level[l][r][t] = leaf[r][t];
}

/* rows x tokens dot products of w, w + n, ... with x, x + n, ...; the counts are constants after
 * inlining. */
INLINE void dots(const float *w, int rows, const float *x, int tokens, int64_t n, float *y,
                 int64_t stride)
{
    struct trees trees;
    struct lanes leaf[BLOCK_ROWS][BLOCK_TOKENS];
    uint64_t tiles = 0;
    int64_t c = 0;
    for (; c + TILE <= n; c += TILE, tiles++) {
        EACH_PART EACH(rows, tokens)
            tile_product(&leaf[r][t].p[i], w + r * n + c, x + t * n + c, i);
        trees_push(&trees, tiles, rows, tokens, leaf);
    }
    if (c < n) {
        EACH(rows, tokens) ragged_product(&leaf[r][t], w + r * n + c, x + t * n + c, n - c);
        trees_push(&trees, tiles, rows, tokens, leaf);
        tiles++;
    }
    EACH(rows, tokens) leaf[r][t] = (struct lanes){ 0 };
    for (int l = 0; tiles; tiles >>= 1, l++)
        if (tiles & 1)
            EACH(rows, tokens) add(&leaf[r][t], &trees.level[l][r][t], &leaf[r][t]);
    EACH(rows, tokens) y[t * stride + r] = lanes_sum(&leaf[r][t]);
}

static void dot_rows(const float *w, int rows, const float *x, int64_t tokens, int64_t n, float *y,
                     int64_t stride)
{
    int64_t t = 0;
    for (; rows == BLOCK_ROWS && t + BLOCK_TOKENS <= tokens; t += BLOCK_TOKENS)
        dots(w, BLOCK_ROWS, x + t * n, BLOCK_TOKENS, n, y + t * stride, stride);
    for (; rows == BLOCK_ROWS && t < tokens; t++)
        dots(w, BLOCK_ROWS, x + t * n, 1, n, y + t * stride, stride);
    for (; rows == 1 && t + BLOCK_TOKENS <= tokens; t += BLOCK_TOKENS)
        dots(w, 1, x + t * n, BLOCK_TOKENS, n, y + t * stride, stride);
    for (; t < tokens; t++)
        dots(w, 1, x + t * n, 1, n, y + t * stride, stride);
}

#endif
