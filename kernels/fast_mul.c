/* SPDX-License-Identifier: MIT */
/* Mode fast: a whole product, its activations packed once, cut into panels of rows for the threads
 * of a pool. */
#include <stdlib.h>

#include "base/memory.h"
#include "kernels/level.h"
#include "kernels/matrix.h"

struct job {
    const struct fast_ops *ops;
    const struct matrix *w;
    const struct native_format *integers;
    struct decoder decoder;
    const float *bias, *x;
    float *y;
    int64_t tokens, panel; /* panel: rows of one */
    char *packed;
    size_t block_bytes; /* of packed, per FAST_TOKENS tokens */
};

/* Rows per panel: as many as the level takes, fewer where threads would stay without work. */
static int64_t panel_rows(const struct fast_ops *ops, int64_t rows, int threads)
{
    enum { LEAST = 32, PER_THREAD = 4 };
    int64_t n = ops->rows;
    while (n > LEAST && pool_chunks(rows, n) < PER_THREAD * threads)
        n /= 2;
    return n;
}

static void pack_block(void *data, int64_t block, int worker)
{
    (void)worker;
    struct job *j = data;
    const int64_t first = block * FAST_TOKENS, left = j->tokens - first;
    j->ops->pack(j->integers, j->x + first * j->w->cols,
                 left < FAST_TOKENS ? (int)left : FAST_TOKENS, j->w->cols,
                 j->packed + (size_t)block * j->block_bytes);
}

static void one_panel(void *data, int64_t chunk, int worker)
{
    (void)worker;
    const struct job *j = data;
    const int64_t first = chunk * j->panel, left = j->w->rows - first, stride = j->w->rows;
    const struct fast_weights w = {
        j->decoder, j->integers,
        (const uint8_t *)j->w->data + (size_t)first * j->w->row_bytes,
        j->w->row_bytes, (int)(left < j->panel ? left : j->panel), j->w->cols
    };
    j->ops->panel(&w, j->packed, j->tokens, j->y + first, stride);
    for (int64_t t = 0; j->bias && t < j->tokens; t++)
        for (int r = 0; r < w.rows; r++)
            j->y[t * stride + first + r] += j->bias[first + r];
}

void fast_mul(const struct matrix *w, const float *bias, const float *x, int64_t tokens, float *y,
              struct pool *pool, const volatile sig_atomic_t *cancel)
{
    const struct level *level = level_now();
    const struct native_format *f = native_format(w->format);
    const struct fast_ops *ops = f && level->words ? level->words : level->fast;
    const int64_t blocks = pool_chunks(tokens, FAST_TOKENS);
    struct job j = { .ops = ops, .w = w, .bias = bias, .x = x, .y = y, .tokens = tokens,
                     .integers = f };
    j.panel = panel_rows(ops, w->rows, pool_threads(pool));
    j.decoder = decoder_of(w->format);
    j.block_bytes = ops->block_bytes(f, w->cols);
    j.packed = x_scratch((size_t)blocks * j.block_bytes);
    pool_for(pool, blocks, pack_block, &j, NULL);
    pool_for_runs(pool, pool_chunks(w->rows, j.panel), one_panel, &j, cancel);
    free(j.packed);
}
