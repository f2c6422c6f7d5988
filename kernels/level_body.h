/* SPDX-License-Identifier: MIT */
/* The kernels of a level, written once: each level_*.c includes this with its own instruction set
 * and LEVEL_VECTOR, the size of its vectors in bytes, which changes no bit of any result. */
#ifndef QDB_KERNELS_LEVEL_BODY_H
#define QDB_KERNELS_LEVEL_BODY_H

#include <string.h>

#include "kernels/lanes_body.h"
#include "kernels/level.h"

enum {
    TILE = 4 * LANES, /* elements that make one leaf of the tree of sums */
    TREE_MAX = 32,    /* levels: enough for any int64 count of tiles that fits memory */
    BLOCK_ROWS = 2,
    KNOT = 4,     /* tiles that are added in registers: a node of level 2 */
    STRETCH = 512 /* columns of a block of tokens that stay in the first-level cache */
};

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

/* The products of a tile that is cut short at `n` elements: what there is of each lane, added in
 * ascending order. */
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

/* One more node of level l, `count` of which are there. */
INLINE void trees_push(struct trees *trees, int l, uint64_t count, int rows, int tokens,
                       struct lanes leaf[][BLOCK_TOKENS])
{
    for (; count & 1; count >>= 1, l++)
        EACH(rows, tokens) add(&leaf[r][t], &trees->level[l][r][t], &leaf[r][t]);
    EACH(rows, tokens) trees->level[l][r][t] = leaf[r][t];
}

/* Here the sum is made, and nothing that is loaded later is loaded before. */
#ifdef __AVX512F__
#define PIN(v) __asm__ volatile("" : "+v"(v) : : "memory")
#elif defined __x86_64__
#define PIN(v) __asm__ volatile("" : "+x"(v) : : "memory")
#else
#define PIN(v) __asm__ volatile("" ::: "memory")
#endif

/* Four tiles of rows x tokens, added pairwise: part i of all sums. Sums and weights are single
 * variables, because compilers keep arrays of vectors in memory too readily, and sums are pinned,
 * because they would load all weights first, which are more than there are registers. */
INLINE void knot_part(const float *w, int rows, const float *x, int tokens, int64_t n, int i,
                      struct lanes out[][BLOCK_TOKENS])
{
    enum { WIDE = LANES / PARTS };
    part a0, a1, a2, a3, b0 = { 0 }, b1 = b0, b2 = b0, b3 = b0; /* weights of two rows */
    part p0, p1, p2, p3, q0, q1, q2, q3; /* sums of each row with four tokens */
    part r0, r1, r2, r3, s0, s1, s2, s3;
    w += i * WIDE;
    x += i * WIDE;
#define GET(v, from) memcpy(&v, from, sizeof v)
#define GET4(v, from) \
    GET(v##0, from), GET(v##1, from + LANES), GET(v##2, from + 2 * LANES), \
        GET(v##3, from + 3 * LANES)
#define LEAF(v) (v##0 * x0 + v##1 * x1) + (v##2 * x2 + v##3 * x3)
#define TOKEN(t, first, second, op) \
    if (t < tokens) { \
        part x0, x1, x2, x3; \
        GET4(x, x + t * n); \
        first##t op LEAF(a); \
        PIN(first##t); \
        if (rows > 1) { \
            second##t op LEAF(b); \
            PIN(second##t); \
        } \
    }
#define WHOLE_TILE(first, second, op) \
    GET4(a, w); \
    if (rows > 1) \
        GET4(b, w + n); \
    TOKEN(0, first, second, op) \
    TOKEN(1, first, second, op) \
    TOKEN(2, first, second, op) \
    TOKEN(3, first, second, op) \
    w += TILE; \
    x += TILE;
    WHOLE_TILE(p, q, =)
    WHOLE_TILE(p, q, +=)
    WHOLE_TILE(r, s, =)
    WHOLE_TILE(r, s, +=)
#define PUT_TOKEN(t) \
    if (t < tokens) { \
        out[0][t].p[i] = p##t + r##t; \
        if (rows > 1) \
            out[1][t].p[i] = q##t + s##t; \
    }
    PUT_TOKEN(0)
    PUT_TOKEN(1)
    PUT_TOKEN(2)
    PUT_TOKEN(3)
}

/* Columns c .. end of rows x tokens products: of w, w + n, ... with x, x + n, ...; c is a multiple
 * of KNOT tiles. The counts of rows and tokens are constants after inlining. */
INLINE void grow(struct trees *trees, const float *w, int rows, const float *x, int tokens,
                 int64_t n, int64_t c, int64_t end)
{
    struct lanes leaf[BLOCK_ROWS][BLOCK_TOKENS];
    for (; c + KNOT * TILE <= end; c += KNOT * TILE) {
        EACH_PART knot_part(w + c, rows, x + c, tokens, n, i, leaf);
        trees_push(trees, 2, (uint64_t)(c / (KNOT * TILE)), rows, tokens, leaf);
    }
    for (; c + TILE <= end; c += TILE) {
        EACH_PART EACH(rows, tokens)
            tile_product(&leaf[r][t].p[i], w + r * n + c, x + t * n + c, i);
        trees_push(trees, 0, (uint64_t)(c / TILE), rows, tokens, leaf);
    }
    if (c < end) {
        EACH(rows, tokens) ragged_product(&leaf[r][t], w + r * n + c, x + t * n + c, end - c);
        trees_push(trees, 0, (uint64_t)(c / TILE), rows, tokens, leaf);
    }
}

/* The sums of trees of so many tiles. */
INLINE void harvest(const struct trees *trees, int rows, int tokens, uint64_t tiles, float *y,
                    int64_t stride)
{
    struct lanes sum[BLOCK_ROWS][BLOCK_TOKENS];
    EACH(rows, tokens) sum[r][t] = (struct lanes){ 0 };
    for (int l = 0; tiles; tiles >>= 1, l++)
        if (tiles & 1)
            EACH(rows, tokens) add(&sum[r][t], &trees->level[l][r][t], &sum[r][t]);
    EACH(rows, tokens) y[t * stride + r] = lanes_sum(&sum[r][t]);
}

/* All rows times `tokens` tokens, a stretch of columns after the other, so that the activations
 * stay near while the weights come by. */
INLINE void block_of_tokens(const float *w, int rows, const float *x, int tokens, int64_t n,
                            float *y, int64_t stride)
{
    struct trees trees[LEVEL_MAX_ROWS / BLOCK_ROWS];
    for (int64_t c = 0; c < n; c += STRETCH) {
        const int64_t end = c + STRETCH < n ? c + STRETCH : n;
        int r = 0;
        for (; r + BLOCK_ROWS <= rows; r += BLOCK_ROWS)
            grow(&trees[r / BLOCK_ROWS], w + r * n, BLOCK_ROWS, x, tokens, n, c, end);
        if (r < rows)
            grow(&trees[r / BLOCK_ROWS], w + r * n, 1, x, tokens, n, c, end);
    }
    const uint64_t tiles = (uint64_t)((n + TILE - 1) / TILE);
    int r = 0;
    for (; r + BLOCK_ROWS <= rows; r += BLOCK_ROWS)
        harvest(&trees[r / BLOCK_ROWS], BLOCK_ROWS, tokens, tiles, y + r, stride);
    if (r < rows)
        harvest(&trees[r / BLOCK_ROWS], 1, tokens, tiles, y + r, stride);
}

static void dot_rows(const float *w, int rows, const float *x, int64_t tokens, int64_t n, float *y,
                     int64_t stride)
{
    int64_t t = 0;
    for (; t + BLOCK_TOKENS <= tokens; t += BLOCK_TOKENS)
        block_of_tokens(w, rows, x + t * n, BLOCK_TOKENS, n, y + t * stride, stride);
    for (; t + 2 <= tokens; t += 2)
        block_of_tokens(w, rows, x + t * n, 2, n, y + t * stride, stride);
    for (; t < tokens; t++)
        block_of_tokens(w, rows, x + t * n, 1, n, y + t * stride, stride);
}

#endif
