/* SPDX-License-Identifier: MIT */
/* Weights times activations: the one entry point behind which every fast kernel plugs in. */
#ifndef QDB_KERNELS_MATRIX_H
#define QDB_KERNELS_MATRIX_H

#include <stdint.h>
#include <string.h>

#include "kernels/format.h"
#include "kernels/pool.h"

/* How numbers are combined; part of every figure. */
enum compute { COMPUTE_EXACT, COMPUTE_NATIVE, COMPUTE_FAST, COMPUTE__COUNT };
const char *compute_name(enum compute c);

/* A weight as it lies in memory: rows x cols, row r at data + r * row_bytes. */
struct matrix {
    enum format format;
    const void *data;
    size_t row_bytes;
    int64_t rows, cols;
    const void *scale; /* a float, at any address, that all elements are times; NULL: 1 */
};

static inline float matrix_scale(const struct matrix *w)
{
    float scale = 1;
    if (w->scale)
        memcpy(&scale, w->scale, sizeof scale);
    return scale;
}

/* Row r decoded, times the scale. out [cols] */
void matrix_row(const struct matrix *w, int64_t r, float *out);

/* y[t][r] = bias[r] + scale * (sum over c of w[r][c] * x[t][c]), for `tokens` rows of x (stride
 * cols) into y (stride rows). bias may be NULL. COMPUTE_EXACT: weights decoded, float32 products,
 * per element abs(error) <= 2^-20 * sum abs(w x) for cols <= 32768 (sums are a fixed tree of depth
 * 6 + log2(cols / 64)); a scale is one rounding more.
 * COMPUTE_NATIVE: as kernels/native.h says, from activations rounded to 8 bits; formats without an
 * integer form are computed as in exact, f16 and bf16 with activations rounded alike.
 * COMPUTE_FAST: as docs/modes.md says.
 * The result of a token does not depend on the threads of the pool, nor on the tokens beside it; on
 * their number only in COMPUTE_FAST, which multiplies few tokens in another way than many.
 * Once *cancel (may be NULL) is set, y is left unfinished; as it was, if it was set before. */
void matrix_mul(const struct matrix *w, const float *bias, const float *x, int64_t tokens, float *y,
                enum compute mode, struct pool *pool, const volatile sig_atomic_t *cancel);

/* One of several products with the same activations; bias may be NULL. */
struct matrix_product {
    const struct matrix *w;
    const float *bias;
    float *y;
};

enum {
    PRODUCTS_MOST = 4,
    MATRIX_FEW = 8 /* so many take about as long to multiply as the weights to be read */
};

/* matrix_mul of n <= PRODUCTS_MOST matrices of as many columns: few tokens are rounded once for all
 * of them, and threads wait for each other once. */
void matrix_mul_all(const struct matrix_product *p, int n, const float *x, int64_t tokens,
                    enum compute mode, struct pool *pool, const volatile sig_atomic_t *cancel);

/* Whether matrix_mul_all makes them in one loop: the weights are codes, and not too many tokens
 * meet them. */
bool matrix_in_one(const struct matrix_product *p, int n, int64_t tokens, enum compute mode);

/* The products after the next ones will be these, of which only the weights count: threads that
 * have nothing to do read the first of them meanwhile. The weights must stay until
 * pool_expect_nothing has returned. */
void matrix_expect(const struct matrix_product *p, int n, int64_t tokens, enum compute mode,
                   struct pool *pool);

/* What a format's activations become in native mode: "q8_0", ..., "f16",
 * or "f32" for as they are. */
const char *matrix_activations(enum format f);

#endif
