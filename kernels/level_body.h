/* SPDX-License-Identifier: MIT */
/* The kernels of a level, written once: each level_*.c includes this with its own instruction set.
 * LEVEL names the table, LEVEL_ROWS and LEVEL_TOKENS say how many sums share loads (which changes no bit). */
#include <string.h>

#include "kernels/level.h"

/* Sixteen lanes whatever the machine's vectors are, so that the order of additions is part of the
 * source. Vectors this wide never cross a call: everything that takes one is inlined. */
typedef float lanes __attribute__((vector_size(64)));
#define INLINE static inline __attribute__((always_inline))

enum { LANES = 16, TILE = 4 * LANES, /* elements that make one leaf of the tree of sums */
       TREE_MAX = 32 /* levels: enough for any int64 count of tiles that fits memory */ };

/* memcpy rather than a cast: the rows of a file are aligned to nothing. */
#define LOAD(v, p) memcpy(&(v), (p), sizeof(lanes))

/* One tile: four products, added as a tree of depth two. */
#define TILE_PRODUCT(out, a, b)                          \
    do {                                                 \
        lanes a0, a1, a2, a3, b0, b1, b2, b3;            \
        LOAD(a0, (a));                                   \
        LOAD(a1, (a) + LANES);                           \
        LOAD(a2, (a) + 2 * LANES);                       \
        LOAD(a3, (a) + 3 * LANES);                       \
        LOAD(b0, (b));                                   \
        LOAD(b1, (b) + LANES);                           \
        LOAD(b2, (b) + 2 * LANES);                       \
        LOAD(b3, (b) + 3 * LANES);                       \
        (out) = (a0 * b0 + a1 * b1) + (a2 * b2 + a3 * b3); \
    } while (0)

/* Sums of tiles as a binary counter: level l holds the sum of 2^l tiles when bit l of the count is
 * set, so that n tiles are added in a tree of depth log2(n) without knowing n beforehand. */
struct tree {
    lanes level[TREE_MAX];
};

INLINE void tree_push(struct tree *t, uint64_t count, const lanes *leaf)
{
    lanes sum = *leaf;
    int l = 0;
    for (; count & 1; count >>= 1, l++)
        sum = t->level[l] + sum;
    t->level[l] = sum;
}

INLINE float tree_sum(const struct tree *t, uint64_t count)
{
    lanes sum = { 0 };
    for (int l = 0; count; count >>= 1, l++)
        if (count & 1)
            sum = t->level[l] + sum;
    float v[LANES];
    memcpy(v, &sum, sizeof v);
    for (int half = LANES / 2; half; half /= 2)
        for (int i = 0; i < half; i++)
            v[i] += v[i + half];
    return v[0];
}

/* rows x tokens dot products of w, w + n, ... with x, x + n, ...; the counts are constants after inlining. */
INLINE void dots(const float *w, int rows, const float *x, int tokens, int64_t n, float *y, int64_t stride)
{
    struct tree tree[LEVEL_ROWS][LEVEL_TOKENS];
    uint64_t tiles = 0;
    int64_t i = 0;
    for (; i + TILE <= n; i += TILE, tiles++)
        for (int t = 0; t < tokens; t++)
            for (int r = 0; r < rows; r++) {
                lanes leaf;
                TILE_PRODUCT(leaf, w + r * n + i, x + t * n + i);
                tree_push(&tree[r][t], tiles, &leaf);
            }
    if (i < n) { /* the ragged tail: as if padded with zeros */
        for (int t = 0; t < tokens; t++)
            for (int r = 0; r < rows; r++) {
                float v[TILE] = { 0 };
                for (int64_t k = 0; k < n - i; k++)
                    v[k] = w[r * n + i + k] * x[t * n + i + k];
                lanes leaf;
                LOAD(leaf, v);
                for (int k = LANES; k < n - i; k += LANES) {
                    lanes more;
                    LOAD(more, v + k);
                    leaf = leaf + more;
                }
                tree_push(&tree[r][t], tiles, &leaf);
            }
        tiles++;
    }
    for (int t = 0; t < tokens; t++)
        for (int r = 0; r < rows; r++)
            y[t * stride + r] = tree_sum(&tree[r][t], tiles);
}

static void dot_rows(const float *w, int rows, const float *x, int64_t tokens, int64_t n, float *y, int64_t stride)
{
    int64_t t = 0;
    for (; rows == LEVEL_ROWS && t + LEVEL_TOKENS <= tokens; t += LEVEL_TOKENS)
        dots(w, LEVEL_ROWS, x + t * n, LEVEL_TOKENS, n, y + t * stride, stride);
    for (; rows == LEVEL_ROWS && t < tokens; t++)
        dots(w, LEVEL_ROWS, x + t * n, 1, n, y + t * stride, stride);
    for (; rows == 1 && t + LEVEL_TOKENS <= tokens; t += LEVEL_TOKENS)
        dots(w, 1, x + t * n, LEVEL_TOKENS, n, y + t * stride, stride);
    for (; t < tokens; t++)
        dots(w, 1, x + t * n, 1, n, y + t * stride, stride);
}

/* Heads are short: at most one vector of lanes needs no tree, and gives the same sum. */
INLINE float dot_short(const float *a, const float *b, int64_t n)
{
    float v[LANES] = { 0 };
    for (int64_t i = 0; i < n; i++)
        v[i] = a[i] * b[i];
    for (int half = LANES / 2; half; half /= 2)
        for (int i = 0; i < half; i++)
            v[i] += v[i + half];
    return v[0];
}

static float dot(const float *a, const float *b, int64_t n)
{
    if (n <= LANES)
        return dot_short(a, b, n);
    float out;
    dots(a, 1, b, 1, n, &out, 1);
    return out;
}
