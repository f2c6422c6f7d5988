/* SPDX-License-Identifier: MIT */
/* Products of many tokens in floats, cut into panels of rows for the threads of a pool. */
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "kernels/level.h"
#include "kernels/matrix.h"

enum {
    LINE = 64,  /* bytes of a line of the caches */
    PIECE = 512 /* columns that are decoded or rounded at a time: a multiple of all blocks */
};

struct job {
    const struct level *level;
    const struct panel_ops *ops;
    const struct matrix *w;
    struct decoder decoder;
    const float *bias, *x;
    float *y;
    int64_t tokens, blocks, vectors;
    float *acts, *panels; /* all blocks of tokens; a panel of each worker */
};

/* The vectors of n columns from column c on to the place of one of `side`. A piece of floats is
 * filled up to a whole leaf first. */
static void put_vectors(const struct panel_ops *ops, float *piece, int n, int64_t c, int side,
                        float *to)
{
    const int64_t first = c / ops->columns, some = panel_vectors(ops, n);
    for (int64_t k = n; !ops->brains && k < some * PANEL_LANES; k++)
        piece[k] = 0;
    for (int64_t v = 0; v < some; v++)
        memcpy(to + (first + v) * side * PANEL_LANES, piece + v * PANEL_LANES,
               PANEL_LANES * sizeof *piece);
}

static void pack_activations(const struct job *j, const float *from, int n, float *piece)
{
    uint16_t brains[PIECE];
    if (j->ops->brains) {
        j->level->to_brains(from, n, brains);
        j->ops->brains((const uint8_t *)brains, n, piece);
    } else {
        round_to_f16(from, n, piece);
    }
}

static void pack_block(void *data, int64_t block, int worker)
{
    (void)worker;
    const struct job *j = data;
    const int64_t first = panel_first(block, j->blocks, j->tokens), cols = j->w->cols;
    const int side = (int)(panel_first(block + 1, j->blocks, j->tokens) - first);
    float *to = j->acts + first * j->vectors * PANEL_LANES, piece[PIECE];
    for (int t = 0; t < side; t++)
        for (int64_t c = 0; c < cols; c += PIECE) {
            const int n = cols - c < PIECE ? (int)(cols - c) : PIECE;
            pack_activations(j, j->x + (first + t) * cols + c, n, piece);
            put_vectors(j->ops, piece, n, c, side, to + t * PANEL_LANES);
        }
}

/* Ask for some of the weights. */
static void ask_for(const uint8_t *from, int64_t bytes, int near)
{
    for (int64_t at = 0; at < bytes; at += LINE)
        if (near)
            __builtin_prefetch(from + at, 0, 3);
        else
            __builtin_prefetch(from + at, 0, 2);
}

static void pack_rows(const struct job *j, int64_t first, int rows, float *panel)
{
    const int64_t cols = j->w->cols, group = PANEL_SIDE * j->vectors * PANEL_LANES;
    float piece[PIECE];
    if (rows % PANEL_SIDE)
        memset(panel + rows / PANEL_SIDE * group, 0, (size_t)group * sizeof *panel);
    for (int r = 0; r < rows; r++) {
        const uint8_t *from = (const uint8_t *)j->w->data + (size_t)(first + r) * j->w->row_bytes;
        float *to = panel + r / PANEL_SIDE * group + r % PANEL_SIDE * PANEL_LANES;
        for (int64_t c = 0; c < cols; c += PIECE) {
            const int n = cols - c < PIECE ? (int)(cols - c) : PIECE;
            const uint8_t *of = from + decoder_bytes(&j->decoder, c);
            if (r + 1 < rows)
                ask_for(of + j->w->row_bytes, decoder_bytes(&j->decoder, n), 1);
            if (j->ops->brains)
                j->ops->brains(of, n, piece);
            else
                j->level->decode(&j->decoder, of, piece, n);
            put_vectors(j->ops, piece, n, c, PANEL_SIDE, to);
        }
    }
}

/* Ask for a part of the rows that a worker takes next, late enough for them to stay in the
 * second-level cache. */
static void ask_for_next(const struct job *j, int64_t first, int64_t block)
{
    const int64_t left = j->w->rows - first, rows = left < PANEL_ROWS ? left : PANEL_ROWS;
    const int64_t parts = (j->blocks + 3) / 4, part = block - (j->blocks - parts);
    const int64_t bytes = rows * (int64_t)j->w->row_bytes, from = bytes * part / parts;
    if (rows > 0 && part >= 0)
        ask_for((const uint8_t *)j->w->data + (size_t)first * j->w->row_bytes + from,
                bytes * (part + 1) / parts - from, 0);
}

static void one_panel(void *data, int64_t chunk, int worker)
{
    const struct job *j = data;
    const int64_t first = chunk * PANEL_ROWS, left = j->w->rows - first, stride = j->w->rows;
    const int rows = left < PANEL_ROWS ? (int)left : PANEL_ROWS;
    float *panel = j->panels + (int64_t)worker * PANEL_ROWS * j->vectors * PANEL_LANES;
    pack_rows(j, first, rows, panel);
    for (int64_t b = 0; b < j->blocks; b++) {
        const int64_t t = panel_first(b, j->blocks, j->tokens);
        const int64_t n = panel_first(b + 1, j->blocks, j->tokens) - t;
        ask_for_next(j, first + PANEL_ROWS, b);
        j->ops->block(panel, rows, j->acts + t * j->vectors * PANEL_LANES, (int)n, j->vectors,
                      j->y + t * stride + first, stride);
    }
    for (int64_t t = 0; j->bias && t < j->tokens; t++)
        for (int r = 0; r < rows; r++)
            j->y[t * stride + first + r] += j->bias[first + r];
}

void panel_mul(const struct matrix *w, const float *bias, const float *x, int64_t tokens,
               float *y, struct pool *pool, const volatile sig_atomic_t *cancel)
{
    const bool brains = native_rounds(w->format) == NATIVE_BF16;
    const struct panel_ops *ops = level_now()->panels[brains ? PANEL_BRAINS : PANEL_HALVES];
    struct job j = { .level = level_now(),
                     .ops = ops,
                     .w = w,
                     .decoder = decoder_of(w->format),
                     .bias = bias,
                     .x = x,
                     .y = y,
                     .tokens = tokens,
                     .vectors = panel_vectors(ops, w->cols) };
    j.blocks = pool_chunks(tokens, PANEL_TOKENS);
    const size_t row = (size_t)(j.vectors * PANEL_LANES) * sizeof *x;
    const size_t panels = (size_t)pool_threads(pool) * PANEL_ROWS * row;
    j.panels = x_scratch((size_t)tokens * row + panels);
    j.acts = j.panels + panels / sizeof *x;
    pool_for(pool, j.blocks, pack_block, &j, NULL);
    pool_for_runs(pool, pool_chunks(w->rows, PANEL_ROWS), one_panel, &j, cancel);
    free(j.panels);
}
