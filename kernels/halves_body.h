/* SPDX-License-Identifier: MIT */
/* Mode native with weights in halves: products with activations that are halves too, which float32
 * holds without rounding, so that one fused with its addition gives the bits of two steps.
 * docs/modes.md fixes the order. Included once per level, after level_body.h. */
#ifndef QDB_KERNELS_HALVES_BODY_H
#define QDB_KERNELS_HALVES_BODY_H

#include "kernels/level_body.h"
#include "kernels/plain_part_body.h"

enum {
    HALVES_ROWS = LEVEL_VECTOR == 64 ? 4 : 2, /* sums that fit the registers, with four tokens */
    HALVES_STEP = 2 * LANES
};

INLINE void add_exact_product(part *sum, part a, part b)
{
#if LEVEL_VECTOR == 64
    *sum = (part)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)*sum);
#elif LEVEL_VECTOR == 32
    *sum = (part)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)*sum);
#else
    *sum = *sum + a * b;
#endif
}

/* Part i of sum[r][t] += HALVES_STEP columns; the counts are constants after inlining. */
INLINE void halves_step(enum plain_kind kind, const uint8_t *w, size_t row_bytes, int rows,
                        const float *x, int64_t n, int tokens, int i,
                        part sum[][BLOCK_TOKENS])
{
    UNROLL for (int half = 0; half < 2; half++)
    {
        const int64_t at = half * LANES + i * (LANES / PARTS);
        part a[HALVES_ROWS], b;
        UNROLL for (int r = 0; r < rows; r++)
            a[r] = plain_part(kind, w + (size_t)r * row_bytes, at);
        UNROLL for (int t = 0; t < tokens; t++)
        {
            memcpy(&b, x + t * n + at, sizeof b);
            UNROLL for (int r = 0; r < rows; r++) add_exact_product(&sum[r][t], a[r], b);
        }
    }
}

/* The last columns, filled up with zeros. */
struct halves_rest {
    float w[HALVES_ROWS * HALVES_STEP], x[BLOCK_TOKENS * HALVES_STEP];
};

INLINE void halves_rest_of(enum plain_kind kind, const uint8_t *w, size_t row_bytes, int rows,
                           const float *x, int64_t n, int tokens, int64_t some,
                           struct halves_rest *out)
{
    memset(out, 0, sizeof *out);
    for (int r = 0; r < rows; r++)
        plain_tail(kind, w + (size_t)r * row_bytes, some, out->w + r * HALVES_STEP);
    for (int t = 0; t < tokens; t++)
        memcpy(out->x + t * HALVES_STEP, x + t * n, (size_t)some * sizeof *x);
}

/* Some rows times `tokens` tokens. Memory is asked for ahead where weights come from it. */
INLINE void halves_dots(enum plain_kind kind, const uint8_t *w, size_t row_bytes, int rows,
                        const float *x, int64_t n, int tokens, float *y, int64_t stride)
{
    enum { BYTES_OF_STEP = HALVES_STEP * (int)sizeof(float) };
    const uint8_t *ahead = w + PLAIN_AHEAD + (size_t)rows * row_bytes;
    const int64_t whole = n / HALVES_STEP * HALVES_STEP;
    struct lanes sum[HALVES_ROWS][BLOCK_TOKENS];
    struct halves_rest rest;
    if (whole < n)
        halves_rest_of(kind, w + whole * plain_bytes(kind), row_bytes, rows, x + whole, n, tokens,
                       n - whole, &rest);
    EACH_PART
    {
        part s[HALVES_ROWS][BLOCK_TOKENS];
        EACH(rows, tokens) s[r][t] = (part){ 0 };
        for (int64_t c = 0; c < whole; c += HALVES_STEP) {
            const uint8_t *from = w + c * plain_bytes(kind);
            if (kind != PLAIN_F32 && i == 0)
                UNROLL for (int r = 0; r < rows; r++)
                    __builtin_prefetch(ahead + (size_t)r * row_bytes + c * plain_bytes(kind), 0,
                                       2);
            halves_step(kind, from, row_bytes, rows, x + c, n, tokens, i, s);
        }
        if (whole < n)
            halves_step(PLAIN_F32, (const uint8_t *)rest.w, BYTES_OF_STEP, rows, rest.x,
                        HALVES_STEP, tokens, i, s);
        EACH(rows, tokens) sum[r][t].p[i] = s[r][t];
    }
    EACH(rows, tokens) y[t * stride + r] = lanes_sum(&sum[r][t]);
}

/* All rows times `tokens` tokens. */
INLINE void halves_block(enum plain_kind kind, const uint8_t *w, size_t row_bytes, int rows,
                         const float *x, int64_t n, int tokens, float *y, int64_t stride)
{
    int r = 0;
    for (; r + HALVES_ROWS <= rows; r += HALVES_ROWS, w += HALVES_ROWS * row_bytes)
        halves_dots(kind, w, row_bytes, HALVES_ROWS, x, n, tokens, y + r, stride);
    for (; r < rows; r++, w += row_bytes)
        halves_dots(kind, w, row_bytes, 1, x, n, tokens, y + r, stride);
}

INLINE void halves_tokens(enum plain_kind kind, const uint8_t *w, size_t row_bytes, int rows,
                          const float *x, int64_t tokens, int64_t n, float *y, int64_t stride)
{
    int64_t t = 0;
    for (; t + BLOCK_TOKENS <= tokens; t += BLOCK_TOKENS)
        halves_block(kind, w, row_bytes, rows, x + t * n, n, BLOCK_TOKENS, y + t * stride, stride);
    for (; t + 2 <= tokens; t += 2)
        halves_block(kind, w, row_bytes, rows, x + t * n, n, 2, y + t * stride, stride);
    for (; t < tokens; t++)
        halves_block(kind, w, row_bytes, rows, x + t * n, n, 1, y + t * stride, stride);
}

static void halves_rows(enum plain_kind kind, const uint8_t *w, size_t row_bytes, int rows,
                        const float *x, int64_t tokens, int64_t n, float *y, int64_t stride)
{
#ifdef __F16C__
    if (kind == PLAIN_F16) {
        halves_tokens(PLAIN_F16, w, row_bytes, rows, x, tokens, n, y, stride);
        return;
    }
#else
    (void)kind;
#endif
    halves_tokens(PLAIN_F32, w, row_bytes, rows, x, tokens, n, y, stride);
}

#endif
