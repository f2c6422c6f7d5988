/* SPDX-License-Identifier: MIT */
#include "kernels/matrix.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

const char *compute_name(enum compute c)
{
    static const char *const names[COMPUTE__COUNT] = { "exact", "native", "fast" };
    return (unsigned)c < COMPUTE__COUNT ? names[c] : "?";
}

/* Sixteen lanes whatever the machine's vectors are, so that the order of additions is part of the
 * source. Vectors this wide never cross a call: everything that takes one is inlined. */
typedef float lanes __attribute__((vector_size(64)));
#define INLINE static inline __attribute__((always_inline))

enum { LANES = 16, TILE = 4 * LANES, /* elements that make one leaf of the tree of sums */
       TREE_MAX = 32,                /* levels: enough for any int64 count of tiles that fits memory */
       ROWS = 16,                    /* rows of W per task of the pool */
       TOKENS = 4 /* tokens that share one pass over a row */ };

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

/* `count` dot products of one row with the rows x, x + stride, ...; count is a constant after inlining. */
INLINE void dots(const float *row, const float *x, int64_t stride, int64_t n, int count, float *out)
{
    struct tree tree[TOKENS];
    uint64_t tiles = 0;
    int64_t i = 0;
    for (; i + TILE <= n; i += TILE, tiles++)
        for (int t = 0; t < count; t++) {
            lanes leaf;
            TILE_PRODUCT(leaf, row + i, x + t * stride + i);
            tree_push(&tree[t], tiles, &leaf);
        }
    if (i < n) { /* the ragged tail: as if padded with zeros */
        for (int t = 0; t < count; t++) {
            float v[TILE] = { 0 };
            for (int64_t k = 0; k < n - i; k++)
                v[k] = row[i + k] * x[t * stride + i + k];
            lanes leaf;
            LOAD(leaf, v);
            for (int k = LANES; k < n - i; k += LANES) {
                lanes more;
                LOAD(more, v + k);
                leaf = leaf + more;
            }
            tree_push(&tree[t], tiles, &leaf);
        }
        tiles++;
    }
    for (int t = 0; t < count; t++)
        out[t] = tree_sum(&tree[t], tiles);
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

float dot_exact(const float *a, const float *b, int64_t n)
{
    if (n <= LANES)
        return dot_short(a, b, n);
    float out;
    dots(a, b, 0, n, 1, &out);
    return out;
}

struct job {
    const struct matrix *w;
    const struct format_info *format;
    const float *bias, *x;
    float *y;
    int64_t tokens;
};

static void row_times_tokens(const struct job *j, const float *row, int64_t r)
{
    const int64_t n = j->w->cols, stride = j->w->rows;
    const float bias = j->bias ? j->bias[r] : 0.0f;
    int64_t t = 0;
    for (; t + TOKENS <= j->tokens; t += TOKENS) {
        float v[TOKENS];
        dots(row, j->x + t * n, n, n, TOKENS, v);
        for (int i = 0; i < TOKENS; i++)
            j->y[(t + i) * stride + r] = j->bias ? v[i] + bias : v[i];
    }
    for (; t < j->tokens; t++) {
        float v;
        dots(row, j->x + t * n, n, n, 1, &v);
        j->y[t * stride + r] = j->bias ? v + bias : v;
    }
}

static void rows_of_chunk(void *data, int64_t chunk, int worker)
{
    (void)worker;
    const struct job *j = data;
    int64_t first = chunk * ROWS, end = first + ROWS < j->w->rows ? first + ROWS : j->w->rows;
    float *row = x_alloc((size_t)j->w->cols * sizeof *row);
    for (int64_t r = first; r < end; r++) {
        const char *src = (const char *)j->w->data + (size_t)r * j->w->row_bytes + j->format->row_header;
        j->format->decode(src, row, j->w->cols);
        row_times_tokens(j, row, r);
    }
    free(row);
}

void matrix_mul(const struct matrix *w, const float *bias, const float *x, int64_t tokens, float *y,
                enum compute mode, struct pool *pool, const volatile sig_atomic_t *cancel)
{
    (void)mode; /* only exact exists so far; the engine refuses the others */
    struct job j = { w, format_info(w->format), bias, x, y, tokens };
    pool_for(pool, pool_chunks(w->rows, ROWS), rows_of_chunk, &j, cancel);
}
