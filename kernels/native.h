/* SPDX-License-Identifier: MIT */
/* Compute mode native: quantized weights and quantized activations in one common integer form. */
#ifndef QDB_KERNELS_NATIVE_H
#define QDB_KERNELS_NATIVE_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "kernels/format.h"

/* clang-format off */
/* A weight row is taken apart into unsigned codes, integer scales and minima per unit of columns,
 * and floats per group; the activations of a token into signed codes, a float per block and sums of
 * codes per unit. With, over the units u of a group,
 *
 *     dot[u] = sum of (code - zero) * x over unit u
 *     isum   = sum of scale[u] * dot[u]
 *     msum   = sum of min[u] * xsum[u]
 *
 * the product is the sum, in ascending order of groups and in float, of
 *
 *     isum * (d * dx)  [- msum * (m * dx) with minima]  [+ m * s with activations in q8_1]
 *
 * docs/modes.md is the specification. */
/* clang-format on */

/* What the activations become before they meet a weight. */
enum native_act {
    NATIVE_Q8_0,
    NATIVE_Q8_1,
    NATIVE_Q8_K,
    NATIVE_F16,
    NATIVE_BF16,
    NATIVE_ACT__COUNT
};
const char *native_act_name(enum native_act a);

/* The integer formats, X(name, act, zero, top, group, unit, mins): a row of the table and, per
 * level, an unpacker and a kernel each. */
#define NATIVE_FORMATS(X) \
    X(q1_0, NATIVE_Q8_0, 1, 2, 32, 32, false) \
    X(q2_0, NATIVE_Q8_0, 1, 3, 32, 32, false) \
    X(q4_0, NATIVE_Q8_0, 8, 15, 32, 32, false) \
    X(q4_1, NATIVE_Q8_1, 0, 15, 32, 32, false) \
    X(q5_0, NATIVE_Q8_0, 16, 31, 32, 32, false) \
    X(q5_1, NATIVE_Q8_1, 0, 31, 32, 32, false) \
    X(q8_0, NATIVE_Q8_0, 128, 255, 32, 32, false) \
    X(iq4_nl, NATIVE_Q8_0, 128, 241, 32, 32, false) \
    X(mxfp4, NATIVE_Q8_0, 12, 24, 32, 32, false) \
    X(nvfp4, NATIVE_Q8_0, 12, 24, 16, 16, false) \
    X(q2_k, NATIVE_Q8_K, 0, 3, 256, 16, true) \
    X(q3_k, NATIVE_Q8_K, 4, 7, 256, 16, false) \
    X(q4_k, NATIVE_Q8_K, 0, 15, 256, 32, true) \
    X(q5_k, NATIVE_Q8_K, 0, 31, 256, 32, true) \
    X(q6_k, NATIVE_Q8_K, 32, 63, 256, 16, false) \
    X(tq1_0, NATIVE_Q8_K, 1, 2, 256, 32, false) \
    X(tq2_0, NATIVE_Q8_K, 1, 3, 256, 32, false) \
    X(iq1_s, NATIVE_Q8_K, 9, 18, 256, 32, false) \
    X(iq1_m, NATIVE_Q8_K, 9, 18, 256, 16, false) \
    X(iq2_xxs, NATIVE_Q8_K, 64, 107, 256, 32, false) \
    X(iq2_xs, NATIVE_Q8_K, 64, 107, 256, 16, false) \
    X(iq2_s, NATIVE_Q8_K, 64, 107, 256, 16, false) \
    X(iq3_xxs, NATIVE_Q8_K, 64, 126, 256, 32, false) \
    X(iq3_s, NATIVE_Q8_K, 64, 79, 256, 32, false) \
    X(iq4_xs, NATIVE_Q8_K, 128, 241, 256, 32, false)

#define NATIVE_ID(name, ...) NATIVE_##name,
enum native_id { NATIVE_FORMATS(NATIVE_ID) NATIVE__COUNT };

struct native_format {
    const char *name;    /* of the storage format */
    enum native_act act; /* q8_0, q8_1 or q8_k */
    int zero;            /* the code that means 0 */
    int top;             /* the largest code */
    int group;           /* columns per float scale d: 16, 32 or 256 */
    int unit;            /* columns per integer scale; = group where there is none */
    bool mins;           /* integer minima per unit, float m per group (q8_k only) */
};

/* NULL: the mode computes this format without integers; see native_rounds and docs/modes.md. */
const struct native_format *native_format(enum format f);
enum native_id native_id(const struct native_format *n);
/* Activations for a format without integers: NATIVE_F16, NATIVE_BF16, or -1 for left as they are.
 */
int native_rounds(enum format f);

/* Columns of weight rows taken apart, row-major: code [rows][cols], scale and min [rows][cols /
 * unit], d and m [rows][cols / group]. Those that the format lacks are NULL. */
struct native_row {
    uint8_t *code;
    int16_t *scale, *min;
    float *d, *m;
};

/* n columns from src (any alignment), n a multiple of the format's block. */
typedef void native_unpack(const uint8_t *src, int64_t n, const struct native_row *out);

enum {
    NATIVE_ROWS = 16,   /* rows of a panel */
    NATIVE_COLS = 1024, /* columns taken apart at a time */
    NATIVE_STEP = 512,  /* of columns between activations of tokens */
    NATIVE_SLACK = 2048 /* columns that may be read beyond the last */
};

/* Weight rows as they lie in memory: row r begins at data + r * row_bytes. */
struct native_weights {
    const struct native_format *format;
    const uint8_t *data;
    size_t row_bytes;
    int rows;         /* at most NATIVE_ROWS for panel, any number for many */
    int block, bytes; /* columns and bytes of a block */
};

/* Activations: of token t the codes begin at t * stride, d and s at t * stride / block, sums at t *
 * stride / unit. A kernel may read NATIVE_SLACK columns beyond the last token; what it finds there
 * is no number to rely on. */
struct native_acts {
    int64_t tokens, cols, stride;
    int block;      /* columns per d: 32 or 256 */
    int8_t *code;   /* -127 .. 127 */
    float *d;       /* q8_0, q8_1: a rounded half */
    float *s;       /* q8_1: d * sum of codes, a rounded half; else NULL */
    int16_t *sum;   /* of the codes of a unit */
    int32_t *start; /* -zero * sum: what the dot product of a unit starts from */
};

/* Room for the activations of `tokens` x `cols`, empty yet. */
void native_acts_init(struct native_acts *a, const struct native_format *f, int64_t tokens,
                      int64_t cols);
void native_acts_free(struct native_acts *a);
/* Quantize token t from x [cols]. A block with NaN or infinity gets d = NaN and codes 0, so that
 * every result of the token is NaN; one whose largest magnitude is below 2^-100 counts as zero. */
void native_acts_set(struct native_acts *a, const struct native_format *f, int64_t t,
                     const float *x);
/* The same for mode fast: x becomes the sum of tokens t and t + 1 (docs/modes.md). */
void native_acts_set_fine(struct native_acts *a, const struct native_format *f, int64_t t,
                          const float *x);

/* Activations of many tokens, in blocks of tokens side by side. What belongs to a block of n tokens
 * from token t on begins at t * (values per token). */
struct native_packed {
    int64_t tokens, blocks;
    int64_t cols, units, scales; /* values per token of code, of start and sum, of d */
    int8_t *code;                /* [cols / 4][n][4] */
    int32_t *start; /* [unit][n]: what a unit's dot product starts from, -zero * sum of codes */
    int16_t *sum;   /* [unit / 2][n][2]: of the codes of two units */
    float *d;       /* [scale][n] */
};

/* The same of one block, from some column on. */
struct native_block {
    int8_t *code;
    int32_t *start;
    int16_t *sum;
    float *d;
};

/* The first token of block b, or the number of tokens. Blocks differ in size by one at most. */
static inline int64_t packed_first(const struct native_packed *x, int64_t b)
{
    return b * x->tokens / x->blocks;
}

/* The block of n tokens from token t on, from column c, unit u and scale d on. */
static inline struct native_block packed_block(const struct native_packed *x, int64_t t, int64_t n,
                                               int64_t c, int64_t u, int64_t d)
{
    u = t * x->units + u * n;
    d = t * x->scales + d * n;
    return (struct native_block){ x->code + t * x->cols + c * n, x->start + u, x->sum + u,
                                  x->d + d };
}

/* What a level does for the mode. */
struct native_ops {
    /* One token's activations rounded; s may be NULL. */
    void (*acts)(const struct native_format *f, const float *x, int64_t cols, int8_t *code,
                 float *d, float *s, int16_t *sum);
    /* The same in codes of two tokens for mode fast; s[0] may be NULL. */
    void (*fine_acts)(const struct native_format *f, const float *x, int64_t cols,
                      int8_t *const code[2], float *const d[2], float *const s[2],
                      int16_t *const sum[2]);
    /* y[t * stride + r]: the products of at most NATIVE_ROWS rows with all tokens. */
    void (*panel)(const struct native_weights *w, const struct native_acts *x, float *y,
                  int64_t stride);
    /* The same of any number of rows, with bias (may be NULL), and of many tokens, packed in blocks
     * of at most `block`, in a format for which `few` gives 0 of some number of tokens. NULL: the
     * level has none. */
    void (*many)(const struct native_weights *w, const struct native_packed *x, const float *bias,
                 float *y, int64_t stride);
    int block;
    /* How many of so many tokens panel should take at once; 0: many takes them. NULL: all. */
    int (*few)(const struct native_format *f, int64_t tokens);
    /* The codes of token t brought into the order in which panel wants those of so few tokens, in
     * place; stride has room for a multiple of NATIVE_STEP columns. NULL: they stay as they are.
     */
    void (*order)(const struct native_format *f, const struct native_acts *x, int64_t t);
};

/* y[t][r] of n whole products of the same activations; see matrix_mul_all. fine: of few tokens in
 * mode fast. */
struct pool;
struct matrix_product;
void native_mul(const struct matrix_product *p, int n, bool fine, const float *x, int64_t tokens,
                struct pool *pool, const volatile sig_atomic_t *cancel);

/* y = x rounded to halves, kept as floats. In place is fine. */
void round_to_f16(const float *x, int64_t n, float *y);
/* Brain floats: the bits of 2^-55, below which magnitudes are zero, of 2^60, from which on they are
 * infinite, and of infinity. */
enum { BRAIN_SMALL = 0x2400, BRAIN_LARGE = 0x5d80, BRAIN_INFINITE = 0x7f80 };

#endif
