/* SPDX-License-Identifier: MIT */
/* Mode native with weights in halves or brain floats: products with activations that are the same,
 * which float32 holds without rounding, so that one fused with its addition gives the bits of two
 * steps. docs/modes.md fixes the order. Included once per level, after its LEVEL_VECTOR. */
#ifndef QDB_KERNELS_HALVES_BODY_H
#define QDB_KERNELS_HALVES_BODY_H

#include "kernels/brains_body.h"
#include "kernels/lanes_body.h"
#include "kernels/plain_part_body.h"

enum {
    HALVES_ROWS = LEVEL_VECTOR == 64 ? 4 : 2, /* sums that fit the registers, with four tokens */
    HALVES_STEP = 2 * LANES
};

/* Bytes of an activation. */
INLINE int halves_bytes(enum plain_kind kind) { return kind == PLAIN_BF16 ? 2 : 4; }

INLINE part part_of_bytes(const uint8_t *p)
{
    part v;
    memcpy(&v, p, sizeof v);
    return v;
}

/* sum[r][t] += the vectors from float, or pair of brain floats, `at` on; the counts are constants
 * after inlining. */
INLINE void halves_vector(enum plain_kind kind, const uint8_t *w, size_t row_bytes, int rows,
                          const uint8_t *x, size_t token_bytes, int tokens, int64_t at,
                          part sum[][BLOCK_TOKENS])
{
    const bool pairs = kind == PLAIN_BF16;
    part a[HALVES_ROWS];
    UNROLL for (int r = 0; r < rows; r++)
    {
        const uint8_t *row = w + (size_t)r * row_bytes;
        a[r] = pairs ? brains_in_range(part_of_bytes(row + 4 * at)) : plain_part(kind, row, at);
    }
    UNROLL for (int t = 0; t < tokens; t++)
    {
        const part b = part_of_bytes(x + (size_t)t * token_bytes + 4 * at);
        UNROLL for (int r = 0; r < rows; r++)
        {
            if (pairs)
                add_pairs(&sum[r][t], a[r], b);
            else
                add_exact_product(&sum[r][t], a[r], b);
        }
    }
}

/* Part i of HALVES_STEP columns. */
INLINE void halves_step(enum plain_kind kind, const uint8_t *w, size_t row_bytes, int rows,
                        const uint8_t *x, size_t token_bytes, int tokens, int i,
                        part sum[][BLOCK_TOKENS])
{
    const int64_t at = i * (LANES / PARTS);
    halves_vector(kind, w, row_bytes, rows, x, token_bytes, tokens, at, sum);
    if (kind != PLAIN_BF16)
        halves_vector(kind, w, row_bytes, rows, x, token_bytes, tokens, LANES + at, sum);
}

/* The last columns, filled up with zeros. */
enum { HALVES_REST = HALVES_STEP * (int)sizeof(float) };
struct halves_rest {
    uint8_t w[HALVES_ROWS * HALVES_REST], x[BLOCK_TOKENS * HALVES_REST];
};

INLINE void halves_rest_of(enum plain_kind kind, const uint8_t *w, size_t row_bytes, int rows,
                           const uint8_t *x, size_t token_bytes, int tokens, int64_t some,
                           struct halves_rest *out)
{
    memset(out, 0, sizeof *out);
    for (int r = 0; r < rows; r++)
        memcpy(out->w + r * HALVES_REST, w + (size_t)r * row_bytes,
               (size_t)(some * plain_bytes(kind)));
    for (int t = 0; t < tokens; t++)
        memcpy(out->x + t * HALVES_REST, x + (size_t)t * token_bytes,
               (size_t)(some * halves_bytes(kind)));
}

INLINE void halves_last(enum plain_kind kind, const uint8_t *w, size_t row_bytes, int rows,
                        const uint8_t *x, size_t token_bytes, int tokens, int64_t some,
                        struct lanes sum[][BLOCK_TOKENS])
{
    struct halves_rest rest;
    halves_rest_of(kind, w, row_bytes, rows, x, token_bytes, tokens, some, &rest);
    EACH_PART
    {
        part s[HALVES_ROWS][BLOCK_TOKENS];
        EACH(rows, tokens) s[r][t] = sum[r][t].p[i];
        halves_step(kind, rest.w, HALVES_REST, rows, rest.x, HALVES_REST, tokens, i, s);
        EACH(rows, tokens) sum[r][t].p[i] = s[r][t];
    }
}

/* Some rows times `tokens` tokens: part after part, those of a token alone together. Memory is
 * asked for ahead where weights come from it. */
INLINE void halves_dots(enum plain_kind kind, const uint8_t *w, size_t row_bytes, int rows,
                        const uint8_t *x, int64_t n, int tokens, float *y, int64_t stride)
{
    const uint8_t *ahead = w + plain_ahead(rows, row_bytes);
    const bool ask = kind != PLAIN_F32 && plain_asks(rows, n * halves_bytes(kind));
    const int64_t whole = n / HALVES_STEP * HALVES_STEP;
    const size_t token_bytes = (size_t)(n * halves_bytes(kind));
    const int parts = tokens == 1 ? PARTS : 1;
    struct lanes sum[HALVES_ROWS][BLOCK_TOKENS];
    UNROLL for (int first = 0; first < PARTS; first += parts)
    {
        part s[PARTS][HALVES_ROWS][BLOCK_TOKENS];
        UNROLL for (int i = 0; i < parts; i++) EACH(rows, tokens) s[i][r][t] = (part){ 0 };
        for (int64_t c = 0; c < whole; c += HALVES_STEP) {
            const int64_t at = c * plain_bytes(kind);
            if (ask && first == 0)
                UNROLL for (int r = 0; r < rows; r++)
                    __builtin_prefetch(ahead + (size_t)r * row_bytes + at, 0, 2);
            UNROLL for (int i = 0; i < parts; i++)
                halves_step(kind, w + at, row_bytes, rows, x + c * halves_bytes(kind), token_bytes,
                            tokens, first + i, s[i]);
        }
        UNROLL for (int i = 0; i < parts; i++)
            EACH(rows, tokens) sum[r][t].p[first + i] = s[i][r][t];
    }
    if (whole < n)
        halves_last(kind, w + whole * plain_bytes(kind), row_bytes, rows,
                    x + whole * halves_bytes(kind), token_bytes, tokens, n - whole, sum);
    EACH(rows, tokens) y[t * stride + r] = lanes_sum(&sum[r][t]);
}

/* All rows times `tokens` tokens. */
INLINE void halves_block(enum plain_kind kind, const uint8_t *w, size_t row_bytes, int rows,
                         const uint8_t *x, int64_t n, int tokens, float *y, int64_t stride)
{
    const bool apart = kind != PLAIN_F32 && one_stream(tokens);
    const int together = apart ? 0 : rows / HALVES_ROWS * HALVES_ROWS;
    int r = 0;
    for (; r < together; r += HALVES_ROWS, w += HALVES_ROWS * row_bytes)
        halves_dots(kind, w, row_bytes, HALVES_ROWS, x, n, tokens, y + r, stride);
    for (; r < rows; r++, w += row_bytes)
        halves_dots(kind, w, row_bytes, 1, x, n, tokens, y + r, stride);
}

INLINE void halves_tokens(enum plain_kind kind, const uint8_t *w, size_t row_bytes, int rows,
                          const uint8_t *x, int64_t tokens, int64_t n, float *y, int64_t stride)
{
    const int64_t next = n * halves_bytes(kind);
    int64_t t = 0;
    for (; t + BLOCK_TOKENS <= tokens; t += BLOCK_TOKENS)
        halves_block(kind, w, row_bytes, rows, x + t * next, n, BLOCK_TOKENS, y + t * stride,
                     stride);
    for (; t + 2 <= tokens; t += 2)
        halves_block(kind, w, row_bytes, rows, x + t * next, n, 2, y + t * stride, stride);
    for (; t < tokens; t++)
        halves_block(kind, w, row_bytes, rows, x + t * next, n, 1, y + t * stride, stride);
}

static void halves_rows(enum plain_kind kind, const uint8_t *w, size_t row_bytes, int rows,
                        const void *x, int64_t tokens, int64_t n, float *y, int64_t stride)
{
    if (kind == PLAIN_BF16)
        halves_tokens(PLAIN_BF16, w, row_bytes, rows, x, tokens, n, y, stride);
#ifdef __F16C__
    else if (kind == PLAIN_F16)
        halves_tokens(PLAIN_F16, w, row_bytes, rows, x, tokens, n, y, stride);
#endif
    else
        halves_tokens(PLAIN_F32, w, row_bytes, rows, x, tokens, n, y, stride);
}

#endif
