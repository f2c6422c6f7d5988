/* SPDX-License-Identifier: MIT */
/* Weights in floats, halves and brain floats times a few tokens: converted in registers while they
 * are multiplied, with the bits of dot_rows. Included once per level, after level_body.h. */
#ifndef QDB_KERNELS_PLAIN_BODY_H
#define QDB_KERNELS_PLAIN_BODY_H

#include "kernels/level_body.h"
#include "kernels/plain_part_body.h"

/* Part i of the products of a tile from column `at` on with these weights; see tile_product. */
INLINE part plain_leaf(const part *a, const float *x, int64_t at)
{
    part b[4];
    UNROLL for (int k = 0; k < 4; k++) memcpy(&b[k], x + at + k * LANES, sizeof b[k]);
    return (a[0] * b[0] + a[1] * b[1]) + (a[2] * b[2] + a[3] * b[3]);
}

INLINE void plain_weights(enum plain_kind kind, const uint8_t *w, int64_t at, part *a)
{
    UNROLL for (int k = 0; k < 4; k++) a[k] = plain_part(kind, w, at + k * LANES);
}

/* Part i of the products of a tile. */
INLINE void plain_product(enum plain_kind kind, const uint8_t *w, size_t row_bytes, int rows,
                          const float *x, int tokens, int64_t n, int64_t c, int i,
                          struct lanes leaf[][BLOCK_TOKENS])
{
    const int64_t at = c + i * (LANES / PARTS);
    part a[4];
    UNROLL for (int r = 0; r < rows; r++)
    {
        plain_weights(kind, w + (size_t)r * row_bytes, at, a);
        UNROLL for (int t = 0; t < tokens; t++) leaf[r][t].p[i] = plain_leaf(a, x + t * n, at);
    }
}

/* The same of the last columns, fewer than a tile. */
INLINE void plain_rest(enum plain_kind kind, const uint8_t *w, size_t row_bytes, int rows,
                       const float *x, int tokens, int64_t n, int64_t c,
                       struct lanes leaf[][BLOCK_TOKENS])
{
    float tail[TILE];
    EACH(rows, tokens)
    {
        const uint8_t *row = w + (size_t)r * row_bytes;
        plain_tail(kind, row + c * plain_bytes(kind), n - c, tail);
        ragged_product(&leaf[r][t], tail, x + t * n + c, n - c);
    }
}

/* rows x tokens dot products; see plain_product and grow. */
INLINE void plain_dots(enum plain_kind kind, const uint8_t *w, size_t row_bytes, int rows,
                       const float *x, int tokens, int64_t n, float *y, int64_t stride)
{
    const bool ask = plain_asks(rows, n * (int64_t)sizeof *x);
    const uint8_t *ahead = w + plain_ahead(rows, row_bytes);
    struct trees trees;
    struct lanes leaf[BLOCK_ROWS][BLOCK_TOKENS];
    uint64_t tiles = 0;
    int64_t c = 0;
    for (; c + TILE <= n; c += TILE, tiles++) {
        if (ask)
            UNROLL for (int i = 0; i < rows * plain_bytes(kind); i++, ahead += 64)
                __builtin_prefetch(ahead, 0, 2);
        EACH_PART plain_product(kind, w, row_bytes, rows, x, tokens, n, c, i, leaf);
        trees_push(&trees, 0, tiles, rows, tokens, leaf);
    }
    if (c < n) {
        plain_rest(kind, w, row_bytes, rows, x, tokens, n, c, leaf);
        trees_push(&trees, 0, tiles++, rows, tokens, leaf);
    }
    harvest(&trees, rows, tokens, tiles, y, stride);
}

INLINE void plain_tokens(enum plain_kind kind, const uint8_t *w, size_t row_bytes, int rows,
                         const float *x, int64_t tokens, int64_t n, float *y, int64_t stride)
{
    int64_t t = 0;
    for (; t + BLOCK_TOKENS <= tokens; t += BLOCK_TOKENS)
        plain_dots(kind, w, row_bytes, rows, x + t * n, BLOCK_TOKENS, n, y + t * stride, stride);
    for (; t + 2 <= tokens; t += 2)
        plain_dots(kind, w, row_bytes, rows, x + t * n, 2, n, y + t * stride, stride);
    for (; t < tokens; t++)
        plain_dots(kind, w, row_bytes, rows, x + t * n, 1, n, y + t * stride, stride);
}

#define PLAIN_KERNEL(name, kind) \
    static void name(const uint8_t *w, size_t row_bytes, int rows, const float *x, int64_t tokens, \
                     int64_t n, float *y, int64_t stride) \
    { \
        int r = 0; \
        for (; !one_stream(tokens) && r + BLOCK_ROWS <= rows; r += BLOCK_ROWS) \
            plain_tokens(kind, w + (size_t)r * row_bytes, row_bytes, BLOCK_ROWS, x, tokens, n, \
                         y + r, stride); \
        for (; r < rows; r++) \
            plain_tokens(kind, w + (size_t)r * row_bytes, row_bytes, 1, x, tokens, n, y + r, \
                         stride); \
    }
PLAIN_KERNEL(plain_f32, PLAIN_F32)
PLAIN_KERNEL(plain_f16, PLAIN_F16)
PLAIN_KERNEL(plain_bf16, PLAIN_BF16)
#define PLAIN_KERNELS { plain_f32, plain_f16, plain_bf16 }

#endif
