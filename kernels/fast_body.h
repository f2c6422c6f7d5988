/* SPDX-License-Identifier: MIT */
/* Mode fast, written once; a level includes this after its LEVEL_VECTOR, with FAST_BF16 if operands
 * are pairs of brain floats, and after kernels/tiles.h with FAST_TILES if a matrix unit multiplies
 * them.
 *
 * Lanes are tokens: activations are vectors (fast.h says how they are packed), weights are decoded
 * to rows of operands and spread over the lanes one by one, or by pairs. Each sum is one lane that
 * takes its products in ascending order of columns. */
#ifndef QDB_KERNELS_FAST_BODY_H
#define QDB_KERNELS_FAST_BODY_H

#include <string.h>

#include "kernels/fast.h"
#include "kernels/level_decode.h"
#include "kernels/native_transpose.h"

#define FAST_INLINE static inline __attribute__((always_inline))
#define FAST_UNROLL _Pragma("GCC unroll 16")

/* Rows per panel. Vectors take 16 KiB of operands. Tiles multiply so quickly that activations may
 * not come from the third-level cache as often: 128 rows, FAST_NEAR of them (32 KiB) at a time in
 * the first-level cache. */
#if defined FAST_TILES
typedef uint16_t operand;
enum { FAST_GROUP = 2, FAST_ROWS = 128, FAST_NEAR = 64 };
#elif defined FAST_BF16
typedef uint16_t operand;
enum { FAST_GROUP = 2, FAST_ROWS = 32 };
#else
typedef float operand;
enum { FAST_GROUP = 1, FAST_ROWS = 16 };
#endif

enum {
    FAST_COLS = DECODE_COLS,       /* a panel of weights: FAST_ROWS x FAST_COLS operands */
    FAST_MOST_BLOCKS = 32,         /* of tokens whose sums are kept in the second-level cache */
    FAST_TILE = FAST_TOKENS * 16,  /* floats: sixteen rows of one block */
    FAST_SUMS = FAST_TOKENS * FAST_ROWS
};

#ifdef __AVX2__
#define FAST_WIDTH WIDTH
#else
#define FAST_WIDTH 4
#endif

/* ---------------------------------------------------------------- operands */

/* n floats, a multiple of 32, to brain floats: to nearest, ties to even; denormals to zero. */
#ifdef FAST_BF16
#ifndef __AVX512BF16__
FAST_INLINE uint16_t to_operand(float x)
{
    return f32_to_bf16(x < 0x1p-126f && x > -0x1p-126f ? 0 * x : x);
}
#endif

FAST_INLINE void to_operands(const float *x, int n, operand *y)
{
#ifdef __AVX512BF16__
    for (int i = 0; i < n; i += 32)
        _mm512_storeu_si512(y + i, (__m512i)_mm512_cvtne2ps_pbh(_mm512_loadu_ps(x + i + 16),
                                                                _mm512_loadu_ps(x + i)));
#else
    for (int i = 0; i < n; i++)
        y[i] = to_operand(x[i]);
#endif
}
#endif

/* Columns c .. c + n of the rows of w, filled up to `most` columns and to rows of 16 with zeros. */
FAST_INLINE void weights_panel(const struct fast_weights *w, int64_t c, int n, int most,
                               operand *panel)
{
    for (int r = 0; r < w->rows; r++) {
        operand *to = panel + r * FAST_COLS;
        const uint8_t *from = w->data + (size_t)r * w->row_bytes + decoder_bytes(&w->decoder, c);
#ifdef FAST_BF16
        float row[FAST_COLS];
        decode(&w->decoder, from, row, n);
        memset(row + n, 0, (size_t)(most - n) * sizeof *row);
        to_operands(row, most, to);
#else
        decode(&w->decoder, from, to, n);
        memset(to + n, 0, (size_t)(most - n) * sizeof *to);
#endif
    }
    for (int r = w->rows; r % 16; r++)
        memset(panel + r * FAST_COLS, 0, FAST_COLS * sizeof *panel);
}

/* FAST_TOKENS x `most` floats, rows `stride` apart, to vectors of all tokens. */
FAST_INLINE void pack_columns(const float *x, int64_t stride, int most, operand *out)
{
#if defined FAST_BF16 && defined __AVX512BF16__
    for (int c = 0; c < most; c += 32, out += 32 * FAST_TOKENS) {
        ints v[WIDTH];
        EACH_LANE v[r] = (ints)_mm512_cvtne2ps_pbh(_mm512_loadu_ps(x + r * stride + c + 16),
                                                   _mm512_loadu_ps(x + r * stride + c));
        transpose(v);
        EACH_LANE ints_store(out + r * 2 * FAST_TOKENS, v[r]);
    }
#elif defined FAST_BF16
    for (int c = 0; c < most; c += 2)
        for (int t = 0; t < FAST_TOKENS; t++, out += 2) {
            out[0] = to_operand(x[t * stride + c]);
            out[1] = to_operand(x[t * stride + c + 1]);
        }
#elif defined __AVX2__
    for (int c = 0; c < most; c += WIDTH)
        for (int t = 0; t < FAST_TOKENS; t += WIDTH) {
            ints v[WIDTH];
            EACH_LANE v[r] = ints_load(x + (t + r) * stride + c);
            transpose(v);
            EACH_LANE ints_store(out + (c + r) * FAST_TOKENS + t, v[r]);
        }
#else
    for (int c = 0; c < most; c++)
        for (int t = 0; t < FAST_TOKENS; t++)
            *out++ = x[t * stride + c];
#endif
}

static size_t fast_bytes(const struct native_format *f, int64_t cols)
{
    (void)f;
    return (size_t)(FAST_TOKENS * fast_cols(cols)) * sizeof(operand);
}

static void fast_pack(const struct native_format *f, const float *x, int tokens, int64_t cols,
                      void *packed)
{
    (void)f;
    operand *out = packed;
    for (int64_t c = 0; c < cols; c += FAST_COLS, out += FAST_COLS * FAST_TOKENS) {
        const int n = cols - c < FAST_COLS ? (int)(cols - c) : FAST_COLS;
        const int most = (int)fast_cols(n);
        if (tokens == FAST_TOKENS && n == most) {
            pack_columns(x + c, cols, most, out);
            continue;
        }
        float some[FAST_TOKENS * FAST_COLS] = { 0 };
        for (int t = 0; t < tokens; t++)
            memcpy(some + t * FAST_COLS, x + t * cols + c, (size_t)n * sizeof *x);
        pack_columns(some, FAST_COLS, most, out);
    }
}

/* ---------------------------------------------------------------- products */

#ifdef FAST_TILES

/* sum[..] += 16 `tall` rows x `wide` blocks of tokens, at most two by two tiles, which take all n
 * columns; the counts are constants after inlining. */
FAST_INLINE void some_tiles(const operand *w, int tall, const operand *x, int64_t next, int wide,
                            int n, bool first, float *sum)
{
    enum { ROW = FAST_COLS * (int)sizeof(operand), LINE = 64, K = LINE / (int)sizeof(operand) };
    float *below = sum + 16 * FAST_TOKENS, *beside = sum + FAST_SUMS;
    float *corner = beside + 16 * FAST_TOKENS;
#define FOUR(what, ...) \
    what(0, sum __VA_ARGS__); \
    if (wide > 1) \
        what(1, beside __VA_ARGS__); \
    if (tall > 1) \
        what(2, below __VA_ARGS__); \
    if (tall > 1 && wide > 1) \
        what(3, corner __VA_ARGS__);
#define ZERO(tile, at) TILE_ZERO(tile)
    if (first) {
        FOUR(ZERO)
    } else {
        FOUR(TILE_LOAD, , LINE)
    }
    for (int c = 0; c < n; c += K) {
        TILE_LOAD(4, w + c, ROW);
        TILE_LOAD(6, x + c * FAST_TOKENS, LINE);
        TILE_PRODUCT(0, 4, 6);
        if (wide > 1) {
            TILE_LOAD(7, x + next + c * FAST_TOKENS, LINE);
            TILE_PRODUCT(1, 4, 7);
        }
        if (tall > 1) {
            TILE_LOAD(5, w + 16 * FAST_COLS + c, ROW);
            TILE_PRODUCT(2, 5, 6);
            if (wide > 1)
                TILE_PRODUCT(3, 5, 7);
        }
    }
    FOUR(TILE_STORE, , LINE)
#undef FOUR
#undef ZERO
}

/* sum[b][r][t] of some blocks of tokens += n columns of all rows. */
static void panel_product(const operand *w, int rows, const operand *x, int64_t next, int blocks,
                          int n, bool first, float *sum)
{
    for (int near = 0; near < rows; near += FAST_NEAR)
        for (int b = 0; b < blocks; b += 2)
            for (int r = near; r < rows && r < near + FAST_NEAR; r += 32) {
                const operand *from = w + r * FAST_COLS, *acts = x + b * next;
                float *to = sum + b * FAST_SUMS + r * FAST_TOKENS;
                const bool tall = rows - r > 16, wide = blocks - b > 1;
                if (tall && wide)
                    some_tiles(from, 2, acts, next, 2, n, first, to);
                else if (tall)
                    some_tiles(from, 2, acts, next, 1, n, first, to);
                else if (wide)
                    some_tiles(from, 1, acts, next, 2, n, first, to);
                else
                    some_tiles(from, 1, acts, next, 1, n, first, to);
            }
}

#else

enum { FAST_PARTS = FAST_TOKENS * (int)sizeof(float) / LEVEL_VECTOR };
typedef float fast_part __attribute__((vector_size(LEVEL_VECTOR)));

/* Rows and blocks of tokens whose sums fit the registers together. */
enum {
    FAST_ABREAST = LEVEL_VECTOR == 64 ? 8 : LEVEL_VECTOR == 32 ? 4 : 2,
    FAST_BLOCKS = LEVEL_VECTOR == 64 ? 2 : 1
};

FAST_INLINE void add_product(fast_part *sum, const operand *w, const operand *x)
{
    fast_part v;
    memcpy(&v, x, sizeof v);
#ifdef FAST_BF16
    int32_t pair;
    memcpy(&pair, w, sizeof pair);
    *sum = _mm512_dpbf16_ps(*sum, (__m512bh)_mm512_set1_epi32(pair), (__m512bh)v);
#elif defined __AVX512F__
    *sum = _mm512_fmadd_ps(_mm512_set1_ps(*w), v, *sum);
#elif defined __FMA__
    *sum = _mm256_fmadd_ps(_mm256_set1_ps(*w), v, *sum);
#else
    *sum = *sum + *w * v;
#endif
}

/* sum[..] += FAST_ABREAST rows x `blocks` blocks of tokens, n columns; all counts are constants
 * after inlining. */
FAST_INLINE void some_sums(const operand *w, int rows, const operand *x, int64_t next, int blocks,
                           int n, bool first, float *sum)
{
    enum { LANES_OF_PART = FAST_TOKENS / FAST_PARTS };
    fast_part v[16][2][FAST_PARTS];
#define FAST_EACH \
    FAST_UNROLL for (int r = 0; r < rows; r++) FAST_UNROLL for (int b = 0; b < blocks; b++) \
        FAST_UNROLL for (int i = 0; i < FAST_PARTS; i++)
    FAST_EACH
    {
        v[r][b][i] = (fast_part){ 0 };
        if (!first)
            memcpy(&v[r][b][i], sum + b * FAST_SUMS + r * FAST_TOKENS + i * LANES_OF_PART,
                   sizeof v[r][b][i]);
    }
    for (int c = 0; c < n; c += FAST_GROUP)
        FAST_EACH add_product(&v[r][b][i], w + r * FAST_COLS + c,
                              x + b * next + c * FAST_TOKENS + i * LANES_OF_PART * FAST_GROUP);
    FAST_EACH memcpy(sum + b * FAST_SUMS + r * FAST_TOKENS + i * LANES_OF_PART, &v[r][b][i],
                     sizeof v[r][b][i]);
#undef FAST_EACH
}

/* sum[b][r][t] of some blocks of tokens += n columns of all rows. */
static void panel_product(const operand *w, int rows, const operand *x, int64_t next, int blocks,
                          int n, bool first, float *sum)
{
    int b = 0;
    for (; FAST_BLOCKS > 1 && b + FAST_BLOCKS <= blocks; b += FAST_BLOCKS)
        for (int r = 0; r < rows; r += FAST_ABREAST)
            some_sums(w + r * FAST_COLS, FAST_ABREAST, x + b * next, next, FAST_BLOCKS, n, first,
                      sum + b * FAST_SUMS + r * FAST_TOKENS);
    for (; b < blocks; b++)
        for (int r = 0; r < rows; r += FAST_ABREAST * FAST_BLOCKS)
            some_sums(w + r * FAST_COLS, FAST_ABREAST * FAST_BLOCKS, x + b * next, next, 1, n,
                      first, sum + b * FAST_SUMS + r * FAST_TOKENS);
}

#endif

/* Sums of one block, [FAST_ROWS][FAST_TOKENS], to y[t * stride + r]. */
static void put_sums(const float *sum, int rows, int tokens, float *y, int64_t stride)
{
    for (int r0 = 0; r0 < rows; r0 += FAST_WIDTH) {
        const int some = rows - r0 < FAST_WIDTH ? rows - r0 : FAST_WIDTH;
        for (int t0 = 0; t0 < tokens; t0 += FAST_WIDTH) {
            const float *from = sum + r0 * FAST_TOKENS + t0;
            float *to = y + t0 * stride + r0;
            const int n = tokens - t0 < FAST_WIDTH ? tokens - t0 : FAST_WIDTH;
#ifdef __AVX2__
            if (some == WIDTH && n == WIDTH) {
                ints v[WIDTH];
                EACH_LANE v[r] = ints_load(from + r * FAST_TOKENS);
                transpose(v);
                EACH_LANE ints_store(to + r * stride, v[r]);
                continue;
            }
#endif
            for (int t = 0; t < n; t++)
                for (int r = 0; r < some; r++)
                    to[t * stride + r] = from[r * FAST_TOKENS + t];
        }
    }
}

/* At most FAST_MOST_BLOCKS blocks of tokens. */
static void some_blocks(const struct fast_weights *w, const operand *packed, int blocks,
                        int64_t tokens, float *y, int64_t stride)
{
    __attribute__((aligned(64))) operand panel[FAST_ROWS * FAST_COLS];
    __attribute__((aligned(64))) float sum[FAST_MOST_BLOCKS * FAST_SUMS];
    const int64_t next = fast_cols(w->cols) * FAST_TOKENS;
    for (int64_t c = 0; c < w->cols; c += FAST_COLS) {
        const int n = w->cols - c < FAST_COLS ? (int)(w->cols - c) : FAST_COLS;
        const int most = (int)fast_cols(n);
        weights_panel(w, c, n, most, panel);
        panel_product(panel, w->rows, packed + c * FAST_TOKENS, next, blocks, most, !c, sum);
    }
    for (int b = 0; b < blocks; b++) {
        const int64_t left = tokens - b * FAST_TOKENS;
        put_sums(sum + b * FAST_SUMS, w->rows, left < FAST_TOKENS ? (int)left : FAST_TOKENS,
                 y + b * FAST_TOKENS * stride, stride);
    }
}

static void fast_panel(const struct fast_weights *w, const void *packed, int64_t tokens, float *y,
                       int64_t stride)
{
    enum { MOST = FAST_MOST_BLOCKS * FAST_TOKENS };
    const operand *x = packed;
#ifdef FAST_TILES
    tiles_begin();
#endif
    for (int64_t t = 0; t < tokens; t += MOST, x += MOST * fast_cols(w->cols)) {
        const int64_t n = tokens - t < MOST ? tokens - t : MOST;
        some_blocks(w, x, (int)((n + FAST_TOKENS - 1) / FAST_TOKENS), n, y + t * stride, stride);
    }
#ifdef FAST_TILES
    tiles_end();
#endif
}

#define FAST_OPS(operands) \
    { operands, sizeof(operand), FAST_ROWS, fast_bytes, fast_pack, fast_panel }

#endif
