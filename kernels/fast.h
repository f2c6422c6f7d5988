/* SPDX-License-Identifier: MIT */
/* Compute mode fast: weights and activations as numbers of the level's choice (float32, brain
 * floats, words), sums in float32. docs/modes.md is the specification. */
#ifndef QDB_KERNELS_FAST_H
#define QDB_KERNELS_FAST_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "kernels/decoder.h"
#include "kernels/native.h"

/* Activations are packed for the product once, in blocks of this many tokens, the last one filled
 * up with zeros. Floats: [block][column / group][FAST_TOKENS][group] with group = 4 bytes / bytes
 * of an operand; columns are filled up to fast_cols. Words: as kernels/words_body.h has it. */
enum { FAST_TOKENS = 16, FAST_COLS_MULTIPLE = 32 };

static inline int64_t fast_cols(int64_t cols)
{
    return (cols + FAST_COLS_MULTIPLE - 1) / FAST_COLS_MULTIPLE * FAST_COLS_MULTIPLE;
}

/* Some rows of weights as they lie in memory. */
struct fast_weights {
    struct decoder decoder;
    const struct native_format *format; /* NULL: not one of integers */
    const uint8_t *data; /* the first block of row 0 */
    size_t row_bytes;
    int rows; /* 1 .. fast_ops.rows */
    int64_t cols;
};

/* What a level has for mode fast. */
struct fast_ops {
    const char *operands; /* what weights and activations become: "f32", "bf16", "int16" */
    int bytes;            /* of an operand */
    int rows;             /* of weights per call of panel, at most */
    /* One block of tokens packed: a multiple of 64. */
    size_t (*block_bytes)(const struct native_format *f, int64_t cols);
    /* x [tokens][cols], tokens <= FAST_TOKENS, to a block, 64-byte aligned. */
    void (*pack)(const struct native_format *f, const float *x, int tokens, int64_t cols,
                 void *packed);
    /* y[t * stride + r], r < w->rows, for all tokens. */
    void (*panel)(const struct fast_weights *w, const void *packed, int64_t tokens, float *y,
                  int64_t stride);
};

/* Products of fewer tokens have nothing to share. Those of formats that native mode multiplies as
 * integers stay in integers, each token the sum of two tokens of native mode (docs/modes.md);
 * others are computed as in mode exact, for even fewer tokens. */
enum { FAST_LEAST_TOKENS = 33, FAST_LEAST_FLOATS = 9 };

/* A whole product; see matrix_mul. */
struct pool;
struct matrix;
void fast_mul(const struct matrix *w, const float *bias, const float *x, int64_t tokens, float *y,
              struct pool *pool, const volatile sig_atomic_t *cancel);

#endif
